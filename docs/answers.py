"""What each choice is worth, and which published claims hold: docs/answers.md from the study.

claims.toml, cells ─▶ differences of equal seeds ─▶ verdicts, all taken together ─▶ page, pictures

The study lies in results/reference/SUITE-cpu-seed-N-DATA, so that it can be made bit by bit and on
several machines. Where two runs trained a network with the same seed, the one whose folder is later
by name counts: `…-windows` holds networks that were trained anew, on all of their output.

`python docs/generate.py` writes the page; `python docs/answers.py` its pictures.
"""

from __future__ import annotations

import statistics
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from unet_bench.present.draw_matplotlib import draw, save
from unet_bench.present.plots import Axis, Entry, Plot, Point, Series
from unet_bench.stats.family import Error, Family
from unet_bench.stats.intervals import t_975
from unet_bench.store.tables import read_results

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "results" / "reference"
SUITES: Final = ("study", "study-batch", "study-pretrained")
TIMED: Final = REFERENCE / "all-cpu"
PICTURES: Final = ROOT / "docs" / "answers"
USUAL_BATCH: Final = 4
FEWEST_SEEDS: Final = 2  # which a spread takes
TOO_FEW: Final = "the study has no two seeds that all networks were trained with"
MARGIN: Final = 0.01  # of Dice; what is closer is as good
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
POOLED: Final = "all"
TITLES: Final = {"dsb2018": "nuclei", "isbi2012_em": "membranes", "camvid": "streets"}

Verdict = Literal["confirmed", "refuted", "not separable", "out of reach"]
Scores = Mapping[str, Mapping[str, Mapping[int, float]]]  # variant, data set, seed: Dice


@dataclass(frozen=True)
class Test:
    """Two networks of the study, and what a claim says of the first against the second."""

    new: str
    old: str
    says: Literal["equal", "better", "worse"]


@dataclass(frozen=True)
class Claim:
    """What is said, by whom, and how it is tested."""

    says: str
    source: str
    claimed: str
    tests: tuple[Test, ...]
    missing: str = ""


@dataclass(frozen=True)
class Question:
    """What a newcomer asks, and the claims that answer it."""

    title: str
    slot: str
    claims: tuple[Claim, ...]
    suite: str = SUITES[0]


@dataclass(frozen=True)
class Effect:
    """A difference in Dice; `reach`: how far its interval, of all together, goes to either side."""

    value: float
    reach: float

    @property
    def low(self) -> float:
        return self.value - self.reach

    @property
    def high(self) -> float:
        return self.value + self.reach

    def __str__(self) -> str:
        return f"{self.value:+.3f} ±{self.reach:.3f}"


Effects = Mapping[tuple[str, str], Mapping[str, Effect]]  # new and old network, data set


@dataclass
class Study:
    """The Dice of every network on every data set by every seed that is complete."""

    scores: Scores
    failed: list[str] = field(default_factory=list)

    @property
    def data_sets(self) -> list[str]:
        """The data sets that any network was trained on."""
        return list(dict.fromkeys(data for of in self.scores.values() for data in of))

    def seeds(self, data: str) -> list[int]:
        """Return the seeds on a data set, of the network that has most."""
        return max((list(of.get(data, {})) for of in self.scores.values()), key=len)

    def differences(self, new: str, old: str) -> dict[str, list[float]]:
        """Return differences by seed, for each data set that both networks were trained on."""
        found = {}
        for data, scores in self.scores.get(old, {}).items():
            others = self.scores.get(new, {}).get(data, {})
            of_data = [others[seed] - score for seed, score in scores.items() if seed in others]
            if len(of_data) >= FEWEST_SEEDS:
                found[data] = of_data
        return found


def read_study(folder: Path = REFERENCE) -> Study:
    """Return the suites of the study, as far as their seeds are complete."""
    scores: dict[str, dict[str, dict[int, float]]] = {}
    failed: list[str] = []
    for suite in SUITES:
        runs = sorted(folder.glob(f"{suite}-cpu-seed-*"))
        if runs:
            cells = pd.concat([read_results(run, "cells") for run in runs], ignore_index=True)
            _add(cells, scores, failed)
    return Study(scores, failed)


def _add(
    cells: pd.DataFrame, scores: dict[str, dict[str, dict[int, float]]], failed: list[str]
) -> None:
    """Add the seeds that all networks of a suite have on a data set.

    A training that failed or diverged counts as a Dice of 0, and is named: to leave it out would
    flatter its network.
    """
    trained = cells[(cells["probe"] == "accuracy") & ~cells["trivial"].astype(bool)].copy()
    trained["name"] = [_name(row) for _, row in trained.iterrows()]
    wanted = trained["name"].nunique()
    for (data, seed), rows in trained.groupby(["task", "seed"]):
        if rows["name"].nunique() < wanted:
            continue
        for name, status, dice in rows[["name", "status", "dice"]].itertuples(index=False):
            if status != "ok" or pd.isna(dice):
                failed.append(f"{name} on {data}, seed {seed}: {status}")
                dice = 0.0
            scores.setdefault(name, {}).setdefault(str(data), {})[int(seed)] = float(dice)


def _name(row: pd.Series) -> str:
    """Return what claims.toml calls a network: the variant, and how it was trained if otherwise."""
    name = str(row["variant"])
    if row["pretrained"] != "none":
        name += f" from {row['pretrained']}"
    return (
        name
        if row["batch_requested"] == USUAL_BATCH
        else f"{name} at batch {row['batch_requested']}"
    )


def read_questions(file: Path) -> list[Question]:
    """Return the questions of claims.toml."""
    return [
        Question(
            title=question["title"],
            slot=question["slot"],
            suite=question.get("suite", SUITES[0]),
            claims=tuple(
                Claim(**claim | {"tests": tuple(Test(**test) for test in claim["tests"])})
                for claim in question["claim"]
            ),
        )
        for question in tomllib.loads(file.read_text(encoding="utf-8"))["question"]
    ]


def effects_of(study: Study, tests: Sequence[Test]) -> dict[tuple[str, str], dict[str, Effect]]:
    """Return each pair's effect on each data set and on all; intervals hold for all pairs together.

    A pair that was not trained has none. The mean over data sets has as its units the seeds on each
    of them: it is of these data sets, not of any others.
    """
    pairs = dict.fromkeys((test.new, test.old) for test in tests)
    by_pair = {pair: study.differences(*pair) for pair in pairs}
    found: dict[tuple[str, str], dict[str, Effect]] = {p: {} for p, of in by_pair.items() if of}
    for data in (*study.data_sets, POOLED):
        differences = {
            pair: [of[data]] if data in of else [] if data != POOLED else [*of.values()]
            for pair, of in by_pair.items()
        }
        errors = {pair: _error(of) for pair, of in differences.items() if of}
        family = Family.of(errors.values())
        for pair, error in errors.items():
            own = t_975(error.units - 1) * error.standard
            value = statistics.fmean(map(statistics.fmean, differences[pair]))
            found[pair][data] = Effect(value, max(family.limit(error), own))
    return found


def _error(by_data: Sequence[Sequence[float]]) -> Error:
    """Return the error of a mean over data sets of means over seeds.

    A seed on one data set says nothing of it on another, so that each of them adds degrees of
    freedom.
    """
    variances = [statistics.variance(values) / len(values) for values in by_data]
    freedom = sum(len(values) - 1 for values in by_data)
    return Error(sum(variances) ** 0.5 / len(by_data), freedom + 1)


def verdict(effect: Effect, says: str) -> Verdict:
    """Return what an effect says of a claim.

    `equal` is confirmed where the interval lies within the margin, and refuted where it leaves out
    0 and the effect is beyond the margin. `better` and `worse` are confirmed where the interval
    lies on their side of 0, and refuted where it lies on the other, or wholly below the margin.
    """
    if says == "equal":
        if abs(effect.value) + effect.reach < MARGIN:
            return "confirmed"
        told = effect.low > 0 or effect.high < 0
        return "refuted" if told and abs(effect.value) > MARGIN else "not separable"
    low, high = (effect.low, effect.high) if says == "better" else (-effect.high, -effect.low)
    if low > 0:
        return "confirmed"
    return "refuted" if high < MARGIN else "not separable"


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on a claim from those on its tests."""
    if not verdicts:
        return "out of reach"
    for found in ("refuted", "not separable"):
        if found in verdicts:
            return found
    return "confirmed"


def page(study: Study, questions: Sequence[Question]) -> dict[str, str]:
    """Return the generated parts of docs/answers.md: the summary, the answers, the claims."""
    effects = effects_of(study, tests_of(questions))
    if not effects:
        return {"summary": f"\nNot measured yet: {TOO_FEW}.\n\n", "claims": "", "answers": ""}
    costs = read_results(TIMED).drop_duplicates("variant", keep="last").set_index("variant")
    sets = list(dict.fromkeys(data for of in effects.values() for data in of if data != POOLED))
    verdicts = {
        claim: verdict_on(claim, effects) for question in questions for claim in question.claims
    }
    seeds = ", ".join(
        f"{TITLES.get(data, data)} by {len(study.seeds(data))} seeds" for data in sets
    )
    counts = Counter(verdicts.values())
    summary = f"{len(study.scores)} networks; {seeds}. Of {len(verdicts)} claims "
    summary += ", ".join(f"{count} {name}" for name, count in counts.items()) + ".\n"
    if study.failed:
        summary += "\nFailed, counted as a Dice of 0: " + "; ".join(study.failed) + ".\n"
    answers = "".join(answer(question, effects, costs) for question in questions)
    return {
        "summary": f"\n{summary}\n",
        "answers": f"\n{answers}",
        "claims": f"\n{table_of(verdicts, effects, sets)}\n",
    }


def tests_of(questions: Sequence[Question]) -> list[Test]:
    """Return all tests of all claims."""
    return [test for question in questions for claim in question.claims for test in claim.tests]


def verdict_on(claim: Claim, effects: Effects) -> Verdict:
    """Return the verdict on a claim, by the mean over data sets."""
    tested = [test for test in claim.tests if (test.new, test.old) in effects]
    if len(tested) < len(claim.tests):
        return "out of reach"
    return joined([verdict(effects[test.new, test.old][POOLED], test.says) for test in tested])


def table_of(verdicts: Mapping[Claim, Verdict], effects: Effects, sets: Sequence[str]) -> str:
    """Return the table of claims, in Markdown: a row for each test of each."""
    titles = " | ".join(TITLES.get(name, name) for name in sets)
    table = f"| claim | source | claimed | measured | {titles} | all | verdict |\n"
    table += "|---|---|---|---|" + "--:|" * (len(sets) + 1) + "---|\n"
    for claim, said in verdicts.items():
        head, last = f"| {claim.says} | {claim.source} | {claim.claimed} |", f"**{said}**"
        for test in claim.tests:
            of = effects.get((test.new, test.old), {})
            figures = " | ".join(str(of.get(data, "–")) for data in (*sets, POOLED))
            table += f"{head} `{test.new}` − `{test.old}` | {figures} | {last} |\n"
            head, last = "| | | |", ""
        if not claim.tests:
            blank = " |" * (len(sets) + 1)
            table += f"{head} needs {claim.missing} |{blank} {last} |\n"
    return table


def answer(question: Question, effects: Effects, costs: pd.DataFrame) -> str:
    """Return the answer to a question, in Markdown: picture, sentences, command."""
    pairs = [pair for pair in pairs_of(question) if pair in effects]
    text = f"### {question.title}\n\n"
    if pairs:
        text += f"![Differences in Dice](answers/{picture_of(question).name})\n\n"
        for new, old in pairs:
            text += f"- {sentence(new, old, effects[new, old][POOLED], costs)}\n"
        names = list(dict.fromkeys(name.split(" ")[0] for pair in pairs for name in reversed(pair)))
        baseline = "" if "unet" in names else f" --baseline {names[0]}"
        suite = question.suite
        text += f"\n```bash\nunet-bench run --suite {suite} -v {','.join(names)}{baseline}"
        text += " --data PATH\n```\n\n"
    for claim in question.claims:
        if claim.missing:
            text += f"Not measured yet, {claim.says}: this needs {claim.missing}.\n\n"
    return text


def pairs_of(question: Question) -> list[tuple[str, str]]:
    """Return the networks that a question's claims compare."""
    return list(dict.fromkeys((t.new, t.old) for claim in question.claims for t in claim.tests))


def sentence(new: str, old: str, effect: Effect, costs: pd.DataFrame) -> str:
    """Return an effect in words, with what it costs."""
    told = effect.low > 0 or effect.high < 0
    if abs(effect.value) + effect.reach < MARGIN:
        words = "as good"
    elif told:
        words = "better" if effect.value > 0 else "worse"
    else:
        words = "not told apart"
    text = f"`{new}` against `{old}`: Dice {effect}, **{words}**"
    if {new, old} <= set(costs.index):
        ratios = {
            "time": costs.loc[new, "latency_ratio"] / costs.loc[old, "latency_ratio"],
            "parameters": costs.loc[new, "params"] / costs.loc[old, "params"],
        }
        known = [f"{name} × {ratio:.2f}" for name, ratio in ratios.items() if pd.notna(ratio)]
        text += f"; {', '.join(known)}" if known else ""
    return text + "."


def picture_of(question: Question) -> Path:
    """Return where a question's picture lies."""
    return PICTURES / f"{question.slot.replace(', ', '-').replace(' ', '-')}.svg"


def forest(question: Question, effects: Effects) -> Plot | None:
    """Return a question's effects: a row per pair, with data sets by colour, and all of them."""
    pairs = [pair for pair in pairs_of(question) if pair in effects]
    if not pairs:
        return None
    height = len(pairs)
    found = dict.fromkeys(data for pair in pairs for data in effects[pair])
    series = []
    for number, data in enumerate([*(data for data in found if data != POOLED), POOLED]):
        is_all = data == POOLED
        points = []
        for row, pair in enumerate(pairs):
            if (of := effects[pair].get(data)) is not None:
                y = height - row + (0.0 if is_all else 0.12 * (number + 1))
                points.append(Point(of.value, y, x_ends=(of.low, of.high), name=pair[0]))
        colour = "#000000" if is_all else COLOURS[number]
        name = "mean of all" if is_all else TITLES.get(data, data)
        series.append(Series(name, tuple(points), colour, "diamond" if is_all else "circle", 7))
    said = "; ".join(f"{new} against {old} {effects[new, old][POOLED]}" for new, old in pairs)
    return Plot(
        group="",
        label="Dice",
        series=tuple(series),
        x=Axis("difference in Dice"),
        y=Axis(""),
        words=f"{question.title} {said}",
        title=question.title,
        entries=tuple(Entry(f"{new} − {old}", "") for new, old in pairs),
        levels=(),
    )


def main() -> None:
    """Draw a picture for each question."""
    study, questions = read_study(), read_questions(ROOT / "docs" / "claims.toml")
    effects = effects_of(study, tests_of(questions))
    if not effects:
        sys.exit(TOO_FEW)
    PICTURES.mkdir(exist_ok=True)
    for question in questions:
        if (plot := forest(question, effects)) is not None:
            save(draw([plot], 8, 1.3 + 0.55 * len(plot.entries)), picture_of(question))


if __name__ == "__main__":
    main()
