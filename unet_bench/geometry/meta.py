"""Networks on the meta device: built without first weights, and each operation worked out once.

A tensor there has a shape and no data, yet torch draws its first weights all the same, and finds
most shapes by running a formula in Python, which takes a hundred times as long as remembering them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FILLS: Final = frozenset(
    {
        Tensor.fill_,
        Tensor.normal_,
        Tensor.uniform_,
        Tensor.zero_,
        nn.init.constant_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.uniform_,
    }
)
"""What gives a tensor its values and leaves its shape."""


class _Unfilled(TorchFunctionMode):
    """Leaves tensors without data as they are where they would be given values."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FILLS:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Make every tensor on the meta device, and draw no values for it."""
    with torch.device("meta"), _Unfilled():
        yield


class Observer(TorchDispatchMode):
    """Sees each operation that runs while it is entered.

    On the meta device shapes are found once and remembered.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch imports its compiler, for a second or more, only to leave this class out of it.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = call(func, args, kwargs)
        self.saw(func, args, kwargs, result)
        return result

    def saw(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Take note of an operation and what it returned."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _New:
    """A new tensor that an operation returns."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self) -> Tensor:
        """Return a tensor like it."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


Made = _New | int | None | tuple["Made", ...]  # what is new, the argument of this number, nothing
_ASK_TORCH: Final = -1  # in the place of an argument's number: not to be remembered
_made: dict[Any, Made] = {}  # by operation and arguments


def call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what an operation returns; without data its shapes are found once and remembered.

    Views are made by torch each time, and so is what it makes of tensors with data.
    """
    tensors: list[Tensor] = []
    try:
        key = (func, _described(args, tensors), _described(kwargs, tensors) if kwargs else None)
        made = _made[key]
    except _Undescribed:
        return func(*args, **kwargs)
    except KeyError:
        result = func(*args, **kwargs)
        unchanged = key[1:] == (_described(args, []), _described(kwargs, []) if kwargs else None)
        _made[key] = _remembered(result, tensors) if tensors and unchanged else _ASK_TORCH
        return result
    return func(*args, **kwargs) if made == _ASK_TORCH else _again(made, tensors)


class _Undescribed(Exception):
    """An argument cannot be told from others by its description."""


def _described(value: Any, tensors: list[Tensor]) -> Any:
    """Return what of an argument decides the shape of a result, and collect the tensors in it.

    Raises _Undescribed for tensors with data, whose values may matter, and for unknown kinds.
    """
    kind = value.__class__
    if kind is Tensor or kind is nn.Parameter:
        if not value.is_meta:
            raise _Undescribed
        tensors.append(value)
        return value.shape, value.stride(), value.dtype
    if kind is list or kind is tuple:
        return tuple([_described(item, tensors) for item in value])
    if kind is dict:
        return tuple([(name, _described(item, tensors)) for name, item in value.items()])
    if kind in PLAIN:
        return kind, value  # since 1 == 1.0 == True
    raise _Undescribed


PLAIN: Final = frozenset(
    {
        bool,
        int,
        float,
        str,
        type(None),
        torch.Size,
        torch.device,
        torch.dtype,
        torch.layout,
        torch.memory_format,
    }
)


def _remembered(result: Any, tensors: Sequence[Tensor]) -> Made:
    """Return how to make a result again."""
    if not isinstance(result, tuple):
        return _remembered_one(result, tensors)
    made = tuple([_remembered_one(leaf, tensors) for leaf in result])
    leaves = [leaf for leaf in result if isinstance(leaf, Tensor)]
    shared = len({leaf.untyped_storage()._cdata for leaf in leaves}) < len(leaves)
    return _ASK_TORCH if shared or _ASK_TORCH in made else made


def _remembered_one(result: Any, tensors: Sequence[Tensor]) -> Made:
    for number, tensor in enumerate(tensors):
        if tensor is result:
            return number
    if result is None:
        return None
    if result.__class__ is not Tensor or not result.is_meta:  # chunks are views, in a list
        return _ASK_TORCH
    storage = result.untyped_storage()
    if storage._cdata in {tensor.untyped_storage()._cdata for tensor in tensors}:
        return _ASK_TORCH
    new = _New(result.shape, result.stride(), result.dtype)
    return new if new.make().untyped_storage().nbytes() == storage.nbytes() else _ASK_TORCH


def _again(made: Made, tensors: Sequence[Tensor]) -> Any:
    if isinstance(made, _New):
        return made.make()
    if isinstance(made, int):
        return tensors[made]
    return None if made is None else tuple([_again(one, tensors) for one in made])
