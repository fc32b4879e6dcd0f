"""Windows: what a training sees is a function of seed and step, the same for every variant."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unet_bench import build_model
from unet_bench.data.dataset import IGNORE, Dataset, Sample
from unet_bench.geometry.shapes import InputWindow
from unet_bench.geometry.sizes import find_input_window
from unet_bench.networks.contracts import main_output
from unet_bench.spec.recipe import Recipe
from unet_bench.train import windows
from unet_bench.train.normalise import normalisation, standardised
from unet_bench.train.windows import (
    Batch,
    Images,
    batches,
    cut,
    fits,
    mirrored,
    scored,
    training_batch,
    window,
)

PLAIN = Recipe()
BENT = Recipe(rotate=30.0, scale_low=0.8, scale_high=1.3, elastic=2.0, brightness=0.2, contrast=0.2)


def images(*sizes: tuple[int, int], weighted: bool = False) -> Images:
    """Noise whose mask and weights follow the image: its sign, and twice its value."""
    rng = np.random.default_rng(0)
    made = [torch.from_numpy(rng.normal(size=(1, *size)).astype(np.float32)) for size in sizes]
    weights = [2 * image[0] for image in made] if weighted else None
    return Images(made, [(image[0] > 0).to(torch.uint8) for image in made], weights)


def frame_of(low: int, high: int, size: tuple[int, int]) -> InputWindow:
    """Of a network that loses `low` pixels above and on the left, `high` below and on the right."""
    whole = (size[0] + low + high, size[1] + low + high)
    return InputWindow(input=whole, output=size, start=(0, 0), context=(low, low))


def same(a: Batch, b: Batch) -> bool:
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


@given(start=st.integers(-50, 50), size=st.integers(1, 9))
def test_mirrored_context_is_numpys_reflection(start: int, size: int) -> None:
    line = np.arange(size)
    padded = np.pad(line, 60, mode="reflect") if size > 1 else np.zeros(121, dtype=int)
    assert np.array_equal(mirrored(start, 10, size).numpy(), padded[60 + start : 70 + start])


@given(
    plane=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    corner=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    flips=st.tuples(st.booleans(), st.booleans()),
)
def test_a_window_is_cut_from_the_flipped_and_mirrored_plane(plane, corner, size, flips) -> None:
    values = np.arange(plane[0] * plane[1]).reshape(1, *plane)
    turned = np.flip(values, [axis + 1 for axis in range(2) if flips[axis]])
    wide = np.pad(turned, [(0, 0), (40, 40), (40, 40)], mode="reflect")
    rows, columns = (
        slice(40 + start, 40 + start + side) for start, side in zip(corner, size, strict=True)
    )
    assert np.array_equal(
        window(torch.from_numpy(values), corner, size, flips).numpy(), wide[:, rows, columns]
    )


@pytest.mark.parametrize("recipe", [PLAIN, BENT], ids=["plain", "bent"])
def test_every_variant_is_trained_on_the_same_scored_pixels(recipe: Recipe) -> None:
    data, size = images((40, 50), (64, 48), weighted=True), (16, 24)
    for step in range(6):
        plain = training_batch(data, recipe, size, frame_of(0, 0, size), 3, 7, step)
        lopsided = training_batch(data, recipe, size, frame_of(12, 5, size), 3, 7, step)
        assert torch.equal(plain.target, lopsided.target)
        assert torch.equal(plain.weight, lopsided.weight)  # type: ignore[arg-type]
        assert torch.allclose(plain.images, lopsided.images[..., 12:-5, 12:-5], atol=1e-4)
        assert plain.target.dtype == torch.int64


def test_masks_and_weights_go_with_their_images() -> None:
    data, size = images((40, 50), (64, 48), weighted=True), (16, 24)
    for step in range(6):
        seen = training_batch(data, PLAIN, size, frame_of(12, 5, size), 3, 7, step)
        centre = seen.images[:, 0, 12:-5, 12:-5]
        assert torch.equal((centre > 0).long(), seen.target)
        assert torch.equal(2 * centre, seen.weight)  # type: ignore[arg-type]


def numbered(count: int, size: tuple[int, int] = (12, 12)) -> Images:
    """Images that are their own number everywhere."""
    return Images(
        [torch.full((1, *size), float(i)) for i in range(count)],
        [torch.zeros(size, dtype=torch.uint8)] * count,
    )


def test_an_epoch_takes_every_image_once_in_an_order_of_its_own() -> None:
    data, size = numbered(6), (8, 8)
    seen = [
        training_batch(data, PLAIN, size, frame_of(0, 0, size), 4, 1, step).images[:, 0, 0, 0].int()
        for step in range(9)
    ]
    epochs = torch.cat(seen).reshape(6, 6).tolist()
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_step_is_made_without_those_before_it_and_seeds_differ() -> None:
    data, size = images((40, 50), (64, 48), (30, 30)), (16, 24)

    def made(seed: int, step: int) -> Batch:
        return training_batch(data, BENT, size, frame_of(3, 3, size), 4, seed, step)

    whole = list(batches(data, BENT, size, frame_of(3, 3, size), 4, 5, 0, 8))
    assert len(whole) == 8
    assert same(made(5, 6), whole[6])
    assert not same(made(6, 6), whole[6])
    assert not same(made(5, 7), whole[6])


def test_a_seed_decides_on_the_order_and_on_the_windows() -> None:
    size, one = (8, 8), images((40, 50))
    orders, windows = (
        [
            training_batch(data, PLAIN, size, frame_of(0, 0, size), 20, seed, 0).images
            for seed in (1, 2)
        ]
        for data in (numbered(20), one)
    )
    assert not torch.equal(*orders)
    assert not torch.equal(*windows)


def test_windows_reach_everywhere_and_no_farther() -> None:
    size, plane = (3, 4), (5, 6)
    corners = torch.arange(30.0).reshape(1, *plane)
    data = Images([corners], [torch.zeros(plane, dtype=torch.uint8)])
    seen = set()
    for step in range(40):
        made = training_batch(data, Recipe(flip=False), size, frame_of(0, 0, size), 4, 0, step)
        seen |= set(made.images[:, 0, 0, 0].int().tolist())
    assert seen == {row * 6 + column for row in range(3) for column in range(3)}


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_make_the_same_batches_and_take_no_random_numbers(workers: int) -> None:
    data, size, recipe = (
        images((40, 50), (64, 48), weighted=True),
        (16, 24),
        Recipe(foreground=0.5, rotate=10.0),
    )
    state = torch.get_rng_state()
    made = batches(data, recipe, size, frame_of(2, 1, size), 2, 3, 4, sys.maxsize, workers=workers)
    for step, batch in enumerate(islice(made, 5), start=4):
        assert isinstance(batch, Batch)
        assert same(batch, training_batch(data, recipe, size, frame_of(2, 1, size), 2, 3, step))
    assert torch.equal(torch.get_rng_state(), state)


def dotted(plane: tuple[int, int], at: tuple[int, int]) -> Images:
    """One foreground pixel, beside one that is ignored."""
    mask = torch.zeros(plane, dtype=torch.uint8)
    mask[at] = 1
    mask[at[0], at[1] - 1] = IGNORE
    return Images([mask[None] * 1.0], [mask])


@given(
    at=st.tuples(st.integers(0, 59), st.integers(1, 79)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_foreground_lies_in_its_windows(at: tuple[int, int], size: tuple[int, int]) -> None:
    data = dotted((60, 80), at)
    made = training_batch(data, Recipe(foreground=1.0), size, frame_of(0, 0, size), 6, 0, 0)
    assert (made.target == 1).sum((1, 2)).tolist() == [1] * 6


def test_foreground_lies_anywhere_in_its_windows_and_in_that_part_of_them() -> None:
    data, size = dotted((60, 80), (30, 40)), (3, 3)
    recipe, input_window = Recipe(foreground=0.5), frame_of(0, 0, size)
    target = torch.cat(
        [training_batch(data, recipe, size, input_window, 50, 0, step).target for step in range(8)]
    )
    found = (target == 1).nonzero()
    assert 160 < len(found) < 240
    assert {tuple(place) for place in found[:, 1:].tolist()} == set(np.ndindex(3, 3))


def test_foreground_lies_in_turned_and_scaled_windows() -> None:
    data, size = dotted((90, 90), (45, 40)), (15, 11)
    data.masks[0][43:48, 38:43] = 1  # wide enough that nearest neighbours cannot miss it
    recipe = Recipe(foreground=1.0, rotate=90.0, scale_low=0.7, scale_high=1.4)
    for step in range(20):
        target = training_batch(data, recipe, size, frame_of(0, 0, size), 4, 0, step).target
        assert ((target == 1).sum((1, 2)) > 0).all()


def test_of_much_foreground_a_random_part_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    data, all_ = images((40, 50)), images((40, 50)).foreground[0]
    monkeypatch.setattr("unet_bench.train.windows.KEPT", 100)
    kept = data.foreground[0]
    assert len(set(kept.tolist())) == 100
    assert set(kept.tolist()) < set(all_.tolist())
    assert 0.25 < (kept < 1000).mean() < 0.75


def test_images_without_foreground_are_cut_anywhere() -> None:
    size = (4, 4)
    made = training_batch(numbered(2), Recipe(foreground=1.0), size, frame_of(0, 0, size), 3, 0, 0)
    assert made.images.shape == (3, 1, 4, 4)


def dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def sample(name: str, size: tuple[int, int]) -> Sample:
        return Sample(
            name, rng.integers(0, 255, (*size, 2)).astype(np.uint8), np.eye(*size, dtype=np.uint8)
        )

    train = (sample("a", (30, 20)), sample("b", (7, 9)))
    return Dataset("d", ("x", "y"), 2, train, (sample("c", (5, 5)),), (sample("t", (5, 5)),))


def test_normalisation_is_of_all_training_pixels() -> None:
    data = dataset()
    mean, std = normalisation(data)
    pixels = np.concatenate([sample.image.reshape(-1, 2) for sample in data.train]).astype(float)
    assert mean == pytest.approx(pixels.mean(0))
    assert std == pytest.approx(pixels.std(0))
    held = Images.of(data.train, mean, std)
    flat = torch.cat([image.flatten(1) for image in held.images], dim=1)
    assert torch.allclose(flat.mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(flat.std(1, correction=0), torch.ones(2), atol=1e-5)


def test_images_hold_weights_and_know_their_size() -> None:
    data = dataset()
    mean, std = normalisation(data)
    held = Images.of(data.train, mean, std, lambda mask: mask * 3.0)
    assert held.weights is not None
    assert torch.equal(held.weights[0], held.masks[0] * 3.0)
    assert [mask.dtype for mask in held.masks] == [torch.uint8] * 2
    assert held.nbytes == (600 + 63) * (2 * 4 + 1 + 4)
    moved = held.to(torch.device("meta"))
    assert moved.weights is not None
    assert {t.device.type for t in (*moved.images, *moved.masks, *moved.weights)} == {"meta"}
    assert held.to(torch.device("cpu")).nbytes == held.nbytes
    assert Images.of(data.train, mean, std).to(torch.device("cpu")).weights is None


def test_a_quarter_of_a_gpus_free_memory_is_enough_for_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = numbered(4)
    for spare, answer in ((4 * data.nbytes, True), (4 * data.nbytes - 1, False)):
        monkeypatch.setattr(windows, "free_memory", lambda device, spare=spare: spare)
        assert fits(data, torch.device("cuda", 0)) is answer
    monkeypatch.undo()
    assert fits(data, torch.device("cpu"))


@pytest.mark.parametrize(
    "name", ["unet-paper", "unet-valid", "unet-valid-pad", "unet", "unet-strided", "unet-bilinear"]
)
def test_scored_pixels_line_up_with_the_image(name: str) -> None:
    """With averaging weights, a dot in the image is a blot in the output around the same scored
    pixel.
    """
    changes = {"norm": "none", "base_width": 2, "depth": 2}
    model = build_model(name, in_channels=1, classes=2, **changes).eval()
    with torch.device("meta"):
        blueprint = build_model(name, in_channels=1, classes=2, **changes)
    input_window, _ = find_input_window(blueprint, 1, 2, (64, 64))
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    dot = torch.zeros(1, 80, 80)
    dot[0, 8 + 31, 8 + 33] = 100.0
    with torch.no_grad():
        pair = torch.stack(
            [cut(torch.zeros_like(dot), (8, 8), input_window), cut(dot, (8, 8), input_window)]
        )
        out = scored(main_output(model(pair)), input_window, (64, 64))
    change = (out[1] - out[0]).abs().sum(0)
    rows, columns = change.sum(1), change.sum(0)
    centre = [float((line * torch.arange(64)).sum() / line.sum()) for line in (rows, columns)]
    assert centre == pytest.approx([31, 33], abs=2.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_normalised_as_other_numbers_are(channels: int) -> None:
    rng = np.random.default_rng(channels)
    samples = []
    for number in range(3):
        image = rng.integers(0, 256, (70, 50, channels)).astype(np.uint8)
        samples.append(Sample(str(number), image, np.zeros((70, 50), np.uint8)))
    floats = [replace(one, image=one.image.astype(np.float32)) for one in samples]
    data, as_floats = (
        Dataset("d", ("a", "b"), channels, tuple(some[1:]), (), tuple(some[:1]))
        for some in (samples, floats)
    )
    (mean, std), (expected_mean, expected_std) = normalisation(data), normalisation(as_floats)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    np.testing.assert_allclose(std, expected_std, rtol=1e-12)
    of_bytes = standardised(samples[0].image, mean, std)
    assert of_bytes.dtype == np.float32
    assert of_bytes.flags.c_contiguous
    np.testing.assert_array_equal(of_bytes, standardised(floats[0].image, mean, std))
