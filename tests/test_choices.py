"""Choices, variants, selection and grids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.choices import FIELDS, NAMES, Choices, parse_value
from unet_bench.errors import InvalidChoice, UnknownName
from unet_bench.registry import Registry
from unet_bench.selection import canonicalised, grid, select
from unet_bench.variants import Variant


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
    [("bias", "FALSE", False), ("depth", "3", 3), ("decoder_widths", "64/128", (64, 128)), ("dropout", "0.5", 0.5)],
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


def test_between_24_and_32_variants_each_isolated_choice_once(registry: Registry) -> None:
    variants = registry.variants()
    assert 24 <= len(variants) <= 32
    base = Choices().text()
    for variant in variants.values():
        if "one-axis" in variant.tags:
            changed = [name for name in NAMES if variant.choices.text()[name] != base[name]]
            assert len(changed) == 1, variant.name


def test_select_by_name_glob_tag_and_change(registry: Registry) -> None:
    assert [v.name for v in select(registry, ["unet"])] == ["unet"]
    assert {v.name for v in select(registry, ["unet-bi*"])} == {"unet-bilinear", "unet-bilinear-conv"}
    assert "unet-milesial" in {v.name for v in select(registry, ["tag:published"])}
    (changed,) = select(registry, ["unet-paper+up=bilinear+depth=3"])
    assert (changed.choices.up, changed.choices.depth, changed.choices.padding) == ("bilinear", 3, "valid")
    assert len(select(registry, ["all"])) == len(registry.variants())
    assert [v.name for v in select(registry, ["unet-add", "unet", "unet-add"])] == ["unet-add", "unet"]


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
    assert [v.name for v in variants] == ["unet", "unet+align=pad", "unet+up=bilinear", "unet+up=bilinear+align=pad"]


def test_architectures_have_no_slots_to_vary(registry: Registry) -> None:
    with pytest.raises(InvalidChoice, match="whole architecture"):
        grid(registry, "segnet", ["up=transpose"])


def test_choices_that_cannot_matter_are_inactive(registry: Registry) -> None:
    (timm,) = select(registry, ["resnet34-unet+down=strided-conv+base_width=16"])
    canonical = canonicalised(registry, timm)
    assert {"down", "base_width", "depth"} <= set(canonical.inactive)
    assert canonical.canonical() == canonicalised(registry, registry.variants()["resnet34-unet"]).canonical()
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


def test_same_stands_for_what_it_is(registry: Registry) -> None:
    (said,) = select(registry, ["unet-residual+decoder_block=residual"])
    assert (
        canonicalised(registry, said).canonical()
        == canonicalised(registry, registry.variants()["unet-residual"]).canonical()
    )
