"""What a check is run on: a module to make, inputs for it, and what its output must look like."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidPart
from unet_bench.geometry.shapes import Geometry, format_size
from unet_bench.geometry.tracker import flat_tensors

Size = tuple[int, ...]
Inputs = tuple[Any, ...]  # tensors, and lists of them, as a slot's forward takes them

BATCH: Final = 2


@dataclass(frozen=True)
class Case:
    """One module, and what to feed it."""

    what: str  # which part or network, for messages
    make: Callable[[], nn.Module]
    inputs: Callable[[Size], Inputs]  # random, on torch's current default device
    verify: Callable[[nn.Module, Inputs, Any], None]  # raises InvalidPart for a wrong output
    sizes: tuple[Size, ...]  # that must work
    others: tuple[Size, ...] = ()  # that must work, or be refused with an error that says why
    # The inputs that a gradient must reach.
    needed: Callable[[Inputs], Iterable[Tensor]] = flat_tensors
    # Of a network: what geometry says of it at an input size.
    stated: Callable[[Size], Geometry] | None = None
    # Whether it may have other parameters or operations than the cases before it.
    distinct: bool = True

    def built(self, seed: int = 0) -> nn.Module:
        """Return the module with this seed's weights, in evaluation mode."""
        with seeded(seed):
            return self.make().eval()

    @functools.cached_property
    def part(self) -> nn.Module:
        """The module, built once, in evaluation mode: for rules that leave it as it is."""
        return self.built()

    @functools.cached_property
    def shadow(self) -> nn.Module:
        """The module on the meta device, in evaluation mode: for shapes alone."""
        with torch.device("meta"):
            return self.built()

    def fed(self, size: Size = ()) -> Inputs:
        """Return the same random inputs each time, at the first size unless told otherwise."""
        with seeded(1):
            return self.inputs(size or self.sizes[0])


@dataclass(frozen=True)
class Check:
    """One rule, applied to one part at its places, or to one variant. Call it."""

    examined: str
    rule: Callable[[Case], None]
    cases: Callable[[], Sequence[Case]]

    def __call__(self) -> None:
        """Apply the rule.

        Raises InvalidPart, naming part, plugin, place, what was seen and expected.
        """
        with one_thread():
            for case in self.cases():
                with blamed(f"{case.what}: {self.rule.__name__}"), seeded(2):
                    self.rule(case)

    def __str__(self) -> str:
        return f"{self.examined}:{self.rule.__name__}"


class Shape(NamedTuple):
    """What a map must look like: its channels, and each side between two bounds."""

    channels: int
    least: Size
    most: Size

    def admits(self, shape: Sequence[int]) -> bool:
        """Return whether a map of this shape, `(N C *S)`, is as wanted."""
        if len(shape) != len(self.least) + 2 or tuple(shape[:2]) != (BATCH, self.channels):
            return False
        sides = zip(self.least, shape[2:], self.most, strict=True)
        return all(low <= side <= high for low, side, high in sides)

    def __str__(self) -> str:
        least, most = format_size(self.least), format_size(self.most)
        size = least if least == most else f"{least} to {most}"
        return f"{BATCH} of {self.channels} channels of {size}"


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn any error within into an InvalidPart that says what was at fault."""
    try:
        yield
    except Exception as error:
        raised = f"raised {type(error).__name__}: {error}"
        said = str(error) if isinstance(error, InvalidPart) else raised
        raise InvalidPart(f"{what}: {said}") from error


def require(kept: bool, message: str) -> None:
    """Raise InvalidPart with the message unless the rule was kept."""
    if not kept:
        raise InvalidPart(message)


def require_shapes(output: Any, wanted: Sequence[Shape]) -> None:
    """Raise InvalidPart unless the output consists of just the wanted maps."""
    shapes = [tuple(tensor.shape) for tensor in flat_tensors(output)]
    kept = len(shapes) == len(wanted) and all(
        w.admits(s) for w, s in zip(wanted, shapes, strict=True)
    )
    require(kept, f"returned {shapes or output}, expected {'; '.join(map(str, wanted)) or None}")


def random_map(channels: int, size: Size) -> Tensor:
    """Return a random map `(N C *S)` on torch's current default device."""
    return torch.randn(BATCH, channels, *size)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from this seed, and afterwards as they would have been."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` takes notes for every device
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread.

    For maps as small as these a second thread costs more than it gives.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
