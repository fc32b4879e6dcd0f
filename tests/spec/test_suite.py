"""Suites: TOML, options over it, presets under it, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT

from unet_bench import pipeline
from unet_bench.errors import InvalidSuite, UnetBenchError, UnknownName
from unet_bench.spec.presets import FIRST_LOOK, PRESETS
from unet_bench.spec.suite import (
    RENAMED,
    SETTING_AXES,
    UNITS,
    from_dict,
    from_options,
    parse_memory,
    parse_size,
    read,
)


def test_options_lie_over_the_file_and_the_preset_under_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('variants = ["unet"]\nsteps = 5\nbatch = 3\n')
    suite = from_options({"steps": 7, "batch": None}, str(file)).resolved(on_gpu=False)
    assert (suite.variants, suite.steps, suite.batch) == (("unet",), 7, (3,))
    assert (suite.preset, suite.width_scale) == ("quick", PRESETS["quick"].values["width_scale"])


def test_the_preset_follows_the_device() -> None:
    first_look = from_dict({}).resolved(on_gpu=True)
    assert (first_look.preset, first_look.probes) == ("gpu-quick", FIRST_LOOK)
    assert first_look.variants == tuple(read("tour")["variants"])
    assert (first_look.seeds, first_look.replicates, first_look.steps) == ((0,), 1, 300)
    assert PRESETS["gpu-quick"].time_limit_s == 45 * 60
    assert from_dict({"variants": ["all"]}).resolved(on_gpu=True).variants == ("all",)
    assert from_dict({"preset": "full"}).resolved(on_gpu=False).sizes() == [(256, 256), (388, 388)]


def test_the_presets_variants_unless_others_are_asked_for() -> None:
    first = from_dict({}).resolved(False)
    assert (first.variants, first.seeds) == (tuple(read("first")["variants"]), (0, 1, 2))
    assert from_dict({"variants": ["unet"]}).resolved(False).seeds == (0,)
    assert from_dict({"preset": "standard"}).resolved(False).variants == ("all",)
    assert from_dict({"base": "unet", "vary": ["up=bilinear"]}).resolved(False).variants == ()


def test_a_suite_survives_its_own_record() -> None:
    suite = from_dict({"variants": ["unet"], "seeds": [1, 2], "limit_tmac": 0}).resolved(False)
    assert from_dict(suite.to_dict()) == suite


RUNS = sorted((ROOT / "results" / "reference").glob("*/run.json"))


@pytest.mark.parametrize("manifest", RUNS, ids=lambda manifest: manifest.parent.name)
def test_runs_made_before_can_go_on(manifest: Path) -> None:
    stored = json.loads(manifest.read_text(encoding="utf-8"))
    # Threads that nobody chose are torch's, and presets may now choose others.
    before = {name: value for name, value in stored["suite"].items() if name != "variants"}
    before["threads"] = before["threads"] or [torch.get_num_threads()]
    suite = pipeline.suite_of_run(manifest.parent)
    before = {RENAMED.get(name, name): value for name, value in before.items()}
    assert {name: json.loads(json.dumps(suite.to_dict()))[name] for name in before} == before
    assert suite.window == before.get("window", "scored")
    recipe = pipeline.recipe_of_run(manifest.parent)
    if recipe is not None:
        assert recipe.name == stored["recipe"]["name"]
        assert recipe.evaluations == stored["recipe"].get("looks", recipe.evaluations)


@pytest.mark.parametrize("name", ["one-axis", "align"])
def test_shipped_suites_are_valid(name: str) -> None:
    assert from_options({}, name).data


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ({"varaints": ["unet"]}, UnknownName, "variants"),
        ({"preset": "quik"}, UnknownName, "quick"),
        ({"precision": "fp8"}, UnknownName, "precision"),
        ({"batch": 0}, InvalidSuite, "from 1 to"),
        ({"batch": "four"}, InvalidSuite, "whole number"),
        ({"batch": True}, InvalidSuite, "whole number"),
        ({"variants": [1.5]}, InvalidSuite, "variants"),
        ({"vary": ["up=bilinear"]}, InvalidSuite, "--base"),
        ({"size": "12xx8"}, InvalidSuite, "HEIGHTxWIDTH"),
        ({"seeds": [-1]}, InvalidSuite, "at least 0"),
        ({"width_scale": 0}, InvalidSuite, "above 0"),
        ({"precision": ["fp32", "fp7"]}, UnknownName, "fp16"),
        ({"batch_norm": "jit"}, UnknownName, "batch_norm"),
        ({"batch_norm": "fold"}, UnknownName, "folded"),
        ({"batch": [4, 0]}, InvalidSuite, "from 1 to"),
        ({"threads": [1, 99999]}, InvalidSuite, "cores"),
        ({"precision": []}, InvalidSuite, "at least one"),
        ({"interval": 0}, InvalidSuite, "above 0 and below 1"),
        ({"memory_limit": "8X"}, InvalidSuite, "8G"),
    ],
    ids=str,
)
def test_contradictions_are_refused_whole(data, error, words) -> None:
    with pytest.raises(error, match=words):
        from_dict(data)


def test_unreadable_suites(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="missing"):
        read(str(tmp_path / "missing.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"variants = [\xff")
    with pytest.raises(InvalidSuite, match="broken"):
        read(str(broken))
    with pytest.raises(UnknownName, match="one-axis"):
        read("one-axs")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["variants", "size", "batch", "seeds", "data", "limit_tmac", "preset", "x"]
        ),
        plain,
    )
)
def test_any_data_is_a_suite_or_an_error_of_ours(data: dict) -> None:
    with contextlib.suppress(UnetBenchError):
        from_dict(data).resolved(False).sizes()


def test_one_value_of_an_axis_is_a_list_of_one_and_none_is_named_twice() -> None:
    suite = from_dict(
        {"precision": "bf16", "batch": [2, 4, 2], "threads": 1, "batch_norm": ["kept", "folded"]}
    )
    assert (suite.precision, suite.batch, suite.threads) == (("bf16",), (2, 4), (1,))
    assert suite.batch_norm == SETTING_AXES["batch_norm"]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_preset_says_which_probes_run(preset: str) -> None:
    assert from_dict({"preset": preset}).resolved(False).probes == PRESETS[preset].values["probes"]
    assert from_dict({"preset": preset, "probes": ["cost"]}).resolved(False).probes == ("cost",)


@given(
    st.floats(0.001, 1e6).map(lambda value: f"{value:.3f}"),
    st.sampled_from([*UNITS, *map(str.lower, UNITS)]),
    st.sampled_from(["", "B", "iB", "b"]),
    st.sampled_from(["", " "]),
)
def test_memory_is_read_in_mebibytes(number: str, unit: str, bytes_: str, space: str) -> None:
    power = " kmgt".index(unit.lower() or "m") - 2
    assert parse_memory(f"{number}{space}{unit}{bytes_}") == pytest.approx(
        float(number) * 1024.0**power
    )


@given(
    st.text(max_size=8)
    | st.sampled_from(["0", "-1G", "1.2.3G", "nan", "inf", "1e400G", "G", "8GG", "٣G", "1" * 400])
)
def test_other_text_is_a_memory_above_zero_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidSuite):
        assert 0 < parse_memory(text) < float("inf")


def test_sizes() -> None:
    assert parse_size("128") == (128, 128)
    assert parse_size("96x128") == (96, 128)


def test_a_training_window_lies_within_the_scored_size() -> None:
    suite = from_dict({"size": "128x96,32x32x32", "window": "64x64"}).resolved(False)
    assert suite.window_of((128, 96)) == (64, 64)
    assert suite.window_of((32, 32, 32)) == (32, 32, 32)
    scored = from_dict({"window": "scored"}).resolved(False)
    assert scored.window_of((128, 128)) == (128, 128)
    for window in ("64x128", "32x32x32", "64x64,32x32", "small"):
        with pytest.raises(InvalidSuite, match=r"^window"):
            from_dict({"size": "128x96", "window": window}).resolved(False)


def test_a_presets_window_gives_way_to_a_smaller_size() -> None:
    assert from_dict({"size": "32x32"}).resolved(False).window_of((32, 32)) == (32, 32)
    assert from_dict({"size": "32x32x32"}).resolved(False).window_of((32, 32, 32)) == (32, 32, 32)
