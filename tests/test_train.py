"""Windows, tiles, losses, metrics: every variant is trained and scored on the same pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unet_bench import build_model
from unet_bench.cells import Frame
from unet_bench.data.dataset import IGNORE
from unet_bench.interfaces import main_output
from unet_bench.plan import find_frame
from unet_bench.train.losses import dice_ce
from unet_bench.train.metrics import bootstrap_dice, confusion, scores
from unet_bench.train.windows import Images, cut, mirrored, scored, scoring_batches, training_batches


def images(*sizes: tuple[int, int]) -> Images:
    rng = np.random.default_rng(0)
    made = [torch.from_numpy(rng.normal(size=(1, *size)).astype(np.float32)) for size in sizes]
    return Images(made, [(image[0] > 0).long() for image in made])


class Crop(torch.nn.Module):
    """An identity network that loses a border, lopsidedly: what an unpadded one does, without weights."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., self.low : x.shape[-2] - self.high, self.low : x.shape[-1] - self.high]


def frame_of(low: int, high: int, size: tuple[int, int]) -> Frame:
    whole = (size[0] + low + high, size[1] + low + high)
    return Frame(input=whole, output=size, start=(0, 0), context=(low, low))


@given(
    height=st.integers(20, 70),
    width=st.integers(20, 70),
    low=st.integers(0, 40),
    high=st.integers(0, 40),
    size=st.tuples(st.integers(5, 20), st.integers(5, 20)),
)
def test_an_identity_network_returns_the_image(height: int, width: int, low: int, high: int, size) -> None:
    data, frame, net = images((height, width)), frame_of(low, high, size), Crop(low, high)
    seen = torch.zeros(height, width)
    truth_seen = torch.zeros(height, width)
    tiles = iter(
        itertools.product(*(range(0, length, side) for length, side in zip((height, width), size, strict=True)))
    )
    for batch, target, _ in scoring_batches(data, size, frame, batch=3):
        out = scored(net(batch), frame, size)
        for one, truth in zip(out[:, 0], target, strict=True):
            row, column = next(tiles)
            row, column = min(row, height - size[0]), min(column, width - size[1])
            owned = truth != IGNORE
            assert torch.equal(one, data.images[0][0, row : row + size[0], column : column + size[1]])
            seen[row : row + size[0], column : column + size[1]] += owned
            truth_seen[row : row + size[0], column : column + size[1]] += torch.where(owned, truth, 0)
    assert torch.equal(seen, torch.ones(height, width))
    assert torch.equal(truth_seen.long(), data.masks[0])


@given(start=st.integers(-50, 50), size=st.integers(1, 9))
def test_mirrored_context_is_numpys_reflection(start: int, size: int) -> None:
    line = np.arange(size)
    padded = np.pad(line, 60, mode="reflect") if size > 1 else np.zeros(121, dtype=int)
    assert np.array_equal(mirrored(start, 10, size).numpy(), padded[60 + start : 70 + start])


def test_every_variant_is_trained_on_the_same_scored_pixels() -> None:
    data, size = images((40, 50), (64, 48)), (16, 24)
    plain, lopsided = frame_of(0, 0, size), frame_of(12, 5, size)
    for (a, ta), (b, tb) in itertools.islice(
        zip(
            training_batches(data, size, plain, 3, np.random.default_rng(7)),
            training_batches(data, size, lopsided, 3, np.random.default_rng(7)),
            strict=True,
        ),
        6,
    ):
        assert torch.equal(ta, tb)
        assert torch.equal(a, Crop(12, 5)(b))
        assert torch.equal((a[:, 0] > 0).long(), ta)  # masks are flipped and cropped as their images are


@pytest.mark.parametrize(
    "name", ["unet-paper", "unet-valid", "unet-valid-pad", "unet", "unet-strided", "unet-bilinear"]
)
def test_scored_pixels_line_up_with_the_image(name: str) -> None:
    """With averaging weights, a dot in the image is a blot in the output around the same scored pixel."""

    class Task:
        in_channels, classes, scored = 1, ("a", "b"), (64, 64)

    changes = {"norm": "none", "base_width": 2, "depth": 2}
    model = build_model(name, in_channels=1, classes=2, **changes).eval()
    with torch.device("meta"):
        blueprint = build_model(name, in_channels=1, classes=2, **changes)
    frame, _ = find_frame(blueprint, Task)  # type: ignore[arg-type]
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    dot = torch.zeros(1, 80, 80)
    dot[0, 8 + 31, 8 + 33] = 100.0
    with torch.no_grad():
        pair = torch.stack([cut(torch.zeros_like(dot), 8, 8, frame), cut(dot, 8, 8, frame)])
        out = scored(main_output(model(pair)), frame, (64, 64))
    change = (out[1] - out[0]).abs().sum(0)
    rows, columns = change.sum(1), change.sum(0)
    centre = [float((line * torch.arange(64)).sum() / line.sum()) for line in (rows, columns)]
    assert centre == pytest.approx([31, 33], abs=2.0)


def test_dice_and_iou_on_a_worked_example() -> None:
    truth, predicted = torch.tensor([0, 0, 1, 1, 2, IGNORE]), torch.tensor([0, 1, 1, 1, 0, 2])
    found = scores(confusion(predicted, truth, 4))
    assert found.dice[:3] == pytest.approx([0.5, 0.8, 0.0])
    assert found.iou[:3] == pytest.approx([1 / 3, 2 / 3, 0.0])
    assert np.isnan(found.dice[3])  # in neither truth nor prediction
    assert found.mean_dice == pytest.approx(0.4)
    assert found.pixels.tolist() == [2, 2, 1, 0]


@given(st.lists(st.integers(0, 30), min_size=9, max_size=9))
def test_dice_and_iou_are_two_faces_of_one_figure(values: list[int]) -> None:
    found = scores(np.array(values).reshape(3, 3))
    present = ~np.isnan(found.dice)
    assert found.dice[present] == pytest.approx(2 * found.iou[present] / (1 + found.iou[present]))


def test_the_loss_ignores_what_is_to_be_ignored_and_falls_to_zero() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    target[:, :2] = IGNORE
    logits = torch.randn(2, 3, 8, 8)
    other = logits.clone()
    other[:, :, :2] += 5.0
    assert torch.equal(dice_ce(logits, target), dice_ce(other, target))
    perfect = torch.nn.functional.one_hot(target.clamp_max(2), 3).movedim(-1, 1) * 50.0
    assert float(dice_ce(perfect, target)) == pytest.approx(0, abs=1e-4)
    assert float(dice_ce(logits, torch.full_like(target, IGNORE))) == 0


def plain_dice_ce(logits: np.ndarray, target: np.ndarray) -> float:
    """The loss, pixel by pixel, as one would write it on a blackboard."""
    pixels = [(n, y, x) for n, y, x in np.ndindex(*target.shape) if target[n, y, x] != IGNORE]
    if not pixels:
        return 0.0
    entropy, classes = 0.0, logits.shape[1]
    overlap, predicted, true = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for n, y, x in pixels:
        scores_ = np.exp(logits[n, :, y, x] - logits[n, :, y, x].max())
        probability, truth = scores_ / scores_.sum(), target[n, y, x]
        entropy -= np.log(probability[truth])
        overlap[truth] += probability[truth]
        predicted += probability
        true[truth] += 1
    dice = [2 * overlap[c] / (predicted[c] + true[c]) for c in range(classes) if true[c]]
    return entropy / len(pixels) + 1 - float(np.mean(dice))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    classes=st.integers(1, 4),
    present=st.integers(1, 4),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_the_loss_is_what_the_blackboard_says(seed, shape, classes, present, ignored) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(shape[0], classes, *shape[1:]))
    target = rng.integers(0, min(present, classes), shape)
    target[rng.random(shape) < ignored] = IGNORE
    found = dice_ce(torch.from_numpy(logits).float().requires_grad_(), torch.from_numpy(target))
    assert found.item() == pytest.approx(plain_dice_ce(logits, target), abs=1e-4)
    found.backward()


def test_the_loss_needs_no_values() -> None:
    with torch.device("meta"):
        logits = torch.empty(2, 3, 8, 8, requires_grad=True)
        loss = dice_ce(logits, torch.empty(2, 8, 8, dtype=torch.long))
    loss.backward()
    assert (loss.shape, loss.device.type) == (torch.Size(), "meta")
    assert logits.grad is not None


def test_bootstrap_needs_images() -> None:
    rng = np.random.default_rng(0)
    few = np.stack([np.eye(2, dtype=int) * 10] * 4)
    assert np.isnan(bootstrap_dice(few, rng)).all()
    many = rng.integers(1, 50, (30, 2, 2))
    low, high = bootstrap_dice(many, rng)
    assert low < scores(many.sum(0)).mean_dice < high


def test_batch_norm_is_settled_without_taking_from_training(tmp_path, registry) -> None:
    """Networks with and without batch norm see the same training pixels, before and after a look at validation."""
    from unet_bench import pipeline
    from unet_bench.measure.bench import Bench
    from unet_bench.suite import from_dict
    from unet_bench.train import loop

    options = {"variants": ["unet-same"], "probes": ["accuracy"], "size": "32x32", "steps": 6, "batch": 2, "threads": 1}
    seen: dict[str, list[int]] = {}
    with pipeline.plan(from_dict({**options, "data": ["cells"], "width_scale": 0.0625})) as made:
        for planned in made.planned:
            bench = Bench(planned.cell, made.loaded.registry, next(iter(made.data.values())))
            hashes = seen.setdefault(planned.names[0], [])

            class Spy(torch.nn.Module):
                def __init__(self, inner, hashes=hashes) -> None:
                    super().__init__()
                    self.inner, self.hashes = inner, hashes

                def forward(self, x: torch.Tensor) -> torch.Tensor:
                    if torch.is_grad_enabled():
                        self.hashes.append(hash(x.numpy().tobytes()))
                    return self.inner(x)

            loop.train(bench, Spy(bench.network(training=True)), loop.Recipe(), loop.tensors(bench))
    assert len(seen["unet"]) == 6
    assert seen["unet"] == seen["unet-same"]
