"""Which networks are worth a look: the Pareto front of each task, and average ranks over data sets.

runs ─▶ networks that may be compared ─▶ front and its probabilities ─┐
     └▶ data sets × networks ─▶ average ranks and their test ─────────┴▶ a row per variant and peers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.findings import Finding
from unet_bench.analysis.front import front, networks_of, scores_of, told_apart
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import InvalidSuite, StoreError, unknown
from unet_bench.stats.mean_ranks import FEW_DATA_SETS, LEVEL, Ranks, mean_ranks
from unet_bench.stats.uscore import IOU, iou_quantiles, u_score
from unet_bench.store.figures import PEERS, Network
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, INTERVALS
from unet_bench.store.tables import typed_frame

Row = dict[str, Any]
_OF_THE_NETWORK: Final = ("variant", "baseline", "trivial", "width_scale", "match")
_FIGURES: Final = (
    *("dice", *INTERVALS["dice"], "latency_ms", *INTERVALS["latency_ms"]),
    *("latency_ratio", *INTERVALS["latency_ratio"], "peak_memory_mib"),
)
COLUMNS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in (*PEERS, *_OF_THE_NETWORK, *_FIGURES)},
    "memory_source": BY_NAME["memory_source"].dtype,
    # Nobody beats it in every dimension that was measured; empty: it takes no part.
    "pareto": "boolean",
    "front_probability": "Float64",
    "score": "Float64",  # what the ranks are of: the mean over data sets
    "mean_rank": "Float64",
    "rank_group": "string",  # letters: two networks that share one cannot be told apart
    "u_score": "Float64",
}
_SETTING: Final = ("run_id", *SETTING)
_TESTED: Final = ("data_sets", "chi2", "chi2_p", "f", "p", "critical_difference")
TESTS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in _SETTING},
    **dict.fromkeys(("data_sets", "networks"), "Int64"),
    **dict.fromkeys(("chi2", "chi2_p", "f", "p", "critical_difference"), "Float64"),
    "left_out": "string",
}
JOIN: Final = (
    "ranks are never joined over runs, whose machines and settings may differ; where you know "
    "that they do not: unet-bench show RUNS -f csv > all.csv, then unet-bench rank all.csv "
    "--variant variant --data task --score dice"
)
_NO_SCORE: Final = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Ranking:
    """Fronts and average ranks.

    `table` has a row per network × task × setting, `COLUMNS`; `tests` a row per setting that was
    ranked, `TESTS`, with its `ranks` in the same order.
    """

    table: pd.DataFrame
    tests: pd.DataFrame
    ranks: tuple[Ranks, ...]
    findings: tuple[Finding, ...]

    @property
    def drawn(self) -> Ranks:
        """The one set of ranks that a diagram can show; raises InvalidSuite for none or several."""
        if len(self.ranks) != 1:
            raise InvalidSuite(
                f"{len(self.ranks)} sets of average ranks: a diagram shows one; give one run with "
                f"one setting, on at least 2 data sets; {JOIN}"
            )
        return self.ranks[0]


def rank(runs: Runs, *, u_score: bool = False) -> Ranking:
    """Return fronts among networks that may be compared, and average ranks over data sets.

    Ranks are of each run and setting. Figures of cells that failed do not count, and what needs no
    training takes part in neither; both stay in the table. With `u_score` also U-Bench's figure.
    """
    entries: list[tuple[Network, Row]] = []
    findings: list[Finding] = []
    groups, scores = networks_of(runs.results), scores_of(runs)
    where = told_apart(groups)
    for key, group in groups.items():
        of_group = front(group, scores.get(key[:-1]))
        u_scores, of_u_scores = _u_scores(group) if u_score else ({}, [])
        findings += [replace(f, where=where[key]) for f in (*of_group.findings, *of_u_scores)]
        columns = {
            one.variant: {
                "pareto": of_group.members.get(one.variant),
                "front_probability": of_group.probability.get(one.variant),
                "u_score": u_scores.get(one.variant),
            }
            for one in group
        }
        added = [(one, columns[one.variant]) for one in group]
        entries += sorted(added, key=_surest)
    ranked, of_ranks = _ranked([network for network, _ in entries])
    rows = [{**one.row, **added, **_rank_columns(one, ranked)} for one, added in entries]
    tests = [{**dict(zip(_SETTING, key, strict=True)), **_test_row(r)} for key, r in ranked.items()]
    return Ranking(
        typed_frame(rows, COLUMNS),
        typed_frame(tests, TESTS),
        tuple(ranked.values()),
        (*findings, *of_ranks),
    )


def rank_table(scores: pd.DataFrame, *, lower_is_better: bool = False) -> Ranking:
    """Return average ranks of any table (data set × network). Raises as `mean_ranks` does."""
    ranks = mean_ranks(scores, lower_is_better=lower_is_better)
    rows = [{"variant": name, **_rank_row(ranks, name)} for name in ranks.means]
    tests = typed_frame([_test_row(ranks)], TESTS)
    return Ranking(typed_frame(rows, COLUMNS), tests, (ranks,), tuple(_of_ranks(ranks)))


def read_scores(path: str | Path, variant: str, data: str, score: str) -> pd.DataFrame:
    """Return the table data set × network of a csv with a row per score.

    The arguments are its columns' names. Repeats, such as seeds, are averaged. Names are taken as
    they stand, NA and None too; a network or data set without any score stays, as a column or row
    without figures. Raise StoreError for what is no such csv, UnknownName for a column.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read as csv: {error}; give a table with one score a row"
        ) from error
    frame = frame.fillna("")  # lines that are too short
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
        are_numbers = pd.to_numeric(pd.Series(bad), errors="coerce").notna().all()
        what = "no finite number" if are_numbers else "text"
        raise StoreError(
            f"{path}: column {score} holds {what}, {bad[0]!r}: a score is a number or empty"
        )
    named_scores = pd.DataFrame({"data": frame[data], "variant": frame[variant], "score": numbers})
    return named_scores.groupby(["data", "variant"])["score"].mean().unstack()


# ---- ranks over data sets


def _ranked(
    networks: Sequence[Network],
) -> tuple[dict[tuple[Any, ...], Ranks], list[Finding]]:
    """Return the ranks of each run and setting that can be ranked, and the findings."""
    settings: dict[tuple[Any, ...], list[Network]] = {}
    for one in networks:
        if not one.is_trivial and one.number("dice") is not None:
            settings.setdefault(_setting(one), []).append(one)
    ranked: dict[tuple[Any, ...], Ranks] = {}
    findings: list[Finding] = []
    where = told_apart(settings, _SETTING)
    for key, group in settings.items():
        scores: dict[tuple[Any, Any], dict[str, float]] = {}
        for one in group:
            of_task = scores.setdefault((one.row.get("task"), one.row.get("dataset_hash")), {})
            if dice := one.figure("dice"):
                of_task[one.variant] = dice.value
        try:
            ranked[key] = mean_ranks(pd.DataFrame.from_dict(scores, orient="index"))
        except InvalidSuite as error:
            findings.append(Finding("no average ranks", {"why": error}, where[key]))
            if len({key[0] for key in settings}) > 1:
                findings.append(Finding("ranks are not joined"))
            continue
        findings += [replace(f, where=where[key]) for f in _of_ranks(ranked[key])]
    return ranked, findings


def _setting(network: Network) -> tuple[Any, ...]:
    return tuple(network.row.get(name) for name in _SETTING)


def _rank_columns(network: Network, ranked: Mapping[tuple[Any, ...], Ranks]) -> Row:
    ranks = ranked.get(_setting(network))
    takes_part = not network.is_trivial and network.number("dice") is not None
    if ranks is None or not takes_part or network.variant not in ranks.means:
        return {}
    return _rank_row(ranks, network.variant)


def _rank_row(ranks: Ranks, name: str) -> Row:
    return {
        "score": ranks.scores[name],
        "mean_rank": ranks.means[name],
        "rank_group": ranks.groups[name],
    }


def _test_row(ranks: Ranks) -> Row:
    test = {name: getattr(ranks, name) for name in _TESTED}
    return {**test, "networks": len(ranks.means), "left_out": ", ".join(ranks.left_out) or None}


def _of_ranks(ranks: Ranks) -> Iterator[Finding]:
    """Yield the outcome of the tests, and how much it can tell."""
    test = _test_row(ranks)
    yield Finding("friedman", test)
    if ranks.p >= LEVEL:
        yield Finding("no difference between ranks")
    if ranks.critical_difference > len(ranks.means) - 1:
        yield Finding("ranks cannot differ", test)
    elif ranks.data_sets < FEW_DATA_SETS:
        yield Finding("few data sets", {"fewest": FEW_DATA_SETS})
    if ranks.left_out:
        yield Finding("left out of ranks", {"missing": ranks.left_out})


# ---- U-Score


def _u_scores(group: Sequence[Network]) -> tuple[dict[str, float], list[Finding]]:
    """Return the U-Scores by network, and how they were made."""
    networks = [one for one in group if not one.is_trivial]
    task = str(networks[0].row.get("task") or "") if networks else ""
    figures = {one.variant: _of_u_score(one) for one in networks}
    known = {name: of for name, of in figures.items() if of}
    quantiles = iou_quantiles(task, (iou for iou, *_ in known.values()))
    if quantiles is None:
        return {}, [Finding("no u-score")]
    scores = {name: u_score(*of, quantiles) for name, of in known.items()}
    findings = [] if task.lower() in IOU else [Finding("u-score by own quantiles")]
    batches = {int(n.number("batch_effective") or 0) for n in networks if n.variant in known}
    if other := sorted(batches - {1}):
        findings.append(Finding("u-score at other batches", {"batches": [*map(str, other)]}))
    return scores, [*findings, Finding("u-score constants")]


def _of_u_score(network: Network) -> tuple[float, float, float, float] | None:
    """Return IoU, parameters in millions, MACs in 10⁹ and images a second; None if one lacks."""
    iou, params, macs, fps = (
        network.figure(name) for name in ("iou", "params", "macs", "throughput_img_s")
    )
    if not (iou and params and macs and fps and iou.value):
        return None
    return iou.value, params.value / 1e6, macs.value / 1e9, fps.value


def _surest(entry: tuple[Network, Row]) -> tuple[Any, ...]:
    """Return the sort key of a network: the most probable first, then the highest Dice.

    Networks outside of the front's comparison come after these, trivial baselines last.
    """
    network, added = entry
    chance, dice = added["front_probability"], network.number("dice")
    return network.is_trivial, chance is None, -(chance or 0.0), -(dice or 0.0)
