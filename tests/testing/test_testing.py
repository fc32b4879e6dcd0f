"""The conformance checks catch what they are for: each broken part here fails just the check that
is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.errors import InvalidChoice, InvalidPart, UnknownName
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import conv_norm_act, transposed_convolution
from unet_bench.registry import Registrar
from unet_bench.registry.entries import Provider
from unet_bench.registry.plugins import load
from unet_bench.registry.registry import Registry
from unet_bench.testing import Check, part_checks, plugin_checks, variant_checks
from unet_bench_classic.parts import UNetTopology


def registry_with(register: Callable[[Registrar], None]) -> Registry:
    """All installed parts, and those of a plugin `mine`."""
    registry = load().registry
    draft = Registrar(Provider("mine", "my-plugin", "1.0"))
    register(draft)
    registry.commit(draft)
    return registry


def failures(
    slot: str, factory: Callable[..., Any], only: str = "", **facts: Any
) -> dict[str, str]:
    """The rules that a part breaks, and what the checks say."""
    registry = registry_with(
        lambda draft: getattr(draft, slot)("broken", factory, summary="broken", **facts)
    )
    return messages(part_checks(slot, "broken", registry=registry), only)


def messages(checks: list[Check], only: str = "") -> dict[str, str]:
    said = {}
    for check in checks:
        try:
            if only in ("", check.rule.__name__):
                check()
        except InvalidPart as error:
            said[check.rule.__name__] = str(error)
    return said


class Up(nn.Module):
    """A sound up-sampling, for the broken ones to start from."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.up = transposed_convolution(place, place.in_channels, place.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


class Tripled(Up):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.up(x), scale_factor=1.5)


class OddDropped(Up):
    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2] // 2 * 2 or 1
        return self.up(x[:, :, :height])


class Misstated(Up):
    out_channels = 5


class Doubled(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x).double()


class Infinite(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) / 0


class OnCpu(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) + torch.ones(1, device="cpu")


class Idle(Up):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.idle = nn.Linear(2, 2)


class Detached(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.detach())


class Hidden(Up):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.scale = torch.rand(1).item()

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) * self.scale if x.device.type == "cpu" else self.up(x)


class Remembering(Up):
    def forward(self, x: Tensor) -> Tensor:
        self.last = self.up(x)
        return self.last


class Random(Up):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.up(x), 0.5)


class Reseeding(Up):
    def __init__(self, place: Place) -> None:
        torch.manual_seed(0)
        super().__init__(place)


class InPlace(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.relu_() if not x.requires_grad else x.relu())


class Worldly(Up):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        os.environ["BROKEN_PART"] = str(int(os.environ.get("BROKEN_PART", "0")) + 1)


class Viewing(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.view(-1).view_as(x))


class Mixed(Up):
    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x)
        return y.lerp(torch.ones_like(y, dtype=torch.float32), 0.5)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN_PART", "0")


def test_a_sound_part_fails_nothing() -> None:
    assert failures("up", Up) == {}


@pytest.mark.parametrize(
    ("part", "rule", "said"),
    [
        (Tripled, "shapes", "expected 2 of 8 channels of 16×24"),
        (OddDropped, "shapes", "returned [(2, 8, 12, 18)], expected 2 of 8 channels of 14×18"),
        (Misstated, "shapes", "expected 2 of 5 channels"),
        (Doubled, "shapes", "torch.float64, expected"),
        (Infinite, "shapes", "not finite"),
        (OnCpu, "meta", "raised RuntimeError"),
        (Idle, "gradients", "no gradient reaches idle.weight"),
        (Detached, "gradients", "no gradient reaches input 0"),
        (Hidden, "state_dict", "of a fresh one with its state dict differ"),
        (Remembering, "deepcopy", "raised RuntimeError"),
        (Random, "deterministic", "for the same input again differ"),
        (Reseeding, "deterministic", "sets torch's seed"),
        (InPlace, "keeps_input", "input 0 was changed in place"),
        (Worldly, "keeps_world", "os.environ was changed"),
        (Viewing, "channels_last", "raised RuntimeError"),
        (Mixed, "autocast", "raised RuntimeError"),
    ],
)
def test_a_broken_part_is_caught(part: type[Up], rule: str, said: str) -> None:
    found = failures("up", part, only=rule, dims=(2,))
    assert found[rule].startswith(
        "part up=broken of plugin mine (my-plugin 1.0), at Place(in_channels=16, "
    )
    assert said in found[rule]


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda place: "a part", "the factory returned str, expected an nn.Module"),
        (lambda place, extra: nn.Identity(), "raised TypeError"),
        (
            lambda place: object.__setattr__(place, "level", 7) or Up(place),
            "the factory changed its Place",
        ),
        (lambda place: place.nothing, "raised AttributeError"),
    ],
)
def test_a_broken_factory_fails_every_check(factory: Callable[..., Any], said: str) -> None:
    found = failures("up", factory)
    assert len(found) == 10
    assert all(
        said in message and "part up=broken of plugin mine" in message for message in found.values()
    )


def test_a_part_may_refuse_some_places_but_not_a_whole_dimension() -> None:
    def flat(place: Place) -> nn.Module:
        if place.dims == 3 or place.in_channels > 8:
            raise InvalidChoice("too much for me")
        return Up(place)

    assert failures("up", flat, dims=(2,)) == {}
    found = failures("up", flat, only="shapes")
    assert "states dims=3 but serves no place there: too much for me" in found["shapes"]


def test_a_part_may_refuse_a_tiny_map_but_not_a_roomy_one() -> None:
    class Refusing(Up):
        least = 2

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] < self.least:
                raise ValueError("too small")
            return self.up(x)

    assert failures("up", Refusing) == {}
    Refusing.least = 100
    assert "raised ValueError: too small" in failures("up", Refusing, only="shapes")["shapes"]


class Tight(Up):
    """Wrong at one padding alone, and in three dimensions alone."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.lost = place.padding == "circular" or (place.dims == 3 and place.padding == "valid")

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)[:, :, 1:] if self.lost else self.up(x)


@pytest.mark.parametrize(
    ("dims", "where"), [((2,), "padding='circular'"), ((3,), "dims=3, padding='valid'")]
)
def test_shapes_are_checked_at_every_place(dims: tuple[int, ...], where: str) -> None:
    found = failures("up", Tight, dims=dims)
    assert set(found) == {"shapes"}
    assert where in found["shapes"]


class IdleShortcut(nn.Module):
    """A block that has a shortcut where channels stay, and does not use it there."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.block = conv_norm_act(
            place, place.in_channels, place.out_channels, stride=place.stride
        )
        self.shortcut = nn.Linear(2, 2) if place.norm == "group" else None

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


def test_gradients_are_checked_wherever_a_part_may_have_other_parameters() -> None:
    found = failures("encoder_block", IdleShortcut, dims=(2,))
    assert set(found) == {"gradients"}
    assert "norm='group'" in found["gradients"]
    assert "no gradient reaches shortcut.weight" in found["gradients"]


class Gated(nn.Module):
    """A skip that looks at the up-sampled map, and wants its channels."""

    gates_on = "up"

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.gate = nn.Conv2d(place.up_channels, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        return skip * self.gate(gate).sigmoid().mean((2, 3), keepdim=True)


class Misgated(Gated):
    gates_on = "coarse"


def test_a_skip_is_given_the_gate_that_it_looks_at() -> None:
    assert failures("skip", Gated, dims=(2,)) == {}
    assert "RuntimeError" in failures("skip", Misgated, only="shapes", dims=(2,))["shapes"]


class Supervised(nn.Module):
    """A topology with a further map for an auxiliary head."""

    extra: int | None = None

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.design is not None
        self.design, self.body = place.design, UNetTopology(place)
        self.channels = list(self.body.channels)
        self.aux_channels = (self.channels[0],)

    def forward(self, maps: list[Tensor | None]) -> list[Tensor]:
        decoded = self.body(maps)
        return [*decoded, decoded[0][:, : self.extra]] if self.design.supervised(self) else decoded


class Undersupervised(Supervised):
    extra = 1


def test_a_topology_returns_the_further_maps_that_it_states() -> None:
    assert failures("topology", Supervised, only="shapes", dims=(2,)) == {}
    found = failures("topology", Undersupervised, only="shapes", dims=(2,))
    assert "expected 2 of 4 channels" in found["shapes"]


class Unequal(nn.Module):
    def __init__(self, place: Place) -> None:
        super().__init__()

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        return skip[:, :, : up.shape[2]], up


class Shrinking(Unequal):
    def forward(self, skip: Tensor, up: Tensor) -> Tensor:  # type: ignore[override]
        return skip[:, :, 1:]


class Forgetful(Unequal):
    out_channels = 8

    def forward(self, skips: list[Tensor], up: Tensor) -> Tensor:  # type: ignore[override]
        return up[:, :4]


class Flat(nn.Module):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.block = conv_norm_act(place.at(padding="zeros"), place.in_channels, 4)
        self.channels, self.reductions = [4, 4], [1, 3]

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.block(x), F.avg_pool2d(self.block(x), 3)]


class Coarse(nn.Module):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.channels = list(place.skip_channels)

    def forward(self, maps: list[Tensor | None]) -> list[Tensor | None]:
        return [None, *maps[1:]]


@pytest.mark.parametrize(
    ("slot", "part", "said"),
    [
        ("align", Unequal, "expected one size"),
        ("skip", Shrinking, "expected 2 of 4 channels of 8×12"),
        ("merge", Forgetful, "expected 2 of 8 channels"),
        ("encoder", Flat, "must be rising powers of two"),
        ("topology", Coarse, "expected 2 of 4 channels of 8×16; "),
        ("down", Up, "expected 2 of 8 channels of 4×6"),
        ("encoder_block", Up, "expected 2 of 8 channels of 8×12"),
        ("bottleneck", Up, "expected 2 of 8 channels of 8×12"),
        ("head", Up, "expected 2 of 1 channels of 8×12"),
    ],
)
def test_each_slot_has_its_own_contract(slot: str, part: type[nn.Module], said: str) -> None:
    assert said in failures(slot, part, only="shapes", dims=(2,))["shapes"]


def test_a_block_must_stride_when_asked_to() -> None:
    def unstrided(place: Place) -> nn.Module:
        return conv_norm_act(place, place.in_channels, place.out_channels)

    found = failures("encoder_block", unstrided, only="shapes")
    assert "stride=2" in found["shapes"]
    assert "expected 2 of 8 channels of 4×6" in found["shapes"]


class Lowered(Up):
    """Moves its map down by a pixel, in a way that geometry does not understand."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x)
        return y[:, :, [0, *range(y.shape[2] - 1)]]


def test_positions_are_checked_by_real_numbers() -> None:
    def register(draft: Registrar) -> None:
        draft.up("lowered", Lowered, summary="lowered")
        draft.variant("unet-lowered", up="lowered", depth=2, base_width=16, summary="lowered")

    checks = variant_checks("unet-lowered", registry=registry_with(register))
    found = messages(checks)
    assert list(found) == ["positions"]
    assert "variant unet-lowered of plugin mine (my-plugin 1.0): positions" in found["positions"]
    assert (
        "misalignment at level 0 [-1.0, 0.0] by its gradients, stated [0.0, 0.0]"
        in found["positions"]
    )


def test_a_network_may_be_3d() -> None:
    assert messages(variant_checks("unet+dims=3+depth=1+base_width=32")) == {}


def test_an_architecture_may_take_one_size_only() -> None:
    class Net(nn.Module):
        def __init__(
            self, *, in_channels: int, classes: int, dims: int, image_size: tuple[int, ...]
        ) -> None:
            super().__init__()
            self.size = image_size
            self.conv = nn.Conv2d(in_channels, classes, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            if tuple(x.shape[2:]) != self.size:
                raise ValueError(f"only {self.size}")
            return self.conv(x)

    registry = registry_with(lambda draft: draft.architecture("fixed", Net, summary="one size"))
    assert messages(variant_checks("fixed", sizes=[(20, 24)], registry=registry)) == {}
    assert (
        "variant fixed of plugin mine"
        in messages(variant_checks("fixed", registry=registry))["shapes"]
    )


def test_a_plugin_is_checked_whole() -> None:
    examined_networks = {check.examined for check in plugin_checks("upsampling")}
    assert {"up=bilinear", "up=transpose-4x4", "unet-bilinear"} <= examined_networks
    assert str(plugin_checks("upsampling")[0]) == "up=nearest-conv:shapes"


def test_names_that_are_not_there() -> None:
    with pytest.raises(UnknownName, match="unknown plugin 'upsamplin'; did you mean upsampling"):
        plugin_checks("upsamplin")
    with pytest.raises(UnknownName, match="unknown slot 'ups'"):
        part_checks("ups", "bilinear")
    with pytest.raises(UnknownName, match="unknown up 'bilinea'; did you mean bilinear"):
        part_checks("up", "bilinea")
    with pytest.raises(UnknownName, match="unknown variant 'une'"):
        variant_checks("une")
    with pytest.raises(InvalidChoice, match=r"encoder=timm:\* is an open family: name members"):
        plugin_checks("timm")
