"""What a JSON file must look like, told by type hints.

Whoever reads a file that may have been edited, or came from elsewhere, states its shape as a
`TypedDict` and has it checked before anything else.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Final, Literal

from unet_bench.limits import is_a, shown

Plain = str | int | float | bool | None
"""A value that holds no others."""
_CALLED: Final[dict[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    list: "a list",
    dict: "an object",
}


def require_shape(value: object, hint: Any, name: str) -> None:
    """Raise ValueError where a value of a JSON file is not as its type hint says.

    A key that a `TypedDict` does not have is let be, one that may be left out may be null.
    """
    if wrong := _fault(value, hint, name):
        raise ValueError(wrong)


def _fault(value: object, hint: Any, name: str) -> str:
    """Return what is wrong with a value, beginning with its name; empty if nothing is."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is Any:
        return ""
    if kind is list and isinstance(value, list):
        return _first((item, inner[0], f"{name}[{n}]") for n, item in enumerate(value))
    if kind is dict and isinstance(value, dict):
        return _first((item, inner[1], f"{name}.{key}") for key, item in value.items())
    if typing.is_typeddict(kind) and isinstance(value, dict):
        return _fault_of_keys(value, kind, name)
    if kind is UnionType:
        is_right = not all(_fault(value, one, name) for one in inner)
    elif kind is Literal:
        is_right = isinstance(value, str) and value in inner
    else:
        is_right = kind in _CALLED and is_a(value, kind)
    return "" if is_right else f"{_printable(name)} is {shown(value)}: it must be {_called(hint)}"


def _first(items: Iterable[tuple[object, Any, str]]) -> str:
    return next(filter(None, (_fault(*item) for item in items)), "")


def _fault_of_keys(value: dict[str, Any], kind: Any, name: str) -> str:
    required, stated = _keys(kind)
    if missing := [key for key in sorted(required) if key not in value]:
        return f"{_printable(name)} lacks {', '.join(missing)}"
    return _first(
        (value[key], hint, f"{name}.{key}")
        for key, hint in stated.items()
        if key in required or value.get(key) is not None
    )


@functools.cache
def _keys(kind: Any) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the keys that a `TypedDict` must have, and the type hints of all its keys."""
    marked = typing.get_type_hints(kind, include_extras=True)
    required = (
        key
        for key, hint in marked.items()
        if kind.__total__ or typing.get_origin(hint) is typing.Required
    )
    return frozenset(required), typing.get_type_hints(kind)


def _called(hint: Any) -> str:
    """Return what a type hint asks for, in words."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is UnionType:
        return " or ".join(dict.fromkeys(map(_called, inner)))
    if kind is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    return "an object" if typing.is_typeddict(kind) else _CALLED[kind]


def _printable(name: str) -> str:
    """Return the name of a value as it stands in a message: keys may be of any length."""
    return shown(name)[1:-1]
