"""Findings of an analysis in words: one sentence for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from unet_bench.analysis.findings import Finding
from unet_bench.analysis.rank import JOIN
from unet_bench.text_format import named

_MEASURE: Final = (
    "measure some that do, such as `unet-bench run --base unet --vary up=transpose,bilinear "
    "--vary merge=concat,add`"
)
SENTENCES: Final[Mapping[str, str]] = {
    # fronts
    "no front": "no front: there is no Dice, latency or peak memory",
    "dimensions without figures": "without {dimensions:and}, since no network has a figure",
    "not on any front": "not on any front, since a figure is missing or a cell failed: {variants}",
    "figures without intervals": "{dimension} without an interval counts as exact: {variants}",
    "single seed": (
        "Dice of a single seed: its error is that of the test images alone; another seed may move "
        "it further"
    ),
    "reliability": (
        "reliability of this ranking by Dice: {mean:.2f} ({low:.2f} to {high:.2f}; {seeds} seeds "
        "of {networks} networks; one seed alone {single:.2f}): 1 would mean that seeds do not "
        "matter, 0 that they alone make the order"
    ),
    "race": (
        "a race: {here} of {networks} networks were trained for {budget}; of the others "
        "{behind} stopped clearly behind the best, and {no_time} for lack of time, not clearly "
        "behind: `unet-bench show` says which"
    ),
    "runtime": (
        "{variant} takes {ratio:.2f} ({low:.2f} to {high:.2f}) of eager torch's time in {how}; "
        "Dice there was not measured: `--probes …,accuracy,deployed` does"
    ),
    "runtime and Dice": (
        "{variant} takes {ratio:.2f} ({low:.2f} to {high:.2f}) of eager torch's time in {how}, "
        "and its Dice there changes by {change:+.4f} ({least:+.4f} to {most:+.4f})"
    ),
    # effects of choices
    "no networks of slots": (
        "no effect to show: none of {rows} rows is a measured network made of slots; " + _MEASURE
    ),
    "slots not varied": (
        "no effect to show: all {rows} rows where {slots} can matter have the same value"
        "{varied:?; varied: }"
    ),
    "no reference": (
        "no effect to show: rows differ in one choice only, but none of them has the reference; "
        "`--reference` takes another"
    ),
    "no shared figure": (
        "no effect to show: rows differ in one choice only, but share no figure{figures:? among }"
        "{statuses:?; cells failed: }; see `unet-bench show`"
    ),
    "no matched pairs": (
        "no effect to show: no two of {rows} rows differ in one choice only{slots:? and in }; "
        + _MEASURE
    ),
    "same choices": "left out, since another row has the same choices: {variants}",
    "nothing to compare with": (
        "left out, since those that differ in one choice only lack the figure or are not the "
        "reference: {variants}"
    ),
    "more than one choice": (
        "left out, since they differ from every other in more than one choice: {variants}"
    ),
    "not made of slots": "left out, since they are not made of slots: {variants}",
    "other names": "the same network under another name, counted once: {names}",
    "inactive choices": (
        "of {rows} rows, those in which a choice cannot matter are not used for it: {counts}"
    ),
    "other references": (
        "{slots}: the baseline's choice is in no context; the reference is the one in most"
    ),
    "contexts without reference": (
        "{slot}: {count} contexts hold alternatives, but not the reference"
    ),
    "rows not ok": (
        "{failed} of {rows} rows are not ok: where one side lacks a figure it is not compared"
    ),
    "disturbed rows": (
        "the machine was disturbed in some of {rows} rows, whose ratios are used where they were "
        "kept: {qualities}"
    ),
    "unequal capacity": (
        "effects at equal width include those of capacity: see parameters; "
        "`unet-bench run --match params` makes it equal"
    ),
    "interactions": (
        "interactions: {flagged} of {tested} tested stand out (Holm: p < {significant:g}; above "
        "2 %, of Dice 0.01)"
    ),
    "no interactions": (
        "interactions: none can be tested; that takes two choices varied together, as in a grid"
    ),
    # comparisons
    "baseline moved": (
        "the baseline {baseline} itself{workload:? on }: {old:.4g} ms, then {new:.4g} ms "
        "({change:+.1%})"
    ),
    "no ratio": (
        "{kind}: {of} rows have no ratio to a baseline in either; times are compared, which also "
        "differ where the machine was busier"
    ),
    "no error known": "{kind}: a plugin's figure, whose error is not known; it counts as exact",
    "wide intervals": (
        "{kind}: {count} of {of} are AMBIGUOUS, since the change's 95 % interval (median "
        "±{half:.1%}) reaches over the margin of {margin:.1%}; narrow it by `--replicates 3` or a "
        "longer `--preset` in both runs, or allow more by `--margin`"
    ),
    "wide intervals of Dice": (
        "{kind}: {count} of {of} are AMBIGUOUS, since the difference's 95 % interval (median "
        "±{half:.3f}) reaches over the margin of {margin:g}; narrow it by more `--seeds` in both "
        "runs, or allow more by `--accuracy-margin`"
    ),
    "no intervals": (
        "{kind}: {count} of {of} are AMBIGUOUS, since a side has no interval; `--replicates 3` "
        "gives it one, in pytest-benchmark six rounds"
    ),
    # average ranks
    "no average ranks": "no average ranks: {why}",
    "ranks are not joined": JOIN,
    "friedman": (
        "{networks} networks on {data_sets} data sets: Friedman χ² {chi2:.2f} (p {chi2_p:p}), "
        "Iman-Davenport F {f:.2f} (p {p:p}), critical difference {critical_difference:.2f}"
    ),
    "no difference between ranks": (
        "Friedman's test shows no difference between any of them: all are one group"
    ),
    "ranks cannot differ": (
        "{networks} networks on {data_sets} data sets cannot be told apart: their average ranks "
        "differ by less than the critical difference, however they come out"
    ),
    "few data sets": (
        "with fewer than {fewest} data sets hardly any difference can be significant"
    ),
    "left out of ranks": (
        "left out, with the number of data sets on which they have no score: {missing}"
    ),
    # U-Score
    "no u-score": (
        "no U-Score: it takes IoU, parameters, MACs and throughput of at least three unlike "
        "networks"
    ),
    "u-score by own quantiles": (
        "U-Score: U-Bench has no such data set, so that IoU is placed between the quantiles of "
        "these very networks: it compares networks of this run only, and moves with their list"
    ),
    "u-score at other batches": (
        "U-Score: FPS is throughput at batch {batches}; it is defined at batch 1"
    ),
    "u-score constants": (
        "U-Score: its constants are of U-Bench's GPU, images and count of MACs; elsewhere many "
        "networks lie at one end"
    ),
}


def sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the findings in words, each once."""
    return tuple(dict.fromkeys(map(sentence, findings)))


def sentence(finding: Finding) -> str:
    """Return a finding in words, behind the conditions that it is about."""
    values = {name: _Value(value) for name, value in finding.values.items()}
    text = SENTENCES[finding.kind].format(**values)
    return f"{conditions_text(finding.where)}: {text}" if finding.where else text


def conditions_text(where: Mapping[str, Any]) -> str:
    """Return the conditions that tell rows apart, as the heading of what is said of them."""
    words = []
    for name, value in where.items():
        number = name.removesuffix("_requested").removesuffix("_effective")
        told = f"{number} {value}" if isinstance(value, int) else str(value)
        words.append(f"no {name}" if value is None else told)
    return " · ".join(words)


class _Value:
    """A value in a sentence: names by commas, a number by its format.

    The format `p` is that of a probability, `and` joins names, and `?` puts the rest of the format
    before a value, of which nothing is left if it is empty.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __format__(self, spec: str) -> str:
        value = self.value
        if spec.startswith("?"):
            return f"{spec[1:]}{self:}" if value else ""
        if spec == "p":
            return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
        if spec == "and":
            return " and ".join(value)
        if isinstance(value, Mapping):
            return named([f"{name} ({count})" for name, count in value.items()])
        if isinstance(value, list | tuple):
            return named(value)
        return format(value, spec)
