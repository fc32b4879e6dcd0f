"""Whole images from tiles: an identity network returns the image, however they are laid, blended
and turned.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.errors import InvalidChoice
from unet_bench.geometry.shapes import InputWindow
from unet_bench.train import tiles
from unet_bench.train.windows import window


class Crop(torch.nn.Module):
    """An identity network that loses a border, lopsidedly: what an unpadded one does, without
    weights.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high, self.seen = low, high, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return x[..., self.low : x.shape[-2] - self.high, self.low : x.shape[-1] - self.high]


def frame_of(low: int, high: int, size: tuple[int, int]) -> InputWindow:
    whole = (size[0] + low + high, size[1] + low + high)
    return InputWindow(input=whole, output=size, start=(0, 0), context=(low, low))


def noise(height: int, width: int, channels: int = 2) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).normal(size=(channels, height, width)).astype(np.float32)
    )


def predict(call, image: torch.Tensor, *args, **options) -> torch.Tensor:
    """Of one image `(C H W)`."""
    return tiles.predict(call, image[None], *args, **options)[0]


overlaps = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])


@pytest.mark.slow
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    low=st.integers(0, 40),
    high=st.integers(0, 40),
    size=st.tuples(st.integers(4, 30), st.integers(4, 30)),
    overlap=overlaps,
    flips=st.booleans(),
    batch=st.integers(1, 5),
)
def test_an_identity_network_returns_the_image(
    height, width, low, high, size, overlap, flips, batch
) -> None:
    image, net = noise(height, width), Crop(low, high)
    found = predict(
        net, image, frame_of(low, high, size), size, overlap=overlap, flips=flips, batch=batch
    )
    assert torch.allclose(found, image, atol=1e-5)
    assert {x.shape[2:] for x in net.seen} == {(size[0] + low + high, size[1] + low + high)}
    assert max(len(x) for x in net.seen) <= batch


@given(length=st.integers(1, 60), size=st.integers(2, 20), overlap=overlaps, low=st.integers(0, 30))
def test_inputs_are_windows_of_the_mirrored_image_no_more_than_needed(
    length, size, overlap, low
) -> None:
    """Neighbours share at least what was asked for, up to a pixel; the first and last tile end at
    the borders.
    """
    image, net = torch.arange(float(length)).reshape(1, length, 1), Crop(0, 0)
    input_window = InputWindow(
        input=(size + low, 1), output=(size, 1), start=(0, 0), context=(low, 0)
    )
    predict(lambda x: net(x)[..., low:, :], image, input_window, (size, 1), overlap=overlap)
    last = max(0, length - size)
    starts = [int(x[0, 0, low, 0]) for x in net.seen]
    assert (starts[0], starts[-1]) == (0, last)
    steps = np.diff(starts)
    assert (steps > 0).all() or not len(steps)
    assert len(starts) == math.ceil(last / max(1, round(size * (1 - overlap)))) + 1
    if overlap and len(steps):
        assert steps.max() - steps.min() <= 1
    elif len(steps):
        assert set(steps[:-1]) <= {size}
    for start, x in zip(starts, net.seen, strict=True):
        assert torch.equal(x[0], window(image, (start - low, 0), (size + low, 1)))


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("rows", [5, 12, 50])
def test_no_more_rows_are_asked_for_than_a_row_of_tiles_needs(rows: int, flips: bool) -> None:
    images = torch.rand(2, 1, rows, 13)
    # A tile of 4 rows, with 3 before and 2 after it.
    input_window = InputWindow(input=(9, 4), output=(9, 4), start=(3, 0), context=(3, 0))
    asked: list[int] = []

    def some(begin: int, end: int) -> torch.Tensor:
        asked.append(end - begin)
        return images[:, :, begin:end]

    def call(inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :, 3:7] + inputs[:, :, :4] / 2

    args: Any = (input_window, (4, 4))
    options: Any = {"overlap": 0.5, "flips": flips}
    found = list(tiles.predict_rows(call, some, (rows, 13), *args, **options))
    assert max(asked) <= 4 + 2 * 3
    assert max(one.shape[2] for one in found) <= 4
    whole = tiles.predict_rows(call, lambda *_: images, (rows, 13), *args, batch=10_000, **options)
    assert torch.equal(torch.cat(found, 2), torch.cat(list(whole), 2))


def test_tiles_that_abut_count_once_and_those_that_do_not_alike() -> None:
    """Of 10 rows in tiles of 4, the last tile begins at 6, where the second still reaches."""
    numbers = iter(range(3))
    found = predict(
        lambda x: torch.full_like(x, next(numbers)),
        torch.zeros(1, 10, 4),
        frame_of(0, 0, (4, 4)),
        (4, 4),
    )
    assert found[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1.5, 1.5, 2, 2]


def test_overlapping_tiles_fade_into_each_other() -> None:
    """Of 6 rows, tiles of 4 at 0 and 2 share two, with weights 2, 1 and 1, 2."""
    numbers = iter([0.0, 3.0])
    found = predict(
        lambda x: torch.full_like(x, next(numbers)),
        torch.zeros(1, 6, 4),
        frame_of(0, 0, (4, 4)),
        (4, 4),
        overlap=0.5,
    )
    assert found[0, :, 1].tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("overlap", [0.0, 0.4])
def test_flipped_predictions_are_turned_back(overlap: float) -> None:
    """A network that shifts its image down and to the right shows, over all flips, the mean of the
    four shifts.
    """

    def shifting(x: torch.Tensor) -> torch.Tensor:
        return x[
            ..., :-2, :-2
        ]  # of an input with one pixel around: the pixel above and to the left

    image, size = noise(11, 13), (4, 5)
    input_window = frame_of(1, 1, size)
    wide = window(image, (-1, -1), (13, 15))
    shifted = {(i, j): wide[:, 1 + i : 12 + i, 1 + j : 14 + j] for i in (-1, 1) for j in (-1, 1)}
    once = predict(shifting, image, input_window, size, overlap=overlap)
    assert torch.allclose(once, shifted[-1, -1], atol=1e-5)
    found = predict(shifting, image, input_window, size, overlap=overlap, flips=True, batch=3)
    assert torch.allclose(found, torch.stack(list(shifted.values())).mean(0), atol=1e-5)


def test_scores_are_float32_of_as_many_classes_as_the_network_has() -> None:
    def three(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x, x], dim=1).half().requires_grad_()

    found = predict(three, noise(9, 9, 1), frame_of(0, 0, (4, 4)), (4, 4))
    assert (found.shape, found.dtype, found.requires_grad) == ((3, 9, 9), torch.float32, False)


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 1.0, float("nan")])
def test_an_overlap_that_makes_no_sense_is_refused(overlap: float) -> None:
    with pytest.raises(InvalidChoice, match=r"from 0 to 0\.9"):
        predict(Crop(0, 0), noise(9, 9), frame_of(0, 0, (4, 4)), (4, 4), overlap=overlap)


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_images_together_are_predicted_as_each_alone(batch: int) -> None:
    stack, net = torch.stack([noise(20, 17), noise(20, 17) ** 2, -noise(20, 17)]), Crop(3, 5)
    input_window = frame_of(3, 5, (8, 9))
    found = tiles.predict(net, stack, input_window, (8, 9), overlap=0.3, flips=True, batch=batch)
    assert max(len(x) for x in net.seen) <= max(3, batch)
    for one, image in zip(found, stack, strict=True):
        assert torch.allclose(
            one,
            predict(Crop(3, 5), image, input_window, (8, 9), overlap=0.3, flips=True),
            atol=1e-6,
        )
