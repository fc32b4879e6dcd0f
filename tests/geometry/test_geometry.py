"""Sizes, offsets and crops: closed forms against the meta-device forward, and positions against
real gradients.
"""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_bench import build_model
from unet_bench.errors import InvalidSize
from unet_bench.geometry.forward import trace
from unet_bench.geometry.sizes import explain_size, fit_input, legal_sizes
from unet_bench.networks.contracts import main_output


@functools.cache
def blueprint(name: str, channels: int = 1, classes: int = 2, **changes: object) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(
            name, in_channels=channels, classes=classes, width_scale=0.125, **changes
        )


def test_the_papers_figures() -> None:
    found = trace(blueprint("unet-paper"), 1, (572, 572))
    assert found.output == (388, 388)
    assert found.offset == (92, 92)
    assert [skip.low for skip in found.skips] == [(88, 88), (40, 40), (16, 16), (4, 4)]
    assert [skip.high for skip in found.skips] == [(88, 88), (40, 40), (16, 16), (4, 4)]
    assert found.legal


def test_the_smallest_legal_size() -> None:
    assert legal_sizes(blueprint("unet-paper"), 1) == (188, 16)
    assert trace(blueprint("unet-paper"), 1, (188, 188)).output == (4, 4)
    with pytest.raises(InvalidSize, match="172×172"):
        trace(blueprint("unet-paper"), 1, (172, 172))


def test_it_is_the_same_in_inference_mode() -> None:
    with torch.inference_mode():
        found = trace(blueprint.__wrapped__("unet-paper"), 1, (696, 696))
    assert found == trace(blueprint("unet-paper"), 1, (696, 696))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "sizes"),
    [
        ("unet", {"depth": 1}, (2, 2)),
        (
            "unet",
            {"padding": "reflect"},
            (32, 16),
        ),  # mirrored, a map needs more pixels than are added
        ("unet", {"norm": "instance"}, (32, 16)),
        ("unet", {"norm": "layer"}, (16, 16)),
        ("unet-valid", {"depth": 5}, (380, 32)),
        ("unet-valid", {"depth": 3, "convs_per_level": 3}, (138, 8)),
        ("unet-valid", {"align": "resize"}, (140, 16)),
        ("unet-valid", {"depth": 2, "dims": 3}, (44, 4)),
        ("segnet", {}, (32, 32)),
        ("resnet34-unet", {}, (32, 32)),
    ],
    ids=str,
)
def test_legal_sizes_are_found_with_few_forwards(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: dict[str, object], sizes: tuple[int, int]
) -> None:
    """The smallest fits and a step less does not, all within a step of nothing lost; each is a
    forward pass.
    """
    model, tried = blueprint(name, **changes), []
    monkeypatch.setattr(
        "unet_bench.geometry.sizes.trace", lambda *args: tried.append(args) or trace(*args)
    )
    dims = int(changes.get("dims", 2))
    assert legal_sizes(model, 1, dims) == sizes
    assert len(tried) <= 8
    least, step = sizes
    for side, legal in ((least, True), (least + step, True), (least + step // 2, False)):
        assert trace(model, 1, (side,) * dims).legal is legal
    with pytest.raises(InvalidSize):
        trace(model, 1, (least - step,) * dims)


def test_696_pools_odd_sizes() -> None:
    centred, aligned = (
        trace(blueprint("unet-paper"), 1, (696, 696)),
        trace(blueprint("unet-valid"), 1, (696, 696)),
    )
    assert centred.output == aligned.output == (500, 500)
    assert not centred.legal
    assert any("167" in loss for loss in centred.lost)
    assert centred.offset == (98, 98)
    shift = sum(2**skip.level * skip.misalignment[0] for skip in centred.skips)
    assert shift == -6  # the deep path sees column 342 where the skip says 348
    assert aligned.offset == (92, 92)
    assert all(skip.misalignment == (0, 0) for skip in aligned.skips)


@settings(max_examples=25)
@given(b=st.integers(4, 40))
def test_unpadded_sizes_follow_the_closed_form(b: int) -> None:
    found = trace(blueprint("unet-paper"), 1, (16 * b + 124, 16 * b + 124))
    assert found.legal
    assert found.output == (16 * b - 60, 16 * b - 60)


@settings(max_examples=40)
@given(height=st.integers(16, 200), width=st.integers(16, 200))
def test_padded_networks_keep_positions_at_any_size(height: int, width: int) -> None:
    found = trace(blueprint("unet"), 1, (height, width))
    assert found.output == (height // 16 * 16, width // 16 * 16)
    assert found.offset == (0, 0)
    assert all(skip.misalignment == (0, 0) for skip in found.skips)
    assert found.legal == (height % 16 == 0 and width % 16 == 0)


@settings(max_examples=30)
@given(
    scored=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    name=st.sampled_from(["paper", "padded"]),
)
def test_an_input_that_covers_the_scored_pixels(scored: tuple[int, int], name: str) -> None:
    found = fit_input(
        {"paper": blueprint("unet-paper"), "padded": blueprint("unet")}[name], 1, scored
    )
    assert all(output >= wanted for output, wanted in zip(found.output, scored, strict=True))
    assert found.legal or found.output == scored


def test_128_scored_needs_316_in_and_gives_132() -> None:
    found = fit_input(blueprint("unet-paper"), 1, (128, 128))
    assert (found.input, found.output) == ((316, 316), (132, 132))


def test_advice_names_what_is_lost_and_the_nearest_sizes() -> None:
    said = explain_size(blueprint("unet"), 1, (250, 250))
    assert "125" in said
    assert "240, 256" in said


def test_hooks_and_modes_leave_no_trace() -> None:
    blueprint("unet").train()
    trace(blueprint("unet"), 1, (64, 64))
    assert blueprint("unet").training
    assert not any(module._forward_hooks for module in blueprint("unet").modules())


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"padding": "valid"}, 220),
        ({"padding": "valid"}, 227),
        ({"padding": "valid", "align": "crop-center"}, 220),
        ({"padding": "valid", "align": "pad"}, 100),
        ({"align": "pad"}, 96),
        ({"down": "strided-conv"}, 96),
        ({"up": "bilinear"}, 96),
        ({"up": "transpose-4x4"}, 96),
        ({"padding": "reflect", "up": "nearest-conv"}, 96),
    ],
    ids=str,
)
def test_the_stated_offset_is_where_gradients_come_from(
    changes: dict[str, object], size: int
) -> None:
    """With positive weights and linear pooling, an output pixel's gradient is centred where the
    finest path says.
    """
    model = build_model("unet-same", in_channels=1, classes=1, base_width=4, depth=2, **changes)
    found = trace(model, 1, (size, size))
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    for name, child in [
        (n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.MaxPool2d)
    ]:
        model.get_submodule(name.rpartition(".")[0])._modules[name.rpartition(".")[2]] = (
            torch.nn.AvgPool2d(2)
        )
        assert child.kernel_size == 2
    image = torch.ones(1, 1, size, size, requires_grad=True)
    middle = found.output[0] // 2
    main_output(model(image))[0, 0, middle, middle].backward()
    assert image.grad is not None
    weight = image.grad[0, 0].sum(1)
    centre = float((weight * torch.arange(size)).sum() / weight.sum())
    stated = found.offset[0] + middle * found.spacing[0]
    deepest = max((2**skip.level * abs(skip.misalignment[0]) for skip in found.skips), default=0)
    assert abs(centre - stated) <= 1.5 + deepest
