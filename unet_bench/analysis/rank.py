"""Which networks are worth a look: the Pareto front of each task, and average ranks over data sets.

runs ─▶ rows that may be compared ─▶ front and its probabilities ─┐
     └▶ data sets × networks ─▶ average ranks and their test ─────┴▶ a row per network × task × setting ─▶ text
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.front import Row, front, labels, peer_groups, rows_of, scores_of
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import InvalidSuite, StoreError, unknown
from unet_bench.stats.mean_ranks import FEW_DATA_SETS, LEVEL, Ranks, mean_ranks
from unet_bench.stats.uscore import IOU, iou_quantiles, u_score
from unet_bench.store.figures import is_good
from unet_bench.store.runs import PEERS, Runs
from unet_bench.store.schema import BY_NAME, INTERVALS
from unet_bench.store.tables import typed_frame
from unet_bench.text_format import named, title

_FIGURES: Final = (
    *("dice", *INTERVALS["dice"], "latency_ms", *INTERVALS["latency_ms"]),
    *("latency_ratio", *INTERVALS["latency_ratio"], "peak_memory_mib"),
)
COLUMNS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in (*PEERS, "variant", "baseline", "trivial", *_FIGURES)},
    "pareto": "boolean",  # nobody beats it in every dimension that was measured; empty: it takes no part
    "front_probability": "Float64",
    "score": "Float64",  # what the ranks are of: the mean over data sets
    "mean_rank": "Float64",
    "rank_group": "string",  # letters: two networks that share one cannot be told apart
    "u_score": "Float64",
}
TESTS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in ("run_id", *SETTING)},
    "data_sets": "Int64",
    "networks": "Int64",
    "chi2": "Float64",
    "chi2_p": "Float64",
    "f": "Float64",
    "p": "Float64",
    "critical_difference": "Float64",
    "left_out": "string",
}
_JOIN: Final = (
    "ranks are never joined over runs, whose machines and settings may differ; where you know that they do not: "
    "unet-bench show RUNS -f csv > all.csv, then unet-bench rank all.csv --variant variant --data task --score dice"
)
_NO_SCORE: Final = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Ranking:
    """`table`: a row per network × task × setting, `COLUMNS`; `tests`: a row per setting ranked,
    `TESTS`, and their `ranks` in the same order.
    """

    table: pd.DataFrame
    tests: pd.DataFrame
    ranks: tuple[Ranks, ...]
    notes: tuple[str, ...]

    @property
    def drawn(self) -> Ranks:
        """What there is to draw a diagram of. Raises InvalidSuite unless that is one set of ranks."""
        if len(self.ranks) != 1:
            raise InvalidSuite(
                f"{len(self.ranks)} sets of average ranks: a diagram shows one; give one run with one setting, on at "
                f"least 2 data sets; {_JOIN}"
            )
        return self.ranks[0]


def rank(runs: Runs, *, u_score: bool = False) -> Ranking:
    """Fronts among rows that may be compared, and average ranks over the data sets of each run and
    setting.

    Figures of cells that failed do not count, trivial baselines take no part; both stay in the
    table. With `u_score` also U-Bench's figure.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    groups = peer_groups(rows_of(runs.results))
    told_apart, scores = labels(groups), scores_of(runs)
    for key, group in groups.items():
        found = front(group, scores.get(key[:-1]))
        scored, said = _u_scores(group) if u_score else ({}, ())
        where = f"{told_apart[key]}: " if told_apart[key] else ""
        notes += [where + note for note in (*found.notes, *said)]
        added = [
            {
                **row,
                "pareto": found.members.get(row["variant"]),
                "front_probability": found.probability.get(row["variant"]),
                "u_score": scored.get(row["variant"]),
            }
            for row in group
        ]
        rows += sorted(added, key=_surest)
    tests, ranks, of_ranks = _ranked(rows)
    every = tuple(dict.fromkeys((*notes, *of_ranks)))
    return Ranking(typed_frame(rows, COLUMNS), typed_frame(tests, TESTS), tuple(ranks), every)


def rank_table(scores: pd.DataFrame, *, lower_is_better: bool = False) -> Ranking:
    """Average ranks of any table (data set × network). Raises InvalidSuite as `mean_ranks` does."""
    ranks = mean_ranks(scores, lower_is_better=lower_is_better)
    means = scores.mean()
    rows = [
        {"variant": name, "score": means[name], **_rank_columns(ranks, name)}
        for name in ranks.means
    ]
    tests = [_test_row(ranks)]
    return Ranking(
        typed_frame(rows, COLUMNS), typed_frame(tests, TESTS), (ranks,), tuple(_rank_notes(ranks))
    )


def read_scores(path: str | Path, variant: str, data: str, score: str) -> pd.DataFrame:
    """From a csv with a row per score the table data set × network; of repeats, such as seeds, the
    mean.

    The arguments are its columns' names. Names are taken as they stand, NA and None too; a network
    or data set without any score stays, as a column or row without figures. Raises StoreError for
    what is no such csv, UnknownName for a column.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False).fillna(
            ""
        )  # filled: lines that are too short
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read as csv: {error}; give a table with one score a row"
        ) from error
    for name in (variant, data, score):
        if name not in frame:
            raise unknown("column", name, map(str, frame), f"head -1 {path}")
    for name in (variant, data):
        if (empty := frame[name].str.strip() == "").any():
            raise StoreError(
                f"{path}: {int(empty.sum())} rows have no {name}: give each a name, or delete them"
            )
    scored = ~frame[score].str.strip().str.lower().isin(_NO_SCORE)
    numbers = pd.to_numeric(frame[score].where(scored), errors="coerce").astype(float)
    if (bad := frame[score][scored & ~numbers.abs().lt(inf)].unique()).size:
        what = (
            "no finite number"
            if pd.to_numeric(pd.Series(bad), errors="coerce").notna().all()
            else "text"
        )
        raise StoreError(
            f"{path}: column {score} holds {what}, {bad[0]!r}: a score is a number or empty"
        )
    named_scores = pd.DataFrame({"data": frame[data], "variant": frame[variant], "score": numbers})
    return named_scores.groupby(["data", "variant"])["score"].mean().unstack()


# ---- ranks over data sets


def _ranked(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Ranks], list[str]]:
    """Adds the columns of ranks to the rows; (rows of tests, ranks, notes) of the settings that can
    be ranked.
    """
    settings: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if not row["trivial"] and row.get("dice") is not None:
            settings.setdefault(tuple(row.get(name) for name in ("run_id", *SETTING)), []).append(
                row
            )
    tests, ranks, notes = [], [], []
    for key, group in settings.items():
        scores: dict[tuple[Any, Any], dict[str, float]] = {}
        for row in group:
            of_task = scores.setdefault((row.get("task"), row.get("dataset_hash")), {})
            if is_good(row, "accuracy"):
                of_task[row["variant"]] = row["dice"]
        table = pd.DataFrame.from_dict(scores, orient="index")
        where = f"{title(group[0], SETTING)}: " if len(settings) > 1 else ""
        try:
            found = mean_ranks(table)
        except InvalidSuite as error:
            notes.append(f"{where}no average ranks: {error}")
            if len({key[0] for key in settings}) > 1:
                notes.append(_JOIN)
            continue
        means = table.mean()
        for row in group:
            if row["variant"] in found.means:
                row |= {"score": means[row["variant"]], **_rank_columns(found, row["variant"])}
        tests.append({**dict(zip(("run_id", *SETTING), key, strict=True)), **_test_row(found)})
        ranks.append(found)
        notes += [where + note for note in _rank_notes(found)]
    return tests, ranks, notes


def _rank_columns(ranks: Ranks, name: str) -> dict[str, Any]:
    return {"mean_rank": ranks.means[name], "rank_group": ranks.groups[name]}


def _test_row(ranks: Ranks) -> dict[str, Any]:
    own = {
        name: getattr(ranks, name)
        for name in ("data_sets", "chi2", "chi2_p", "f", "p", "critical_difference")
    }
    return {**own, "networks": len(ranks.means), "left_out": ", ".join(ranks.left_out) or None}


def _rank_notes(ranks: Ranks) -> Iterator[str]:
    count = len(ranks.means)
    f = f"{ranks.f:.2f}" if isfinite(ranks.f) else "infinite, all data sets agree"
    yield (
        f"{count} networks on {ranks.data_sets} data sets: Friedman χ² {ranks.chi2:.2f} (p {_p(ranks.chi2_p)}), "
        f"Iman-Davenport F {f} (p {_p(ranks.p)}), critical difference {ranks.critical_difference:.2f}"
    )
    if ranks.p >= LEVEL:
        yield "Friedman's test shows no difference between any of them: all are one group"
    if ranks.critical_difference > count - 1:
        yield (
            f"average ranks of {count} networks are at most {count - 1} apart, which is less than the critical "
            "difference: so few data sets cannot tell any two apart"
        )
    elif ranks.data_sets < FEW_DATA_SETS:
        yield f"with fewer than {FEW_DATA_SETS} data sets hardly any difference can be significant"
    if ranks.left_out:
        lacking = [f"{name} ({n})" for name, n in ranks.left_out.items()]
        yield f"left out, with the number of data sets on which they have no score: {named(lacking)}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"


# ---- U-Score


def _u_scores(group: Sequence[Row]) -> tuple[dict[str, float], tuple[str, ...]]:
    """By network its U-Score, and how it was made, in words."""
    networks = [row for row in group if not row["trivial"]]
    task = str(networks[0].get("task") or "") if networks else ""
    known = {row["variant"]: row for row in networks if _has_all(row)}
    quantiles = iou_quantiles(task, (row["iou"] for row in known.values()))
    if quantiles is None:
        return {}, (
            "no U-Score: it takes IoU, parameters, MACs and throughput of at least three unlike networks",
        )
    scores = {
        name: u_score(
            row["iou"], row["params"] / 1e6, row["macs"] / 1e9, row["throughput_img_s"], quantiles
        )
        for name, row in known.items()
    }
    return scores, tuple(_u_notes(task, [*known.values()]))


def _has_all(row: Row) -> bool:
    figures = (row.get("iou"), row.get("params"), row.get("macs"), row.get("throughput_img_s"))
    return all(figures) and is_good(row, "accuracy", "speed", "cost")


def _u_notes(task: str, rows: Sequence[Row]) -> Iterator[str]:
    if task.lower() not in IOU:
        yield (
            "U-Score: IoU is placed between the quantiles of these very networks, since U-Bench has no such data set: "
            "it compares networks of this run only, and moves whenever their list does"
        )
    if batches := sorted({row["batch_effective"] or 0 for row in rows} - {1}):
        yield f"U-Score: FPS is throughput at batch {named([str(n) for n in batches])}; it is defined at batch 1"
    yield "U-Score: its constants are of U-Bench's GPU, images and count of MACs; elsewhere many lie at one end"


# ---- to text


def _surest(row: Row) -> tuple[Any, ...]:
    """The surest of the front first, then by Dice; what takes no part after them, trivial baselines last."""
    chance = row["front_probability"]
    return row["trivial"], chance is None, -(chance or 0.0), -(row.get("dice") or 0.0)
