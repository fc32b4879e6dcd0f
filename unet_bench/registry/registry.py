"""Everything that can be named, by kind and name; all that a plugin registered, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unet_bench.errors import NameClash, NotInstalled, unknown
from unet_bench.networks.variants import Variant
from unet_bench.registry.entries import LISTED_BY, Entry, Provider
from unet_bench.registry.registrar import Registrar

if TYPE_CHECKING:
    from unet_bench.measure.probe import Probe
    from unet_bench.measure.runtime import Runtime


class Registry:
    """All entries of all plugins, by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._variants: dict[str, Variant] = {}
        self._providers: dict[str, Provider] = {}
        self._fresh: set[str] = set()

    def commit(self, draft: Registrar) -> None:
        """Take over a whole draft. Raises NameClash, naming both owners, and then takes nothing."""
        columns = {column: entry for entry in self.entries("probe") for column in _columns(entry)}
        for (kind, name), entry in draft.entries.items():
            if taken := self._entries.get((kind, name)):
                self._clash(kind, name, taken.provider, draft.provider)
            for column in _columns(entry):
                if column in columns:
                    self._clash("column", column, columns[column].provider, draft.provider)
                columns[column] = entry
        for name in draft.variants:
            if name in self._variants:
                first = self._providers[self._variants[name].provider]
                self._clash("variant", name, first, draft.provider)
        self._entries |= draft.entries
        self._variants |= draft.variants
        self._providers[draft.provider.plugin] = draft.provider
        if draft.fresh:
            self._fresh.add(draft.provider.plugin)

    def _clash(self, kind: str, name: str, first: Provider, second: Provider) -> None:
        raise NameClash(
            f"{kind} {name!r} is registered by plugin {first} and again by plugin {second}; "
            f"block one of them (--block {second.plugin}), or rename"
        )

    def wants_fresh(self) -> set[str]:
        """Return the plugins whose cells are to start from a fresh interpreter."""
        return set(self._fresh)

    def entries(self, kind: str) -> list[Entry]:
        """Return all entries of a kind, in the order in which they were registered."""
        return [entry for (k, _), entry in self._entries.items() if k == kind]

    def variants(self) -> dict[str, Variant]:
        """Return all named variants but the trivial baselines, in the order of registration."""
        return {name: variant for name, variant in self._variants.items() if not variant.trivial}

    def trivial_baselines(self) -> list[Variant]:
        """Return the rules that need no training, which are scored beside the variants."""
        return [variant for variant in self._variants.values() if variant.trivial]

    def absent(self, variant: Variant) -> str:
        """Return what to do about the package that an architecture needs, if it is not here."""
        if not variant.architecture or self.is_foreign(variant):
            return ""
        return self.find("architecture", variant.architecture).absent

    def is_foreign(self, variant: Variant) -> bool:
        """Return whether a variant is anybody's `package.module:Class`, without a plugin."""
        return ":" in variant.architecture and not self.has_family(
            "architecture", variant.architecture
        )

    def has_family(self, kind: str, name: str) -> bool:
        """Return whether `name` is of an open family: `timm:resnet34` of `timm:*`."""
        family, colon, member = name.partition(":")
        return bool(colon and member) and (kind, f"{family}:*") in self._entries

    def provider(self, plugin: str) -> Provider:
        """Return who a plugin is."""
        return self._providers[plugin]

    def probe(self, name: str) -> Probe:
        """Return the probe of that name. Raises UnknownName."""
        probe = self.find("probe", name).probe
        assert probe is not None
        return probe

    def runtime(self, name: str) -> Runtime:
        """Return the runtime of that name. Raises UnknownName, NotInstalled."""
        entry = self.find("runtime", name)
        if entry.absent:
            raise NotInstalled(f"runtime {name} {entry.absent}")
        assert entry.runtime is not None
        return entry.runtime

    def find(self, kind: str, name: str) -> Entry:
        """Return the entry of that name; `timm:resnet34` is of the open family `timm:*`.

        Raises UnknownName.
        """
        if entry := self._entries.get((kind, name)):
            return entry
        if self.has_family(kind, name):
            family, _, member = name.partition(":")
            return replace(self._entries[kind, f"{family}:*"], name=name, member=member)
        command = f"unet-bench list {LISTED_BY.get(kind, 'parts')}"
        raise unknown(kind, name, (entry.name for entry in self.entries(kind)), command)


def _columns(entry: Entry) -> list[str]:
    """Return the columns that a probe's entry adds to the tables."""
    return [column.name for column in entry.probe.columns] if entry.probe else []
