"""The page of answers: which seeds count, what an interval says of a claim, and that every network
it names is in the study.
"""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from support.paths import ROOT

SUITES = ROOT / "unet_bench" / "spec" / "suites"


@pytest.fixture(scope="module")
def answers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("answers", ROOT / "docs" / "answers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["answers"] = module
    spec.loader.exec_module(module)
    return module


def cells(*rows: tuple[str, str, int, float | None]) -> pd.DataFrame:
    """Cells of accuracy: variant, task, seed, Dice; None: it diverged."""
    frame = pd.DataFrame(rows, columns=["variant", "task", "seed", "dice"])
    frame["probe"], frame["trivial"], frame["pretrained"] = "accuracy", False, "none"
    frame["batch_requested"] = 4
    frame["status"] = ["nonfinite" if dice is None else "ok" for *_, dice in rows]
    return frame


def names_in(suite: str) -> set[str]:
    """Return what the networks of a suite are called in claims.toml."""
    content = tomllib.loads((SUITES / f"{suite}.toml").read_text())
    starts = ["" if of == "none" else f" from {of}" for of in content.get("pretrained", ["none"])]
    batches = [f" at batch {batch}" for batch in content.get("batch", [])] or [""]
    return {
        f"{variant}{start}{batch}"
        for variant in content["variants"]
        for start in starts
        for batch in batches
    }


def test_every_network_that_a_claim_names_is_in_its_suite(answers: ModuleType) -> None:
    for question in answers.read_questions(ROOT / "docs" / "claims.toml"):
        assert question.suite in answers.SUITES
        for claim in question.claims:
            assert bool(claim.tests) != bool(claim.missing), claim.says
            for test in claim.tests:
                assert {test.new, test.old} <= names_in(question.suite)
                assert test.says in ("equal", "better", "worse")


def test_the_studys_suites_train_alike(answers: ModuleType) -> None:
    read = [tomllib.loads((SUITES / f"{suite}.toml").read_text()) for suite in answers.SUITES]
    for name in ("size", "fit", "recipe", "eval_images", "seeds", "preset"):
        assert len({str(content[name]) for content in read}) == 1, name
    assert answers.USUAL_BATCH * read[0]["steps"] == read[1]["images"]


def test_seeds_that_some_networks_lack_do_not_count(
    answers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_run = {
        "study-cpu-seed-0": cells(
            ("unet", "a", 0, 0.8), ("unet", "b", 0, 0.6),
            ("deep", "a", 0, 0.9), ("deep", "b", 0, None),
        ),
        "study-cpu-seed-1": cells(
            ("unet", "a", 1, 0.7), ("unet", "b", 1, 0.6), ("deep", "a", 1, 0.9)
        ),
    }  # fmt: skip
    for name in by_run:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(answers, "read_results", lambda run, _: by_run[run.name])
    study = answers.read_study(tmp_path)
    assert study.scores["deep"] == {"a": {0: 0.9, 1: 0.9}, "b": {0: 0.0}}  # diverged: 0
    assert study.failed == ["deep on b, seed 0: nonfinite"]
    assert (study.seeds("a"), study.seeds("b")) == ([0, 1], [0])
    # A single seed has no spread: the data set waits for another.
    assert study.differences("deep", "unet") == {"a": pytest.approx([0.1, 0.2])}


def test_how_a_network_was_trained_is_in_its_name(
    answers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = cells(("unet", "a", 0, 0.8), ("unet", "a", 0, 0.7), ("unet", "a", 0, 0.6))
    frame["batch_requested"], frame["pretrained"] = [4, 1, 4], ["none", "none", "imagenet"]
    (tmp_path / "study-batch-cpu-seed-0").mkdir()
    monkeypatch.setattr(answers, "read_results", lambda *_: frame)
    assert set(answers.read_study(tmp_path).scores) == {
        "unet",
        "unet at batch 1",
        "unet from imagenet",
    }


def test_what_was_not_trained_is_out_of_reach(answers: ModuleType) -> None:
    claim = answers.Claim("x", "y", "z", (answers.Test("deep", "unet", "better"),))
    question = answers.Question("Deep?", "depth", (claim,))
    study = answers.Study({"unet": {"a": {0: 0.8, 1: 0.8}}})
    assert answers.effects_of(study, claim.tests) == {}
    assert answers.verdict_on(claim, {}) == "out of reach"
    assert answers.forest(question, {}) is None
    assert "Not measured yet" in answers.page(study, [question])["summary"]


def test_each_data_set_adds_degrees_of_freedom(answers: ModuleType) -> None:
    shifts = {"unet": (0.0, 0.0), "deep": (0.01, 0.02)}
    scores = {
        name: {data: {0: 0.8 + of[0], 1: 0.8 + of[1]} for data in ("a", "b", "c")}
        for name, of in shifts.items()
    }
    test = answers.Test("deep", "unet", "better")
    effect = answers.effects_of(answers.Study(scores), [test])["deep", "unet"]
    assert effect["all"].value == pytest.approx(0.015)
    # Two seeds on one data set: t(1) = 12.7; on three: t(3) = 3.18, of a mean over three.
    assert 12.706 * 0.005 <= effect["a"].reach < 2 * 12.706 * 0.005
    assert 3.182 * 0.005 / 3**0.5 <= effect["all"].reach < 2 * 3.182 * 0.005 / 3**0.5


@pytest.mark.parametrize(
    ("value", "reach", "says", "expected"),
    [
        (0.001, 0.004, "equal", "confirmed"),
        (0.001, 0.02, "equal", "not separable"),
        (0.008, 0.004, "equal", "not separable"),  # told from 0, but it is small
        (-0.03, 0.01, "equal", "refuted"),
        (0.03, 0.01, "better", "confirmed"),
        (0.005, 0.02, "better", "not separable"),
        (0.002, 0.005, "better", "refuted"),  # at most 0.007 better
        (-0.03, 0.01, "better", "refuted"),
        (-0.03, 0.01, "worse", "confirmed"),
        (0.03, 0.01, "worse", "refuted"),
    ],
)
def test_what_an_interval_says_of_a_claim(
    answers: ModuleType, value: float, reach: float, says: str, expected: str
) -> None:
    assert answers.verdict(answers.Effect(value, reach), says) == expected


def test_a_claim_holds_if_all_of_its_tests_do(answers: ModuleType) -> None:
    assert answers.joined(["confirmed", "confirmed"]) == "confirmed"
    assert answers.joined(["confirmed", "not separable"]) == "not separable"
    assert answers.joined(["not separable", "refuted"]) == "refuted"
    assert answers.joined([]) == "out of reach"


def test_an_interval_is_never_narrower_than_its_own(answers: ModuleType) -> None:
    spread = {0: 0.0, 1: 0.03, 2: -0.03}
    calm = {name: {"a": dict.fromkeys(spread, 0.8)} for name in ("unet", "n1", "n2", "n3")}
    study = answers.Study(calm | {"wild": {"a": {seed: 0.8 + off for seed, off in spread.items()}}})
    tests = [answers.Test(name, "unet", "equal") for name in ("n1", "n2", "n3", "wild")]
    found = answers.effects_of(study, tests)
    assert found["n1", "unet"]["all"].reach == 0
    assert found["wild", "unet"]["all"].reach >= 0.03 * 4.3 / 3**0.5
