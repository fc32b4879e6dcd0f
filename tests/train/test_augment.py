"""Augmentation: one map of coordinates over the image, whatever the network's input; and tone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from unet_bench.geometry.shapes import InputWindow
from unet_bench.spec.recipe import Recipe
from unet_bench.train.augment import Draw, draw, interpolated, nearest, reflected, sources
from unet_bench.train.windows import Images, training_batch, window

CPU = torch.device("cpu")


def frame_of(margin: int, size: tuple[int, int]) -> InputWindow:
    whole = (size[0] + 2 * margin, size[1] + 2 * margin)
    return InputWindow(input=whole, output=size, start=(0, 0), context=(margin, margin))


def drawn(**changes: object) -> Draw:
    still = {
        "flips": (False, False),
        "matrix": np.eye(2),
        "displacements": None,
        "contrast": 1.0,
        "brightness": 0.0,
    }
    return Draw(**{**still, **changes})  # type: ignore[arg-type]


def noise(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).normal(size=(1, height, width)).astype(np.float32)
    )


@given(
    plane=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    corner=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    flips=st.tuples(st.booleans(), st.booleans()),
)
def test_without_a_warp_it_is_the_window_that_is_cut(plane, corner, flips) -> None:
    """Also beyond the borders: what is interpolated is mirrored as what is cut."""
    image, size = noise(*plane), (9, 12)
    at = sources(drawn(flips=flips), plane, corner, size, frame_of(0, size), CPU)
    expected = window(image, corner, size, flips)
    assert torch.allclose(interpolated(image, at), expected, atol=1e-3)
    assert torch.equal(nearest(image[0], at), expected[0])


@pytest.mark.parametrize("flips", [(False, False), (True, False), (True, True)])
def test_a_quarter_turn_turns_the_window_about_its_centre(flips: tuple[bool, bool]) -> None:
    image, size = noise(20, 30), (8, 8)
    turn = drawn(matrix=np.array([[0.0, -1.0], [1.0, 0.0]]), flips=flips)
    at = sources(turn, (20, 30), (5, 9), size, frame_of(0, size), CPU)
    plain = window(image, (5, 9), size, flips)
    assert torch.allclose(interpolated(image, at), torch.rot90(plain, -1, (1, 2)), atol=1e-4)


def test_angles_are_in_pixels_also_in_oblong_images() -> None:
    """A turned and scaled map keeps right angles and multiplies lengths by one over the scale."""
    found = draw(
        Recipe(rotate=180.0, scale_low=2.0, scale_high=2.0), np.random.default_rng(3)
    ).matrix
    assert found @ found.T == pytest.approx(np.eye(2) / 4)
    assert np.linalg.det(found) == pytest.approx(0.25)
    at = sources(drawn(matrix=found), (20, 90), (4, 50), (8, 9), frame_of(2, (8, 9)), CPU)
    steps = at[:, 1:, :-1] - at[:, :-1, :-1], at[:, :-1, 1:] - at[:, :-1, :-1]
    for one in steps:
        assert torch.allclose(one.norm(dim=0), torch.tensor(0.5), atol=1e-4)
    assert torch.allclose((steps[0] * steps[1]).sum(0), torch.tensor(0.0), atol=1e-4)


def test_displacements_are_a_smooth_field_over_the_whole_image() -> None:
    """At the points of the grid the displacement is as drawn; between them it is the cubic
    convolution.
    """
    plane, size, field = (41, 61), (41, 61), np.random.default_rng(1).normal(0, 5, (2, 3, 3))
    at = sources(drawn(displacements=field), plane, (0, 0), size, frame_of(0, size), CPU)
    still = sources(drawn(), plane, (0, 0), size, frame_of(0, size), CPU)
    bent = (at - still).numpy()
    assert bent[:, ::20, ::30] == pytest.approx(field, abs=1e-3)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(field)[None], size=plane, mode="bicubic", align_corners=True
    )
    assert bent == pytest.approx(enlarged[0].numpy(), abs=1e-3)


def test_the_same_pixels_are_bent_alike_whatever_the_window_and_its_context() -> None:
    field, plane = np.random.default_rng(1).normal(0, 5, (2, 4, 4)), (50, 60)
    bend = drawn(displacements=field)
    one = sources(bend, plane, (10, 12), (20, 16), frame_of(0, (20, 16)), CPU)
    other = sources(bend, plane, (14, 20), (6, 6), frame_of(30, (6, 6)), CPU)
    assert torch.allclose(other[:, 30:36, 30:36], one[:, 4:10, 8:14], atol=1e-4)


def test_interpolation_is_scipys() -> None:
    image, at = (
        noise(15, 22),
        torch.from_numpy(np.random.default_rng(2).uniform(-9, 30, (2, 8, 7)).astype(np.float32)),
    )
    expected = ndimage.map_coordinates(image[0].numpy(), at.numpy(), order=1, mode="mirror")
    assert interpolated(image, at)[0].numpy() == pytest.approx(expected, abs=1e-4)
    nearby = ndimage.map_coordinates(image[0].numpy(), at.numpy(), order=0, mode="mirror")
    assert nearest(image[0], at).numpy() == pytest.approx(nearby)


@given(st.integers(-100, 100), st.integers(1, 9))
def test_reflection_stays_inside(index: int, size: int) -> None:
    assert 0 <= int(reflected(torch.tensor(index), size)) < size


def test_draws_have_the_spread_that_the_recipe_says() -> None:
    recipe = Recipe(
        rotate=20.0, scale_low=0.8, scale_high=1.5, elastic=7.0, brightness=0.3, contrast=0.2
    )
    many = [draw(recipe, np.random.default_rng(i)) for i in range(400)]
    assert {one.flips for one in many} == {(a, b) for a in (False, True) for b in (False, True)}
    scales = np.array([1 / math.sqrt(np.linalg.det(one.matrix)) for one in many])
    angles = np.array(
        [math.degrees(math.atan2(one.matrix[1, 0], one.matrix[0, 0])) for one in many]
    )
    bounds = [(scales, 0.8, 1.5), (angles, -20, 20)]
    bounds += [(np.array([one.contrast for one in many]), 0.8, 1.2)]
    bounds += [(np.array([one.brightness for one in many]), -0.3, 0.3)]
    for values, low, high in bounds:
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert np.std([one.displacements for one in many]) == pytest.approx(7, rel=0.05)


def test_without_augmentation_nothing_happens() -> None:
    still = draw(Recipe(flip=False), np.random.default_rng(0))
    assert (still.flips, still.displacements, still.contrast, still.brightness) == (
        (False, False),
        None,
        1.0,
        0.0,
    )
    assert still.matrix == pytest.approx(np.eye(2))


def test_tone_changes_the_image_alone_and_by_one_factor_and_shift() -> None:
    image, size = noise(16, 16), (16, 16)
    data = Images([image], [(image[0] > 0).to(torch.uint8)])
    plain = training_batch(data, Recipe(), size, frame_of(0, size), 4, 0, 0)
    toned = training_batch(
        data, Recipe(brightness=0.5, contrast=0.4), size, frame_of(0, size), 4, 0, 0
    )
    assert torch.equal(plain.target, toned.target)
    fits = [
        np.polyfit(a.flatten().numpy(), b.flatten().numpy(), 1)
        for a, b in zip(plain[0], toned[0], strict=True)
    ]
    assert len({round(float(factor), 4) for factor, _ in fits}) == 4
    for (factor, shift), before, after in zip(fits, plain.images, toned.images, strict=True):
        assert 0.6 <= factor <= 1.4
        assert abs(shift) <= 0.5
        assert torch.allclose(before * float(factor) + float(shift), after, atol=1e-4)
