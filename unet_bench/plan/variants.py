"""Which variants a suite measures: those it asks for, and the baseline all are compared with."""

from __future__ import annotations

from typing import NamedTuple

from unet_bench.errors import InvalidSuite
from unet_bench.models.build import with_width_scale
from unet_bench.models.foreign import foreign_variant
from unet_bench.models.select import grid, select
from unet_bench.networks.variants import Variant
from unet_bench.registry.registry import Registry
from unet_bench.spec.suite import Suite


class ChosenVariants(NamedTuple):
    """The variants that a suite measures, and the names of those that it asks for."""

    variants: list[Variant]  # the baseline first
    requested: frozenset[str]  # with the baseline only if the suite asks for it


def choose_variants(suite: Suite, registry: Registry) -> ChosenVariants:
    """Return the variants a suite asks for and the baseline, at the suite's width.

    Raises UnknownName, InvalidChoice, InvalidSuite.
    """
    baseline = select(registry, [suite.baseline])
    if len(baseline) != 1:
        raise InvalidSuite(
            f"--baseline {suite.baseline} chooses {len(baseline)} variants: name just one"
        )
    requested = select(registry, suite.variants)
    if suite.base:
        requested += grid(registry, suite.base, suite.vary)
    requested += [foreign_variant(reference) for reference in suite.models]
    by_name = {variant.name: at_width(variant, suite) for variant in [*baseline, *requested]}
    return ChosenVariants([*by_name.values()], frozenset(variant.name for variant in requested))


def at_width(variant: Variant, suite: Suite) -> Variant:
    """Return a variant at the suite's width; somebody else's network has only its own."""
    if ":" in variant.architecture:
        return variant
    return with_width_scale(variant, (suite.width_scale or 1.0) * variant.choices.width_scale)
