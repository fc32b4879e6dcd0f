"""What each choice is worth: its effect on speed, memory and Dice over the contexts in which
nothing else changed.

runs ─▶ pairs of rows that differ in one choice (contexts.py) ─▶ mean change and interval ─▶ interactions ─▶ text

The model is y = context + alternative, with y the logarithm of a figure (Dice: itself), for one
alternative and the reference at a time. Least squares on it is the mean of the differences within
contexts, and its errors clustered by context are those of the paired t-test. Taking two at a time
costs nothing where contexts are complete, lets each alternative vary as it does, and no effect
changes because another alternative was measured, too (the objection of Benavoli, Corani and Mangili
2016, Should we really use post-hoc tests based on mean-ranks?, JMLR 17).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from unet_bench.analysis.matched_pairs import (
    FIGURES,
    GROUP,
    Array,
    Choice,
    Contexts,
    Differences,
    Figure,
    estimated,
)
from unet_bench.errors import InvalidChoice, unknown
from unet_bench.networks.choices import NAMES, format_value, parse_value
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME
from unet_bench.store.tables import records, typed_frame
from unet_bench.text_format import named

Row = dict[str, Any]

SIGNIFICANT: Final = 0.05
MATTERS: Final[Mapping[bool, float]] = {
    True: math.log(1.02),
    False: 0.01,
}  # by whether the figure is relative
_LARGEST: Final = 700.0  # a logarithm, about the largest of a float
_ARITHMETIC: Final = ("params", "macs")  # whose interactions follow from how networks are made
_OF_GROUP: Final[Mapping[str, str]] = {
    "run_id": "string",
    **{name: BY_NAME[name].dtype if name in BY_NAME else "string" for name in GROUP},
}
_ESTIMATE: Final[Mapping[str, str]] = {
    "ci_low": "Float64",
    "ci_high": "Float64",
    "contexts": "Int64",
    "units": "Int64",
}
COLUMNS: Final[Mapping[str, str]] = {
    **_OF_GROUP,
    **dict.fromkeys(("slot", "alternative", "reference", "figure"), "string"),
    "change": "Float64",  # in parts of the reference (0.12: 12 % more), of Dice the difference
    **_ESTIMATE,  # contexts: matched comparisons; units: those of them that vary independently
    "basis": "string",  # what the interval comes from: contexts, the measurement, or exact
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
    "basis": "string",
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
    """Frames with the columns of COLUMNS, INTERACTIONS and FIT, and what else is to be known of
    them.
    """

    table: pd.DataFrame
    interactions: pd.DataFrame
    fit: pd.DataFrame
    notes: tuple[str, ...] = ()


def effects(
    runs: Runs,
    *,
    references: Mapping[str, str] | None = None,
    slots: Collection[str] = (),
    figures: Collection[str] = (),
) -> Effects:
    """The effect of each alternative of each slot and axis against a reference, in every group of
    like conditions.

    The reference is the baseline's choice, or what `references` says: a value by slot or axis.
    `slots` and `figures` leave out others. Raises UnknownName, InvalidChoice.
    """
    _check_names(slots, figures)
    contexts = Contexts(runs)
    wanted = _wanted(contexts, references or {})
    chosen = [c for c in contexts.choices() if not slots or {*slots} & {*c}]
    found = [(choice, *contexts.pairs(choice, wanted.get(choice[0]))) for choice in chosen]
    pairs = {choice: of for choice, of, _ in found if len(of)}
    differences = {choice: contexts.differences(of) for choice, of in pairs.items()}
    seen = np.any([np.isfinite(of.value).any(axis=0) for of in differences.values()], axis=0)
    shown = [
        n
        for n, figure in enumerate(FIGURES)
        if pairs and seen[n] and (not figures or figure.column in figures)
    ]
    table, fit = _main_effects(contexts, pairs, differences, shown)
    interactions = _interactions(contexts, pairs, differences, shown)
    missed = {choice: without for choice, _, without in found if without}
    notes = (
        *_standing(
            contexts,
            chosen,
            slots,
            figures,
            _used(pairs, differences, shown),
            bool(missed) and not pairs,
        ),
        *_notes(contexts, pairs, table, interactions, missed, wanted),
    )
    return Effects(
        typed_frame(table, COLUMNS),
        typed_frame(interactions, INTERACTIONS),
        typed_frame(fit, FIT),
        notes,
    )


def parse_references(texts: Iterable[str]) -> dict[str, str]:
    """References from texts such as `up=bilinear`. Raises InvalidChoice."""
    found = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            raise InvalidChoice(
                f"{text!r} is no reference: write SLOT=PART or AXIS=VALUE, such as up=bilinear"
            )
        found[name] = value
    return found


def _check_names(slots: Iterable[str], figures: Iterable[str]) -> None:
    for name in slots:
        if name not in NAMES:
            raise unknown("slot or axis", name, NAMES, "unet-bench list parts")
    columns = [figure.column for figure in FIGURES]
    for name in figures:
        if name not in columns:
            raise unknown("figure", name, columns, "unet-bench effects --help")


def _wanted(contexts: Contexts, references: Mapping[str, str]) -> dict[str, str]:
    """The references as they stand in the rows. Raises UnknownName for one that no row has."""
    wanted = {}
    for name, value in references.items():
        wanted[name] = text = format_value(name, parse_value(name, value))
        seen = [v for v in dict.fromkeys(contexts.values.get(name, ())) if v]
        if text not in seen:
            raise unknown(
                f"reference for {name}",
                value,
                seen,
                "unet-bench show RUN --columns variant," + name,
            )
    return wanted


@dataclass(frozen=True)
class _Sample:
    """Differences to be averaged by `cell`, of which `heads` says what it compares; `levels` of
    each figure.
    """

    heads: list[Row]
    cell: Array
    of: Differences
    levels: Mapping[bool, list[Array]]  # by whether the figure is relative

    def means(self, figure: int) -> Iterator[tuple[int, Row]]:
        """Each cell's number and what `estimated` says of it."""
        of = FIGURES[figure]
        found = estimated(self.cell, self.of[:, figure], self.levels[of.relative], of)
        return zip(map(int, found.index), records(found), strict=True)


def _sample(
    contexts: Contexts, rows: pd.DataFrame, by: Sequence[str], varied: Choice, of: Differences
) -> _Sample:
    """The differences of `rows`, one cell for each combination of the columns `by`; heads are first
    rows.
    """
    cell = rows.groupby(list(by), sort=False).ngroup().to_numpy()
    heads = records(rows[~pd.Series(cell).duplicated().to_numpy()])
    alt = rows["alt"].to_numpy()
    return _Sample(
        heads, cell, of, {kind: contexts.levels(alt, varied, kind) for kind in (True, False)}
    )


def _joined(samples: Sequence[_Sample]) -> _Sample:
    starts = np.cumsum([0, *(len(sample.heads) for sample in samples)])
    return _Sample(
        [head for sample in samples for head in sample.heads],
        np.concatenate(
            [sample.cell + start for sample, start in zip(samples, starts, strict=False)]
        ),
        Differences.joined([sample.of for sample in samples]),
        {
            kind: [
                np.concatenate(level)
                for level in zip(*(s.levels[kind] for s in samples), strict=True)
            ]
            for kind in (True, False)
        },
    )


# ---- main effects


def _main_effects(
    contexts: Contexts,
    pairs: Mapping[Choice, pd.DataFrame],
    of: Mapping[Choice, Differences],
    shown: Sequence[int],
) -> tuple[list[Row], list[Row]]:
    """The rows of the effects and of their fit, by group, slot, alternative and figure."""
    if not pairs:
        return [], []
    sample = _joined(
        [
            _sample(
                contexts,
                found.assign(slot="+".join(choice)),
                ("group", "alternative"),
                choice,
                of[choice],
            )
            for choice, found in pairs.items()
        ]
    )
    table: list[tuple[tuple[int, ...], Row]] = []
    fits: dict[tuple[int, str, int], list[Row]] = defaultdict(list)
    for n in shown:
        for number, mean in sample.means(n):
            head = sample.heads[number]
            named = {name: head[name] for name in ("slot", "alternative", "reference")}
            row = contexts.labels[head["group"]] | named | {"figure": FIGURES[n].column}
            table.append(((head["group"], number, n), row | _estimate(FIGURES[n], mean)))
            fits[head["group"], head["slot"], n].append(mean)
    fit = [
        contexts.labels[group] | {"slot": slot, "figure": FIGURES[n].column} | _fit(means)
        for (group, slot, n), means in fits.items()
    ]
    return [row for _, row in sorted(table, key=lambda found: found[0])], fit


def _estimate(figure: Figure, mean: Row) -> Row:
    scale = _part if figure.relative else float
    low, high = (None if mean[end] is None else float(scale(mean[end])) for end in ("low", "high"))
    return {
        "change": float(scale(mean["mean"])),
        "ci_low": low,
        "ci_high": high,
        "contexts": mean["contexts"],
        "units": mean["units"],
        "basis": _basis(figure, mean),
        "spread": mean["sd"],
        "separable": low is not None and high is not None and (low > 0 or high < 0),
    }


def _part(logarithm: float) -> float:
    """A difference of logarithms as a part of the reference, at most what a float holds."""
    return math.expm1(min(logarithm, _LARGEST))


def _basis(figure: Figure, mean: Row) -> str:
    return (
        "contexts"
        if mean["units"] > 1
        else "exact"
        if figure.exact and mean["error"] == 0
        else "measurement"
    )


def _fit(means: Sequence[Row]) -> Row:
    """How well one effect per alternative describes the differences within contexts."""
    sse = sum(mean["sse"] or 0.0 for mean in means)
    df = sum(mean["units"] - 1 for mean in means)
    total = sse + sum(mean["units"] * mean["mean"] ** 2 for mean in means)
    return {
        "alternatives": len(means),
        "differences": sum(mean["units"] for mean in means),
        "residual_sd": math.sqrt(sse / df) if df else None,
        "r2_within": 1 - sse / total if df and total > 0 else None,
    }


# ---- interactions


def _interactions(
    contexts: Contexts,
    pairs: Mapping[Choice, pd.DataFrame],
    of: Mapping[Choice, Differences],
    shown: Sequence[int],
) -> list[Row]:
    """The effect of one choice where another has its alternative, less that where it has its
    reference.

    Each is a mean over the contexts that hold all four networks, with Student's t over them as for
    the effects: what tells them apart is all else, so that a third choice cannot pass for the
    second.
    """
    samples, references = [], []
    for one, other in combinations(pairs, 2):
        fours = _fours(contexts, one, other, pairs)
        if len(fours) and not {*one} & {*other}:
            at_alternative, at_reference = (
                of[one][fours[number].to_numpy()] for number in ("number", "number_second")
            )
            fours = fours.assign(slot="+".join(one), with_slot="+".join(other))
            by = ("group", "alternative", "with_alternative")
            samples.append(
                _sample(contexts, fours, by, (*one, *other), at_alternative.less(at_reference))
            )
            references.append(at_reference)
    if not samples:
        return []
    sample, at_reference = _joined(samples), Differences.joined(references)
    found: list[Row] = []
    for n in shown:
        if FIGURES[n].column in _ARITHMETIC:
            continue
        whole = ~np.isnan(sample.of.value[:, n])
        base = pd.Series(at_reference.value[whole, n]).groupby(sample.cell[whole]).mean()
        for number, mean in sample.means(n):
            head = sample.heads[number]
            named = {name: head[name] for name in INTERACTIONS if name in head}
            row = contexts.labels[head["group"]] | named | {"figure": FIGURES[n].column}
            found.append(row | _interaction(FIGURES[n], mean, float(base[number])))
    return _adjusted(found)


def _fours(
    contexts: Contexts, one: Choice, other: Choice, pairs: Mapping[Choice, pd.DataFrame]
) -> pd.DataFrame:
    """Four networks each: two pairs alike in all but `one` within and `other` between them.

    `number` and `number_second` say which of the pairs of `one` they are, the latter where `other`
    is the reference.
    """
    own = pairs[one]
    alt, ref = own["alt"].to_numpy(), own["ref"].to_numpy()
    settled, values = contexts.settled(other), contexts.values[other[0]]
    references = pairs[other].groupby("group")["reference"].first()
    frame = own.assign(
        number=np.arange(len(own)),
        rest=contexts.remainder(alt, (*one, *other)),
        with_alternative=values[alt],
        with_reference=own["group"].map(references),
    )[settled[alt] & settled[ref]]
    is_reference = frame["with_alternative"] == frame["with_reference"]
    second = frame.loc[is_reference, ["rest", "alternative", "number"]]
    fours: pd.DataFrame = frame[~is_reference].merge(
        second, on=["rest", "alternative"], suffixes=("", "_second")
    )
    return fours


def _interaction(figure: Figure, mean: Row, at_reference: float) -> Row:
    scale = _part if figure.relative else float
    estimate = _estimate(figure, mean)
    return {
        "change_at_reference": float(scale(at_reference)),
        "change_at_alternative": float(scale(at_reference + mean["mean"])),
        "difference": estimate["change"],
        **{name: estimate[name] for name in (*_ESTIMATE, "basis")},
        "p": _p(mean),
        "flagged": abs(mean["mean"]) > MATTERS[figure.relative],
    }


def _p(mean: Row) -> float | None:
    """Two-sided, by Student's t over units; of a single one by the normal law and its own interval."""
    from scipy.special import ndtr, stdtr

    if mean["error"] is None:
        return None
    if mean["error"] == 0:
        return float(mean["mean"] == 0)
    t = -abs(mean["mean"] / mean["error"])
    return float(2 * (stdtr(mean["units"] - 1, t) if mean["units"] > 1 else ndtr(t)))


def _adjusted(found: list[Row]) -> list[Row]:
    """With p adjusted by Holm's method (1979) over those of a group, the smallest first; flagged:
    significant, too.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        groups[tuple(row[name] for name in GROUP)].append(row)
    for rows in groups.values():
        tested = sorted((row for row in rows if row["p"] is not None), key=lambda row: row["p"])
        largest = 0.0
        for rank, row in enumerate(tested):
            largest = row["p_adjusted"] = max(largest, min(1.0, row["p"] * (len(tested) - rank)))
        for row in rows:
            row["flagged"] = row["flagged"] and row.get("p_adjusted", 1.0) < SIGNIFICANT
        rows.sort(key=lambda row: (not row["flagged"], row.get("p_adjusted", 2.0)))
    return [row for rows in groups.values() for row in rows]


# ---- notes

_MEASURE: Final = (
    "measure some that do, such as `unet-bench run --base unet --vary up=transpose,bilinear "
    "--vary merge=concat,add`"
)


def _used(
    pairs: Mapping[Choice, pd.DataFrame], of: Mapping[Choice, Differences], shown: Sequence[int]
) -> set[int]:
    """The rows of pairs with a figure that is shown."""
    used: set[int] = set()
    for choice, found in pairs.items():
        whole = np.isfinite(of[choice].value[:, shown]).any(axis=1)
        used.update(*(found[side].to_numpy()[whole].tolist() for side in ("alt", "ref")))
    return used


def _standing(
    contexts: Contexts,
    chosen: Sequence[Choice],
    slots: Collection[str],
    figures: Collection[str],
    used: Collection[int],
    unreferred: bool,
) -> Iterator[str]:
    """Why rows that are not `used` are in no comparison with a figure; first, if none is, why there
    is no effect.

    `unreferred`: there are contexts, but none holds a reference.
    """
    rows = contexts.rows
    unused = ~rows.index.isin(used)
    alike = contexts.alike()
    related = np.logical_or.reduce([contexts.related(c) for c in chosen], axis=0) & np.ones(
        len(rows), dtype=bool
    )
    if not used:
        yield "no effect to tell: " + _why_none(contexts, related, slots, figures, unreferred)
    twins = rows.loc[alike & unused, "variant"]
    if len(twins):
        yield f"same choices as another row, which is taken: {named(_unique(twins))}"
    stranded = rows.loc[related & unused & ~alike & contexts.measured, "variant"]
    if len(stranded) and used:
        told = named(_unique(stranded))
        yield f"differ in one choice, but from rows that lack the figure or are not the reference: {told}"
    lonely = rows.loc[~related & unused & ~alike & contexts.measured, "variant"]
    if len(lonely) and used and not slots:
        yield f"differ from every other in more than one choice, and say nothing: {named(_unique(lonely))}"


def _why_none(
    contexts: Contexts,
    related: Array,
    slots: Collection[str],
    figures: Collection[str],
    unreferred: bool,
) -> str:
    rows = contexts.rows
    if rows.empty:
        return f"none of {len(contexts.all)} rows is a measured network made of slots; {_MEASURE}"
    varied = {name for choice in contexts.choices() for name in choice}
    still = [name for name in slots if name not in varied]
    if slots and len(still) == len(slots):
        others = (
            f"; varied: {', '.join(name for name in NAMES if name in varied)}" if varied else ""
        )
        return f"{', '.join(still)}: all {len(rows)} rows where it can matter have the same value{others}"
    if unreferred:
        return "rows differ in one choice only, but none of them has the reference; `--reference` takes another"
    if related.any():
        of = f" among {', '.join(figures)}" if figures else ""
        statuses = [rows[name] for name in rows if str(name).endswith("_status")]
        counts = Counter(word for status in statuses for word in status.dropna() if word != "ok")
        told = (
            f" ({', '.join(f'{status} {count}' for status, count in counts.items())})"
            if counts
            else ""
        )
        return (
            f"rows differ in one choice only, but share no figure{of}{told}; see `unet-bench show`"
        )
    of_slots = f" and in {' or '.join(slots)}" if slots else ""
    return f"no two of {len(rows)} rows differ in one choice only{of_slots}; {_MEASURE}"


def _notes(
    contexts: Contexts,
    pairs: Mapping[Choice, pd.DataFrame],
    table: Sequence[Row],
    interactions: Sequence[Row],
    missed: Mapping[Choice, int],
    wanted: Collection[str],
) -> Iterator[str]:
    rows = contexts.rows
    if contexts.whole.any():
        whole = _unique(contexts.all.loc[contexts.whole, "variant"])
        yield f"left out, since they are not made of slots: {named(whole)}"
    renamed = contexts.all[contexts.renamed]
    if len(renamed):
        same = (
            f"{row['variant']} is {row['same_as']}"
            for row in records(renamed[["variant", "same_as"]])
        )
        yield f"the same network under another name, counted once: {named(_unique(same))}"
    idle = {name: int((~contexts.active[name]).sum()) for choice in pairs for name in choice}
    if any(idle.values()):
        told = ", ".join(f"{name} in {count}" for name, count in idle.items() if count)
        yield f"of {len(rows)} rows, those where a choice cannot matter say nothing of it: {told}"
    strange = [
        choice
        for choice in pairs
        if choice[0] not in wanted and _is_strange(contexts, choice, pairs[choice])
    ]
    if strange:
        told = ", ".join("+".join(choice) for choice in strange)
        yield f"{told}: the baseline's choice is in no context; the reference is the one in most"
    for choice, count in missed.items():
        yield f"{'+'.join(choice)}: {count} contexts hold alternatives, but not the reference"
    failed = (
        (rows[[name for name in rows if str(name).endswith("_status")]] != "ok")
        .fillna(False)
        .any(axis=1)
    )
    if failed.any():
        yield f"{failed.sum()} of {len(rows)} rows are not ok: a figure that one side lacks is no comparison"
    disturbed = rows.loc[(rows["quality"] != "clean").fillna(False), "quality"].value_counts()
    if len(disturbed):
        told = ", ".join(f"{count} {quality}" for quality, count in disturbed.items())
        yield f"of {len(rows)} rows {told}: ratios are used where they were kept"
    grown = any(
        row["figure"] == "params" and abs(row["change"]) > 0.02 and not row.get("match")
        for row in table
    )
    if grown:
        yield "effects at equal width hold what capacity does: see params; `unet-bench run --match params` levels it"
    if pairs:
        flagged = sum(row["flagged"] for row in interactions)
        tested = sum(row["p"] is not None for row in interactions)
        yield (
            f"interactions: {flagged} of {tested} tested stand out (Holm: p < {SIGNIFICANT:g}; above 2 %, of Dice 0.01)"
            if tested
            else "interactions: none can be tested; that takes two choices varied together, as in a grid"
        )


def _is_strange(contexts: Contexts, choice: Choice, pairs: pd.DataFrame) -> bool:
    """Whether a reference is another than the baseline's choice."""
    return bool((pairs["reference"] != pairs["group"].map(contexts.baselines(choice))).any())


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(str, names)))
