"""A search: stages that are ordinary runs, test images scored once, and going on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import unet_bench
from unet_bench.cli.app import app
from unet_bench.errors import StoreError
from unet_bench.execute.driver import Quiet
from unet_bench.searching import rounds
from unet_bench.searching.rounds import NothingFits
from unet_bench.store.log import read_manifest
from unet_bench.store.tables import read_results

ASKED: dict[str, Any] = {
    "budget": "1h",
    "space": ["up=bilinear,nearest", "merge=add", "depth=2"],
    "size": "32x32",
    "window": "scored",
    "width_scale": 0.0625,
    "batch": (1,),
    "eval_images": 2,
    "max_params_m": 0.05,
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rounds of few networks and few steps, however much time there is."""
    fewer = {"MOST": 4, "POOL": 6, "STEPS": 2, "MOST_LONGER": 1, "MOST_CONFIRMED": 1, "RUNGS": 2}
    fewer |= {"CARRIED": 2}
    for name, value in fewer.items():
        monkeypatch.setattr(rounds, name, value)
    monkeypatch.setattr(rounds, "FRESH_SEEDS", (1000, 1001))


class Killed(Quiet):
    """Watches, and kills the search at the first cell of a stage."""

    def __init__(self, stage: str) -> None:
        self.stage, self.path = stage, Path()

    def begin(self, planned: list[Any], path: Path, seconds: float) -> None:
        self.path = path

    def done(self, planned: Any, row: dict[str, Any]) -> None:
        if self.path.parent.name == self.stage and row["probe"] == "accuracy":
            raise KeyboardInterrupt


def run_of(search: Path, stage: str) -> Path:
    (found,) = (search / stage).iterdir()
    return found


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_to_the_same_answer(tmp_path: Path) -> None:
    whole = unet_bench.search(out=tmp_path / "whole", **ASKED)
    for stage in ("round-2", "confirmed"):
        resume = next((tmp_path / "killed").glob("*"), None)
        with pytest.raises(KeyboardInterrupt):
            unet_bench.search(
                out=tmp_path / "killed", resume=resume, progress=Killed(stage), **ASKED
            )
    (folder,) = (tmp_path / "killed").iterdir()
    again = unet_bench.search(resume=folder)
    assert again.best == whole.best != ""
    assert list(again.table["dice"]) == list(whole.table["dice"])
    assert again.found.model.effects() == whole.found.model.effects()

    # Rounds score validation images; the last stage alone test images, by seeds of its own.
    evaluations = {}
    for stage in rounds.ENDS:
        run = run_of(whole.path, stage)
        results = read_results(run)
        trained = results[~results["trivial"].fillna(False).astype(bool)]
        evaluations[stage] = set(trained["evaluation"].dropna())
        seeds = set(read_manifest(run)["suite"]["seeds"])
        assert seeds == ({1000, 1001} if stage == "confirmed" else {0, 1})
        others = trained[(trained["variant"] != "unet") & trained["params"].notna()]
        assert (others["params"] <= 0.05e6).all()
        assert len(others)
    assert evaluations == {
        "round-1": {"tiled validation images"},
        "round-2": {"tiled validation images"},
        "confirmed": {"tiled"},
    }

    # The second round keeps the first one's best, and tries others.
    first, second = (run_of(whole.path, stage) for stage in ("round-1", "round-2"))
    raced = [read_manifest(run)["suite"]["variants"] for run in (first, second)]
    dice = {name: place for name, place in rounds.reached(first).items() if name != "unet"}
    assert max(dice, key=dice.__getitem__) in raced[1]
    assert raced[0][0] == raced[1][0] == "unet"
    assert set(raced[1]) - set(raced[0])

    assert "believe" in str(whole)
    assert "unet-bench predict" in str(whole)
    assert not whole.model().training
    assert json.loads(str(whole.document().rendered("json")))["best"] == whole.best != "unet"


def test_what_nothing_keeps_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NothingFits, match=r"--max-params-m 0\.001.*nearest, unet.* takes"):
        unet_bench.search(out=tmp_path, **{**ASKED, "max_params_m": 0.001})


def test_a_budget_for_nothing_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(NothingFits, match="budget 1s is too small"):
        unet_bench.search(out=tmp_path, **{**ASKED, "budget": "1s", "max_params_m": None})
    assert not list(tmp_path.glob("*/*/*/cells.jsonl"))


def test_proposals_follow_what_is_known(tmp_path: Path) -> None:
    request = rounds.Request(suite={}, budget="1h", space=("up=bilinear,nearest", "depth=2,3"))
    search = rounds.Search(tmp_path, request, Quiet())
    points = [*dict.fromkeys(map(search.space.name, sampled_points(search)))]
    dice = [0.9 if "depth=2" in name else 0.8 for name in points]
    model = rounds.additive_model(
        search.space.alternatives, [search.space.point(name) or {} for name in points], dice
    )
    assert "depth=2" in next(search.proposed(model, seen=set()))


def sampled_points(search: rounds.Search) -> list[Any]:
    draws = search.space.draws(0)
    return [next(draws) for _ in range(100)]


def test_a_folder_that_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no search"):
        unet_bench.search(resume=tmp_path)
    (tmp_path / rounds.REQUEST).write_text('{"request": {}}')
    with pytest.raises(StoreError, match="holds no search"):
        unet_bench.search(resume=tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume", "x", "-d", "cells"], "leave out data"),
        (["--resume", "last", "--out", "nowhere"], "no search in nowhere"),
        (["--budget", "soon"], "budget 'soon' is not valid"),
        (["--max-params-m", "-1"], "a limit is a number above 0"),
    ],
)
def test_what_the_command_refuses(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["search", *words])
    assert done.exception is not None
    assert said in str(done.exception)
