"""Choices, variants, selection and grids."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.errors import InvalidChoice, InvalidSuite, UnknownName, Unsupported
from unet_bench.measure.cost import cost
from unet_bench.models.select import canonicalised, grid, select, select_one, split_changes
from unet_bench.networks.choices import FIELDS, OF_PLAIN_ENCODER, SLOTS, Choices, parse_value
from unet_bench.networks.contracts import NamedFactory
from unet_bench.networks.unet import assemble
from unet_bench.networks.variants import Variant
from unet_bench.registry import Registrar
from unet_bench.registry.entries import Provider
from unet_bench.registry.registry import Registry


def test_the_baseline_is_the_default() -> None:
    assert (Choices().padding, Choices().norm, Choices().base_width) == ("zeros", "batch", 64)


@given(
    st.fixed_dictionaries(
        {
            "base_width": st.integers(1, 512),
            "bias": st.booleans(),
            "decoder_widths": st.lists(st.integers(1, 999), max_size=5).map(tuple),
            "width_scale": st.floats(0.01, 8, allow_nan=False),
            "norm": st.sampled_from(FIELDS["norm"].metadata["values"]),
        }
    )
)
def test_text_and_back(changes: dict) -> None:
    choices = Choices().replace(**changes)
    again = Choices().replace(**choices.text())
    assert again.text() == choices.text()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bias", "FALSE", False),
        ("depth", "3", 3),
        ("decoder_widths", "64/128", (64, 128)),
        ("dropout", "0.5", 0.5),
    ],
)
def test_values_are_parsed_by_the_type_of_their_default(name, text, value) -> None:
    assert parse_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bias", "maybe"),
        ("depth", "3.5"),
        ("depth", 3.5),
        ("decoder_widths", "64,128"),
        ("norm", "layernorm"),
        ("up", 3),
    ],
)
def test_wrong_values_are_refused(name, text) -> None:
    with pytest.raises(InvalidChoice, match=name):
        parse_value(name, text)


def test_variants_travel_as_json(registry: Registry) -> None:
    for variant in registry.variants().values():
        again = Variant.from_json(variant.to_json())
        assert again.canonical() == variant.canonical()


def test_every_part_has_a_variant_that_differs_by_it_alone(registry: Registry) -> None:
    alone = {
        (v.tags[-1], v.choices.text()[v.tags[-1]])
        for v in registry.variants().values()
        if "one-axis" in v.tags
    }
    default = Choices().text()
    also_the_encoders = {
        ("decoder_block", entry.name) for entry in registry.entries("encoder_block")
    }
    for slot in [
        slot for slot in SLOTS if slot != "align"
    ]:  # which matters beside unpadded convolutions only
        for entry in registry.entries(slot):
            kind = "encoder_block" if (slot, entry.name) in also_the_encoders else slot
            if entry.name != default[kind] and not entry.name.endswith(":*"):
                assert (kind, entry.name) in alone, f"{slot}={entry.name} has no one-axis variant"


def test_a_one_axis_variant_changes_one_choice() -> None:
    draft = Registrar(Provider("p"))
    draft.variant("x", up="bilinear", summary="x", tags=("one-axis",))
    assert draft.variants["x"].tags == ("one-axis", "up")
    for more in ({}, {"up": "bilinear", "depth": 3}):
        with pytest.raises(InvalidChoice, match="must change one"):
            draft.variant("y", summary="y", tags=("one-axis",), **more)


def test_select_by_name_glob_tag_and_change(registry: Registry) -> None:
    assert [v.name for v in select(registry, ["unet"])] == ["unet"]
    assert {v.name for v in select(registry, ["unet-valid-*"])} == {
        "unet-valid-pad",
        "unet-valid-resize",
    }
    assert {v.choices.align for v in select(registry, ["tag:align"])} == {"pad", "resize"}
    assert {"unet", "unet-milesial"} & {v.name for v in select(registry, ["tag:published"])} == {
        "unet-milesial"
    }
    assert "unet-milesial" in {v.name for v in select(registry, ["tag:published"])}
    (changed,) = select(registry, ["unet-paper+up=bilinear+depth=3"])
    assert (changed.choices.up, changed.choices.depth, changed.choices.padding) == (
        "bilinear",
        3,
        "valid",
    )
    present = [
        name for name, variant in registry.variants().items() if not registry.absent(variant)
    ]
    assert [v.name for v in select(registry, ["all"])] == present
    assert [v.name for v in select(registry, ["unet-add", "unet", "unet-add"])] == [
        "unet-add",
        "unet",
    ]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("unet-bilinaer", "unet-bilinear"),
        ("u*x", "list variants"),
        ("tag:publishd", "published"),
        ("unet+up=bilinaer", "bilinear"),
    ],
)
def test_misspelt_selections_name_the_nearest(registry: Registry, pattern: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=hint):
        select(registry, [pattern])


def test_grids_cross_all_alternatives(registry: Registry) -> None:
    variants = grid(registry, "unet", ["up=transpose,bilinear", "align=crop,pad"])
    assert [v.name for v in variants] == [
        "unet",
        "unet+align=pad",
        "unet+up=bilinear",
        "unet+up=bilinear+align=pad",
    ]


def test_architectures_have_no_slots_to_vary(registry: Registry) -> None:
    with pytest.raises(InvalidChoice, match="whole architecture"):
        grid(registry, "segnet", ["up=transpose"])


def test_choices_that_cannot_matter_are_inactive(registry: Registry) -> None:
    (timm,) = select(registry, ["resnet34-unet+down=strided-conv+base_width=16"])
    canonical = canonicalised(registry, timm)
    assert {"down", "base_width", "depth"} <= set(canonical.inactive)
    assert (
        canonical.canonical()
        == canonicalised(registry, registry.variants()["resnet34-unet"]).canonical()
    )
    (kept,) = select(registry, ["unet-bilinear+up_policy=keep"])
    assert (
        canonicalised(registry, kept).canonical()
        == canonicalised(registry, registry.variants()["unet-bilinear"]).canonical()
    )
    (none,) = select(registry, ["unet-no-skip+merge=add"])
    assert (
        canonicalised(registry, none).canonical()
        == canonicalised(registry, registry.variants()["unet-no-skip"]).canonical()
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("encoder_widths", "doubling", ()),
        ("encoder_widths", "16/32", (16, 32)),
        ("decoder_widths", "mirror", ()),
        ("skip_levels", "all", ()),
        ("skip_levels", "0/2", (0, 2)),
        ("blocks_per_level", "1/3/4", (1, 3, 4)),
    ],
)
def test_lists_have_a_word_for_none(name: str, text: str, value: tuple[int, ...]) -> None:
    choices = Choices().replace(**{name: text})
    assert getattr(choices, name) == value
    assert choices.text()[name] == text


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder_widths": "16/0"},
        {"skip_levels": "0/-1"},
        {"blocks_per_level": "0"},
        {"blocks_per_level": ()},
        {"aux_heads": -1},
        {"norm_groups": 0},
        {"skip_levels": "mirror"},
    ],
)
def test_numbers_below_the_least_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidChoice, match=next(iter(wrong))):
        Choices().replace(**wrong)


@pytest.mark.parametrize(
    ("alike", "apart"),
    [
        ("unet+norm_groups=4", "unet-group+norm_groups=4"),
        ("unet+leak=0.2", "unet-leaky+leak=0.2"),
        ("unet+average_heads=true", "unet+aux_heads=1+average_heads=true"),
    ],
)
def test_an_axis_matters_where_what_it_speaks_of_is_there(
    registry: Registry, alike: str, apart: str
) -> None:
    base = {
        name: canonicalised(registry, registry.variants()[name])
        for name in ("unet", "unet-group", "unet-leaky")
    }
    (same,), (other,) = select(registry, [alike]), select(registry, [apart])
    assert canonicalised(registry, same).canonical() == base["unet"].canonical()
    assert canonicalised(registry, other).canonical() not in {b.canonical() for b in base.values()}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("unet++", ("unet++", [])),
        ("unet+++up=bilinear", ("unet++", ["up=bilinear"])),
        ("unet3++up=a+depth=3", ("unet3+", ["up=a", "depth=3"])),
        ("unet+upp", ("unet", ["upp"])),
        ("unet+topology=unet++", ("unet", ["topology=unet++"])),
        ("nothing+up=a", ("nothing", ["up=a"])),
        ("smp:unet/tu-x", ("smp:unet/tu-x", [])),
    ],
)
def test_names_may_have_plus_signs(pattern: str, words: tuple[str, list[str]]) -> None:
    known = {name: Variant(name=name) for name in ("unet", "unet++", "unet3+")}
    assert split_changes(known, pattern) == words


def family(needs: tuple[str, str] | None) -> Registry:
    """A registry with `unet`, and an open family of architectures."""
    draft, found = Registrar(Provider("p")), Registry()
    draft.architecture("net:*", lambda member: member, summary="nets", needs=needs)
    draft.architecture("net-a", lambda: None, summary="a net", needs=needs)
    draft.variant("unet", summary="u")
    found.commit(draft)
    return found


def test_a_member_of_a_family_can_be_named() -> None:
    (variant,) = select(family(None), ["net:b"])
    assert (variant.architecture, variant.provider) == ("net:b", "p")
    assert [v.name for v in select(family(None), ["all"])] == ["net-a", "unet"]


def test_what_needs_an_absent_package_is_left_out_and_refused_by_name() -> None:
    registry = family(("no_such_package", "pip install such"))
    assert [v.name for v in select(registry, ["all"])] == ["unet"]
    for name in ("net:b", "net-a", "net-*"):
        with pytest.raises(Unsupported, match="pip install such"):
            select(registry, [name])


OTHER = {
    "encoder_block": "residual",
    "down": "strided-conv",
    "up_policy": "keep",
    "merge": "add",
    "align": "pad",
    "depth": 3,
    "base_width": 32,
    "max_width": 128,
    "encoder_widths": (8, 16),
    "blocks_per_level": (2,),
}


@pytest.mark.parametrize(
    "around", [{}, {"bottleneck": "aspp"}, {"topology": "unet++"}, {"topology": "unet3+"}]
)
@pytest.mark.parametrize(
    ("base", "names"),
    [
        pytest.param(
            "encoder=timm:resnet18", {*OF_PLAIN_ENCODER} - {"width_scale"}, marks=pytest.mark.full
        ),
        ("up=bilinear", {"up_policy"}),
        ("skip=none", {"merge", "align"}),
        ("skip=none+merge=add", {"align"}),
    ],
)
def test_what_is_inactive_changes_nothing_in_what_is_built(
    registry, base: str, names: set[str], around: dict
) -> None:
    """Built from the choices as they are, not as `build` simplifies them."""
    (variant,) = select(registry, [f"unet+{base}"])
    choices = variant.choices.replace(decoder_block="double-conv", base_width=16, **around)
    inactive = set(canonicalised(registry, replace(variant, choices=choices)).inactive)

    def built(**changes: object) -> tuple[object, ...]:
        changed = choices.replace(**changes)  # type: ignore[arg-type]
        parts = {
            slot: NamedFactory(slot, "", "", registry.find(slot, getattr(changed, slot)).load())
            for slot in SLOTS
        }
        with torch.device("meta"):
            model = assemble(changed, parts, 3, 2)
        return [(name, p.shape) for name, p in model.named_parameters()], cost(model, 3, (96, 64))

    for name in names & inactive:
        assert built() == built(**{name: OTHER[name]}), name
    assert names <= inactive or around.get("topology")


def test_one_variant_where_one_is_wanted(registry: Registry) -> None:
    assert select_one(registry, "unet").name == "unet"
    with pytest.raises(InvalidSuite, match="name just one"):
        select_one(registry, "tag:up")


def test_same_stands_for_what_it_is(registry: Registry) -> None:
    (said,) = select(registry, ["unet-residual+decoder_block=residual"])
    assert (
        canonicalised(registry, said).canonical()
        == canonicalised(registry, registry.variants()["unet-residual"]).canonical()
    )
