"""What a plugin's hook is given: a typed method for each kind of thing that it may provide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_bench.errors import InvalidChoice, NameClash
from unet_bench.networks.choices import Choices
from unet_bench.networks.variants import Variant
from unet_bench.registry.entries import NAME, Entry, Factory, Provider

if TYPE_CHECKING:
    from unet_bench.measure.probe import Probe
    from unet_bench.measure.runtime import Runtime


@dataclass(frozen=True)
class PartRegistrar:
    """Registers the parts of a slot: `registry.up("sharp", "my_pkg.parts:sharp", summary="…")`."""

    registrar: Registrar
    slots: tuple[str, ...]

    def __call__(
        self,
        name: str,
        factory: Factory,
        *,
        summary: str,
        cite: str = "",
        ignores: Iterable[str] = (),
        dims: Iterable[int] = (2, 3),
        variant: str = "",
        variant_summary: str = "",
    ) -> None:
        """Register a part, made by `factory(place)`; text `"module:name"` is imported when needed.

        `ignores` names choices that cannot matter with it, `dims` are those it serves. `variant`
        names the baseline with this part in its place, and `variant_summary` says what that is,
        where the part's own `summary` does not. `family:*` is an open family: `factory(member)`
        returns such a factory.
        """
        for ignored in ignores:  # raises for an unknown choice
            Choices().replace(**{ignored: getattr(Choices(), ignored, ignored)})
        about = {"ignores": frozenset(ignores), "dims": tuple(dims)}
        for slot in self.slots:
            self.registrar._add(slot, name, factory, summary=summary, cite=cite, **about)
        if variant:
            one_axis: dict[str, Any] = {"tags": ("one-axis",), self.slots[0]: name}
            text = variant_summary or summary
            self.registrar.variant(variant, summary=text, cite=cite, **one_axis)


class Registrar:
    """What one plugin registers. Nothing counts until its hook has returned.

    There is a callable for each slot, all alike: see `PartRegistrar`.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.entries: dict[tuple[str, str], Entry] = {}
        self.variants: dict[str, Variant] = {}
        self.fresh = False
        self.encoder = PartRegistrar(self, ("encoder",))
        """All maps of an image, the finest first."""
        self.encoder_block = PartRegistrar(self, ("encoder_block",))
        """The convolutions of one encoder level."""
        self.decoder_block = PartRegistrar(self, ("decoder_block",))
        """The convolutions of one decoder level."""
        self.block = PartRegistrar(self, ("encoder_block", "decoder_block"))
        """A block for encoder and decoder alike; its variant has it in both."""
        self.bottleneck = PartRegistrar(self, ("bottleneck",))
        """What the coarsest map passes through."""
        self.down = PartRegistrar(self, ("down",))
        """Halves a map."""
        self.up = PartRegistrar(self, ("up",))
        """Doubles a map."""
        self.align = PartRegistrar(self, ("align",))
        """Brings skip and up-sampled map to one size."""
        self.skip = PartRegistrar(self, ("skip",))
        """What an encoder map passes through."""
        self.merge = PartRegistrar(self, ("merge",))
        """Joins skips and up-sampled map."""
        self.topology = PartRegistrar(self, ("topology",))
        """Which maps reach which decoder level."""
        self.head = PartRegistrar(self, ("head",))
        """Class scores from the finest decoder map."""

    def architecture(
        self,
        name: str,
        factory: Factory,
        *,
        summary: str,
        cite: str = "",
        needs: tuple[str, str] | None = None,
        dims: Iterable[int] = (2, 3),
        **args: Any,
    ) -> None:
        """Register a whole network: `factory(in_channels=, classes=, dims=, image_size=, **args)`.

        `args` are its defaults; one called `base_width` is what `width_scale` scales. Registers a
        variant of the same name, too. `family:*` is an open family: `factory(member)` returns such
        a factory, and any `family:member` can be named as a variant. `dims` it is for: 2 images, 3
        volumes. `needs` is a module of another package, and the command that installs it: where it
        is absent the network is listed as such, and left out of `all`.
        """
        about = {"args": args, "needs": needs, "dims": tuple(dims)}
        self._add("architecture", name, factory, summary=summary, cite=cite, **about)
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
        self, name: str, factory: Factory, *, summary: str, cite: str = ""
    ) -> None:
        """Register a rule that needs no training, such as a threshold.

        It is an architecture that returns a `unet_bench.measure.trivial.TrivialBaseline`. Runs
        score it beside the variants, so that a table shows what a network adds to it.
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
        """Register a set of choices (others are the baseline's), or an architecture with `args`.

        The tag `one-axis` is for those that differ from the baseline in one choice, which becomes a
        tag of theirs, so that `tag:up` selects all ways up. Raises InvalidChoice for more.
        """
        self._check(name, summary)
        if name in self.variants:
            raise NameClash(f"plugin {self.provider} registers variant {name!r} twice")
        chosen, baseline = Choices().replace(**choices), Choices()
        tags = tuple(tags)
        if "one-axis" in tags:
            changed = [key for key, value in chosen.items() if value != getattr(baseline, key)]
            if len(changed) != 1:
                raise InvalidChoice(
                    f"plugin {self.provider}: variant {name!r} is tagged one-axis and changes "
                    f"{len(changed)} choices ({', '.join(changed)}): it must change one"
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

    def dataset(self, name: str, factory: Factory, *, summary: str, cite: str = "") -> None:
        """Register a data set: `factory(size=(H, W), seed=0)` returns a `Dataset`."""
        self._add("dataset", name, factory, summary=summary, cite=cite)

    def recipe(self, name: str, factory: Factory, *, summary: str, cite: str = "") -> None:
        """Register a way to train: `factory() -> unet_bench.spec.recipe.Recipe`."""
        self._add("recipe", name, factory, summary=summary, cite=cite)

    def reader(
        self,
        name: str,
        factory: Factory,
        *,
        recognises: str | Callable[[Path], bool],
        summary: str,
        cite: str = "",
    ) -> None:
        """Register a format on disk: `factory(path, classes=None, seed=0)` returns a `Dataset`.

        `recognises(path)` says whether data of this format lie there. It is asked for every path a
        user names, so it looks at names only, and imports no torch. Both may be text
        `"module:name"`.
        """
        self._check_factory("reader", name, recognises)
        self._add("reader", name, factory, summary=summary, cite=cite, recognises=recognises)

    def probe(self, probe: Probe) -> None:
        """Register a measurement, with all that is special about it and the columns it adds."""
        self._add(
            "probe",
            probe.name,
            probe.measure,
            summary=probe.summary,
            cite=probe.cite,
            probe=probe,
        )

    def runtime(self, runtime: Runtime) -> None:
        """Register what runs networks, with all that is special about it."""
        self._add(
            "runtime",
            runtime.name,
            runtime.make_ready,
            summary=runtime.summary,
            cite=runtime.cite,
            needs=runtime.needs,
            runtime=runtime,
        )

    def executor(
        self,
        name: str,
        factory: Factory,
        *,
        summary: str,
        cite: str = "",
        needs: tuple[str, str] | None = None,
    ) -> None:
        """Register where cells run: `factory(devices, options)` returns an `Executor`.

        `devices` are names as `--devices` has them, `options` the names and values of
        `--executor-option`. See `unet_bench.execute.jobs.Executor`.
        """
        self._add("executor", name, factory, summary=summary, cite=cite, needs=needs)

    def fresh_interpreter(self) -> None:
        """Have every cell that needs something of this plugin start from its own interpreter.

        For a plugin that must set something before torch is imported, or that cannot be forked once
        it is; a cell then takes seconds to begin.
        """
        self.fresh = True

    def _add(self, kind: str, name: str, factory: Factory, *, summary: str, **about: Any) -> None:
        """Register an entry of a kind. Raises NameClash, InvalidChoice."""
        self._check(name, summary)
        self._check_factory(kind, name, factory)
        if (kind, name) in self.entries:
            raise NameClash(f"plugin {self.provider} registers {kind} {name!r} twice")
        self.entries[kind, name] = Entry(kind, name, factory, self.provider, summary, **about)

    def _check_factory(self, kind: str, name: str, factory: Factory) -> None:
        if not callable(factory) and not re.fullmatch(r"[\w.]+:\w+", factory):
            raise InvalidChoice(
                f"plugin {self.provider}: {kind} {name!r} has factory {factory!r}: "
                "it must be a callable or text of the form 'module:name'"
            )

    def _check(self, name: str, summary: str) -> None:
        if not NAME.fullmatch(name):
            raise InvalidChoice(
                f"plugin {self.provider}: the name {name!r} is not valid: letters, digits, '_', "
                "'.', '+' and '-', at most 64, starting with a letter or digit"
            )
        if not summary.strip():
            raise InvalidChoice(f"plugin {self.provider}: {name!r} needs a one-line summary")
