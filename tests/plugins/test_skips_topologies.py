"""Skips and topologies: what gates do to a map, which maps meet where, what waits in memory, and
heads in training.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unet_bench import build_model
from unet_bench.context import MeasurementContext
from unet_bench.errors import Unsupported
from unet_bench.geometry.forward import trace
from unet_bench.geometry.sizes import legal_sizes
from unet_bench.measure.memory import LiveBytes
from unet_bench.networks.contracts import Outputs, Place
from unet_bench.registry.registry import Registry
from unet_bench.spec.recipe import Recipe
from unet_bench.train.step import TrainingStep

Put = Callable[..., MeasurementContext]
SMALL = {"width_scale": 0.0625}


def skip_of(registry: Registry, name: str, **changes: int | str) -> nn.Module:
    place = Place(in_channels=4, out_channels=4, role="decoder", gate_channels=8, up_channels=6)
    made: nn.Module = registry.find("skip", name).load()(place.at(**changes))
    return made.eval()


def zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


# ---- gates


@pytest.mark.parametrize(
    ("name", "gate"), [("attention", (2, 8, 5, 6)), ("attention-up", (2, 6, 10, 12))]
)
def test_a_gate_without_an_opinion_lets_half_of_everything_pass(
    registry: Registry, name, gate
) -> None:
    part = zeroed(skip_of(registry, name, norm="none"))
    x = torch.randn(2, 4, 10, 12)
    assert torch.allclose(part(x, torch.randn(gate)), x / 2)


@pytest.mark.parametrize(
    ("name", "gate"), [("attention", (2, 8, 5, 6)), ("attention-up", (2, 6, 10, 12))]
)
def test_a_gate_weighs_all_channels_of_a_pixel_alike_and_listens_to_the_decoder(
    registry: Registry, name, gate
) -> None:
    torch.manual_seed(0)
    part = skip_of(registry, name)
    x = torch.randn(2, 4, 10, 12)
    first, second = part(x, torch.randn(gate)) / x, part(x, torch.randn(gate)) / x
    assert torch.allclose(first, first[:, :1].expand_as(first), atol=1e-5)
    assert (first > 0).all()
    assert (first < 1).all()
    assert not torch.allclose(first, second)


def test_gates_keep_the_biases_that_no_norm_takes_away(registry: Registry) -> None:
    gate = skip_of(registry, "attention", bias=False)
    assert [conv.bias is not None for conv in (gate.of_skip, gate.of_gate, gate.psi[1])] == [
        False,
        True,
        True,
    ]
    weights = [
        p for p in skip_of(registry, "scse", bias=False).modules() if isinstance(p, nn.Conv2d)
    ]
    assert all(conv.bias is not None for conv in weights)
    normed = [
        p
        for p in skip_of(registry, "attention-up", bias=False).modules()
        if isinstance(p, nn.Conv2d)
    ]
    assert all(conv.bias is None for conv in normed)


def test_a_layer_norm_does_not_deafen_the_gate(registry: Registry) -> None:
    torch.manual_seed(0)
    part = skip_of(registry, "attention-up", norm="layer")
    x = torch.randn(2, 4, 10, 12)
    assert not torch.allclose(
        part(x, torch.randn(2, 6, 10, 12)), part(x, torch.randn(2, 6, 10, 12))
    )


def test_squeeze_and_excitation_adds_the_weights_of_pixels_and_channels(registry: Registry) -> None:
    part = zeroed(skip_of(registry, "scse"))
    x = torch.randn(2, 4, 10, 12)
    assert torch.allclose(part(x, x), x)  # a half and a half
    nn.init.constant_(part.of_pixels[0].bias, -50.0)
    assert torch.allclose(part(x, x), x / 2)
    nn.init.constant_(part.of_channels[2].bias, -50.0)
    assert torch.allclose(part(x, x), torch.zeros(()), atol=1e-6)


@pytest.mark.parametrize(("level", "units"), [(0, 4), (1, 3), (2, 2), (3, 1)])
def test_a_residual_path_is_longer_the_finer_its_level(
    registry: Registry, level: int, units: int
) -> None:
    part = skip_of(registry, "respath", level=level)
    assert len(part.units) == units
    assert part(torch.randn(2, 4, 9, 7), torch.zeros(())).shape == (2, 4, 9, 7)


def test_a_residual_path_returns_no_more_channels_than_the_up_sampled_map_has(
    registry: Registry,
) -> None:
    assert skip_of(registry, "respath", up_channels=3).out_channels == 3
    assert skip_of(registry, "respath", up_channels=9).out_channels == 4


def test_levels_without_a_skip_have_none() -> None:
    with torch.device("meta"):
        model = build_model("unet-no-top-skip", in_channels=1, classes=2, **SMALL)
    assert [skip.level for skip in trace(model, 1, (64, 64)).skips] == [1, 2, 3]


# ---- topologies


def meetings(name: str, **changes: int | str) -> list[int]:
    """Of how many maps each level's up-sampled map meets, finest level first, at a size that is odd
    on the way.
    """
    with torch.device("meta"):
        model = build_model(name, in_channels=1, classes=2, **{**SMALL, **changes})
    levels = [skip.level for skip in trace(model, 1, (72, 88)).skips]
    return [levels.count(level) for level in range(4)]


def test_every_node_meets_all_nodes_before_it() -> None:
    assert meetings("unet-nested-skips") == [1 + 2 + 3 + 4, 1 + 2 + 3, 1 + 2, 1]
    assert meetings("unet-nested-skips", skip_levels="1/2/3") == [0, 1 + 2 + 3, 1 + 2, 1]
    assert meetings("unet-nested-skips", skip_levels="0") == [1, 0, 0, 0]
    assert meetings("unet-nested-skips", skip="none") == [0 + 1 + 2 + 3, 0 + 1 + 2, 0 + 1, 0]


def test_full_scale_levels_meet_five_maps() -> None:
    assert meetings("unet-full-scale") == [4, 4, 4, 4]
    assert meetings("unet-full-scale", skip_levels="0") == [4, 3, 2, 1]
    assert meetings("unet-full-scale", skip="none") == [3, 2, 1, 0]


@pytest.mark.parametrize("name", ["unet-nested-skips", "unet-full-scale"])
@pytest.mark.parametrize("size", [(64, 80), (67, 81)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"align": "pad", "merge": "concat", "decoder_widths": "12/20", "decoder_mid": "half-in"},
        {"align": "resize", "skip": "attention", "up_policy": "match"},
        {"encoder": "timm:test_resnet", "skip": "attention-up"},
        {"skip": "respath", "skip_levels": "0/2", "encoder_block": "residual"},
    ],
    ids=str,
)
def test_topologies_take_any_encoder_skip_and_size(
    name: str, size: tuple[int, int], changes: dict[str, str]
) -> None:
    model = build_model(name, in_channels=2, classes=3, **{**SMALL, **changes}).eval()
    with torch.no_grad():
        output = model(torch.randn(1, 2, *size))
    assert output.shape[1] == 3
    assert all(
        side - 16 < found <= side + 31 for side, found in zip(size, output.shape[2:], strict=True)
    )


@pytest.mark.parametrize("name", ["unet-nested-skips", "unet-full-scale"])
def test_unpadded_maps_are_cropped_where_they_lie(name: str) -> None:
    """At a legal size the right margins are the symmetric ones; at a larger one they must stay what
    they are.
    """
    with torch.device("meta"):
        model = build_model(name, in_channels=1, classes=2, padding="valid", **SMALL)
    base, step = legal_sizes(model, 1)
    legal = trace(model, 1, (base + 2 * step,) * 2)
    for more in (1, 3, step - 1):
        odd = trace(model, 1, (base + 2 * step + more,) * 2)
        assert [skip.low for skip in odd.skips] == [skip.low for skip in legal.skips]
    assert all(abs(shift) <= 0.5 for skip in legal.skips for shift in skip.misalignment)


# In maps of 4 channels at 64². UNet++: the last node joins five, which lie beside what they become,
# while coarser ones wait. UNet 3+: the coarsest map, of 64 channels, is brought to 64² before
# anything else is, and becomes one of four.
@pytest.mark.parametrize(("name", "maps"), [("unet++", 11), ("unet3+", 20)])
def test_no_more_maps_wait_than_the_finest_level_needs(name: str, maps: int) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=1, classes=1, base_width=4, norm="none").eval()
        image = torch.empty(1, 1, 64, 64)
    watch = LiveBytes()
    for tensor in [*model.parameters(), *model.buffers(), image]:
        watch.add(tensor)
    before = watch.live
    with torch.inference_mode(), watch:
        model(image)
    assert (watch.peak - before) / (4 * 64 * 64 * 4) <= maps


# ---- deep supervision


@pytest.mark.parametrize("name", ["unet-deep-supervision", "unet++", "unet3+-deep", "unet++-zju"])
def test_auxiliary_heads_train_and_stay_out_of_evaluation(name: str, put: Put) -> None:
    context = put(name)
    model = context.network(training=True)
    heads = len(model.aux_heads)
    output = model(context.images())
    assert isinstance(output, Outputs)
    assert len(output.aux) == heads >= 3
    assert [weight for weight, _ in output.aux] == [0.5**i for i in range(1, heads + 1)]
    before = [parameter.detach().clone() for parameter in model.aux_heads.parameters()]
    loss = TrainingStep(context, model)(context.images(), context.target())
    assert loss.isfinite()
    moved = [
        not torch.equal(a, b) for a, b in zip(before, model.aux_heads.parameters(), strict=True)
    ]
    assert all(moved)
    assert isinstance(model.eval()(context.images()), Tensor)


@pytest.fixture
def put(context_of: Put) -> Put:
    def on_bench(name: str) -> MeasurementContext:
        return context_of(name, protocol={"recipe": Recipe(deep_supervision=True), "steps": 1})

    return on_bench


def test_heads_of_nested_skips_look_at_full_resolution_and_those_of_others_do_not() -> None:
    image = torch.randn(2, 1, 32, 32)
    sides = {}
    for name in ("unet++", "unet3+-deep"):
        output = build_model(name, in_channels=1, classes=2, **SMALL).train()(image)
        sides[name] = [logits.shape[-1] for _, logits in output.aux]
    assert sides == {"unet++": [32, 32, 32], "unet3+-deep": [16, 8, 4, 2]}


def test_the_mean_of_all_heads_is_what_evaluation_returns() -> None:
    model = build_model("unet++-zju", in_channels=1, classes=2, norm="none", **SMALL)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        main, aux = model.train()(image)
        assert torch.allclose(
            model.eval()(image), (main + sum(logits for _, logits in aux)) / 4, atol=1e-5
        )


def test_more_heads_than_nested_nodes_are_refused() -> None:
    with pytest.raises(Unsupported, match="has 3 further maps"):
        build_model("unet-nested-skips", aux_heads=4, **SMALL)
    with pytest.raises(Unsupported, match="has 0 further maps"):
        build_model("unet-nested-skips", aux_heads=1, skip_levels="0", depth=1, **SMALL)
