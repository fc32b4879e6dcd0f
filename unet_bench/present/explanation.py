"""A recommendation in words: what to use and what it costs, and what to measure to be sure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any, Final

from unet_bench.analysis.budget import Fit, Limit
from unet_bench.analysis.candidates import Gap, Option
from unet_bench.analysis.recommend import Recommendation
from unet_bench.analysis.runtimes import network_of
from unet_bench.errors import UnetBenchError
from unet_bench.execute.options import ExecutionOptions
from unet_bench.present.findings import sentences
from unet_bench.present.table import PREDICTED_MEMORY
from unet_bench.spec.option import options
from unet_bench.spec.presets import PRESETS
from unet_bench.spec.suite import Suite, from_dict
from unet_bench.store.columns import OUR_PROBE_NAMES
from unet_bench.store.figures import Network
from unet_bench.store.schema import BY_NAME
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


def verdicts(advice: Recommendation) -> Iterator[str]:
    """Yield what to use and why, the most important first."""
    if advice.best is None:
        yield from _nothing(advice)
        return
    best, goal, budget = advice.best, advice.goal, advice.candidates.budget.text()
    figures = f"{_figures(advice, best)}{_unsure(best)}"
    if goal == "dice":
        yield f"use {_name(best)}: {figures}"
    else:
        yield f"no network has a Dice: {_name(best)} is {_GOALS[goal]}: {figures}"
    if budget:
        candidates = advice.candidates
        yield f"{len(candidates.within)} of {len(candidates.networks)} networks fit {budget}"
    unclear = advice.named("unclear")
    if equals := advice.named("as good"):
        yield _as_good(best, equals)
    elif not unclear:
        yield from _ahead(advice, best)
    if unclear:
        behind = [abs(option.gap.difference.value) for option in unclear if option.gap]
        to = f" to {max(behind):.3f}" if len(behind) > 1 else ""
        span = f"{min(behind):.3f}{to} behind"
        yield f"{span}, but cannot be told apart from the best yet: {named(_names(unclear), 3)}"
    yield from (_step_up(advice, best, option) for option in advice.named("step up"))
    yield from _unbeaten(advice, best)


def _ahead(advice: Recommendation, best: Option) -> Iterator[str]:
    """Yield how far the best is ahead of those that fit, where none of them is as good."""
    worse = advice.named("worse")
    if not worse or advice.goal != "dice":
        return
    apparent = [option for option in worse if option.gap and option.gap.verdict == "apparent"]
    if not apparent:
        rivals = "other of the last rung" if _is_raced(advice) else "other"
        yield f"every {rivals} that fits is worse, separably"
        return
    other = apparent[0]
    assert other.gap is not None
    ahead = f"{abs(other.gap.difference.value):.3f} ahead of {_name(other)}"
    nearest = ", the next that fits" if other is worse[0] else ""
    is_lone = _is_lone(advice, best, other)
    why = "one seed proves nothing" if is_lone else "without intervals nothing is proven"
    yield (
        f"{_name(best)} is {ahead}{nearest}: more than the choice of test images explains, "
        f"but {why}"
    )


def _is_raced(advice: Recommendation) -> bool:
    """Return whether others were trained more shortly, some of which may be as good."""
    return any(finding.kind == "race" for finding in advice.findings)


def _as_good(best: Option, equals: Sequence[Option]) -> str:
    priced = [(option, costs(best, option)) for option in equals]
    gains = [(option, words) for option, words in priced if any(map(_is_less, words))]
    if not gains:
        return f"equally good within error, but not cheaper: {named(_names(equals))}"
    # One that is slower, but takes less memory, comes after all others.
    first, words = min(gains, key=lambda gain: any("slower" in word for word in gain[1]))
    others = [option for option in equals if option is not first]
    more = f"; as good, too: {named(_names(others), 3)}" if others else ""
    listed = (" and " if all(map(_is_less, words)) else " but ").join(words)
    return f"{_name(first)} is equally good within error, and {listed}{more}"


def _is_less(cost: str) -> bool:
    return "faster" in cost or "less" in cost


def costs(best: Option, option: Option) -> list[str]:
    """Return what an option takes against the best, without what lies within the error."""
    words = []
    speed, log_speed = option.speed, option.log_speed
    if speed and log_speed and (isnan(log_speed.half) or abs(log_speed.value) > log_speed.half):
        words.append(f"{times(1 / speed)} faster" if speed < 1 else f"{times(speed)} slower")
    own, other = (one.network.number("peak_memory_mib") for one in (option, best))
    if own and other and abs(own / other - 1) >= 0.02:
        percent = 100 * abs(own / other - 1)
        words.append(f"takes {percent:.0f} % {'less' if own < other else 'more'} memory")
    return words


def _step_up(advice: Recommendation, best: Option, option: Option) -> str:
    assert option.gap is not None
    apparently = "apparently: one seed" if _is_lone(advice, best, option) else "apparently"
    words = {"separable": "separably", "not separable": "unproven", "apparent": apparently}
    gain = f"Dice {option.gap.difference.value:.3f} higher ({words[option.gap.verdict]})"
    return f"a step up is {_name(option)}: {gain}, and over the budget by {over(option.fit)}"


def _nothing(advice: Recommendation) -> Iterator[str]:
    budget = advice.candidates.budget.text()
    if advice.options:
        nearest = advice.options[0]
        excess = f"over the budget by {over(nearest.fit)}"
        yield f"nothing fits {budget}"
        yield f"the nearest is {_name(nearest)}, {excess}: {_figures(advice, nearest)}"
        return
    candidates = advice.candidates
    fits = [(one_line(one.variant), candidates.fit(one)) for one in candidates.networks]
    beyond = [f"{name} ({over(fit)})" for name, fit in fits if fit.over]
    unknown = dict.fromkeys(limit.label for _, fit in fits if not fit.over for limit in fit.unknown)
    if beyond:
        yield f"over the budget already by known figures: {named(beyond)}"
    if unknown:
        labels = " and ".join(unknown)
        lacking = f"a figure for {labels}" if len(unknown) == 1 else f"all of {labels}"
        network = "other network" if beyond else "network"
        yield f"whether anything fits {budget} is not known: no {network} has {lacking}"
    elif beyond:
        yield f"nothing fits {budget}"
    else:
        yield "there is nothing to choose by: no network has a figure to compare"


def _unbeaten(advice: Recommendation, best: Option) -> Iterator[str]:
    """Yield that the best is no better than what needs no training, if so."""
    candidates = advice.candidates
    ranked = [(one.number("dice") or 0.0, one) for one in candidates.trivial]
    if not ranked or candidates.goal != "dice":
        return
    dice, trivial = max(ranked, key=lambda known: known[0])
    untrained = f"{trivial.variant}, which needs no training ({dice:.3f}): train longer"
    if (best.network.number("dice") or 0.0) <= dice:
        yield f"no network that fits beats {untrained}"
    elif candidates.gap(trivial, best.network).verdict == "not separable":
        yield f"{_name(best)} cannot be told apart from {untrained}"


def _name(option: Option) -> str:
    return one_line(option.variant)


def _names(options: Iterable[Option]) -> list[str]:
    return [option.variant for option in options]


def _figures(advice: Recommendation, option: Option) -> str:
    """Return its figures, with as many digits as tell them from the limits."""
    network, words = option.network, []
    limits = {limit.column: most for limit, most in advice.candidates.budget.limits()}
    dice, ratio, memory, params = (
        network.number(name) for name in ("dice", "latency_ratio", "peak_memory_mib", "params")
    )
    if dice is not None:
        words.append(f"Dice {decimals(dice, limits.get('dice'))}")
    if option.latency is not None:
        estimated = " (estimated)" if option.is_estimated else ""
        words.append(f"{digits(option.latency.value, limits.get('latency_ms'))} ms{estimated}")
    elif ratio:
        words.append(f"{digits(ratio)} × the baseline's latency")
    if memory is not None:
        words.append(f"{digits(memory, limits.get('peak_memory_mib'))} MiB")
    if params is not None:
        words.append(f"{digits(params / 1e6, limits.get('params'))} M parameters")
    return ", ".join(words)


def _unsure(option: Option) -> str:
    labels = [limit.label for limit in option.fit.unsure]
    return f"; within error of the budget in {' and '.join(labels)}" if labels else ""


def over(fit: Fit) -> str:
    """Return by how much a network is over the budget, and in what; empty where it is not."""
    words = []
    for limit, factor in fit.over.items():
        is_dice = limit.column == "dice"
        excess = f"{decimals(fit.short, 0.0)} short" if is_dice else times(factor)
        within = " (within error)" if limit in fit.unsure else ""
        words.append(f"{limit.label} {excess}{within}")
    return ", ".join(words)


def _is_lone(advice: Recommendation, *options: Option) -> bool:
    """Return whether the Dice of any of the options is of one training."""
    return any(
        len(advice.candidates.scores.get(one.variant, ())) < 2 and one.network.seeds < 2
        for one in options
    )


# ---- what to measure next


def steps(advice: Recommendation) -> Iterator[tuple[str, str]]:
    """Yield what to measure to be sure of the choice, and the command; empty if there is none."""
    if advice.goal != "dice":
        words = "Dice decides which network is worth its cost: measure accuracy"
        yield words, command(advice.manifest, [], probes=("accuracy",))
    elif advice.best:
        yield from _seeds(advice, advice.best)
    in_latency = (o for o in advice.options if any(x.column == "latency_ms" for x in o.fit.unsure))
    if unsure := _names(in_latency)[:SHOWN]:
        within = f"the latency of {named(unsure)} is within error of the budget"
        again = command(advice.manifest, unsure, probes=("speed",), only=True, replicates=5)
        yield f"{within}: fresh processes narrow it down", again
    restless = [one for one in advice.candidates.networks if one.quality in _RESTLESS]
    if restless:
        which = ",".join(sorted({str(one.quality) for one in restless}))
        names = named([one.variant for one in restless])
        were, them = ("was", "it") if len(restless) == 1 else ("were", "them")
        words = f"the machine was not quiet when {names} {were} timed: time {them} again"
        yield words, shlex.join(["unet-bench", "run", "--resume", advice.folder, "--rerun", which])
    yield from _unmeasured(advice)


def _seeds(advice: Recommendation, best: Option) -> Iterator[tuple[str, str]]:
    """Yield how many trainings would tell the best apart from the networks named."""
    rivals = advice.options[1:]
    open_ = [option for option in rivals if option.gap and option.gap.verdict != "separable"]
    lone = [option for option in open_ if _is_lone(advice, best, option)]
    if lone:
        close = [option for option in lone if option.role != "worse"][:SHOWN] or lone[:1]
        seeds = range(max(3, *(option.network.seeds for option in (best, *close))))
        words = (
            "one seed proves no difference in Dice: train the best and its rivals with three at "
            "least"
        )
        yield words, command(advice.manifest, _names((best, *close)), seeds=tuple(seeds))
    paired = [option for option in open_ if option not in lone]
    yield from _pairs(best, paired[:SHOWN], advice.manifest)


def _pairs(
    best: Option, options: Sequence[Option], manifest: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield what would tell these apart from the best.

    Those that seeds can settle share one command.
    """
    by_seeds: dict[str, Gap] = {}
    for option in options:
        gap, both = option.gap, f"{_name(best)} and {_name(option)}"
        assert gap is not None
        if gap.pairs < 2:
            words = "have no pairs of equal fold and seed: their run's cells.csv would say more"
            yield f"{both} {words}", ""
        elif gap.pairs_needed is None:
            words = "are too close to be told apart by any number of trainings: take the cheaper"
            yield f"{both} {words}", ""
        elif gap.folds > 1:
            further = "of further folds or data sets, since seeds of a fold move together"
            yield f"to tell {both} apart takes {_trainings(gap)}: {further}", ""
        elif gap.pairs_needed > MOST_SEEDS:
            yield f"to tell {both} apart takes {_trainings(gap)}", ""
        else:
            by_seeds[option.variant] = gap
    if by_seeds:
        slowest = max(by_seeds.values(), key=lambda gap: gap.pairs_needed or 0)
        seeds = range(slowest.pairs_needed or 0)
        again = command(manifest, [best.variant, *by_seeds], seeds=tuple(seeds))
        names = named(list(by_seeds))
        yield f"to tell {_name(best)} apart from {names} takes {_trainings(slowest)}", again


def _trainings(gap: Gap) -> str:
    needed = f"some {gap.pairs_needed} trainings of each"
    return f"{needed} in place of {gap.pairs}, as they spread now"


def _unmeasured(advice: Recommendation) -> Iterator[tuple[str, str]]:
    """Yield which figures the budget asks for that no cell has tried to measure."""
    candidates, lacking = advice.candidates, dict[Limit, list[str]]()
    for one in candidates.networks:
        for limit in candidates.fit(one).unknown:
            was_timed = limit.probe == "speed" and one.quality in _RESTLESS
            counts = limit.probe != "accuracy" or candidates.goal == "dice"
            if one.succeeded(limit.probe) and counts and not was_timed:
                lacking.setdefault(limit, []).append(one.variant)
    for limit, names in lacking.items():
        alone = [] if len(names) == len(candidates.networks) else names
        again = command(advice.manifest, alone, probes=(limit.probe,))
        yield f"there is no {limit.label} of {named(names)}", again


def command(
    manifest: Mapping[str, Any],
    variants: Sequence[str],
    *,
    probes: Sequence[str] = (),
    only: bool = False,
    **changes: Any,
) -> str:
    """Return the command that makes a run again, with other values of its suite.

    It names these variants (none: as it was) and further or `only` these probes. What was measured,
    and by which executor, is in the run's manifest; without that the command ends in `…`, to be
    completed.
    """
    suite = _suite_of(manifest)
    measured = suite or Suite()
    if probes:
        before = () if only else measured.probes
        changes["probes"] = tuple(dict.fromkeys((*before, *probes)))
    variants = list(dict.fromkeys(map(network_of, variants)))
    if variants:
        names = tuple(name for name in variants if name not in measured.models)
        models = tuple(name for name in measured.models if name in variants)
        changes |= {"variants": names, "models": models, "base": "", "vary": ()}
    again = replace(_without_preset(measured), **changes, memory="")
    filled_in = again.resolved(on_gpu=False).memory
    if measured.memory and not only and filled_in != measured.memory:
        again = replace(again, memory=measured.memory)
    words = [*_executor_words(manifest), *again.to_argv()]
    text = shlex.join(["unet-bench", "run", *words])
    return text if suite else f"{text} …"


def _suite_of(manifest: Mapping[str, Any]) -> Suite | None:
    """Return the suite of a run; None where its manifest has none that this version takes."""
    try:
        return from_dict(manifest["suite"])
    except (KeyError, AttributeError, UnetBenchError):
        return None


def _without_preset(suite: Suite) -> Suite:
    """Return the suite with those fields left open that its preset fills in with the same."""
    preset = PRESETS[suite.preset].values if suite.preset else {}
    fields = options(Suite)
    # A recipe's own batch would take the place of the preset's.
    same = [name for name in preset if name != "batch" and getattr(suite, name) == preset[name]]
    return replace(suite, **{name: fields[name].default for name in same})


def _executor_words(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that name the executor of a run, its devices and its own options."""
    stored = manifest.get("executor")
    executor = stored if isinstance(stored, Mapping) else {}
    fields = options(ExecutionOptions)
    if executor.get("name", "local") != "local":
        yield from fields["executor"].words(executor["name"])
    if executor.get("devices"):
        yield from fields["devices"].words(executor["devices"])
    for name, value in executor.get("options", {}).items():
        yield from fields["options"].words([f"{name}={value}"])


# ---- what else is to be known


def notes(advice: Recommendation) -> Iterator[str]:
    """Yield what was left out, and what the figures rest on."""
    candidates, of_dice = advice.candidates, advice.goal == "dice"
    needed = "speed" if candidates.goal == "latency" else BY_NAME[candidates.goal].probes[0]
    limited = (limit.probe for limit, _ in candidates.budget.limits())
    asked = tuple(dict.fromkeys((needed, *limited)))
    if failed := _failed(candidates.networks, asked):
        yield f"left out, since a cell failed: {named(failed)}"
    if not of_dice and (failed := _failed(candidates.networks, ("accuracy",))):
        all_failed = len(failed) == len(candidates.networks)
        what = "all accuracy cells failed" if all_failed else "no Dice, since a cell failed"
        yield f"{what}: {named(failed)}"
    rest = [
        name for name in OUR_PROBE_NAMES if name not in asked and (name != "accuracy" or of_dice)
    ]
    if failed := _failed([option.network for option in advice.options], rest):
        yield f"not asked for, but a cell failed: {named(failed)}"
    if of_dice and not candidates.scores:
        yield "without the run's cells nothing is paired: Dice is compared by its own intervals"
    yield from sentences(advice.findings)
    if any(option.is_estimated for option in advice.options):
        yield (
            "estimated latency: the ratio to the baseline, times the baseline's own time on a "
            "quiet machine"
        )
    sources = (option.network.row.get("memory_source") for option in advice.options)
    if "predicted" in sources:
        yield PREDICTED_MEMORY


def _failed(networks: Iterable[Network], probes: Sequence[str]) -> list[str]:
    """Return the networks of which a cell of these probes failed, and how."""
    failed = []
    for one in networks:
        bad = [f"{name} {one.row[f'{name}_status']}" for name in probes if not one.succeeded(name)]
        if bad:
            failed.append(f"{one.variant} ({', '.join(bad)})")
    return failed
