"""Choosing variants by name, glob and tag; grids of them; and what in one cannot matter."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from unet_bench.errors import InvalidChoice, InvalidSuite, UnknownName, Unsupported, unknown
from unet_bench.networks.choices import NAMES, SLOTS, Choices
from unet_bench.networks.variants import OF_ANY, Variant
from unet_bench.registry.registry import Registry

MATTERS: Final[Mapping[str, Callable[[Choices], bool]]] = {
    "norm_groups": lambda choices: "group" in (choices.norm, choices.decoder_norm),
    "leak": lambda choices: choices.act == "leaky_relu",
    "average_heads": lambda choices: choices.aux_heads > 0,
    "base_width": lambda choices: not choices.encoder_widths,
    "max_width": lambda choices: not choices.encoder_widths,
    "merge": lambda choices: choices.skip != "none" or choices.topology != "unet",
    "align": lambda choices: choices.skip != "none" or choices.topology != "unet",
}
"""When a choice matters at all."""


def select(registry: Registry, patterns: Iterable[str]) -> list[Variant]:
    """Return the variants that names, globs, `tag:NAME` and `all` choose, each once.

    They are in registration order per pattern. `unet+up=bilinear+depth=3` is `unet` with two
    choices changed. Raises UnknownName, InvalidChoice.
    """
    known = registry.variants()
    chosen: dict[str, Variant] = {}
    for pattern in patterns:
        for variant in _match(registry, known, pattern.strip()):
            chosen[variant.name] = variant
    return list(chosen.values())


def select_one(registry: Registry, name: str) -> Variant:
    """Return the one variant of a name.

    Raises as `select`, and InvalidSuite for a pattern of several.
    """
    found = select(registry, [name])
    if len(found) != 1:
        raise InvalidSuite(
            f"{name} chooses {len(found)} variants: name just one, such as {found[0].name}"
        )
    return found[0]


def _match(registry: Registry, known: Mapping[str, Variant], pattern: str) -> list[Variant]:
    command = "unet-bench list variants"
    if pattern.startswith("tag:"):
        tags = {tag for variant in known.values() for tag in variant.tags}
        if pattern[4:] not in tags:
            raise unknown("tag", pattern[4:], tags, command)
        return _present(
            registry,
            pattern,
            [variant for variant in known.values() if pattern[4:] in variant.tags],
        )
    if pattern == "all" or any(character in pattern for character in "*?["):
        found = [
            v for name, v in known.items() if pattern == "all" or fnmatch.fnmatchcase(name, pattern)
        ]
        if not found:
            raise UnknownName(f"no variant matches {pattern!r}. All of them: `{command}`")
        return _present(registry, pattern, found)
    name, changes = split_changes(known, pattern)
    variant = known.get(name) or _of_family(registry, name)
    if variant is None:
        raise unknown("variant", name, known, command)
    (variant,) = _present(registry, name, [variant])
    if not changes:
        return [variant]
    return [checked(registry, variant.with_choices(**dict(map(_change, changes))))]


def split_changes(known: Mapping[str, Variant], pattern: str) -> tuple[str, list[str]]:
    """Return the variant's name, and the changes asked for.

    The name may have plus signs of its own.
    """
    name, *changes = re.split(r"\+(?=\w+=)", pattern)
    start, _, incomplete = name.partition("+")
    if name not in known and start in known:
        return start, [incomplete, *changes]
    return name, changes


def _of_family(registry: Registry, name: str) -> Variant | None:
    """Return a variant for a member of an open family of architectures.

    Raises what its plugin raises for an unknown one.
    """
    if not registry.has_family("architecture", name):
        return None
    entry = registry.find("architecture", name)
    if not entry.absent:
        entry.load()
    return Variant(
        name=name,
        architecture=name,
        args=tuple(sorted(entry.args.items())),
        summary=entry.summary,
        cite=entry.cite,
        tags=("architecture",),
        provider=entry.provider.plugin,
    )


def _present(registry: Registry, pattern: str, variants: list[Variant]) -> list[Variant]:
    """Return those of the variants whose packages are installed.

    Raises Unsupported when none is.
    """
    missing = {variant.name: registry.absent(variant) for variant in variants}
    found = [variant for variant in variants if not missing[variant.name]]
    if not found:
        name, reason = next(iter(missing.items()))
        raise Unsupported(f"{name} {reason}" if name == pattern else f"{pattern}: {name} {reason}")
    return found


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise InvalidChoice(
            f"{text!r} is not a change: write SLOT=PART or AXIS=VALUE, such as up=bilinear"
        )
    return name.strip(), value.strip()


def grid(registry: Registry, base: str, vary: Sequence[str]) -> list[Variant]:
    """Return every combination of the alternatives in `vary`, applied to `base`.

    `vary` is such as `["up=transpose,bilinear", …]`.
    """
    matched = _match(registry, registry.variants(), base)
    if len(matched) != 1:
        raise InvalidSuite(f"--base {base} chooses {len(matched)} variants: name just one")
    start = matched[0]
    alternatives: dict[str, list[str]] = {}
    for text in vary:
        name, values = _change(text)
        found = [value.strip() for value in values.split(",") if value.strip()]
        if not found:
            raise InvalidChoice(
                f"--vary {text}: name at least one alternative, such as up=bilinear"
            )
        for value in found:  # before there are thousands of combinations with a misspelt one
            checked(registry, start.with_choices(**{name: value}))
        alternatives[name] = list(dict.fromkeys(alternatives.get(name, []) + found))
    combined = itertools.product(*alternatives.values())
    variants = [
        start.with_choices(**dict(zip(alternatives, values, strict=True))) for values in combined
    ]
    return [checked(registry, variant) for variant in variants]


def checked(registry: Registry, variant: Variant) -> Variant:
    """Return the variant, if all its parts are registered. Raises UnknownName."""
    for slot in SLOTS:
        name = getattr(variant.choices, slot)
        if (slot, name) != ("decoder_block", "same"):
            registry.find(slot, name)
    return variant


def canonicalised(registry: Registry, variant: Variant) -> Variant:
    """Return the variant with choices that cannot matter set to their defaults.

    They are named in `inactive`. What a part declares in `ignores` cannot matter; `same` becomes
    what it stands for.
    """
    if variant.architecture:
        return replace(variant, inactive=tuple(name for name in NAMES if name not in OF_ANY))
    choices = variant.choices
    if choices.decoder_block == "same":
        choices = choices.replace(decoder_block=choices.encoder_block)
    if choices.decoder_norm == "same":
        choices = choices.replace(decoder_norm=choices.norm)
    ignored = {name for name, matters in MATTERS.items() if not matters(choices)}
    for slot in SLOTS:
        ignored |= registry.find(slot, getattr(choices, slot)).ignores
    return with_inactive(replace(variant, choices=choices), ignored)


def with_inactive(variant: Variant, names: Iterable[str]) -> Variant:
    """Return the variant with these choices at their defaults, and named as inactive."""
    names = sorted(names, key=NAMES.index)
    defaults = {name: getattr(Choices(), name) for name in names}
    inactive = tuple(name for name in NAMES if name in {*variant.inactive, *names})
    return replace(variant, choices=variant.choices.replace(**defaults), inactive=inactive)
