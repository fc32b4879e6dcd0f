"""Variants: named sets of choices."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from unet_bench.errors import InvalidChoice
from unet_bench.networks.choices import Choices, Value

BASELINE: Final = "unet"
OF_ANY: Final = ("width_scale", "dims")
"""The choices that a whole architecture has, too."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A name for a full set of choices, or for an architecture and its arguments."""

    name: str
    choices: Choices = field(default_factory=Choices)
    architecture: str = ""
    args: tuple[tuple[str, Any], ...] = ()
    summary: str = ""
    cite: str = ""
    tags: tuple[str, ...] = ()
    provider: str = ""
    inactive: tuple[str, ...] = ()
    # A rule that needs no training, scored beside the variants. Not part of `to_json`: it says
    # nothing about how to build the network.
    trivial: bool = False

    def canonical(self) -> str:
        """Return the text that tells this network from every other: equal text, equal network."""
        return self._canonical

    @functools.cached_property
    def _canonical(self) -> str:
        return json.dumps(self.to_json() | {"name": ""}, sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """Return what a worker process needs to build the network."""
        if self.architecture:
            whole = {"name": self.name, "architecture": self.architecture, "args": dict(self.args)}
            return whole | {name: getattr(self.choices, name) for name in OF_ANY}
        return {"name": self.name, "choices": self.choices.text()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Variant:
        """Return the inverse of `to_json`."""
        if data.get("architecture"):
            choices = Choices(**{name: data[name] for name in OF_ANY if name in data})
            args = tuple(sorted(data["args"].items()))
            return cls(
                name=data["name"], architecture=data["architecture"], args=args, choices=choices
            )
        return cls(name=data["name"], choices=Choices().replace(**data["choices"]))

    def with_choices(self, **changes: Value | str) -> Variant:
        """Return the variant with some choices changed.

        Unnamed changes are in its name: `unet+up=bilinear`.
        """
        if self.architecture and (wrong := [name for name in changes if name not in OF_ANY]):
            raise InvalidChoice(
                f"{self.name} is a whole architecture: {wrong[0]} cannot be changed in it; vary "
                "one made of slots"
            )
        choices = self.choices.replace(**changes)
        changed = [
            name for name in changes if getattr(choices, name) != getattr(self.choices, name)
        ]
        suffix = "".join(f"+{name}={choices.text()[name]}" for name in changed)
        return replace(self, name=self.name + suffix, choices=choices, tags=())
