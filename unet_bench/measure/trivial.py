"""Trivial baselines: rules that need no training, scored in the place of a network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from unet_bench.data.dataset import IGNORE

GREY_BINS: Final = 4  # at most
MAPS: Final = 50_000  # from bins to classes that are tried at most
TABLE_ENTRIES: Final = 4096  # of the lookup table, at most
LEVELS: Final = 256  # of one channel, at most; exact for images of 8 bits
TABLE_CHANNELS: Final = 6  # at most; of more, each would have two levels or three
SAMPLED: Final = 1_000_000  # values of a channel by which its levels are laid, about


class TrivialBaseline(nn.Module):
    """The scores `(N classes *S)` that a simple rule gives images `(N C *S)`.

    They are 1 for the class that the rule chooses, 0 for the others. `choice` is what `fit` finds;
    before that all is class 0.
    """

    choice: Tensor

    def __init__(self, classes: int, choices: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("choice", torch.zeros(choices, dtype=torch.long))

    @abstractmethod
    def fit(self, images: list[Tensor], masks: list[Tensor]) -> None:
        """Find `choice` from training images `(C *S)`, float, and their masks `(*S)`.

        Masks hold class ids; 255 is ignored.
        """

    @abstractmethod
    def parts(self, image: Tensor) -> Tensor:
        """Return which entry of `choice` each pixel `(N *S)` takes."""

    def forward(self, image: Tensor) -> Tensor:
        chosen = self.choice[self.parts(image)].unsqueeze(1)
        classes = torch.arange(self.classes, device=image.device).view(
            1, -1, *[1] * (image.ndim - 2)
        )
        return (chosen == classes).to(image.dtype)


class Majority(TrivialBaseline):
    """Everywhere the class of most training pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, choices=1)

    def fit(self, images: list[Tensor], masks: list[Tensor]) -> None:
        counts = sum(torch.bincount(mask[mask != IGNORE], minlength=self.classes) for mask in masks)
        self.choice.fill_(int(torch.as_tensor(counts).argmax()))

    def parts(self, image: Tensor) -> Tensor:
        return torch.zeros(
            (image.shape[0], *image.shape[2:]), dtype=torch.long, device=image.device
        )


class Otsu(TrivialBaseline):
    """Each image's grey levels in bins by Otsu's thresholds, and a class for each bin.

    See Liao et al. 2001. Bins are told apart by brightness, or by extent, so that objects may be
    bright in some images and dark in others (fluorescent nuclei, and stained ones): whichever is
    better on the training images. The thresholds are of what `forward` is given: of whole images
    when given these, of tiles when given tiles.
    """

    order: Tensor  # (1,): 0 by brightness, 1 by extent

    def __init__(self, classes: int) -> None:
        bins = max(k for k in range(1, min(classes, GREY_BINS) + 1) if classes**k <= MAPS)
        super().__init__(classes, choices=bins)
        self.register_buffer("order", torch.zeros(1, dtype=torch.long))

    def fit(self, images: list[Tensor], masks: list[Tensor]) -> None:
        counts = np.zeros((2, len(self.choice), self.classes), dtype=np.int64)
        for image, mask in zip(images, masks, strict=True):
            valid = mask != IGNORE
            for order, bins in enumerate(grey_bins(image[None], len(self.choice))[0]):
                pairs = bins[valid] * self.classes + mask[valid]
                found = torch.bincount(pairs, minlength=counts[order].size)
                counts[order] += found.reshape(counts[order].shape).cpu().numpy()
        maps, dice = zip(*map(best_map, counts), strict=True)
        self.order.fill_(int(np.argmax(dice)))
        self.choice.copy_(torch.from_numpy(maps[int(self.order)]))

    def parts(self, image: Tensor) -> Tensor:
        found: Tensor = grey_bins(image, len(self.choice)).index_select(1, self.order)[:, 0]
        return found


class Lookup(TrivialBaseline):
    """A table from a pixel's grey value or colour to a class, learnt from the training images.

    Each channel is divided into levels by `edges`. The table has an entry for every combination of
    the channels' levels, with the classes that suit the training images best; one that no training
    pixel falls into has the class of most pixels. Of many channels the first six count.
    """

    edges: Tensor  # (channels, levels - 1), ascending

    def __init__(self, in_channels: int, classes: int) -> None:
        channels = min(in_channels, TABLE_CHANNELS)
        levels = min(LEVELS, int(TABLE_ENTRIES ** (1 / channels) + 1e-9))
        super().__init__(classes, choices=levels**channels)
        self.levels = levels
        self.register_buffer("edges", torch.zeros(channels, levels - 1))

    def fit(self, images: list[Tensor], masks: list[Tensor]) -> None:
        step = max(1, sum(mask.numel() for mask in masks) // SAMPLED)
        for channel, edges in enumerate(self.edges):
            values = torch.cat([image[channel].flatten()[::step] for image in images])
            edges.copy_(torch.from_numpy(level_edges(values.cpu().numpy(), self.levels)))
        counts = np.zeros((len(self.choice), self.classes), dtype=np.int64)
        for image, mask in zip(images, masks, strict=True):
            valid = mask != IGNORE
            # The images lie on the host, the edges where the network does.
            found = self.parts(image[None].to(self.edges.device))[0].to(mask.device)
            pairs = found[valid] * self.classes + mask[valid]
            summed = torch.bincount(pairs, minlength=counts.size)
            counts += summed.reshape(counts.shape).cpu().numpy()
        self.choice.copy_(torch.from_numpy(best_table(counts)))

    def parts(self, image: Tensor) -> Tensor:
        entry = torch.zeros(
            (image.shape[0], *image.shape[2:]), dtype=torch.long, device=image.device
        )
        for channel, edges in enumerate(self.edges):
            level = torch.bucketize(image[:, channel].contiguous(), edges.to(image.dtype))
            entry = entry * self.levels + level
        return entry


# As an operator of torch's, so that its shape is known on the meta device too, and to tensors
# without data.
@torch.library.custom_op("unet_bench::grey_bins", mutates_args=())
def grey_bins(image: Tensor, bins: int) -> Tensor:
    """Return Otsu's bin of each pixel's mean over channels, `(N 2 *S)`.

    Bins are numbered from the darkest, and from the largest. All 0 in an image of fewer grey levels
    than bins.
    """
    # On the host: not every device has doubles.
    grey = image.detach().cpu().double().mean(1).numpy()
    found = [otsu_bins(one, bins) for one in grey]
    return torch.from_numpy(np.stack([[one, by_extent(one, bins)] for one in found])).to(
        image.device
    )


@grey_bins.register_fake
def _(image: Tensor, bins: int) -> Tensor:
    return torch.empty((image.shape[0], 2, *image.shape[2:]), dtype=torch.long, device=image.device)


def by_extent(found: np.ndarray, bins: int) -> np.ndarray:
    """Return the bins `(*S)` of one image, numbered from the one with the most pixels.

    Of equally large bins the darker one comes first.
    """
    rank = np.empty(bins, dtype=np.int64)
    rank[np.argsort(-np.bincount(found.ravel(), minlength=bins), kind="stable")] = np.arange(bins)
    ranked: np.ndarray = rank[found]
    return ranked


def otsu_bins(grey: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each pixel of one image, int64, `bins` in all.

    All are 0 where there are fewer grey levels than bins.
    """
    from skimage.filters import threshold_multiotsu

    counts, edges = np.histogram(grey, 256)
    if bins < 2 or np.count_nonzero(counts) < bins:
        return np.zeros(grey.shape, dtype=np.int64)
    # Upper edges, not centres, so that no level of the histogram is divided by its threshold.
    thresholds = threshold_multiotsu(classes=bins, hist=(counts, edges[1:]))
    found: np.ndarray = np.digitize(grey, thresholds).astype(np.int64)
    return found


def best_map(counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the map from bins to classes with the best Dice, and the sum of its Dice.

    The map `(bins,)` has the greatest sum of Dice over foreground classes. `counts` are pixels
    `(bins, true class)`. Of equals the first is taken; without any foreground everything is
    background.
    """
    bins, classes = counts.shape
    maps = np.indices((classes,) * bins).reshape(bins, -1).T
    hits, predicted = np.zeros((2, len(maps), classes))
    for index, chosen in enumerate(maps.T):
        hits[np.arange(len(maps)), chosen] += counts[index, chosen]
        predicted[np.arange(len(maps)), chosen] += counts[index].sum()
    # The greatest sum is the greatest mean: a class that is never true adds nothing, and background
    # is tried first.
    dice = 2 * hits / np.maximum(predicted + counts.sum(0), 1)
    total = dice[:, 1:].sum(1)
    return maps[total.argmax()], float(total.max())


def level_edges(values: np.ndarray, levels: int) -> np.ndarray:
    """Return the `levels - 1` ascending edges between the levels of a channel, float32.

    Where there are no more values than levels, each has a level of its own. Otherwise half of the
    edges lie evenly between the extremes, so that a few bright pixels are told apart, and half have
    equally many values between them, so that a stray extreme does no harm.
    """
    edges = np.full(levels - 1, np.inf, dtype=np.float32)
    seen = np.unique(values)
    if len(seen) <= levels:
        edges[: max(len(seen) - 1, 0)] = (seen[1:] + seen[:-1]) / 2
        return edges
    even = levels // 2
    edges[:even] = np.linspace(seen[0], seen[-1], even + 2)[1:-1]
    shares = np.linspace(0, 1, levels - even + 1)[1:-1]
    edges[even:] = np.quantile(values, shares)
    edges.sort()
    return edges


def best_table(counts: np.ndarray) -> np.ndarray:
    """Return the class of each entry of a table, `(entries,)`, by mean Dice of the foreground.

    `counts` are pixels `(entries, true class)`. From the class of most pixels on, every entry is
    given to the class whose Dice gains most by it, all others staying as they are, until nothing
    changes (Dinkelbach 1967, for ratios); the best table on the way is returned.
    """
    truth, pixels = counts.sum(0), counts.sum(1)
    table: np.ndarray = np.where(pixels > 0, counts.argmax(1), truth.argmax())
    best, best_dice, classes = table, -1.0, np.arange(counts.shape[1])
    for _ in range(50):
        hits = np.where(table[:, None] == classes, counts, 0).sum(0)
        predicted = np.bincount(table, pixels, len(classes))
        both = np.maximum(truth + predicted, 1)
        dice = 2 * hits / both
        if dice[1:].sum() > best_dice:
            best, best_dice = table, float(dice[1:].sum())
        gain = (2 * counts - dice * pixels[:, None]) / both
        gain[:, 0] = 0
        changed = np.where(pixels > 0, gain.argmax(1), table)
        if (changed == table).all():
            break
        table = changed
    return best


def majority(
    in_channels: int, classes: int, dims: int, image_size: tuple[int, ...]
) -> TrivialBaseline:
    """Return the trivial baseline `floor-majority`."""
    return Majority(classes)


def otsu(in_channels: int, classes: int, dims: int, image_size: tuple[int, ...]) -> TrivialBaseline:
    """Return the trivial baseline `floor-otsu`."""
    return Otsu(classes)


def lookup(
    in_channels: int, classes: int, dims: int, image_size: tuple[int, ...]
) -> TrivialBaseline:
    """Return the trivial baseline `floor-lookup`."""
    return Lookup(in_channels, classes)
