"""Rows that differ in one choice and in nothing else: where the effect of a choice can be seen.

results, cells ─▶ networks made of slots ─▶ a hash for each thing they are
               ─▶ pairs of rows ─▶ differences

A row's hash is the sum of its values' hashes (Zobrist 1970, A new hashing method with application
for game playing), so that a row without one of its choices takes one subtraction, and contexts are
found by grouping instead of in pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from unet_bench.analysis.summary import SETTING
from unet_bench.networks.choices import NAMES
from unet_bench.stats.intervals import Z_975, t_975
from unet_bench.store.columns import Column
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import records

Array = np.ndarray[Any, Any]
Choice = tuple[str, ...]  # the names of a choice; several if they are changed together

TARGET: Final = "target"
GROUP: Final = ("device_name", "env_id", *SETTING, "batch_effective", TARGET)
"""What the contexts of one effect have in common: machine, software, how it was run, and whose cost
was to be met.
"""
_DATA: Final = ("task", "dataset_hash")
_NAMED: Final = ("run_id", "variant", "same_as")
_BASED: Final = ("run_id", "variant", "baseline")
_WIDTHS: Final = ("base_width", "width_scale")  # what a run scales to meet the baseline's cost
# The decoder's part is the encoder's unless told otherwise: both change at once, which is a choice
# of its own.
_LED: Final = (("encoder_block", "decoder_block"), ("norm", "decoder_norm"))
CHOICES: Final[tuple[Choice, ...]] = tuple(
    choice
    for name in NAMES
    for choice in ((name,), *((name, led) for leader, led in _LED if leader == name))
)


FIGURES: Final = tuple(
    BY_NAME[name]
    for name in (
        *("latency_ratio", "throughput_ratio", "train_step_ratio", "peak_memory_mib"),
        *("train_peak_memory_mib", "params", "macs", "energy_ratio", "dice"),
    )
)
"""What is compared: by quotient on the logarithm, or by difference; Dice, the last, in pairs."""


@dataclass(frozen=True)
class Differences:
    """Figures of one row less those of the other, for each pair of rows.

    There is a row per pair and a column per figure; NaN where one of the two has no figure. `down`
    and `up`: how far the 95 % interval of the measurement itself reaches (0: exact, NaN: unknown).
    `repeats`: how many pairs of seeds or folds that interval is over; 0: it is not over such pairs.
    """

    value: Array
    down: Array
    up: Array
    repeats: Array

    def __getitem__(self, at: Any) -> Differences:
        return Differences(*(part[at] for part in self.parts))

    @classmethod
    def joined(cls, parts: Sequence[Differences]) -> Differences:
        """Return several sets of differences, one below another."""
        return cls(*map(np.concatenate, zip(*(one.parts for one in parts), strict=True)))

    @property
    def parts(self) -> tuple[Array, Array, Array, Array]:
        """Its arrays, in the order of the fields."""
        return self.value, self.down, self.up, self.repeats

    def less(self, other: Differences) -> Differences:
        """Return the differences of two independent sets, as `Interval.minus` does."""
        return Differences(
            self.value - other.value,
            np.hypot(self.down, other.up),
            np.hypot(self.up, other.down),
            np.minimum(self.repeats, other.repeats),
        )


class MatchedPairs:
    """The measured networks made of slots, and the pairs that differ in one choice only.

    All else that the two rows of a pair have in common is their context. `rows`: a frame from 0;
    `group`: the number of each row's group; `labels`: by this number what the rows of the group
    have in common, with their runs; `values` and `active`: each choice as text, and where it can
    matter; `measured`: rows with any figure. `whole` and `renamed` mark,
    among `all` rows, those left out: not made of slots, or measured under another name.
    """

    def __init__(self, runs: Runs) -> None:
        self.all = runs.results
        whole = runs.results["architecture"].notna() | runs.results["trivial"]
        self.whole, self.renamed = whole, ~whole & runs.results["same_as"].notna()
        self.rows = runs.results[~whole & ~self.renamed].reset_index(drop=True)
        self._is_baseline = _baselines(self.rows, runs.results[self.renamed])
        self.rows[TARGET] = _targets(self.rows, runs.results)
        self.names = tuple(name for name in NAMES if name in self.rows)
        self.values = {name: _text(self.rows, name) for name in self.names}
        self.active = _active(self.rows, self.values)
        grouped = self.rows.groupby(list(GROUP), dropna=False, sort=False)
        self.group: Array = grouped.ngroup().to_numpy()
        heads = self.rows.loc[~pd.Series(self.group).duplicated().to_numpy(), list(GROUP)]
        runs_of = self.rows["run_id"].groupby(self.group)
        named = runs_of.agg(lambda names: ", ".join(names.unique()))
        self.labels = heads.reset_index(drop=True).assign(run_id=named)
        everything = (*GROUP, "run_id", *_DATA, *self.names)
        self._hash = _hashes(
            self.rows.assign(**{name: self._filled(name) for name in self.names}), everything
        )
        self._total = self._sum(everything)
        self._figures = _measured(
            self.rows, self._is_baseline, self._sum((*GROUP, "run_id", *_DATA))
        )
        self._count: Array = np.isfinite(self._figures.value).sum(axis=1)
        self.measured: Array = self._count > 0
        self._scores = _scores(self.rows, runs.cells)

    def choices(self) -> tuple[Choice, ...]:
        """Return the choices of which two values were measured."""
        return tuple(
            c
            for c in CHOICES
            if {*c} <= {*self.names} and len({*self.values[c[0]][self.settled(c)]}) > 1
        )

    def settled(self, choice: Choice) -> Array:
        """Return the rows in which a choice can matter and those that change together agree."""
        alike = [
            np.equal(self.values[name], self.values[choice[0]]).astype(bool) for name in choice
        ]
        active: Array = np.logical_and.reduce([*alike, *(self.active[name] for name in choice)])
        return active

    def baselines(self, choice: Choice) -> dict[int, str]:
        """Return, by group, the baseline's value."""
        own = self._is_baseline
        values = zip(self.group[own], self.values[choice[0]][own], strict=True)
        return {int(group): value for group, value in reversed([*values]) if value}

    def alike(self) -> Array:
        """Return the measured rows whose choices are those of another, which stands for them."""
        order = np.argsort(-self._count[self.measured], kind="stable")
        repeated = pd.Series(self._total)[self.measured].iloc[order].duplicated()
        return repeated.reindex(self.rows.index, fill_value=False).to_numpy()

    def related(self, choice: Choice) -> Array:
        """Return the rows that differ from another in this choice only, measured or not."""
        settled = self.settled(choice)
        values = pd.Series(self.values[choice[0]]).where(settled)
        counts = values.groupby(self._total - self._sum(choice)).transform("nunique")
        related: Array = settled & counts.gt(1).to_numpy()
        return related

    def pairs(self, choice: Choice, wanted: str | None = None) -> tuple[pd.DataFrame, int]:
        """Return pairs of measured rows that differ in this choice only.

        The columns are `alt` and `ref` (numbers of rows), `group`, `alternative` and `reference`.
        The reference is the value `wanted`, else the baseline's, else the one in most contexts. The
        number that comes with them counts contexts with several alternatives but no reference.
        """
        seen = pd.DataFrame(
            {
                "key": self.remainder(np.arange(len(self.rows)), choice),
                "alt": np.arange(len(self.rows)),
                "group": self.group,
                "alternative": self.values[choice[0]],
            }
        )[self.settled(choice) & self.measured]
        # Of rows with the same choices that with most figures, else the first.
        order = np.argsort(-self._count[seen.alt], kind="stable")
        seen = seen.iloc[order].drop_duplicates(["key", "alternative"]).sort_index()
        seen = seen[seen.groupby("key").alt.transform("size") > 1]
        counts = Counter(zip(seen.group, seen.alternative, strict=True))
        reference = self.baselines(choice)
        for group, value in _most_frequent(counts).items():
            if wanted or not counts[group, reference.get(group)]:
                reference[group] = wanted or value
        seen["reference"] = seen.group.map(reference)
        is_reference = seen.alternative == seen.reference
        references = seen[is_reference].set_index("key").alt.rename("ref")
        pairs = seen[~is_reference].join(references, on="key")
        without = pairs.key[pairs.ref.isna()].nunique()
        return pairs.dropna(subset="ref").astype({"ref": int}).reset_index(drop=True), without

    def differences(self, pairs: pd.DataFrame) -> Differences:
        """Return every figure of the alternatives less that of their references."""
        alt, ref = pairs.alt.to_numpy(), pairs.ref.to_numpy()
        differences = self._figures[alt].less(self._figures[ref])
        dice = _dice(pairs, self.remainder(alt, ("run_id",)), self._scores)
        names = ("mean", "down", "up", "repeats")
        for matrix, column in zip(differences.parts, names, strict=True):
            matrix[:, -1] = dice[column]
        return differences

    def levels(self, rows: Array, without: Iterable[str], *, by_difference: bool) -> list[Array]:
        """Return what varies independently, from coarse to fine.

        These are the other choices; for figures that are compared by difference, such as Dice, the
        data come before them. Networks on one data set rise and fall together in Dice. The time
        that a network takes hardly depends on the data, so that a second data set measures the same
        thing once more. A second run does so for any figure.
        """
        named = {*without}
        others = self._sum([name for name in self.names if name not in named])[rows]
        return [self._sum(_DATA)[rows], others] if by_difference else [others]

    def remainder(self, rows: Array, without: Iterable[str]) -> Array:
        """Return a hash of everything that rows are, without these choices."""
        rest: Array = (self._total - self._sum(without))[rows]
        return rest

    def _filled(self, name: str) -> Array:
        """Return a choice's values, replaced in rows where it cannot matter.

        There it is as the baseline has it, else as most rows have it, so that it keeps no rows
        apart.
        """
        active, values = self.active[name], self.values[name]
        if active.all():
            return values
        counts = Counter(zip(self.group[active].tolist(), values[active], strict=True))
        usual = _most_frequent(counts) | self.baselines((name,))
        filled = [usual.get(group, "") for group in self.group.tolist()]
        return np.where(active, values, np.array(filled, dtype=object))

    def _sum(self, names: Iterable[str]) -> Array:
        start = np.zeros(len(self.rows), dtype=np.uint64)
        return sum((self._hash[name] for name in dict.fromkeys(names)), start)


def _most_frequent(counts: Counter[tuple[int, str]]) -> dict[int, str]:
    """Return, by group, its most frequent value; of several the first."""
    return {group: value for (group, value), _ in reversed(counts.most_common())}


def estimated(
    cell: Array, of: Differences, levels: Sequence[Array], figure: Column
) -> pd.DataFrame:
    """Return, for each cell, the mean of its differences in a figure, with its interval.

    The columns are `mean`, `low`, `high`, the standard `error`, the number of `units`, their
    standard deviation `sd` and sum of squares about the mean `sse`; `contexts` counts all
    differences, and `repeats` says what the interval of a single unit is over. Units are the means
    at the first level on which a cell's differences lie apart; the interval is Student's t over
    them (of two rows a context, what ordinary least squares with an intercept per context gives).
    A single one has the interval of its measurement; NaN: none. Neither is believed if it has no
    width, unless the figure is exact.
    """
    there = ~np.isnan(of.value)
    parts = zip(("value", "down", "up", "repeats"), of[there].parts, strict=True)
    frame = pd.DataFrame(dict(parts))
    frame = frame.assign(cell=cell[there], value=frame.value.round(12))  # what logarithms lose
    by = frame.groupby("cell")
    kept = [pd.Series(level[there]) for level in levels]
    spans = [level.groupby(frame.cell).transform for level in kept]
    apart = [span("min") != span("max") for span in spans]
    frame["unit"] = np.select(apart, kept, default=np.uint64(0))
    means = frame.groupby(["cell", "unit"]).value.mean().groupby("cell")
    units, sd = means.size(), means.std()
    factor = {n: t_975(n - 1) for n in units.unique() if n > 1}
    alone = _repeated(frame, figure)
    error: pd.Series[float] = sd / np.sqrt(units)
    half = error * units.map(factor)
    reach = alone.apply(lambda end: half.where(units > 1, end))
    known = figure.exact | (reach != 0).any(axis=1)
    error = error.where(units > 1, alone.max(axis=1, skipna=False) / Z_975)
    mean = means.mean()
    columns = {
        "mean": mean,
        "sd": sd,
        "units": units,
        "contexts": by.size(),
        "repeats": by.repeats.min().where(units == 1, 0),
        "sse": sd**2 * (units - 1),
        "low": (mean - reach.down).where(known),
        "high": (mean + reach.up).where(known),
        "error": error.where(known),
    }
    return pd.DataFrame(columns)


def _repeated(frame: pd.DataFrame, figure: Column) -> pd.DataFrame:
    """Return, by cell, how far `down` and `up` the interval of repeated measurements reaches.

    The interval comes from the errors that the measurements state; one that states none counts as
    having an error as large as the others'. If they scatter more widely than that, their scatter
    counts: measurements of several runs may disagree by more than each of them knows. For Dice the
    scores already hold all repeats.
    """
    by = frame.assign(down=frame.down**2, up=frame.up**2).groupby("cell")
    repeats = 1 if figure.by_difference else by.size()
    stated = np.sqrt(by[["down", "up"]].mean().div(repeats, axis=0))
    scatter: pd.Series[float] = (Z_975 * by.value.std() / np.sqrt(repeats)).fillna(0)
    return stated.where(stated.isna() | stated.ge(scatter, axis=0), scatter, axis=0)


# ---- from frames to figures


def _text(rows: pd.DataFrame, name: str) -> Array:
    """Return a choice as text, empty where it is none.

    It is none, too, of widths that the run scaled to meet the baseline's cost.
    """
    column = rows[name]
    if name in _WIDTHS and "match" in rows:
        column = column.where(rows["match"].isna())
    codes, values = pd.factorize(column)
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    if pd.api.types.is_bool_dtype(column.dtype):
        words = [word.lower() for word in words]
    return np.array([*words, ""], dtype=object)[codes]  # what is missing has the code -1


def _active(rows: pd.DataFrame, values: Mapping[str, Array]) -> dict[str, Array]:
    """Return, by choice, the rows in which it has a value and can matter."""
    codes, texts = pd.factorize(rows["inactive"].fillna(""))
    inactive = [text.split(",") for text in texts]
    matters = {name: np.array([name not in of for of in inactive], dtype=bool) for name in values}
    return {name: matters[name][codes] & (values[name] != "") for name in values}


def _hashes(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, Array]:
    """Return, for each column, a random 64-bit number per value, the same at every call.

    What is missing is a value, too.
    """
    random, hashes = np.random.default_rng(0), {}
    for name in names:
        codes, values = pd.factorize(frame[name], use_na_sentinel=False)
        hashes[name] = random.integers(2**64, size=max(len(values), 1), dtype=np.uint64)[codes]
    return hashes


def _baselines(rows: pd.DataFrame, renamed: pd.DataFrame) -> Array:
    """Return which rows are the baseline, also where it was measured under another name."""
    twin = {
        (run, name): same for run, name, same in zip(*(renamed[n] for n in _NAMED), strict=True)
    }
    named = zip(
        *(rows[name].astype(object).where(rows[name].notna(), None) for name in _BASED), strict=True
    )
    return np.array(
        [of is not None and own in (of, twin.get((run, of))) for run, own, of in named], dtype=bool
    )


def _targets(rows: pd.DataFrame, everything: pd.DataFrame) -> pd.Series[str]:
    """Return as text the network whose cost was to be met, where a run scaled widths.

    Its widths stand for its cost, which depends on the data's channels and classes. Where that
    network is not in the rows, its name and run stand for it.
    """
    if "match" not in rows or not rows["match"].notna().any():
        return pd.Series(pd.NA, index=rows.index, dtype="string")
    widths: dict[tuple[Any, ...], str] = {}
    for row in records(
        everything[[*_NAMED, "match", *(name for name in _WIDTHS if name in everything)]]
    ):
        told = " ".join(f"{name}={row[name]:g}" for name in _WIDTHS if row.get(name) is not None)
        widths.setdefault((row["run_id"], row["variant"], row["match"]), told)
    names: list[str | None] = []
    for row in records(rows[["run_id", "baseline", "match"]]):
        known = widths.get((row["run_id"], row["baseline"], row["match"]))
        stated = f"{row['baseline']} {known}" if known else f"{row['baseline']} of {row['run_id']}"
        names.append(stated if row["match"] is not None else None)
    return pd.Series(names, index=rows.index, dtype="string")


def _measured(rows: pd.DataFrame, is_baseline: Array, beside: Array) -> Differences:
    """Return every figure on the scale it is compared on, and how far its interval reaches.

    The baseline stands at a ratio of exactly 1 where a row `beside` it, equal in run and
    conditions, has that ratio: it was measured against the baseline, whose own, a measurement
    against itself, says nothing of it and may be lost.
    """
    columns = [_column(rows, figure, is_baseline, beside) for figure in FIGURES]
    value, down, up = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    return Differences(value, down, up, np.zeros_like(value))


def _column(
    rows: pd.DataFrame, figure: Column, is_baseline: Array, beside: Array
) -> tuple[Array, Array, Array]:
    value = _scaled(rows, figure.name, figure)
    down = up = np.full(len(rows), 0.0 if figure.exact else np.nan)
    if figure.interval:
        low, high = (_scaled(rows, end, figure) for end in figure.interval)
        down, up = np.maximum(value - low, 0), np.maximum(high - value, 0)
    if not figure.is_ratio:
        return value, down, up
    has_ratio = pd.Series(~np.isnan(value)).groupby(beside).transform("any")
    is_known = is_baseline & has_ratio.to_numpy(dtype=bool)
    value, down, up = (np.where(is_known, 0.0, part) for part in (value, down, up))
    return value, down, up


def _scaled(rows: pd.DataFrame, name: str, figure: Column) -> Array:
    if name not in rows:
        return np.full(len(rows), np.nan)
    value = rows[name].to_numpy(dtype=float, na_value=np.nan)
    value = np.where(np.isfinite(value), value, np.nan)
    return value if figure.by_difference else np.log(np.where(value > 0, value, np.nan))


def _scores(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return Dice by row, fold and seed.

    Of a run without cells it is the row's own, which pairs with one of as many seeds.
    """
    of = ["run_id", "variant", *(name for name in CONDITIONS if name in cells)]
    is_scored = (cells.probe == "accuracy").fillna(False) & cells.dice.notna()
    numbered = rows[of].astype(object).assign(row=rows.index).drop_duplicates(of)
    scored = cells[is_scored].astype(dict.fromkeys(of, object)).merge(numbered, on=of)
    is_alone = ~rows.run_id.isin(cells.run_id) & rows.accuracy_status.fillna("ok").eq("ok")
    alone = rows[is_alone & rows.dice.notna()]
    parts = [
        pd.DataFrame({"row": row, "fold": fold, "seed": seed.fillna(-1), "dice": dice})
        for row, fold, seed, dice in (
            (scored.row, scored.fold.fillna(""), scored.seed, scored.dice),
            (alone.index, "", alone.seeds, alone.dice),
        )
    ]
    joined = pd.concat(parts, ignore_index=True)
    return joined.astype({"row": int, "fold": object, "seed": int, "dice": float})


def _dice(pairs: pd.DataFrame, repeated: Array, scores: pd.DataFrame) -> pd.DataFrame:
    """Return, for each pair, the mean difference in Dice over equal folds and seeds.

    The ends of its interval come with it. Pairs that are `repeated`, so equal in all but the run,
    share their folds and seeds. Where several of them have the same fold and seed, their mean
    counts once.
    """
    numbered = pairs[["alt", "ref"]].rename_axis("pair").reset_index()
    numbered["of"] = pd.factorize(repeated)[0]
    joined = numbered.merge(scores, left_on="alt", right_on="row").merge(
        scores.rename(columns={"row": "ref"}), on=["ref", "fold", "seed"], suffixes=("", "_ref")
    )
    joined["difference"] = joined.dice - joined.dice_ref
    single = joined.groupby(["of", "fold", "seed"], sort=False).difference.mean().reset_index()
    unknown = np.full(len(single), np.nan)
    folds = list(_hashes(single, ("fold", "seed")).values())
    of = Differences(single.difference.to_numpy(), unknown, unknown, np.zeros(len(single)))
    mean = estimated(single.of.to_numpy(), of, folds, FIGURES[-1])
    ends = mean.assign(down=mean["mean"] - mean.low, up=mean.high - mean["mean"])
    ends["repeats"] = mean.units.where(mean.units > 1, 0)
    is_scored = numbered.pair.isin(joined.pair)
    return ends.reindex(numbered.of.where(is_scored, -1)).set_axis(pairs.index)
