"""How much one file may ask of this machine, and how what stands in a file stands in a message.

A file of a few kilobytes can claim, and unpack to, many gigabytes. Readers ask here before they
unpack.
"""

from __future__ import annotations

import json
import reprlib
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

MOST_DECODED: Final = 2**32
"""Bytes of one picture with its pages, one volume or one array when unpacked: 4 GiB, 1024³ voxels
of float32.
"""
MOST_PIXELS: Final = 89_478_485
"""Pixels of one picture, unless the user allows more: Pillow's own limit, 256 MiB of RGB."""
MAPPED: Final = 2**26
"""Bytes of numbers from which on they stay in a file, and are mapped into memory, where they can:
64 MiB.
"""
MOST_PAGES: Final = 10_000
"""Pages of one picture: those of a pixel each cost time, not memory."""
MOST_TEXT: Final = 2**24
"""Bytes of a JSON file or a list of names: 16 MiB."""
MOST_TOML: Final = 2**15
"""Bytes of a suite or recipe: 32 KiB. The parser's time grows with the square of what a file can
ask of it.
"""
MOST_NUMBER: Final = 2**63 - 1
"""As TOML has it; Python's own have no end, and cannot be written out beyond 4300 digits."""
MOST_WORDS: Final = 1000
"""Characters of one text in a suite or recipe: what it names is told in messages."""
LINE: Final = 300
"""Characters of a line in a message."""

_BRIEF: Final = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 20
_BRIEF.maxstring = _BRIEF.maxother = 120


_pixels: Final = ContextVar[int]("pixels", default=MOST_PIXELS)


def most_pixels() -> int:
    """Return how many pixels one picture may have."""
    return _pixels.get()


@contextmanager
def allow_pixels(most: int) -> Iterator[None]:
    """Let pictures have so many pixels, and the memory that they need, for a while."""
    before = _pixels.set(most)
    try:
        yield
    finally:
        _pixels.reset(before)


def too_large(size: int) -> str:
    """Return what is wrong with a file that unpacks to so many bytes; empty if nothing is."""
    allowed = MOST_DECODED * max(1, most_pixels() / MOST_PIXELS)
    if size <= allowed:
        return ""
    most = f"{allowed / 2**30:,.4g}"
    return (
        f"holds {size / 2**30:,.1f} GiB when unpacked, more than {most}; cut it into smaller ones"
    )


def require_file(path: Path) -> None:
    """Raise OSError for a folder, pipe or device: opening a pipe waits for ever.

    What is absent passes.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return a text file as UTF-8, with or without a byte order mark.

    Raises OSError, and ValueError for too large a file.
    """
    require_file(path)
    with path.open("rb") as file:
        # As many bytes are taken from memory as are asked for, whatever the file holds.
        content = file.read(min(most, path.stat().st_size) + 1)
    if len(content) > most:
        raise ValueError(f"it holds more than {most // 1024} KiB of text")
    return content.decode("utf-8-sig")


def read_json(path: Path, most: int = MOST_TEXT) -> Any:
    """Return what a JSON file says. Raises OSError, ValueError."""
    try:
        return json.loads(read_text(path, most))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


Kind = TypeVar("Kind")
_CALLED: Final[dict[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
}


def entry(of: object, name: str, kind: type[Kind], default: Kind | None = None) -> Kind:
    """Return an entry of what a JSON file says.

    Raises ValueError for an entry of another type, and where there is neither entry nor default.
    """
    if not isinstance(of, dict):
        raise ValueError(f"{shown(of)} is no JSON object")
    value: Any = of.get(name, default)
    if not is_a(value, kind):
        stated = shown(value) if name in of else "missing"
        raise ValueError(f"{name} is {stated}: it must be {_CALLED[kind]}")
    return value  # type: ignore[no-any-return]


def require_numbers(name: str, values: Iterable[object]) -> None:
    """Raise ValueError if any value of a list in a JSON file is no finite number."""
    for value in values:
        if not is_a(value, float):
            raise ValueError(f"{name} holds {shown(value)}: it must hold numbers only")


def is_a(value: object, kind: type) -> bool:
    """Return whether a value is of a type; a number is finite, and true and false are none."""
    if kind not in (int, float):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind is int:
        return isinstance(value, int) and abs(value) <= MOST_NUMBER
    return abs(value) <= sys.float_info.max


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says. Raises OSError, ValueError."""
    try:
        return tomllib.loads(read_text(path, MOST_TOML))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def one_line(text: str, most: int = LINE) -> str:
    """Return the text without line breaks and other characters that a terminal would obey.

    The middle of a long text is left out.
    """
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} … {text[-most // 3 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return a value as it stands in a message, however large it is."""
    try:
        return one_line(_BRIEF.repr(value))
    except ValueError:  # an int of more digits than Python writes out
        return f"a {type(value).__name__} too long to show"
