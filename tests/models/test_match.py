"""Equal cost: widths scaled until the baseline's parameters or MACs are met."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unet_bench import pipeline, run
from unet_bench.analysis.compare import joined, workloads
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import InvalidSuite, UnknownName
from unet_bench.host.survey import DeviceFacts
from unet_bench.models.build import build_model
from unet_bench.models.match import CLOSE, LEAST_SCALE, MOST_SCALE, is_within, nearest_scale
from unet_bench.networks.unet import scaled
from unet_bench.networks.variants import Variant
from unet_bench.plan.cells import Planned, make_plan
from unet_bench.plan.tasks import LoadedTask
from unet_bench.present.progress import plan_text
from unet_bench.present.table import results_document
from unet_bench.registry.plugins import load
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import from_dict
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import read_results

TINY: dict[str, Any] = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.25,
    "batch": 1,
    "threads": 1,
}


def planned(*variants: str, **options: Any) -> dict[str, Planned]:
    with pipeline.plan(
        from_dict({**TINY, "probes": ["cost"], "variants": variants, **options})
    ) as made:
        return {p.names[0]: p for p in made.planned}


def scale(found: Planned) -> float:
    return found.cell.variant.choices.width_scale


# ---- the search


@given(
    st.sampled_from([16, 24, 32, 64]),
    st.integers(3, 5),
    st.sampled_from([0.125, 0.25, 1.0]),
    st.floats(0.3, 3),
    st.sampled_from([0, 1000, 50_000]),
)
def test_the_search_finds_the_nearest_step_of_the_stairs(
    base: int, depth: int, start: float, share: float, fixed: int
) -> None:
    def cost(scale: float) -> int:
        widths = [scaled(base << level, scale) for level in range(depth + 1)]
        return fixed + sum(
            18 * a * b for a, b in zip([1, *widths], [*widths, widths[-1]], strict=True)
        )

    target = int(cost(start) * share)
    found = nearest_scale(cost, target, start)
    everywhere = (cost(start * 0.2 * 1.002**step) for step in range(1600))
    best = min(abs(reached - target) for reached in everywhere) / target
    assert abs(cost(found) - target) / target <= max(1.1 * best, CLOSE)
    assert found == start or found == float(f"{found:.4g}")


def test_the_search_ends_at_the_bounds_and_where_cost_does_not_change() -> None:
    tried: list[float] = []

    def cost(of: Any) -> Any:
        return lambda scale: tried.append(scale) or of(scale)

    assert nearest_scale(cost(lambda s: round(1e9 * s**2)), 10**15, 1.0) == MOST_SCALE
    assert nearest_scale(cost(lambda s: round(1e9 * s**2)), 10, 1.0) == pytest.approx(
        LEAST_SCALE, rel=1e-3
    )
    assert len(tried) < 10
    tried.clear()
    assert nearest_scale(cost(lambda s: 1000), 5000, 1.0) in tried
    assert len(tried) < 5


def test_where_a_width_cannot_be_built_the_search_goes_by_the_step() -> None:
    def cost(scale: float) -> int | None:
        return round(1e6 * scale**2) if (scale * 16).is_integer() else None

    assert nearest_scale(cost, 1_560_000, 1.0, 1 / 16) == 1.25
    assert nearest_scale(cost, 1_560_000, 1.0) == 1.0
    assert nearest_scale(lambda scale: None, 1_560_000, 1.0, 1 / 16) == 1.0


# ---- variants


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["params", "macs"])
def test_widths_are_scaled_until_the_baselines_cost_is_met(figure: str) -> None:
    names = ("unet", "unet-milesial-bilinear", "unet-light")
    free, found = planned(*names), planned(*names, match=figure)
    target = getattr(found["unet"], figure)
    assert found["unet"].cell == free["unet"].cell, "the baseline is as it was"
    for name in names[1:]:
        assert not is_within(getattr(free[name], figure), target, 0.013), (
            f"{name} needs no match: choose another"
        )
        assert is_within(getattr(found[name], figure), target, 0.012), name
        assert found[name].status == ""
    assert scale(found["unet-light"]) > 1 > scale(found["unet-milesial-bilinear"]) > 0.25


def test_what_is_planned_is_what_is_built() -> None:
    found = planned("unet-bilinear", match="params")["unet-bilinear"]
    task = found.cell.task
    model = build_model(
        "unet-bilinear",
        in_channels=task.in_channels,
        classes=len(task.classes),
        width_scale=scale(found),
    )
    assert sum(p.numel() for p in model.parameters()) == found.params


@pytest.mark.slow
def test_an_unpadded_network_pays_for_the_context_that_it_takes_in() -> None:
    found = planned("unet", "unet-paper", match="macs", width_scale=1.0)
    unet, paper = found["unet"], found["unet-paper"]
    assert paper.cell.input_window.input > unet.cell.input_window.input
    assert is_within(paper.macs or 0, unet.macs or 0, 0.02)
    assert scale(paper) < 0.5
    assert scale(planned("unet-paper", match="params", width_scale=1.0)["unet-paper"]) == 1.0


def test_the_width_of_a_variant_itself_is_of_no_account() -> None:
    found = planned(
        "unet+width_scale=0.5", "unet-bilinear", "unet-bilinear+width_scale=2", match="params"
    )
    assert [(p.names, p.status) for p in found.values()] == [
        (("unet", "unet+width_scale=0.5"), ""),
        (("unet-bilinear", "unet-bilinear+width_scale=2"), ""),
    ]


def test_widths_that_must_double_are_matched_in_coarser_steps() -> None:
    found = planned("unet-add", match="params", width_scale=1.0)
    assert scale(found["unet-add"]) == 1.0625
    assert is_within(found["unet-add"].params or 0, found["unet"].params or 0, 0.02)


def test_whole_architectures_are_matched_where_they_have_a_width() -> None:
    found = planned("unet", "attention-unet", "cmunext", match="params", width_scale=0.5)
    assert is_within(found["attention-unet"].params or 0, found["unet"].params or 0, 0.012)
    assert found["attention-unet"].status == ""


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        ({"variants": ["resnet18-unet"]}, "resnet18-unet", "which width_scale does not change"),
        (
            {"models": [f"{__name__}:Plain"]},
            f"{__name__}:Plain",
            "which width_scale does not change",
        ),
        (
            {"variants": ["unet-add"]},
            "unet-add",
            "the nearest is 1,7.*, at width_scale 0.25; widths go in steps",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_matched_is_unsupported_and_says_why(
    options: dict, name: str, words: str
) -> None:
    with pipeline.plan(
        from_dict({**TINY, "probes": ["cost"], "match": "params", **options})
    ) as made:
        found = {p.names[0]: p for p in made.planned}
    assert found[name].status == "unsupported"
    reason = found[name].reason
    assert reason.startswith(
        f"{name} cannot be brought to the {found['unet'].params:,} params of unet: "
    )
    assert re.search(words, reason)
    assert "without --match" in reason


class Plain(nn.Sequential):
    """Somebody's module, as wide as it is."""

    def __init__(self, in_channels: int = 1, classes: int = 2) -> None:
        super().__init__(nn.Conv2d(in_channels, classes, 3, padding=1))


def test_what_cannot_be_scaled_is_measured_if_it_costs_the_same_anyhow() -> None:
    found = planned("resnet18-unet+head=conv-1x1", baseline="resnet18-unet", match="params")
    base, other = found.values()
    assert base.params != other.params
    assert (base.status, other.status) == ("", "")


def test_a_baseline_that_costs_nothing_is_refused() -> None:
    registry, suite = (
        load().checked(),
        from_dict({**TINY, "match": "params", "device": "cpu"}).resolved(False),
    )
    nothing = Variant(name="nothing", architecture=f"{__name__}:Nothing")
    with pipeline.plan(from_dict({**TINY, "variants": ["unet"], "probes": ["cost"]})) as made:
        task = LoadedTask(made.planned[0].cell.task, None)
    with pytest.raises(InvalidSuite, match="no params for others to match"):
        make_plan(suite, Recipe(), registry, [nothing], [task], DeviceFacts("cpu"))


class Nothing(nn.Module):
    """Every class' score is the image."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Any) -> Any:
        return x[:, :1].repeat(1, self.classes, 1, 1)


# ---- cells and suites


BEFORE = {"unet": "58f3b3c40715", "unet-bilinear": "03a4f54814be"}


@pytest.mark.slow
def test_a_suite_has_the_same_cells_each_time_and_without_a_match_those_it_ever_had() -> None:
    first, second = (planned("unet-bilinear", "unet-light", match="macs") for _ in range(2))
    assert [p.cell.id for p in first.values()] == [p.cell.id for p in second.values()]
    free = planned("unet-bilinear", width_scale=0.0625, device="cpu")
    assert {name: p.cell.id for name, p in free.items()} == BEFORE


def test_suites_say_what_to_match_and_nothing_else() -> None:
    assert from_dict({"match": "macs"}).resolved(False).to_dict()["match"] == "macs"
    assert from_dict({}).match == ""
    assert (
        "of the baseline, whose params the others meet"
        in from_dict({"match": "params"}).resolved(False).scaled_down()
    )
    with pytest.raises(UnknownName, match=r"unknown match 'parms'; did you mean params"):
        from_dict({"match": "parms"})


def test_the_plan_shows_the_width_and_what_it_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = from_dict(
        {
            **TINY,
            "variants": ["unet-bilinear", "resnet18-unet"],
            "match": "params",
            "probes": ["cost"],
        }
    )
    with pipeline.plan(wanted) as made:
        plan_text(made)
    text = " ".join(capsys.readouterr().out.split())
    assert "width × 0.25, params +0.0 %" in text
    assert re.search(r"width × 0.24\d+, params [+-]0.\d %", text)
    assert text.count("cannot be brought") == 1
    assert "scaled to the baseline's params" in text


# ---- rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same suite at equal width, and at equal parameters."""
    options = {**TINY, "probes": ["cost"], "preset": "quick"}
    return {
        match: Path(
            run(
                ["unet", "unet-bilinear", "resnet18-unet"],
                out=tmp_path_factory.mktemp("runs"),
                match=match,
                **options,
            ).attrs["path"]
        )
        for match in ("", "params")
    }


def test_rows_say_what_was_matched_and_what_was_reached(runs: dict[str, Path]) -> None:
    rows = read_results(runs["params"]).set_index("variant")
    assert (rows["match"] == "params").all()
    assert is_within(rows.loc["unet-bilinear", "params"], rows.loc["unet", "params"], 0.01)
    assert rows.loc["unet-bilinear", "width_scale"] != 0.25 == rows.loc["unet", "width_scale"]
    assert rows.loc["resnet18-unet", "cost_status"] == "unsupported"
    assert "cannot be brought" in rows.loc["resnet18-unet", "error"]
    assert pd.isna(rows.loc["resnet18-unet", "params"])
    assert read_results(runs[""])["match"].isna().all()


@pytest.mark.slow
def test_a_matched_run_goes_on_with_its_own_cells(runs: dict[str, Path]) -> None:
    suite, recipe = pipeline.suite_of_run(runs["params"]), pipeline.recipe_of_run(runs["params"])
    with pipeline.plan(suite, recipe) as made:
        ids = {p.cell.id for p in made.planned}
    assert ids == set(read_results(runs["params"], "cells")["cell_id"].str.partition("-")[0])


@pytest.mark.slow
def test_matched_and_unmatched_rows_are_never_compared(runs: dict[str, Path]) -> None:
    assert "match" in CONDITIONS
    assert "match" in SETTING
    free, met = (read_results(runs[match]) for match in ("", "params"))
    assert all(None in pair for pair in joined(free, met).values())
    of_before = free.drop(columns="match")
    assert not any(None in pair for pair in joined(of_before, free).values()), (
        "as runs of earlier versions have it"
    )
    assert all(None in pair for pair in joined(of_before, met).values())
    assert not any(None in pair for pair in joined(met, met).values())
    assert any("matched params" in label for label in workloads(joined(free, met)).values())


@pytest.mark.slow
def test_titles_say_matched_and_captions_the_width_of_the_baseline(runs: dict[str, Path]) -> None:
    documents = [results_document(read_results(runs[match])) for match in ("", "params")]
    free, met = (str(document.rendered("md")) for document in documents)
    assert " · matched params · " in met
    assert "matched" not in free
    assert "width_scale 0.25 ·" in met
    assert json.loads(str(documents[1].rendered("json")))[0]["match"] == "params"
