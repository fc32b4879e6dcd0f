"""What a result depends on: its cell, how carefully that is measured, and the source that measures
it.

Not the source that shows results, carries cells about or reads options: an edit there leaves every
result as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from unet_bench.networks.choices import SLOTS
from unet_bench.registry import plugins
from unet_bench.registry.entries import LISTED_BY
from unet_bench.spec.cell import Cell, digest

if TYPE_CHECKING:
    from unet_bench.networks.variants import Variant
    from unet_bench.plan.cells import Plan
    from unet_bench.registry.entries import Entry


MEASURING: Final = (
    "context",
    "geometry",
    "host.device",
    "host.nvml",
    "measure",
    "models",
    "networks",
    "stats.intervals",
)
TRAINERS: Final = ("data", "train")  # what a training, or a step of one, runs besides
# Kinds whose source makes a figure: not what finds data, which have a hash, or where cells run.
COUNTED: Final = {*SLOTS, *LISTED_BY} - {"dataset", "reader", "executor"}
SOFTWARE: Final = ("python", "packages")
MACHINE: Final = ("system", "machine", "cpu", "cores", "cuda", "cudnn")


def environment_facts(environment: Mapping[str, Any], *, remote: bool) -> dict[str, Any]:
    """Return what of the driver's environment a result depends on.

    The driver's machine belongs to it only where that machine measures. How many GPUs of a kind are
    visible does not matter to a cell, which sees one.
    """
    software = {name: environment[name] for name in SOFTWARE}
    if remote:
        return software
    return (
        software
        | {name: environment[name] for name in MACHINE}
        | {"gpus": sorted(set(environment["gpus"]))}
    )


class Sources:
    """Where the source of what a cell needs lies, by module, and its hashes."""

    def __init__(self, loaded: plugins.Loaded) -> None:
        self._loaded = loaded
        self._hash = functools.cache(plugins.source_hash)
        self.our_plugins = {
            self._module(entry.provider.plugin)
            for kind in COUNTED
            for entry in loaded.registry.entries(kind)
            if entry.provider.distribution == plugins.OURS
        } - {"unet_bench"}

    def hashes(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the hash of each module's source."""
        return {module: self._hash(module) for module in sorted(modules)}

    def modules_of_probe(self, probe: Entry) -> set[str]:
        """Return the rooms that a probe runs, our own plugins, which use one another, and its own.

        What a third party's probe makes use of is not known: all that it may.
        """
        third_party = probe.provider.distribution != plugins.OURS
        ours = self._loaded.registry.probe(probe.name)
        learns = third_party or ours.trains or ours.scores
        rooms = (*MEASURING, *TRAINERS) if learns else MEASURING
        own = self._modules_of_entry(probe) - {"unet_bench"}
        return {f"unet_bench.{room}" for room in rooms} | self.our_plugins | own

    def modules_of_runtime(self, runtime: Entry) -> set[str]:
        """Return the modules of what runs a network, but ours of the core."""
        return self._modules_of_entry(runtime) - {"unet_bench"}

    def modules_of_variant(self, variant: Variant) -> set[str]:
        """Return the modules of a variant's parts, but ours of the core."""
        registry = self._loaded.registry
        if registry.is_foreign(variant):
            return {variant.architecture.partition(":")[0].split(".")[0]}
        if variant.architecture:
            found = [registry.find("architecture", variant.architecture)]
        else:
            parts = {slot: getattr(variant.choices, slot) for slot in SLOTS}
            # A decoder's block may be the `same` as the encoder's.
            found = [registry.find(slot, name) for slot, name in parts.items() if name != "same"]
        return {module for one in found for module in self._modules_of_entry(one)} - {"unet_bench"}

    def _modules_of_entry(self, entry: Entry) -> set[str]:
        """Return the modules where a part is registered, and where it lies."""
        factory = (
            entry.factory
            if isinstance(entry.factory, str)
            else getattr(entry.factory, "__module__", "")
        )
        return {self._module(entry.provider.plugin), re.split("[.:]", factory)[0]} - {
            "",
            "functools",
        }

    def _module(self, plugin: str) -> str:
        """Return the top-level module behind a plugin's name."""
        return next(
            p.module for p in self._loaded.plugins if p.provider.plugin == plugin
        ).partition(".")[0]


def engine_version(runtime: Entry) -> Iterator[str]:
    """Yield the version of the package that a runtime needs, if it needs one and that says it."""
    if runtime.needs:
        with suppress(PackageNotFoundError):
            yield version(runtime.needs[0])


class CellKeys:
    """The keys of a plan's cells.

    A row counts only while its cell still has the key it was measured under.
    """

    def __init__(self, plan: Plan) -> None:
        self._registry = plan.loaded.registry
        self._environment = environment_facts(plan.environment, remote=plan.executor.remote)
        self._sources = Sources(plan.loaded)
        self._known: dict[tuple[int, int, str, str], tuple[Cell, dict[str, str], str]] = {}

    def key(self, cell: Cell) -> str:
        """Return 12 hex digits that change whenever the result may."""
        return cell.key(self._sources_and_key(cell)[2])

    def sources(self, cell: Cell) -> dict[str, str]:
        """Return hashes of source by module.

        They are of the package's own rooms that measure the cell, and of the plugins that it needs.
        """
        return self._sources_and_key(cell)[1]

    def _sources_and_key(self, cell: Cell) -> tuple[Cell, dict[str, str], str]:
        """Return the first cell of this variant, baseline, probe and runtime, its sources and key.

        All such cells run the same source, which is looked up once. The cell is held because it is
        known by the ids of its parts.
        """
        parts = (id(cell.variant), id(cell.baseline), cell.probe, cell.setting.runtime)
        if parts not in self._known:
            modules = self._sources.modules_of_probe(self._registry.find("probe", cell.probe))
            for variant in (cell.variant, cell.baseline):
                modules |= self._sources.modules_of_variant(variant)
            runtime = self._registry.find("runtime", cell.setting.runtime)
            sources = self._sources.hashes(modules | self._sources.modules_of_runtime(runtime))
            software = [sources, self._environment, *engine_version(runtime)]
            self._known[parts] = (cell, sources, digest(software))
        return self._known[parts]
