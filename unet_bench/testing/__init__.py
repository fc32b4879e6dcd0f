"""Do parts keep their slots' contracts, and networks their promises? Checks for plugin authors, run
by pytest.

A complete test file:

```python
import pytest

from unet_bench.testing import plugin_checks


@pytest.mark.parametrize("check", plugin_checks("sharp"), ids=str)
def test_contract(check):
    check()
```

A part is made at many places (2-D and 3-D, each padding, several channel numbers, norms and
strides) and fed even, odd and tiny maps; rules about shapes look at all places, those about numbers
at a few. A place that it cannot serve it may refuse with InvalidChoice or Unsupported, and an odd
or tiny size with an error that says why. What it must not do is return something wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from unet_bench.errors import InvalidChoice, unknown
from unet_bench.models.build import with_width_scale
from unet_bench.models.select import select
from unet_bench.networks.choices import SLOTS
from unet_bench.registry.entries import Entry
from unet_bench.registry.plugins import find, load
from unet_bench.registry.registry import Registry
from unet_bench.testing.case import Case, Check, Size
from unet_bench.testing.networks import positions, variant_cases
from unet_bench.testing.rules import EVERYWHERE, OF_A_WHOLE, RULES
from unet_bench.testing.slots import part_cases

__all__ = ["Check", "part_checks", "plugin_checks", "variant_checks"]


def plugin_checks(
    plugin: str, *, members: Iterable[str] = (), registry: Registry | None = None
) -> list[Check]:
    """Return all checks of all parts and variants that a plugin registers.

    `members` of its open families are checked for them: `["timm:resnet18"]`, or
    `["encoder=timm:resnet18"]` where two slots have a family of that name. Raises UnknownName for a
    plugin that is not installed, InvalidChoice for a family without a member.
    """
    registry = registry or load().checked()
    try:
        registry.provider(plugin)
    except KeyError:
        raise unknown(
            "plugin", plugin, (entry.name for entry in find()), "unet-bench plugins"
        ) from None
    parts = [
        entry
        for slot in SLOTS
        for entry in registry.entries(slot)
        if entry.provider.plugin == plugin
    ]
    own = [variant for variant in registry.variants().values() if variant.provider == plugin]
    variants = [variant for variant in own if not registry.absent(variant)]
    checks = [
        part_checks(e.kind, name, registry=registry)
        for e in parts
        for name in checked_names(e, list(members))
    ]
    checks += [variant_checks(variant.name, registry=registry) for variant in variants]
    return [check for group in checks for check in group]


def part_checks(slot: str, name: str, *, registry: Registry | None = None) -> list[Check]:
    """Return all checks of one part: `part_checks("up", "sharp")`. Raises UnknownName."""
    if slot not in SLOTS:
        raise unknown("slot", slot, SLOTS, "unet-bench list parts")
    registry = registry or load().checked()
    entry = registry.find(slot, name)
    return checks_of(f"{slot}={name}", RULES, functools.partial(part_cases, registry, entry))


def variant_checks(
    name: str,
    *,
    width_scale: float = 0.0625,
    sizes: Sequence[Size] = (),
    registry: Registry | None = None,
) -> list[Check]:
    """Return the checks of one variant's whole network; of an architecture, all checks.

    The network is made narrow so that they are quick. `sizes` are input sizes such as `[(64, 64)]`,
    for a network that does not take just any. Raises UnknownName.
    """
    registry = registry or load().checked()
    (variant,) = select(registry, [name])
    variant = with_width_scale(variant, width_scale)
    rules = RULES if variant.architecture else OF_A_WHOLE
    return checks_of(
        name, (*rules, positions), functools.partial(variant_cases, registry, variant, sizes)
    )


def checks_of(
    examined: str, rules: Iterable[Callable[[Case], None]], cases: Callable[[], Sequence[Case]]
) -> list[Check]:
    """Return a check for each rule; they share the cases, made when the first of them is run."""
    everywhere = functools.partial(kept_cases, cases)
    distinct = functools.partial(distinct_cases, everywhere)
    return [Check(examined, rule, everywhere if rule in EVERYWHERE else distinct) for rule in rules]


@functools.lru_cache(maxsize=1)
def kept_cases(cases: Callable[[], Sequence[Case]]) -> Sequence[Case]:
    """Return the cases, kept until those of another subject are wanted.

    Networks are large, and there are many.
    """
    return cases()


def distinct_cases(cases: Callable[[], Sequence[Case]]) -> Sequence[Case]:
    """Return the cases at which a part may differ from those before.

    It may have other parameters or operations there.
    """
    return [case for case in cases() if case.distinct]


def checked_names(entry: Entry, members: Sequence[str]) -> list[str]:
    """Return an entry's name, or the members to check in place of an open family.

    Raises InvalidChoice.

    A member may say which slot it is for, where two have a family of that name:
    `encoder=large-kernel:3-3-7`.
    """
    if not entry.name.endswith(":*"):
        return [entry.name]
    told = [member.rpartition("=") for member in members]
    found = [
        name
        for slot, _, name in told
        if slot in ("", entry.kind) and name.startswith(entry.name[:-1])
    ]
    if not found:
        raise InvalidChoice(
            f"{entry.kind}={entry.name} is an open family: name members to check, as in "
            f"plugin_checks({entry.provider.plugin!r}, members=[{entry.name[:-1] + '…'!r}])"
        )
    return found
