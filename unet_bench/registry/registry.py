"""Everything that can be named — parts, architectures, variants, data sets, readers, probes — with
who provided it.

A plugin writes to a `Registrar`; the `Registry` takes all that it was told, or nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from unet_bench.errors import InvalidChoice, NameClash, PluginFailure, UnetBenchError, unknown
from unet_bench.networks.choices import SLOTS, Choices
from unet_bench.networks.variants import Variant

KINDS: Final = (
    *SLOTS,
    "architecture",
    "variant",
    "dataset",
    "reader",
    "recipe",
    "probe",
    "executor",
)
LISTED_BY: Final = {
    "architecture": "architectures",
    "variant": "variants",
    "dataset": "datasets",
    "reader": "readers",
    "recipe": "recipes",
    "probe": "probes",
    "executor": "executors",
}
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}(:\*)?")


@dataclass(frozen=True)
class Provider:
    """Who registered an entry: the plugin, and the distribution it was installed from."""

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        return (
            f"{self.plugin} ({self.distribution} {self.version})"
            if self.distribution
            else self.plugin
        )


@dataclass(frozen=True)
class Entry:
    """One registered thing. `factory` is a callable, or `"module:name"`, imported when it is first
    needed.
    """

    kind: str
    name: str
    factory: str | Callable[..., Any]
    provider: Provider
    summary: str
    cite: str = ""
    ignores: frozenset[str] = frozenset()
    dims: tuple[int, ...] = (2, 3)
    args: Mapping[str, Any] = field(default_factory=dict)
    member: str = ""  # of an open family: `resnet34` of `timm:*`
    needs: tuple[str, str] | None = None  # a module of another package, and what brings it
    recognises: str | Callable[[Path], bool] = ""  # of a reader
    timed: bool = False  # of a probe that has its device to itself

    @property
    def absent(self) -> str:
        """What to do about the package that this needs, if it is not here; nothing is imported to
        see that.
        """
        if self.needs is None or importlib.util.find_spec(self.needs[0]) is not None:
            return ""
        return f"needs {self.needs[0]}, which is not installed: {self.needs[1]}"

    def load(self) -> Callable[..., Any]:
        """The factory itself. Raises PluginFailure when its module or name is missing."""
        found = self.factory if callable(self.factory) else self._import(self.factory)
        if not self.member:
            return found
        resolved: Callable[..., Any] = found(self.member)
        return resolved

    def fits(self, path: Path) -> bool:
        """Whether this reader knows the data at `path` by their names. Raises PluginFailure when it
        cannot say.
        """
        known = self.recognises if callable(self.recognises) else self._import(self.recognises)
        try:
            return bool(known(path))
        except Exception as error:
            raise PluginFailure(
                f"plugin {self.provider}: {self.kind} {self.name!r} cannot say whether it recognises {path} "
                f"({type(error).__name__}: {error}); name a format, KIND:{path}, or block the plugin"
            ) from error

    def _import(self, reference: str) -> Callable[..., Any]:
        module, _, name = reference.partition(":")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except (UnetBenchError, MemoryError):
            raise
        except Exception as error:
            raise PluginFailure(
                f"plugin {self.provider}: {self.kind} {self.name!r} cannot be loaded from {reference!r} "
                f"({type(error).__name__}: {error}); block it with --block {self.provider.plugin}, or mend it"
            ) from error
        return found


def whole(variant: Variant) -> tuple[str, str]:
    """Under which kind and name a variant's architecture is registered."""
    return "architecture", variant.architecture


class Registrar:
    """What a plugin's hook is given: a typed method per kind. Nothing counts until the hook has
    returned.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.entries: dict[tuple[str, str], Entry] = {}
        self.variants: dict[str, Variant] = {}
        self.fresh = False

    def encoder(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """`facts`: `cite`, `ignores` (choices this part makes irrelevant), `dims` (it serves). So
        for every slot.
        """
        self._part("encoder", name, factory, summary=summary, **facts)

    def encoder_block(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """The convolutions of one encoder level."""
        self._part("encoder_block", name, factory, summary=summary, **facts)

    def decoder_block(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """The convolutions of one decoder level."""
        self._part("decoder_block", name, factory, summary=summary, **facts)

    def block(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """A block for encoder and decoder alike."""
        self.encoder_block(name, factory, summary=summary, **facts)
        self.decoder_block(name, factory, summary=summary, **facts)

    def bottleneck(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """What the coarsest map passes through."""
        self._part("bottleneck", name, factory, summary=summary, **facts)

    def down(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Halves a map."""
        self._part("down", name, factory, summary=summary, **facts)

    def up(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Doubles a map."""
        self._part("up", name, factory, summary=summary, **facts)

    def align(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Brings skip and up-sampled map to one size."""
        self._part("align", name, factory, summary=summary, **facts)

    def skip(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """What an encoder map passes through."""
        self._part("skip", name, factory, summary=summary, **facts)

    def merge(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Joins skips and up-sampled map."""
        self._part("merge", name, factory, summary=summary, **facts)

    def topology(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Which maps reach which decoder level."""
        self._part("topology", name, factory, summary=summary, **facts)

    def head(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        """Class scores from the finest decoder map."""
        self._part("head", name, factory, summary=summary, **facts)

    def architecture(
        self,
        name: str,
        factory: str | Callable[..., Any],
        *,
        summary: str,
        cite: str = "",
        needs: tuple[str, str] | None = None,
        dims: Iterable[int] = (2, 3),
        **args: Any,
    ) -> None:
        """A whole network: `factory(in_channels=, classes=, dims=, image_size=, **args)`.

        `args` are its defaults; one called `base_width` is what `width_scale` scales. Registers a
        variant of the same name, too. `family:*` is an open family: `factory(member)` returns such
        a factory, and any `family:member` can be named as a variant. `dims` it is for: 2 images, 3
        volumes. `needs` is a module of another package, and the command that installs it: where it
        is absent the network is listed as such, and left out of `all`.
        """
        self._add(
            "architecture",
            name,
            factory,
            summary=summary,
            cite=cite,
            args=args,
            needs=needs,
            dims=tuple(dims),
        )
        if not name.endswith(":*"):
            self.variant(
                name,
                summary=summary,
                cite=cite,
                tags=("architecture",),
                architecture=name,
                args=args,
            )

    def trivial_baseline(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, cite: str = ""
    ) -> None:
        """Register a rule that needs no training, such as a threshold: an architecture that
        returns a `unet_bench.measure.trivial.TrivialBaseline`.

        Runs score it beside the variants, so that a table shows what a network adds to it.
        """
        self._add("architecture", name, factory, summary=summary, cite=cite)
        self.variant(name, summary=summary, cite=cite, architecture=name)
        self.variants[name] = replace(self.variants[name], trivial=True)

    def variant(
        self,
        name: str,
        *,
        summary: str,
        cite: str = "",
        tags: Iterable[str] = (),
        architecture: str = "",
        args: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> None:
        """A named set of choices (those not given are the baseline's), or an architecture with its
        arguments.

        The tag `one-axis` is for those that differ from the baseline in one choice, which becomes a
        tag of theirs, so that `tag:up` selects all ways up. Raises InvalidChoice for more.
        """
        self._check(name, summary)
        if name in self.variants:
            raise NameClash(f"plugin {self.provider} registers variant {name!r} twice")
        chosen = Choices().replace(**choices)
        tags = tuple(tags)
        if "one-axis" in tags:
            changed = [
                choice for choice, value in chosen.items() if value != getattr(Choices(), choice)
            ]
            if len(changed) != 1:
                raise InvalidChoice(
                    f"plugin {self.provider}: variant {name!r} is tagged one-axis and changes {len(changed)} choices "
                    f"({', '.join(changed)}): it must change one"
                )
            tags += tuple(changed)
        self.variants[name] = Variant(
            name=name,
            choices=chosen,
            architecture=architecture,
            args=tuple(sorted((args or {}).items())),
            summary=summary,
            cite=cite,
            tags=tags,
            provider=self.provider.plugin,
        )

    def dataset(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, cite: str = ""
    ) -> None:
        """A data set: `factory(size=(H, W), seed=0) -> unet_bench.data.Dataset`."""
        self._add("dataset", name, factory, summary=summary, cite=cite)

    def recipe(
        self, name: str, factory: str | Callable[..., Any], *, summary: str, cite: str = ""
    ) -> None:
        """A way to train: `factory() -> unet_bench.spec.recipe.Recipe`."""
        self._add("recipe", name, factory, summary=summary, cite=cite)

    def reader(
        self,
        name: str,
        factory: str | Callable[..., Any],
        *,
        recognises: str | Callable[[Path], bool],
        summary: str,
        cite: str = "",
    ) -> None:
        """A format of data on disk: `factory(path, classes=None, seed=0) ->
        unet_bench.data.Dataset`.

        `recognises(path)` says whether data of this format lie there. It is asked for every path a
        user names, so it looks at names only, and imports no torch. Both may be text
        `"module:name"`.
        """
        self._check_factory("reader", name, recognises)
        self._add("reader", name, factory, summary=summary, cite=cite, recognises=recognises)

    def probe(
        self,
        name: str,
        factory: str | Callable[..., Any],
        *,
        summary: str,
        cite: str = "",
        timed: bool = False,
    ) -> None:
        """A measurement: `factory(MeasurementContext) -> dict` of the columns it measured.

        One that is `timed` has its device, and the host's timing, to itself.
        """
        self._add("probe", name, factory, summary=summary, cite=cite, timed=timed)

    def executor(
        self,
        name: str,
        factory: str | Callable[..., Any],
        *,
        summary: str,
        cite: str = "",
        needs: tuple[str, str] | None = None,
    ) -> None:
        """Where cells run: `factory(devices, options) -> unet_bench.execute.jobs.Executor`.

        `devices` are names as `--devices` has them, `options` the names and values of
        `--executor-option`.
        """
        self._add("executor", name, factory, summary=summary, cite=cite, needs=needs)

    def fresh_interpreter(self) -> None:
        """Have every cell that needs something of this plugin start from an interpreter of its own.

        For a plugin that must set something before torch is imported, or that cannot be forked once
        it is; a cell then takes seconds to begin.
        """
        self.fresh = True

    def _part(
        self,
        kind: str,
        name: str,
        factory: str | Callable[..., Any],
        *,
        summary: str,
        cite: str = "",
        ignores: Iterable[str] = (),
        dims: Iterable[int] = (2, 3),
    ) -> None:
        for ignored in ignores:
            Choices().replace(
                **{ignored: getattr(Choices(), ignored, ignored)}
            )  # raises for an unknown choice
        self._add(
            kind,
            name,
            factory,
            summary=summary,
            cite=cite,
            ignores=frozenset(ignores),
            dims=tuple(dims),
        )

    def _add(
        self, kind: str, name: str, factory: str | Callable[..., Any], *, summary: str, **facts: Any
    ) -> None:
        self._check(name, summary)
        self._check_factory(kind, name, factory)
        if (kind, name) in self.entries:
            raise NameClash(f"plugin {self.provider} registers {kind} {name!r} twice")
        self.entries[kind, name] = Entry(kind, name, factory, self.provider, summary, **facts)

    def _check_factory(self, kind: str, name: str, factory: str | Callable[..., Any]) -> None:
        if not callable(factory) and not re.fullmatch(r"[\w.]+:\w+", factory):
            raise InvalidChoice(
                f"plugin {self.provider}: {kind} {name!r} has factory {factory!r}: "
                "it must be a callable or text of the form 'module:name'"
            )

    def _check(self, name: str, summary: str) -> None:
        if not NAME.fullmatch(name):
            raise InvalidChoice(
                f"plugin {self.provider}: the name {name!r} is not valid: "
                "letters, digits, '_', '.', '+' and '-', at most 64, starting with a letter or digit"
            )
        if not summary.strip():
            raise InvalidChoice(f"plugin {self.provider}: {name!r} needs a one-line summary")


class Registry:
    """All entries of all plugins, by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._variants: dict[str, Variant] = {}
        self._providers: dict[str, Provider] = {}
        self._fresh: set[str] = set()

    def commit(self, draft: Registrar) -> None:
        """Take over a whole draft. Raises NameClash, naming both owners, and then takes nothing."""
        for key in draft.entries:
            if key in self._entries:
                self._clash(*key, self._entries[key].provider, draft.provider)
        for name in draft.variants:
            if name in self._variants:
                self._clash(
                    "variant", name, self._providers[self._variants[name].provider], draft.provider
                )
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
        """The plugins whose cells are to start from a fresh interpreter."""
        return set(self._fresh)

    def entries(self, kind: str) -> list[Entry]:
        """All entries of a kind, in the order in which they were registered."""
        return [entry for (k, _), entry in self._entries.items() if k == kind]

    def variants(self) -> dict[str, Variant]:
        """Return all named variants but the trivial baselines, in the order of registration."""
        return {name: variant for name, variant in self._variants.items() if not variant.trivial}

    def trivial_baselines(self) -> list[Variant]:
        """Return the rules that need no training, which are scored beside the variants."""
        return [variant for variant in self._variants.values() if variant.trivial]

    def absent(self, variant: Variant) -> str:
        """What to do about the package that a variant's architecture needs, if it is not here."""
        known = variant.architecture and (
            ":" not in variant.architecture or self.has_family(*whole(variant))
        )
        return self.find(*whole(variant)).absent if known else ""

    def has_family(self, kind: str, name: str) -> bool:
        """Whether `name` is a member of an open family: `timm:resnet34` of `timm:*`."""
        family, colon, member = name.partition(":")
        return bool(colon and member) and (kind, f"{family}:*") in self._entries

    def provider(self, plugin: str) -> Provider:
        """Who a plugin is."""
        return self._providers[plugin]

    def find(self, kind: str, name: str) -> Entry:
        """The entry of that name; `timm:resnet34` finds the open family `timm:*`. Raises
        UnknownName.
        """
        if entry := self._entries.get((kind, name)):
            return entry
        if self.has_family(kind, name):
            family, _, member = name.partition(":")
            return replace(self._entries[kind, f"{family}:*"], name=name, member=member)
        command = f"unet-bench list {LISTED_BY.get(kind, 'parts')}"
        raise unknown(kind, name, (entry.name for entry in self.entries(kind)), command)
