"""Losses, and the weights of classes and pixels in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from unet_bench.data.dataset import IGNORE
from unet_bench.train.border import border_weights
from unet_bench.train.losses import median_frequency, segmentation_loss


def test_the_loss_ignores_what_is_to_be_ignored_and_falls_to_zero() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    target[:, :2] = IGNORE
    logits = torch.randn(2, 3, 8, 8)
    other = logits.clone()
    other[:, :, :2] += 5.0
    assert torch.equal(segmentation_loss(logits, target), segmentation_loss(other, target))
    perfect = F.one_hot(target.clamp_max(2), 3).movedim(-1, 1) * 50.0
    assert float(segmentation_loss(perfect, target)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 2.0, 0.0])])
def test_where_everything_is_ignored_the_loss_is_zero(class_weights: torch.Tensor | None) -> None:
    nothing = torch.full((2, 8, 8), IGNORE)
    assert (
        float(segmentation_loss(torch.randn(2, 3, 8, 8), nothing, class_weights=class_weights)) == 0
    )


def plain_loss(
    logits: np.ndarray,
    target: np.ndarray,
    cross_entropy: float,
    dice: float,
    classes: np.ndarray,
    weight: np.ndarray,
) -> float:
    """The loss, pixel by pixel, as one would write it on a blackboard."""
    pixels = [(n, y, x) for n, y, x in np.ndindex(*target.shape) if target[n, y, x] != IGNORE]
    if not pixels:
        return 0.0
    entropy, divisor, count = 0.0, 0.0, logits.shape[1]
    overlap, predicted, true = np.zeros(count), np.zeros(count), np.zeros(count)
    for n, y, x in pixels:
        scores_ = np.exp(logits[n, :, y, x] - logits[n, :, y, x].max())
        probability, truth = scores_ / scores_.sum(), target[n, y, x]
        entropy -= classes[truth] * weight[n, y, x] * np.log(probability[truth])
        divisor += classes[truth]
        overlap[truth] += probability[truth]
        predicted += probability
        true[truth] += 1
    shares = [2 * overlap[c] / (predicted[c] + true[c]) for c in range(count) if true[c]]
    return cross_entropy * entropy / divisor + dice * (1 - float(np.mean(shares)))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    classes=st.integers(1, 4),
    present=st.integers(1, 4),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    terms=st.sampled_from([(1.0, 1.0), (2.0, 0.5), (0.0, 1.0), (1.0, 0.0)]),
    by_class=st.booleans(),
    by_pixel=st.booleans(),
)
def test_the_loss_is_what_the_blackboard_says(
    seed, shape, classes, present, ignored, terms, by_class, by_pixel
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(shape[0], classes, *shape[1:]))
    target = rng.integers(0, min(present, classes), shape)
    target[rng.random(shape) < ignored] = IGNORE
    class_weights = rng.uniform(0.5, 3, classes) if by_class else np.ones(classes)
    weight = rng.uniform(0, 5, shape) if by_pixel else np.ones(shape)
    found = segmentation_loss(
        torch.from_numpy(logits).float().requires_grad_(),
        torch.from_numpy(target),
        cross_entropy=terms[0],
        dice=terms[1],
        class_weights=torch.from_numpy(class_weights).float() if by_class else None,
        weight=torch.from_numpy(weight).float() if by_pixel else None,
    )
    assert found.item() == pytest.approx(
        plain_loss(logits, target, *terms, class_weights, weight), abs=1e-4, rel=1e-4
    )
    found.backward()


def test_cross_entropy_alone_is_torchs() -> None:
    logits, target, weights = (
        torch.randn(2, 3, 8, 8),
        torch.randint(0, 3, (2, 8, 8)),
        torch.tensor([0.2, 1.0, 5.0]),
    )
    target[0, 0] = IGNORE
    found = segmentation_loss(logits, target, dice=0.0, class_weights=weights)
    assert torch.allclose(
        found, F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE)
    )


def test_the_loss_needs_no_values() -> None:
    with torch.device("meta"):
        logits = torch.empty(2, 3, 8, 8, requires_grad=True)
        target, weight = torch.empty(2, 8, 8, dtype=torch.long), torch.empty(2, 8, 8)
        loss = segmentation_loss(logits, target, class_weights=torch.empty(3), weight=weight)
    loss.backward()
    assert (loss.shape, loss.device.type) == (torch.Size(), "meta")
    assert logits.grad is not None


def test_median_frequency_counts_the_images_in_which_a_class_occurs() -> None:
    """Class 0: 12 of 20 pixels; class 1: 6 of 20; class 2: 2 of the 10 of the second image; class
    3: nowhere.
    """
    first, second = torch.zeros(12, dtype=torch.uint8), torch.zeros(10, dtype=torch.uint8)
    first[:4], first[10:] = 1, IGNORE
    second[:2], second[2:4] = 1, 2
    expected = [0.3 / 0.6, 1.0, 0.3 / 0.2, 0.0]
    assert median_frequency([first[None], second[None]], 4).tolist() == pytest.approx(expected)


def test_the_median_of_two_frequencies_lies_between_them() -> None:
    mask = torch.tensor([[0, 0, 0, 1]], dtype=torch.uint8)
    assert median_frequency([mask], 2).tolist() == pytest.approx([2 / 3, 2])


def test_median_frequency_of_nothing_is_zero() -> None:
    assert median_frequency([torch.full((3, 3), IGNORE, dtype=torch.uint8)], 2).tolist() == [0, 0]


def plain_border(mask: np.ndarray, w0: float, sigma: float, separator: int | None) -> np.ndarray:
    """The weight map as the paper writes it: every pixel against every pixel of every object."""
    inside = (mask != IGNORE) & (mask != (0 if separator is None else separator))
    objects: list[list[tuple[int, int]]] = []
    left = {(int(y), int(x)) for y, x in np.argwhere(inside)}
    while left:
        found, open_ = [], [left.pop()]
        while open_:
            y, x = open_.pop()
            found.append((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            open_ += near
        objects.append(found)
    valid = mask[mask != IGNORE]
    present, counts = np.unique(valid, return_counts=True)
    share = {int(c): valid.size / len(present) / n for c, n in zip(present, counts, strict=True)}
    weights = np.zeros(mask.shape)
    for y, x in np.argwhere(mask != IGNORE):
        weights[y, x] = share[int(mask[y, x])]
        if not inside[y, x] and len(objects) > 1:
            d1, d2 = sorted(min(np.hypot(y - a, x - b) for a, b in one) for one in objects)[:2]
            weights[y, x] += w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return weights


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    filled=st.sampled_from([0.05, 0.3, 0.7]),
    ignored=st.sampled_from([0.0, 0.1, 1.0]),
    separator=st.sampled_from([None, 1, 2]),
    sigma=st.sampled_from([0.4, 1.5, 5.0]),
)
def test_the_border_map_is_what_the_paper_says(
    seed, shape, filled, ignored, separator, sigma
) -> None:
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random(shape) < filled, rng.integers(1, 3, shape), 0).astype(np.uint8)
    mask[rng.random(shape) < ignored] = IGNORE
    found = border_weights(mask, 10.0, sigma, separator)
    assert (found.dtype, found.shape) == (np.float32, shape)
    assert found == pytest.approx(plain_border(mask, 10.0, sigma, separator), rel=1e-5, abs=1e-5)


def test_objects_far_apart_cut_the_search_short_without_a_trace() -> None:
    """Objects whose neighbours lie in and out of reach, in a mask that is wider than the reach."""
    mask = np.zeros((12, 60), np.uint8)
    for left in (2, 6, 20, 45, 49):
        mask[3:8, left : left + 3] = 1
    assert border_weights(mask, 10.0, 1.5, None) == pytest.approx(
        plain_border(mask, 10.0, 1.5, None), rel=1e-5
    )


def test_classes_are_balanced_to_a_mean_of_one() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:2] = 1
    mask[-1] = IGNORE
    found = border_weights(mask, 0.0, 5.0, None)
    assert found[mask != IGNORE].mean() == pytest.approx(1)
    assert found[mask == 1].sum() == pytest.approx(found[mask == 0].sum())
    assert (found[mask == IGNORE] == 0).all()
