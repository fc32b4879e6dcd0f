"""What can be named (parts, architectures, data sets, readers, probes, …), and who provided it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unet_bench.errors import PluginFailure, UnetBenchError

if TYPE_CHECKING:
    from unet_bench.measure.probe import Probe
    from unet_bench.measure.runtime import Runtime

LISTED_BY: Final = {
    "architecture": "architectures",
    "variant": "variants",
    "dataset": "datasets",
    "reader": "readers",
    "recipe": "recipes",
    "probe": "probes",
    "runtime": "runtimes",
    "executor": "executors",
}
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}(:\*)?")

Factory = str | Callable[..., Any]
"""A callable, or `"module:name"`, imported when it is first needed."""


@dataclass(frozen=True)
class Provider:
    """Who registered an entry: the plugin, and the distribution it was installed from."""

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        if not self.distribution:
            return self.plugin
        return f"{self.plugin} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Entry:
    """One registered thing. Of a probe, `factory` is what measures."""

    kind: str
    name: str
    factory: Factory
    provider: Provider
    summary: str
    cite: str = ""
    ignores: frozenset[str] = frozenset()
    dims: tuple[int, ...] = (2, 3)
    args: Mapping[str, Any] = field(default_factory=dict)
    member: str = ""  # of an open family: `resnet34` of `timm:*`
    needs: tuple[str, str] | None = None  # a module of another package, and what brings it
    recognises: str | Callable[[Path], bool] = ""  # of a reader
    probe: Probe | None = None
    runtime: Runtime | None = None

    @property
    def absent(self) -> str:
        """What to do about the package that this needs, if it is not here; imports nothing."""
        if self.needs is None or importlib.util.find_spec(self.needs[0]) is not None:
            return ""
        return f"needs {self.needs[0]}, which is not installed: {self.needs[1]}"

    def load(self) -> Callable[..., Any]:
        """Return the factory itself. Raises PluginFailure when its module or name is missing."""
        found = self.factory if callable(self.factory) else self._import(self.factory)
        if not self.member:
            return found
        resolved: Callable[..., Any] = found(self.member)
        return resolved

    def fits(self, path: Path) -> bool:
        """Return whether this reader knows the data at `path` by their names.

        Raises PluginFailure when it cannot say.
        """
        known = self.recognises if callable(self.recognises) else self._import(self.recognises)
        try:
            return bool(known(path))
        except Exception as error:
            raise PluginFailure(
                f"plugin {self.provider}: {self.kind} {self.name!r} cannot say whether it "
                f"recognises {path} ({type(error).__name__}: {error}); name a format, "
                f"KIND:{path}, or block the plugin"
            ) from error

    def _import(self, reference: str) -> Callable[..., Any]:
        module, _, name = reference.partition(":")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except (UnetBenchError, MemoryError):
            raise
        except Exception as error:
            raise PluginFailure(
                f"plugin {self.provider}: {self.kind} {self.name!r} cannot be loaded from "
                f"{reference!r} ({type(error).__name__}: {error}); "
                f"block it with --block {self.provider.plugin}, or mend it"
            ) from error
        return found
