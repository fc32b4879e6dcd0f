"""What each choice is worth: its effect on speed, memory and Dice, all else being equal.

runs ─▶ pairs of rows that differ in one choice (matched_pairs.py)
     ─▶ mean change and interval ─▶ interactions

The model is y = context + alternative, with y the logarithm of a figure (Dice: itself), for one
alternative and the reference at a time; a context is all that two matched rows have in common.
Least squares on it is the mean of the differences within contexts, and its errors clustered by
context are those of the paired t-test. Taking two at a time costs nothing where contexts are
complete, lets each alternative vary as it does, and no effect changes because another alternative
was measured, too (the objection of Benavoli, Corani and Mangili 2016, Should we really use post-hoc
tests based on mean-ranks?, JMLR 17).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from unet_bench.analysis.findings import Finding
from unet_bench.analysis.matched_pairs import (
    FIGURES,
    GROUP,
    Array,
    Choice,
    Differences,
    MatchedPairs,
    estimated,
)
from unet_bench.errors import InvalidChoice, unknown
from unet_bench.networks.choices import NAMES, format_value, parse_value
from unet_bench.stats.family import ALONE, Error, Family
from unet_bench.stats.intervals import Z_975, Interval, t_975
from unet_bench.stats.paired import separable
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME
from unet_bench.store.tables import records, typed_frame

SIGNIFICANT: Final = 0.05
MATTERS: Final = math.log(1.02)  # an interaction, on the logarithm
MATTERS_IN_DICE: Final = 0.01
_LARGEST: Final = 700.0  # a logarithm, about the largest of a float
_ARITHMETIC: Final = ("params", "macs")  # whose interactions follow from how networks are made
_OF_GROUP: Final[Mapping[str, str]] = {
    "run_id": "string",
    **{name: BY_NAME[name].dtype if name in BY_NAME else "string" for name in GROUP},
}
_ESTIMATE: Final[Mapping[str, str]] = {
    "ci_low": "Float64",
    "ci_high": "Float64",
    "contexts": "Int64",  # matched comparisons
    "units": "Int64",  # those of them that vary independently
    "basis": "string",  # what the interval comes from: contexts, the measurement, or exact
}
COLUMNS: Final[Mapping[str, str]] = {
    **_OF_GROUP,
    **dict.fromkeys(("slot", "alternative", "reference", "figure"), "string"),
    "change": "Float64",  # in parts of the reference (0.12: 12 % more), of Dice the difference
    **_ESTIMATE,
    "spread": "Float64",  # standard deviation over units, of logarithms or Dice
    "separable": "boolean",
}
INTERACTIONS: Final[Mapping[str, str]] = {
    **_OF_GROUP,
    **dict.fromkeys(("figure", "slot", "alternative", "reference"), "string"),
    **dict.fromkeys(("with_slot", "with_alternative", "with_reference"), "string"),
    "change_at_reference": "Float64",  # of slot, where with_slot has its reference
    "change_at_alternative": "Float64",  # likewise, where it has its alternative
    "difference": "Float64",  # of the two: on the logarithm, given as a part; of Dice as it is
    **_ESTIMATE,
    "p": "Float64",
    "p_adjusted": "Float64",  # Holm, over all interactions of the group
    "flagged": "boolean",
}
FIT: Final[Mapping[str, str]] = {
    **_OF_GROUP,
    "slot": "string",
    "figure": "string",
    "alternatives": "Int64",
    "differences": "Int64",  # units of all alternatives
    "residual_sd": "Float64",  # of a unit's difference about its alternative's mean
    "r2_within": "Float64",  # part of what varies within contexts that the mean effects say
}


@dataclass(frozen=True)
class Effects:
    """Frames with the columns of COLUMNS, INTERACTIONS and FIT, and what else is to be known."""

    table: pd.DataFrame
    interactions: pd.DataFrame
    fit: pd.DataFrame
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Compared:
    """A choice's pairs, as `MatchedPairs.pairs` returns them, and the differences of each."""

    choice: Choice
    pairs: pd.DataFrame
    of: Differences

    @property
    def slot(self) -> str:
        """The choice's name."""
        return "+".join(self.choice)


def effects(
    runs: Runs,
    *,
    references: Mapping[str, str] | None = None,
    slots: Collection[str] = (),
    figures: Collection[str] = (),
) -> Effects:
    """Return the effect of each alternative of each slot and axis against a reference.

    Every group of like conditions has effects of its own. The reference is the baseline's choice,
    or what `references` says: a value by slot or axis. `slots` and `figures` leave out others.
    Which effects are separable is corrected for the number of alternatives of a group, unless the
    runs were read otherwise.
    Raise UnknownName, InvalidChoice.
    """
    _check_names(slots, figures)
    matched = MatchedPairs(runs)
    wanted = _wanted(matched, references or {})
    chosen = [c for c in matched.choices() if not slots or {*slots} & {*c}]
    paired = {choice: matched.pairs(choice, wanted.get(choice[0])) for choice in chosen}
    missed = {choice: without for choice, (_, without) in paired.items() if without}
    compared = [
        _Compared(choice, pairs, matched.differences(pairs))
        for choice, (pairs, _) in paired.items()
        if len(pairs)
    ]
    is_known = [np.isfinite(one.of.value).any(axis=0) for one in compared]
    seen = np.any(is_known, axis=0) if compared else np.zeros(len(FIGURES), dtype=bool)
    shown = [n for n in np.flatnonzero(seen).tolist() if not figures or FIGURES[n].name in figures]
    table, fit = _main_effects(matched, compared, shown, runs.corrected)
    interactions = _interactions(matched, compared, shown)
    findings = [
        *_left_out(matched, chosen, slots, figures, _used(compared, shown), missed),
        *_limits(matched, compared, missed, wanted),
        *_outcomes(table, interactions, bool(compared)),
    ]
    return Effects(table, interactions, fit, tuple(findings))


def parse_references(texts: Iterable[str]) -> dict[str, str]:
    """Return references from texts such as `up=bilinear`. Raise InvalidChoice."""
    references = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            raise InvalidChoice(
                f"{text!r} is no reference: write SLOT=PART or AXIS=VALUE, such as up=bilinear"
            )
        references[name] = value
    return references


def _check_names(slots: Iterable[str], figures: Iterable[str]) -> None:
    columns = [figure.name for figure in FIGURES]
    for name in slots:
        if name not in NAMES:
            raise unknown("slot or axis", name, NAMES, "unet-bench list parts")
    for name in figures:
        if name not in columns:
            raise unknown("figure", name, columns, "unet-bench effects --help")


def _wanted(matched: MatchedPairs, references: Mapping[str, str]) -> dict[str, str]:
    """Return the references as they stand in the rows; raise UnknownName for one of no row."""
    wanted = {}
    for name, value in references.items():
        wanted[name] = text = format_value(name, parse_value(name, value))
        seen = [v for v in dict.fromkeys(matched.values.get(name, ())) if v]
        if text not in seen:
            where = f"unet-bench show RUN --columns variant,{name}"
            raise unknown(f"reference for {name}", value, seen, where)
    return wanted


# ---- estimates


@dataclass(frozen=True)
class _Sample:
    """Differences and what each compares: the columns of `rows`.

    `levels` are those of `MatchedPairs.levels`, by whether figures are compared by difference.
    """

    rows: pd.DataFrame
    of: Differences
    levels: Mapping[bool, Sequence[Array]]


def _estimates(
    matched: MatchedPairs, samples: Sequence[_Sample], by: Sequence[str], shown: Sequence[int]
) -> pd.DataFrame:
    """Return what `estimated` says of each combination of the columns `by` and each figure.

    The combination's number is `cell`, the figure's `number`; beside them stand the columns of the
    sample's rows and what the group's rows have in common.
    """
    rows = pd.concat([sample.rows for sample in samples], ignore_index=True)
    of = Differences.joined([sample.of for sample in samples])
    cell = rows.groupby(list(by), sort=False).ngroup()
    heads = rows[~cell.duplicated()].reset_index(drop=True).join(matched.labels, on="group")
    parts = []
    for n in shown:
        figure = FIGURES[n]
        levels = zip(*(sample.levels[figure.by_difference] for sample in samples), strict=True)
        joined = [np.concatenate(level) for level in levels]
        means = estimated(cell.to_numpy(), of[:, n], joined, figure).join(heads)
        means = means.assign(figure=figure.name, number=n, exact=figure.exact)
        parts.append(means.assign(relative=not figure.by_difference))
    frame = pd.concat(parts).rename_axis("cell").reset_index()
    kinds = [frame.units > 1, frame.exact & (frame.error == 0)]
    basis = np.select(kinds, ["contexts", "exact"], "measurement")
    ends = (_in_parts(frame[name], frame.relative) for name in ("mean", "low", "high"))
    shown_as = zip(("change", "ci_low", "ci_high"), ends, strict=True)
    return frame.assign(basis=basis, **dict(shown_as))


def _in_parts(values: pd.Series[float], relative: pd.Series[bool]) -> pd.Series[float]:
    """Return differences of logarithms as parts of the reference, others as they are."""
    return values.clip(upper=_LARGEST).map(math.expm1).where(relative, values)


def _levels(matched: MatchedPairs, rows: Array, varied: Choice) -> dict[bool, list[Array]]:
    return {kind: matched.levels(rows, varied, by_difference=kind) for kind in (True, False)}


# ---- main effects


def _main_effects(
    matched: MatchedPairs, compared: Sequence[_Compared], shown: Sequence[int], corrected: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the effects by group, slot, alternative and figure, and how well they fit."""
    if not compared or not shown:
        return typed_frame([], COLUMNS), typed_frame([], FIT)
    samples = [
        _Sample(
            one.pairs.assign(slot=one.slot),
            one.of,
            _levels(matched, one.pairs.alt.to_numpy(), one.choice),
        )
        for one in compared
    ]
    means = _estimates(matched, samples, ("slot", "group", "alternative"), shown)
    families = means.groupby(["group", "number"], sort=False)
    told = pd.concat([_separable(of, corrected) for _, of in families])
    table = means.assign(spread=means.sd, separable=told)
    table = table.sort_values(["group", "cell", "number"])
    fit = [
        records(of[[*_OF_GROUP, "slot", "figure"]].head(1))[0] | _fit(of)
        for _, of in means.groupby(["group", "slot", "number"], sort=False)
    ]
    return typed_frame(records(table), COLUMNS), typed_frame(fit, FIT)


def _separable(means: pd.DataFrame, corrected: bool) -> pd.Series[bool]:
    """Return which of a group's effects on a figure are told from 0, all of them together."""
    errors = [_error(*of) for of in zip(means.error, means.units, means.repeats, strict=True)]
    family = Family.of(errors) if corrected else ALONE
    intervals = map(Interval, means["mean"], means.low, means.high)
    told = [separable(of, error, family) for of, error in zip(intervals, errors, strict=True)]
    return pd.Series(told, index=means.index)


def _error(standard: float, units: int, repeats: float) -> Error:
    """Return an effect's error: over contexts, over a single one's seeds, or as it was measured."""
    if units > 1:
        return Error(standard, units)
    if repeats > 1:
        return Error(standard * Z_975 / t_975(int(repeats) - 1), int(repeats))
    return Error(standard)


def _fit(means: pd.DataFrame) -> dict[str, Any]:
    """Return how well one effect per alternative describes the differences within contexts."""
    sse, df = means.sse.sum(), (means.units - 1).sum()
    total = sse + (means.units * means["mean"] ** 2).sum()
    return {
        "alternatives": len(means),
        "differences": means.units.sum(),
        "residual_sd": math.sqrt(sse / df) if df else None,
        "r2_within": 1 - sse / total if df and total > 0 else None,
    }


# ---- interactions


def _interactions(
    matched: MatchedPairs, compared: Sequence[_Compared], shown: Sequence[int]
) -> pd.DataFrame:
    """Return how much one choice's effect depends on another choice.

    Each is a mean over the contexts that hold all four networks, with Student's t over them as for
    the effects: what tells them apart is all else, so that a third choice cannot pass for the
    second.
    """
    fours = (_fours(matched, one, other) for one, other in combinations(compared, 2))
    pairs_of_pairs = [one for one in fours if one is not None]
    tested = [n for n in shown if FIGURES[n].name not in _ARITHMETIC]
    if not pairs_of_pairs or not tested:
        return typed_frame([], INTERACTIONS)
    by = ("slot", "with_slot", "group", "alternative", "with_alternative")
    samples, references = zip(*pairs_of_pairs, strict=True)
    means = _estimates(matched, samples, by, tested)
    base = _level(samples, Differences.joined(references).value, by, means)
    limit = pd.Series(np.where(means.relative, MATTERS, MATTERS_IN_DICE))
    means = means.assign(
        change_at_reference=_in_parts(base, means.relative),
        change_at_alternative=_in_parts(base + means["mean"], means.relative),
        difference=means.change,
        p=_p(means),
        flagged=means["mean"].abs() > limit,
    )
    adjusted = [_adjusted(of) for _, of in means.groupby("group", sort=False)]
    return typed_frame(records(pd.concat(adjusted)), INTERACTIONS)


def _level(
    samples: Sequence[_Sample], at_reference: Array, by: Sequence[str], means: pd.DataFrame
) -> pd.Series[float]:
    """Return, for each of the means, that of the first choice's effect at the second's reference.

    Where the difference is not known, the effect does not count.
    """
    cell = pd.concat([sample.rows for sample in samples]).groupby(list(by), sort=False).ngroup()
    difference = Differences.joined([sample.of for sample in samples]).value
    level = pd.DataFrame(at_reference).where(~np.isnan(difference))
    by_cell = level.groupby(cell.to_numpy()).mean().to_numpy()
    return pd.Series(by_cell[means.cell, means.number])


def _fours(
    matched: MatchedPairs, one: _Compared, other: _Compared
) -> tuple[_Sample, Differences] | None:
    """Return four networks each: two pairs alike in all but `one` within and `other` between them.

    The sample holds the differences between pairs; with them come those within the pairs where
    `other` is the reference. None where there are no such networks.
    """
    if {*one.choice} & {*other.choice}:
        return None
    alt, ref = one.pairs.alt.to_numpy(), one.pairs.ref.to_numpy()
    settled, values = matched.settled(other.choice), matched.values[other.choice[0]]
    both = (*one.choice, *other.choice)
    frame = one.pairs.assign(
        number=np.arange(len(one.pairs)),
        rest=matched.remainder(alt, both),
        slot=one.slot,
        with_slot=other.slot,
        with_alternative=values[alt],
        with_reference=one.pairs.group.map(other.pairs.groupby("group").reference.first()),
    )[settled[alt] & settled[ref]]
    is_reference = frame.with_alternative == frame.with_reference
    second = frame.loc[is_reference, ["rest", "alternative", "number"]]
    fours = frame[~is_reference].merge(
        second, on=["rest", "alternative"], suffixes=("", "_at_reference")
    )
    if fours.empty:
        return None
    at_reference = one.of[fours.number_at_reference.to_numpy()]
    difference = one.of[fours.number.to_numpy()].less(at_reference)
    rows = fours.drop(columns=["number", "number_at_reference"])
    return _Sample(rows, difference, _levels(matched, fours.alt.to_numpy(), both)), at_reference


def _p(means: pd.DataFrame) -> Array:
    """Return the two-sided p: Student's t over units, the normal law for a single unit."""
    from scipy.special import ndtr, stdtr

    mean, error, units = (means[name].to_numpy() for name in ("mean", "error", "units"))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = -abs(mean / error)
    p = 2 * np.where(units > 1, stdtr(np.maximum(units - 1, 1), t), ndtr(t))
    exact: Array = np.where(error == 0, (mean == 0).astype(float), p)
    return exact


def _adjusted(of: pd.DataFrame) -> pd.DataFrame:
    """Return a group's interactions with p adjusted by Holm's method (1979), the smallest first.

    Those that are significant, too, stay flagged.
    """
    p = of.p.dropna().sort_values(kind="stable")
    of = of.assign(p_adjusted=(p * np.arange(len(p), 0, -1)).clip(upper=1.0).cummax())
    flagged = of.flagged & (of.p_adjusted < SIGNIFICANT)
    of = of.assign(flagged=flagged, last=~flagged)
    return of.sort_values(["last", "p_adjusted"], kind="stable")


# ---- findings


def _used(compared: Sequence[_Compared], shown: Sequence[int]) -> set[int]:
    """Return the rows of pairs with a figure that is shown."""
    used: set[int] = set()
    for one in compared:
        whole = np.isfinite(one.of.value[:, shown]).any(axis=1)
        used.update(one.pairs[["alt", "ref"]].to_numpy()[whole].ravel().tolist())
    return used


def _left_out(
    matched: MatchedPairs,
    chosen: Sequence[Choice],
    slots: Collection[str],
    figures: Collection[str],
    used: Collection[int],
    missed: Mapping[Choice, int],
) -> Iterator[Finding]:
    """Yield why rows that are not `used` are in no comparison.

    Where there is no comparison at all, the first says why.
    """
    rows = matched.rows
    unused, alike = ~rows.index.isin(used), matched.alike()
    related = np.zeros(len(rows), dtype=bool)
    for choice in chosen:
        related |= matched.related(choice)
    if not used:
        yield _why_none(matched, related, slots, figures, bool(missed))
    left = unused & ~alike & matched.measured & bool(used)
    reasons = {
        "same choices": alike & unused,
        "nothing to compare with": related & left,
        "more than one choice": ~related & left & (not slots),
    }
    for kind, marked in reasons.items():
        if marked.any():
            yield Finding(kind, {"variants": _unique(rows.loc[marked, "variant"])})


def _why_none(
    matched: MatchedPairs,
    related: Array,
    slots: Collection[str],
    figures: Collection[str],
    unreferred: bool,
) -> Finding:
    """Return why there is no effect.

    `unreferred` says that there are contexts, but none with a reference.
    """
    rows = matched.rows
    if rows.empty:
        return Finding("no networks of slots", {"rows": len(matched.all)})
    varied = [name for name in NAMES if any(name in choice for choice in matched.choices())]
    if slots and not {*slots} & {*varied}:
        values = {"slots": list(slots), "rows": len(rows), "varied": varied}
        return Finding("slots not varied", values)
    if unreferred:
        return Finding("no reference")
    if related.any():
        statuses = pd.concat([rows[name] for name in _statuses(rows)]).dropna()
        failed = Counter(statuses[statuses != "ok"])
        return Finding("no shared figure", {"figures": list(figures), "statuses": failed})
    return Finding("no matched pairs", {"rows": len(rows), "slots": list(slots)})


def _limits(
    matched: MatchedPairs,
    compared: Sequence[_Compared],
    missed: Mapping[Choice, int],
    wanted: Collection[str],
) -> Iterator[Finding]:
    """Yield what the rows cannot tell, or tell with less certainty."""
    rows = matched.rows
    if matched.whole.any():
        names = _unique(matched.all.loc[matched.whole, "variant"])
        yield Finding("not made of slots", {"variants": names})
    renamed = matched.all[matched.renamed]
    if len(renamed):
        names = _unique(renamed.variant + " is " + renamed.same_as)
        yield Finding("other names", {"names": names})
    choices = [name for one in compared for name in one.choice]
    idle = {name: int((~matched.active[name]).sum()) for name in choices}
    if any(idle.values()):
        counts = {name: count for name, count in idle.items() if count}
        yield Finding("inactive choices", {"rows": len(rows), "counts": counts})
    strange = [
        one.slot
        for one in compared
        if one.choice[0] not in wanted
        and (one.pairs.reference != one.pairs.group.map(matched.baselines(one.choice))).any()
    ]
    if strange:
        yield Finding("other references", {"slots": strange})
    for choice, count in missed.items():
        yield Finding("contexts without reference", {"slot": "+".join(choice), "count": count})
    failed = (rows[_statuses(rows)] != "ok").fillna(False).any(axis=1)
    if failed.any():
        yield Finding("rows not ok", {"failed": failed.sum(), "rows": len(rows)})
    disturbed = rows.quality[(rows.quality != "clean").fillna(False)].value_counts()
    if len(disturbed):
        yield Finding("disturbed rows", {"rows": len(rows), "qualities": disturbed.to_dict()})


def _outcomes(
    table: pd.DataFrame, interactions: pd.DataFrame, is_compared: bool
) -> Iterator[Finding]:
    """Yield whether capacity may be behind the effects, and how many interactions stand out."""
    grown = (table.figure == "params") & (table.change.abs() > 0.02) & table.match.isna()
    if grown.any():
        yield Finding("unequal capacity")
    tested = interactions.p.notna().sum()
    if is_compared and tested:
        values = {"flagged": interactions.flagged.sum(), "tested": tested}
        yield Finding("interactions", {**values, "significant": SIGNIFICANT})
    elif is_compared:
        yield Finding("no interactions")


def _statuses(rows: pd.DataFrame) -> list[str]:
    return [name for name in map(str, rows) if name.endswith("_status")]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(str, names)))
