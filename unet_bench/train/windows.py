"""What a training sees: windows of augmented images, each batch a function of seed and step alone.

A network's input is cut so that chosen pixels are scored, with mirrored context beyond the image's
borders.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unet_bench.data.dataset import IGNORE, Sample
from unet_bench.geometry.shapes import InputWindow
from unet_bench.host.device import free_memory
from unet_bench.spec.recipe import Recipe
from unet_bench.train.augment import Draw, draw, interpolated, nearest, reflected, sources
from unet_bench.train.normalise import standardised

ORDER, ITEM = 0, 1  # streams of random numbers: the order of an epoch, and what is done to an item
KEPT: Final = 10_000  # foreground pixels remembered per image


@dataclass(frozen=True)
class Images:
    """A split as tensors on one device."""

    images: list[Tensor]  # (C *S) float32, normalised
    masks: list[Tensor]  # (*S) uint8 class ids, 255 = ignore
    weights: list[Tensor] | None = None  # (*S) float32, of the cross-entropy
    spacings: tuple[tuple[float, ...], ...] = ()  # of each image, mm along *S; empty: not known

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        mean: np.ndarray,
        std: np.ndarray,
        weigh: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Images:
        """Normalise samples by the training set's mean and standard deviation per channel.

        `weigh` makes weights of a mask.
        """
        images, masks, weights = [], [], []
        for sample in samples:
            images.append(torch.from_numpy(standardised(sample.image, mean, std)))
            masks.append(torch.from_numpy(sample.mask.copy()))
            if weigh is not None:
                weights.append(torch.from_numpy(weigh(sample.mask).astype(np.float32)))
        spacings = tuple(sample.spacing for sample in samples)
        return cls(images, masks, weights if weigh is not None else None, spacings)

    def spacing_of(self, number: int) -> tuple[float, ...]:
        """Return the spacing of an image, mm along `*S`; empty where it is not known."""
        return self.spacings[number] if self.spacings else ()

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in (*self.images, *self.masks, *(self.weights or ())))

    def to(self, device: torch.device) -> Images:
        """Return the same on another device."""
        images = [image.to(device) for image in self.images]
        masks = [mask.to(device) for mask in self.masks]
        weights = None
        if self.weights is not None:
            weights = [weight.to(device) for weight in self.weights]
        return Images(images, masks, weights, self.spacings)

    @functools.cached_property
    def foreground(self) -> list[np.ndarray]:
        """The flat indices of each image's foreground pixels, at most `KEPT` random ones."""
        found = []
        for mask in self.masks:
            pixels = ((mask != 0) & (mask != IGNORE)).flatten().nonzero()[:, 0].cpu().numpy()
            if len(pixels) > KEPT:
                pixels = np.random.default_rng(0).choice(pixels, KEPT, replace=False)
            found.append(pixels)
        return found


class Batch(NamedTuple):
    """Inputs, and what is scored of them."""

    images: Tensor  # (N C *window.input) float32
    target: Tensor  # (N *size) int64 class ids, 255 = ignore
    weight: Tensor | None  # (N *size) float32


def fits(data: Images, device: torch.device) -> bool:
    """Return whether a split should lie on the device.

    It should where the device has memory of its own, and the split takes at most a quarter of what
    is free.
    """
    free = free_memory(device)
    return free is None or data.nbytes <= free / 4


def mirrored(start: int, length: int, size: int) -> Tensor:
    """Return indices `start … start + length` into an axis of `size`, reflected at its ends.

    The border is not repeated.
    """
    return reflected(torch.arange(start, start + length), size)


def window(
    planes: Tensor, corner: tuple[int, ...], size: tuple[int, ...], flips: tuple[bool, ...] = ()
) -> Tensor:
    """Return `size` pixels at `corner` of the flipped planes `(… *S)`.

    Planes are mirrored beyond their borders.
    """
    flips = flips or (False,) * len(size)
    for axis, start, length, turned in zip(range(-len(size), 0), corner, size, flips, strict=True):
        whole = planes.shape[axis]
        first = whole - start - length if turned else start
        if first >= 0 and first + length <= whole:
            planes = planes.narrow(axis, first, length)
        else:
            index = mirrored(first, length, whole).to(planes.device, non_blocking=True)
            planes = planes.index_select(axis, index)
    axes = [axis - len(size) for axis, turned in enumerate(flips) if turned]
    return planes.flip(axes) if axes else planes


def cut(
    image: Tensor, corner: tuple[int, ...], input_window: InputWindow, flips: tuple[bool, ...] = ()
) -> Tensor:
    """Return the input `(… *window.input)` for the scored pixels from `corner` on.

    The corner is one of the flipped image. The image is flipped, not the input: the context around
    the scored pixels need not be symmetric.
    """
    begin = tuple(
        start - context for start, context in zip(corner, input_window.context, strict=True)
    )
    return window(image, begin, input_window.input, flips)


def scored(logits: Tensor, input_window: InputWindow, size: tuple[int, ...]) -> Tensor:
    """Return the scored pixels `(N classes *size)` of an output."""
    return logits[block(input_window.start, size)]


def block(corner: tuple[int, ...], size: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the index of `size` pixels at `corner` of `(… *S)`."""
    return ..., *(slice(start, start + side) for start, side in zip(corner, size, strict=True))


def training_batch(
    data: Images,
    recipe: Recipe,
    size: tuple[int, ...],
    input_window: InputWindow,
    batch: int,
    seed: int,
    step: int,
) -> Batch:
    """Return the batch of a step (from 0), on the data's device.

    It is random windows of `size` (`*S`), augmented as `recipe` says. A function of its arguments:
    any step can be made without those before it. An epoch takes every image once, in random order.
    Scored pixels do not depend on the input window, so every variant of a seed is trained on the
    same; masks and weights are mirrored beyond borders as images are. Images must be at least as
    large as `size`.
    """
    items = [
        _item(data, recipe, size, input_window, seed, step * batch + place)
        for place in range(batch)
    ]
    images, targets, weights = zip(*items, strict=True)
    weight = None if data.weights is None else torch.stack(weights)
    return Batch(torch.stack(images), torch.stack(targets).long(), weight)


def _item(
    data: Images,
    recipe: Recipe,
    size: tuple[int, ...],
    input_window: InputWindow,
    seed: int,
    number: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    epoch, place = divmod(number, len(data.images))
    index = int(_order(seed, epoch, len(data.images))[place])
    image, mask = data.images[index], data.masks[index]
    weight = None if data.weights is None else data.weights[index]
    plane = tuple(mask.shape)
    rng = np.random.default_rng([seed, ITEM, number])
    drawn = draw(recipe, rng, len(plane), data.spacing_of(index))
    around = data.foreground[index] if rng.random() < recipe.foreground else np.empty(0, int)
    corner = _corner(plane, size, drawn, around, rng)
    if recipe.warps:
        at = sources(drawn, plane, corner, size, input_window, image.device)
        truth = at[block(input_window.context, size)]
        image, mask = interpolated(image, at), nearest(mask, truth)
        weight = None if weight is None else nearest(weight, truth)
    else:
        image = cut(image, corner, input_window, drawn.flips)
        mask = window(mask, corner, size, drawn.flips)
        weight = None if weight is None else window(weight, corner, size, drawn.flips)
    # About 0, the training images' mean: no input window changes that.
    if recipe.contrast or recipe.brightness:
        image = image * drawn.contrast + drawn.brightness
    return image, mask, weight


def _corner(
    plane: tuple[int, ...],
    size: tuple[int, ...],
    drawn: Draw,
    around: np.ndarray,
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """Return where the window begins.

    That is anywhere, or so that one of the pixels `around` (flat indices) lies anywhere in it. What
    an enlarged image shows of itself may lie anywhere, too: then the window may begin outside of
    it. Where images are warped, displacements are left out of account, and the image's borders go
    first.
    """
    # Of each side of the window, in the image.
    shown = abs(np.linalg.det(drawn.matrix)) ** (1 / len(size))
    slack = np.floor(np.multiply(size, max(0.0, 1 - shown)) / 2).astype(int)
    free = np.subtract(plane, size)
    within = rng.integers(size)
    if not len(around):
        return tuple(rng.integers(-slack, free + slack + 1).tolist())
    pixel = np.array(np.unravel_index(around[rng.integers(len(around))], plane))
    pixel = np.where(drawn.flips, np.subtract(plane, 1) - pixel, pixel)
    middle = np.subtract(size, 1) / 2
    corner = np.rint(pixel - middle - drawn.matrix @ (within - middle)).clip(-slack, free + slack)
    return tuple(corner.astype(int).tolist())


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(count)


@dataclass(frozen=True)
class _Steps(TorchDataset[Batch]):
    """`training_batch` by step, for workers."""

    data: Images
    recipe: Recipe
    size: tuple[int, ...]
    input_window: InputWindow
    batch: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        return training_batch(
            self.data, self.recipe, self.size, self.input_window, self.batch, self.seed, step
        )


def batches(
    data: Images,
    recipe: Recipe,
    size: tuple[int, ...],
    input_window: InputWindow,
    batch: int,
    seed: int,
    first: int,
    last: int,
    *,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """Return the batches of the steps `first … last - 1`, in order.

    They are the same whether made here or by worker processes. With `workers`, the data must lie in
    the host's memory; `pin` puts their batches where a GPU can fetch them.
    """
    steps = _Steps(data, recipe, size, input_window, batch, seed)
    if not workers:
        return map(steps.__getitem__, range(first, last))
    if recipe.foreground:
        _ = data.foreground  # found once, before there are workers who would each look for it
    # A generator of its own: the loader would else take a number from torch's, and dropout would
    # differ.
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator(),
    )
    return iter(loader)
