"""A choice in words: what to use and what it costs, and what to measure to be sure, with the
commands for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan, log
from typing import Any, Final

from unet_bench.analysis.budget import Fit, Limit
from unet_bench.analysis.candidates import GOALS, Gap, Group, Option, gap
from unet_bench.analysis.front import Row
from unet_bench.store.columns import PROBES
from unet_bench.store.figures import is_good
from unet_bench.text_format import decimals, digits, named, one_line, times

MOST_SEEDS: Final = 20  # in a command
SHOWN: Final = 6  # networks as good, in words and in a table
_GOALS: Final = {
    "latency": "the fastest",
    "peak_memory_mib": "the one that takes least memory",
    "macs": "the one of fewest MACs",
    "params": "the smallest",
}
_RESTLESS: Final = ("contaminated",)  # qualities that leave absolute times empty


# ---- what to use


def verdicts(group: Group, options: Sequence[Option], fitting: int) -> Iterator[str]:
    """What the choice comes to, the most important first."""
    if not options or options[0].role == "nearest":
        yield from _nothing(group, options)
        return
    best, equals = options[0], [option for option in options if option.role == "as good"]
    budget = group.budget.text()
    if group.goal == "dice":
        yield f"use {best.variant}: {_figures(group, best)}{_unsure(best)}"
    else:
        yield f"no network has a Dice: {best.variant} is {_GOALS[group.goal]}: {_figures(group, best)}{_unsure(best)}"
    if budget:
        yield f"{fitting} of {len(group.networks)} networks fit {budget}"
    unclear = [option for option in options if option.role == "unclear"]
    if equals:
        yield from _as_good(best, equals)
    elif not unclear:
        yield from _ahead(group, options)
    yield from _unclear(unclear)
    yield from (_step_up(group, best, option) for option in options if option.role == "step up")
    yield from _unbeaten(group, best)


def _ahead(group: Group, options: Sequence[Option]) -> Iterator[str]:
    """How far the best is ahead of those that fit, where none of them is as good."""
    best, worse = (
        options[0],
        [option for option in options if option.role == "worse" and option.gap],
    )
    if not worse or group.goal != "dice":
        return
    apparent = next(
        (option for option in worse if option.gap and option.gap.verdict == "apparent"), None
    )
    if apparent is None or apparent.gap is None:
        yield "every other that fits is worse, separably"
        return
    ahead = f"{abs(apparent.gap.difference):.3f} ahead of {apparent.variant}"
    nearest = ", the next that fits" if apparent is worse[0] else ""
    why = (
        "one seed proves nothing"
        if _is_lone(group, best, apparent)
        else "without intervals nothing is proven"
    )
    yield f"{best.variant} is {ahead}{nearest}: more than the choice of test images explains, but {why}"


def _as_good(best: Option, equals: Sequence[Option]) -> Iterator[str]:
    cheaper = (option for option in equals if is_cheaper(best, option))
    first = next(cheaper, None) or next(
        (option for option in equals if _is_mixed(costs(best, option))), None
    )
    if first is None:
        yield f"as good as can be told, but not cheaper: {named([option.variant for option in equals])}"
        return
    found = costs(best, first)
    others = [option.variant for option in equals if option is not first]
    more = f"; as good, too: {named(others, 3)}" if others else ""
    words = (" but " if _is_mixed(found) else " and ").join(found)
    yield f"{first.variant} is as good as can be told, and {words}{more}"


def _unclear(options: Sequence[Option]) -> Iterator[str]:
    behind = [abs(option.gap.difference) for option in options if option.gap]
    if behind:
        span = f"{min(behind):.3f}" + f" to {max(behind):.3f}" * (len(behind) > 1)
        yield f"{span} behind, but not told from it yet: {named([option.variant for option in options], 3)}"


def _is_mixed(costs: Sequence[str]) -> bool:
    """Whether some speak for it and some against."""
    return 0 < sum("faster" in cost or "less" in cost for cost in costs) < len(costs)


def is_cheaper(best: Option, option: Option) -> bool:
    """Faster beyond error, or of less memory and not slower."""
    found = costs(best, option)
    return any("faster" in cost or "less" in cost for cost in found) and not any(
        "slower" in cost for cost in found
    )


def costs(best: Option, option: Option) -> list[str]:
    """What an option takes against the best, without what lies within the error."""
    found = []
    if option.speed is not None and (
        isnan(option.speed_reach) or abs(log(option.speed)) > option.speed_reach
    ):
        faster = option.speed < 1
        found.append(
            f"{times(1 / option.speed)} faster" if faster else f"{times(option.speed)} slower"
        )
    own, other = option.row.get("peak_memory_mib"), best.row.get("peak_memory_mib")
    if own and other and abs(own / other - 1) >= 0.02:
        found.append(
            f"takes {100 * abs(own / other - 1):.0f} % {'less' if own < other else 'more'} memory"
        )
    return found


def _step_up(group: Group, best: Option, option: Option) -> str:
    assert option.gap is not None
    sure = {"separable": "separably", "not separable": "unproven"}.get(
        option.gap.verdict,
        "apparently: one seed" if _is_lone(group, best, option) else "apparently",
    )
    gain = f"Dice {option.gap.difference:.3f} higher ({sure})"
    return f"a step up is {option.variant}: {gain}, and over the budget by {over(option)}"


def _nothing(group: Group, options: Sequence[Option]) -> Iterator[str]:
    budget = group.budget.text()
    fits = [(one_line(row["variant"]), group.fit(row)) for row in group.networks]
    unknown = dict.fromkeys(limit.label for _, fit in fits if not fit.over for limit in fit.unknown)
    beyond = [f"{name} ({', '.join(_over(fit))})" for name, fit in fits if fit.over]
    if options:
        nearest = options[0]
        yield f"nothing fits {budget}"
        yield f"the nearest is {nearest.variant}, over the budget by {over(nearest)}: {_figures(group, nearest)}"
        return
    if beyond:
        yield f"over the budget by what is known: {named(beyond)}"
    if unknown:
        labels = " and ".join(unknown)
        lacking = f"a figure for {labels}" if len(unknown) == 1 else f"all of {labels}"
        yield f"nothing is known to fit {budget}: no {'other ' * bool(beyond)}network has {lacking}"
    elif beyond:
        yield f"nothing fits {budget}"
    else:
        yield "there is nothing to choose by: no network has a figure that counts"


def _unbeaten(group: Group, best: Option) -> Iterator[str]:
    trivial = max(group.trivial, key=lambda row: row["dice"], default=None)
    if trivial is None or group.goal != "dice":
        return
    untrained = (
        f"{trivial['variant']}, which needs no training ({trivial['dice']:.3f}): train longer"
    )
    if best.row["dice"] <= trivial["dice"]:
        yield f"no network that fits beats {untrained}"
    elif gap(group, trivial, best.row).verdict == "not separable":
        yield f"{best.variant} cannot be told from {untrained}"


def _figures(group: Group, option: Option) -> str:
    """Its figures, with as many digits as tell them from the limits."""
    row, words = option.row, []
    limits = {limit.column: most for limit, most in group.budget.asked()}
    if row.get("dice") is not None:
        words.append(f"Dice {decimals(row['dice'], limits.get('dice'))}")
    if option.latency is not None:
        ms = digits(option.latency.value, limits.get("latency_ms"))
        words.append(f"{ms} ms" + " (estimated)" * option.latency.estimated)
    elif row.get("latency_ratio"):
        words.append(f"{digits(row['latency_ratio'])} × the baseline's latency")
    if row.get("peak_memory_mib") is not None:
        words.append(f"{digits(row['peak_memory_mib'], limits.get('peak_memory_mib'))} MiB")
    if row.get("params") is not None:
        words.append(f"{digits(row['params'] / 1e6, limits.get('params'))} M parameters")
    return ", ".join(words)


def _unsure(option: Option) -> str:
    return (
        f"; within error of the budget in {' and '.join(option.fit.unsure)}"
        if option.fit.unsure
        else ""
    )


def over(option: Option) -> str:
    """By how much it is over the budget, and in what; empty where it is not."""
    return ", ".join(_over(option.fit))


def _over(fit: Fit) -> list[str]:
    short = {"Dice": f"{decimals(fit.short, 0.0)} short"}
    return [
        f"{label} {short.get(label, times(factor))}" + " (within error)" * (label in fit.unsure)
        for label, factor in fit.over.items()
    ]


def _is_single(group: Group, row: Row) -> bool:
    """Whether a row's Dice is of one training."""
    return len(group.scores.get(row["variant"], ())) < 2 and (row.get("seeds") or 1) < 2


def _is_lone(group: Group, best: Option, option: Option) -> bool:
    """Whether the gap between the two rests on one seed of either."""
    return _is_single(group, best.row) or _is_single(group, option.row)


# ---- what to measure next


def steps(
    group: Group, options: Sequence[Option], folder: str, manifest: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What to measure to be sure of the choice, and the command; empty where there is none to give."""
    if group.goal != "dice":
        words = "Dice decides which network is worth its cost: measure accuracy"
        yield words, command(manifest, [], probes=("accuracy",))
    elif options and options[0].role == "best":
        yield from _seeds(group, options, manifest)
    unsure = [str(option.row["variant"]) for option in options if "latency" in option.fit.unsure][
        :SHOWN
    ]
    if unsure:
        words = f"the latency of {named(unsure)} is within error of the budget: fresh processes narrow it down"
        yield words, command(manifest, unsure, probes=("speed",), only=True, replicates="5")
    restless = [row for row in group.networks if row.get("quality") in _RESTLESS]
    if restless:
        which = ",".join(sorted({row["quality"] for row in restless}))
        names = named([row["variant"] for row in restless])
        were, them = ("was", "it") if len(restless) == 1 else ("were", "them")
        words = f"the machine was not quiet when {names} {were} timed: time {them} again"
        yield words, shlex.join(["unet-bench", "run", "--resume", folder, "--rerun", which])
    yield from _unmeasured(group, manifest)


def _seeds(
    group: Group, options: Sequence[Option], manifest: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """How many trainings would settle what is open between the best and the others that are named."""
    best, *rivals = options
    if not rivals:
        return
    open_ = [option for option in rivals if option.gap and option.gap.verdict != "separable"]
    lone = [option for option in open_ if _is_lone(group, best, option)]
    if lone:
        close = [option for option in lone if option.role != "worse"][:SHOWN] or lone[:1]
        names = [str(option.row["variant"]) for option in (best, *close)]
        seeds = range(max(3, *(option.row.get("seeds") or 1 for option in (best, *close))))
        words = "one seed proves no difference in Dice: train the best and its rivals with three at least"
        yield words, command(manifest, names, seeds=",".join(map(str, seeds)))
    yield from _pairs(best, [option for option in open_ if option not in lone][:SHOWN], manifest)


def _pairs(
    best: Option, options: Sequence[Option], manifest: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What would tell these from the best: for those that seeds can, one command."""
    by_seeds: list[tuple[Option, int]] = []
    for option in options:
        assert option.gap is not None
        needed, both = option.gap.pairs_needed, f"{best.variant} and {option.variant}"
        if option.gap.pairs < 2:
            yield (
                f"{both} have no pairs of equal fold and seed: their run's cells.csv would say more",
                "",
            )
        elif needed is None:
            yield (
                f"{both} are too close to be told apart by any number of trainings: take the cheaper",
                "",
            )
        elif option.gap.folds > 1:
            further = "of further folds or data sets, since seeds of a fold move together"
            yield f"to tell {both} apart takes {_trainings(needed, option.gap)}: {further}", ""
        elif needed > MOST_SEEDS:
            yield f"to tell {both} apart takes {_trainings(needed, option.gap)}", ""
        else:
            by_seeds.append((option, needed))
    if by_seeds:
        slowest, most = max(by_seeds, key=lambda found: found[1])
        assert slowest.gap is not None
        names = [str(option.row["variant"]) for option, _ in by_seeds]
        words = f"to tell {best.variant} from {named(names)} takes {_trainings(most, slowest.gap)}"
        yield (
            words,
            command(
                manifest, [str(best.row["variant"]), *names], seeds=",".join(map(str, range(most)))
            ),
        )


def _trainings(needed: int, gap: Gap) -> str:
    return f"some {needed} trainings of each in place of {gap.pairs}, as they spread now"


def _unmeasured(group: Group, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lacking: dict[Limit, list[str]] = {}
    for row in group.networks:
        for limit in group.fit(row).unknown:
            timed = limit.probe == "speed" and row.get("quality") in _RESTLESS
            if (
                is_good(row, limit.probe)
                and not timed
                and (limit.probe != "accuracy" or group.goal == "dice")
            ):
                lacking.setdefault(limit, []).append(row["variant"])
    for limit, names in lacking.items():
        alone = [] if len(names) == len(group.networks) else names
        yield (
            f"there is no {limit.label} of {named(names)}",
            command(manifest, alone, probes=(limit.probe,)),
        )


_OF_ONE_RUN: Final = frozenset(("--resume", "--rerun", "--time-limit"))
_CHOOSING: Final = frozenset(("-v", "--base", "--vary"))


def command(
    manifest: Mapping[str, Any],
    variants: Sequence[str],
    *,
    probes: Sequence[str] = (),
    only: bool = False,
    **options: str,
) -> str:
    """The command that makes a run again: with these variants (none: as it was), further or `only`
    these probes, and other options. What a run was asked for is in its manifest; without that the
    command ends in `…`, to be completed.
    """
    changes = {f"--{name}": value for name, value in options.items()}
    if probes:
        suite = manifest.get("suite")
        before = suite.get("probes", ()) if isinstance(suite, Mapping) and not only else ()
        changes["--probes"] = ",".join(dict.fromkeys((*map(str, before), *probes)))
    if variants:
        models = (
            suite.get("models", ()) if isinstance(suite := manifest.get("suite"), Mapping) else ()
        )
        if own := ",".join(name for name in variants if name not in models):
            changes["--variants"] = own
    dropped = {
        *changes,
        *(["--variants"] if variants else ()),
        *_OF_ONE_RUN,
        *({"-p"} if probes else ()),
        *(_CHOOSING if variants else ()),
    }
    words = [str(word) for word in manifest.get("argv") or ()]
    known = words[1:2] == ["run"]
    kept = _without(words[2:], dropped) if known else ()
    text = shlex.join(
        ["unet-bench", "run", *kept, *(word for pair in changes.items() for word in pair)]
    )
    return text if known else f"{text} …"


def _without(words: Iterable[str], dropped: Iterable[str]) -> Iterator[str]:
    """The words of a command line without these options and their values, which may be joined:
    --a=b, -ab.
    """
    unwanted, is_value = frozenset(dropped), False
    for word in words:
        if is_value:
            is_value = False
        elif word in unwanted:
            is_value = True
        elif not (
            word.partition("=")[0] in unwanted or (word[:2] in unwanted and word[1:2] != "-")
        ):
            yield word


# ---- what else is to be known


def notes(group: Group, options: Sequence[Option]) -> Iterator[str]:
    """What was left out, and what the figures rest on."""
    asked = tuple(
        dict.fromkeys((GOALS[group.goal], *(limit.probe for limit, _ in group.budget.asked())))
    )
    if failed := _failed(group.networks, asked):
        yield f"left out, since a cell failed: {named(failed)}"
    if group.goal != "dice" and (failed := _failed(group.networks, ("accuracy",))):
        every = (
            "all accuracy cells failed"
            if len(failed) == len(group.networks)
            else "no Dice, since a cell failed"
        )
        yield f"{every}: {named(failed)}"
    rest = [
        probe
        for probe in PROBES
        if probe not in asked and (probe != "accuracy" or group.goal == "dice")
    ]
    if failed := _failed([option.row for option in options], rest):
        yield f"not asked for, but a cell failed: {named(failed)}"
    if group.goal == "dice" and not group.scores:
        yield "without the run's cells nothing is paired: Dice is compared by its own intervals"
    if any(option.latency is not None and option.latency.estimated for option in options):
        yield "estimated latency: the ratio to the baseline, times the baseline's own time on a quiet machine"


def _failed(rows: Iterable[Row], probes: Sequence[str]) -> list[str]:
    """The networks of which a cell of these probes failed, and how."""

    def bad(row: Row) -> str:
        return ", ".join(
            f"{probe} {row[f'{probe}_status']}" for probe in probes if not is_good(row, probe)
        )

    return [f"{row['variant']} ({words})" for row in rows if (words := bad(row))]
