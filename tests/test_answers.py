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

SUITE = ROOT / "unet_bench" / "spec" / "suites" / "study.toml"


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
    frame["probe"], frame["trivial"] = "accuracy", False
    frame["status"] = ["nonfinite" if dice is None else "ok" for *_, dice in rows]
    return frame


def test_every_network_that_a_claim_names_is_in_the_study(answers: ModuleType) -> None:
    studied = set(tomllib.loads(SUITE.read_text())["variants"])
    for question in answers.read_questions(ROOT / "docs" / "claims.toml"):
        for claim in question.claims:
            assert bool(claim.tests) != bool(claim.missing), claim.says
            for test in claim.tests:
                assert {test.new, test.old} <= studied
                assert test.says in ("equal", "better", "worse")


def test_seeds_that_some_networks_lack_do_not_count(
    answers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = cells(
        ("unet", "a", 0, 0.8), ("unet", "b", 0, 0.6), ("deep", "a", 0, 0.9), ("deep", "b", 0, None),
        ("unet", "a", 1, 0.8), ("unet", "b", 1, 0.6), ("deep", "a", 1, 0.9),
    )  # fmt: skip
    monkeypatch.setattr(answers, "read_results", lambda *_: frame)
    study = answers.read_study(tmp_path)
    assert study.seeds == [0]
    assert study.failed == ["deep on b, seed 0: nonfinite"]
    found = study.differences("deep", "unet")
    assert found["a"] == pytest.approx([0.1])
    assert found["b"] == pytest.approx([-0.6])  # what diverged counts as 0
    assert found["all"] == pytest.approx([-0.25])


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
