"""What each choice is worth, and which published claims hold: docs/answers.md from the study.

claims.toml, cells ─▶ differences of equal seeds ─▶ verdicts, all taken together ─▶ page, pictures

`python docs/generate.py` writes the page; `python docs/answers.py` its pictures.
"""

from __future__ import annotations

import statistics
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from unet_bench.present.draw_matplotlib import draw, save
from unet_bench.present.plots import Axis, Entry, Plot, Point, Series
from unet_bench.stats.family import Error, Family
from unet_bench.stats.intervals import mean_interval
from unet_bench.store.tables import read_results

ROOT: Final = Path(__file__).resolve().parents[1]
STUDY: Final = ROOT / "results" / "reference" / "study-cpu"
TIMED: Final = ROOT / "results" / "reference" / "all-cpu"
PICTURES: Final = ROOT / "docs" / "answers"
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


@dataclass
class Study:
    """The Dice of every network on every data set by every seed that is complete."""

    scores: Scores
    failed: list[str] = field(default_factory=list)

    @property
    def data_sets(self) -> list[str]:
        return list(next(iter(self.scores.values()), {}))

    @property
    def seeds(self) -> list[int]:
        return list(next(iter(next(iter(self.scores.values()), {}).values()), {}))

    def differences(self, new: str, old: str) -> dict[str, list[float]]:
        """Return differences by seed for each data set, and of all: the mean over data sets."""
        found = {
            data: [self.scores[new][data][seed] - self.scores[old][data][seed] for seed in seeds]
            for data, seeds in self.scores[old].items()
        }
        return found | {POOLED: [*map(statistics.fmean, zip(*found.values(), strict=True))]}


def read_study(folder: Path) -> Study:
    """Return the seeds of a run that all networks have on all data sets.

    A training that failed or diverged counts as a Dice of 0, and is named: to leave it out would
    flatter its network.
    """
    if not folder.exists():
        return Study({})
    cells = read_results(folder, "cells")
    trained = cells[(cells["probe"] == "accuracy") & ~cells["trivial"].astype(bool)]
    counts = trained.groupby("seed")[["variant", "task"]].nunique()
    sizes = trained.groupby("seed").size()
    wanted = trained["variant"].nunique() * trained["task"].nunique()
    seeds = [int(seed) for seed in counts.index if sizes[seed] == wanted]
    scores: dict[str, dict[str, dict[int, float]]] = {}
    failed = []
    for _, row in trained[trained["seed"].isin(seeds)].sort_values("seed").iterrows():
        dice = row["dice"]
        if row["status"] != "ok" or pd.isna(dice):
            failed.append(f"{row['variant']} on {row['task']}, seed {row['seed']}: {row['status']}")
            dice = 0.0
        of_variant = scores.setdefault(str(row["variant"]), {})
        of_variant.setdefault(str(row["task"]), {})[int(row["seed"])] = float(dice)
    return Study(scores, failed)


def read_questions(file: Path) -> list[Question]:
    """Return the questions of claims.toml."""
    return [
        Question(
            title=question["title"],
            slot=question["slot"],
            claims=tuple(
                Claim(**claim | {"tests": tuple(Test(**test) for test in claim["tests"])})
                for claim in question["claim"]
            ),
        )
        for question in tomllib.loads(file.read_text(encoding="utf-8"))["question"]
    ]


def effects_of(study: Study, tests: Sequence[Test]) -> dict[tuple[str, str], dict[str, Effect]]:
    """Return each pair's effect on each data set and on all; intervals hold for all pairs together.

    The mean over data sets has its seeds as units: it is of these data sets, not of any others.
    """
    pairs = dict.fromkeys((test.new, test.old) for test in tests)
    by_pair = {pair: study.differences(*pair) for pair in pairs}
    found: dict[tuple[str, str], dict[str, Effect]] = {pair: {} for pair in pairs}
    for data in (*study.data_sets, POOLED):
        errors = {pair: _error(values[data]) for pair, values in by_pair.items()}
        family = Family.of(errors.values())
        for pair, error in errors.items():
            values = by_pair[pair][data]
            own = mean_interval(values)
            reach = max(family.limit(error), own.high - own.value)
            found[pair][data] = Effect(statistics.fmean(values), reach)
    return found


def _error(values: Sequence[float]) -> Error:
    return Error(statistics.stdev(values) / len(values) ** 0.5, len(values))


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
    """Return the generated parts of docs/answers.md: the table of claims, and the answers."""
    if len(study.seeds) < FEWEST_SEEDS:
        return {"summary": f"\nNot measured yet: {TOO_FEW}.\n\n", "claims": "", "answers": ""}
    tests = [test for question in questions for claim in question.claims for test in claim.tests]
    effects = effects_of(study, tests)
    costs = read_results(TIMED).drop_duplicates("variant", keep="last").set_index("variant")
    sets = [TITLES.get(name, name) for name in study.data_sets]
    table = f"| claim | source | claimed | measured | {' | '.join(sets)} | all | verdict |\n"
    table += "|---|---|---|---|" + "--:|" * (len(sets) + 1) + "---|\n"
    answers = ""
    counted: dict[Verdict, int] = {}
    for question in questions:
        answers += f"### {question.title}\n\n"
        own = dict.fromkeys((t.new, t.old) for claim in question.claims for t in claim.tests)
        for claim in question.claims:
            verdicts = [verdict(effects[t.new, t.old][POOLED], t.says) for t in claim.tests]
            said = joined(verdicts)
            counted[said] = counted.get(said, 0) + 1
            head = f"| {claim.says} | {claim.source} | {claim.claimed} "
            if not claim.tests:
                blank = " |" * (len(sets) + 1)
                table += f"{head}| needs {claim.missing} |{blank} **out of reach** |\n"
            for number, test in enumerate(claim.tests):
                of = effects[test.new, test.old]
                table += head if not number else "| | | "
                table += f"| `{test.new}` − `{test.old}` | "
                table += " | ".join(f"{of[data]}" for data in (*study.data_sets, POOLED))
                table += f" | {f'**{said}**' if not number else ''} |\n"
        if own:
            answers += f"![Differences in Dice]({picture_of(question).name})\n\n".replace(
                "](", "](answers/"
            )
            for new, old in own:
                answers += f"- {sentence(new, old, effects[new, old][POOLED], costs)}\n"
            names = ",".join(dict.fromkeys(name for pair in own for name in reversed(pair)))
            baseline = "" if "unet" in names.split(",") else f" --baseline {names.split(',')[0]}"
            answers += (
                f"\n```bash\nunet-bench run --suite study -v {names}{baseline} --data PATH\n```\n\n"
            )
        for claim in question.claims:
            if claim.missing:
                answers += f"Not measured yet, {claim.says}: this needs {claim.missing}.\n\n"
    summary = (
        f"{len(study.seeds)} seeds, {len(study.scores)} networks, {', '.join(sets)}: "
        + ", ".join(f"{count} {name}" for name, count in counted.items())
        + ".\n"
    )
    if study.failed:
        summary += "\nFailed, counted as a Dice of 0: " + "; ".join(study.failed) + ".\n"
    return {"summary": f"\n{summary}\n", "claims": f"\n{table}\n", "answers": f"\n{answers}"}


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
    return PICTURES / f"{question.slot.replace(', ', '-')}.svg"


def forest(study: Study, question: Question, effects: Mapping[Any, Any]) -> Plot:
    """Return a question's effects: a row per pair, with data sets by colour, and all of them."""
    pairs = list(dict.fromkeys((t.new, t.old) for claim in question.claims for t in claim.tests))
    height = len(pairs)
    series = []
    for number, data in enumerate((*study.data_sets, POOLED)):
        is_all = data == POOLED
        points = []
        for row, pair in enumerate(pairs):
            of = effects[pair][data]
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
    study, questions = read_study(STUDY), read_questions(ROOT / "docs" / "claims.toml")
    if len(study.seeds) < FEWEST_SEEDS:
        sys.exit(TOO_FEW)
    tests = [test for question in questions for claim in question.claims for test in claim.tests]
    effects = effects_of(study, tests)
    PICTURES.mkdir(exist_ok=True)
    for question in questions:
        if any(claim.tests for claim in question.claims):
            plot = forest(study, question, effects)
            save(draw([plot], 8, 1.3 + 0.55 * len(plot.entries)), picture_of(question))


if __name__ == "__main__":
    main()
