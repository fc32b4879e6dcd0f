"""Find plugins without importing them, load each by itself, and say how it went.

Tolerant to look, strict to measure: `load` goes on past a broken plugin; `Loaded.checked` refuses
one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pluggy

from unet_bench.errors import NameClash, PluginFailure, unknown
from unet_bench.registry import hookspecs
from unet_bench.registry.entries import Provider
from unet_bench.registry.registrar import Registrar
from unet_bench.registry.registry import Registry

GROUP: Final = "unet_bench"
BLOCK_VARIABLE: Final = "UNET_BENCH_BLOCK"
OURS: Final = "unet-bench"
FIRST: Final = {"core": 0, "classic": 1}  # of ours: so that the baseline leads every list

Status = Literal["ok", "blocked", "failed"]


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group, and how loading it went."""

    provider: Provider
    module: str
    status: Status
    reason: str = ""
    registered: int = 0


@dataclass(frozen=True)
class Loaded:
    """The registry, and how each plugin fared."""

    registry: Registry
    plugins: tuple[Plugin, ...]

    def checked(self) -> Registry:
        """Return the registry, if every plugin that is not blocked is well.

        Raises PluginFailure otherwise.
        """
        failed = [plugin for plugin in self.plugins if plugin.status == "failed"]
        if failed:
            lines = "\n".join(f"  {plugin.provider}: {plugin.reason}" for plugin in failed)
            block = " ".join(f"--block {shlex.quote(plugin.provider.plugin)}" for plugin in failed)
            raise PluginFailure(
                f"nothing is measured while a plugin fails:\n{lines}\nrun without it: {block}"
            )
        return self.registry


def load(block: Iterable[str] = ()) -> Loaded:
    """Load every installed plugin that is not blocked by name, ours first.

    Names are blocked here, or in $UNET_BENCH_BLOCK. Raises UnknownName when a name to block is no
    plugin's.
    """
    found = find()
    blocked = set(block) | set(filter(None, os.environ.get(BLOCK_VARIABLE, "").split(",")))
    for name in blocked - {entry.name for entry in found}:
        raise unknown(
            "plugin to block", name, (entry.name for entry in found), "unet-bench plugins"
        )
    registry, plugins = Registry(), []
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for entry in found:
        if entry.name in blocked:
            plugins.append(Plugin(provider_of(entry), entry.value, "blocked", "blocked by name"))
        else:
            plugins.append(_load_one(manager, registry, entry))
    return Loaded(registry, tuple(plugins))


def find() -> list[importlib.metadata.EntryPoint]:
    """Return the installed entry points, not imported: ours first, then third parties by name."""
    entries = {
        (e.name, e.value, provider_of(e).distribution): e
        for e in importlib.metadata.entry_points(group=GROUP)
    }
    return sorted(
        entries.values(),
        key=lambda e: (provider_of(e).distribution != OURS, FIRST.get(e.name, 2), e.name),
    )


def provider_of(entry: importlib.metadata.EntryPoint) -> Provider:
    """Return who is behind an entry point."""
    return Provider(entry.name, *_stated(entry.dist)) if entry.dist else Provider(entry.name)


@functools.lru_cache(maxsize=64)
def _stated(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return its name and version, for which its metadata are read and parsed anew each time."""
    return distribution.name, distribution.version


def _load_one(
    manager: pluggy.PluginManager, registry: Registry, entry: importlib.metadata.EntryPoint
) -> Plugin:
    provider = provider_of(entry)
    draft = Registrar(provider)
    try:
        _register(manager, entry, draft)
        registry.commit(draft)
    except (Exception, SystemExit) as error:
        if manager.has_plugin(entry.name) and not isinstance(error, NameClash):
            manager.unregister(name=entry.name)
        return Plugin(provider, entry.value, "failed", f"{type(error).__name__}: {error}".strip())
    return Plugin(provider, entry.value, "ok", registered=len(draft.entries) + len(draft.variants))


def _register(
    manager: pluggy.PluginManager, entry: importlib.metadata.EntryPoint, draft: Registrar
) -> None:
    """Call this one plugin's hook, alone: a hook call's results do not say whose they are."""
    if manager.has_plugin(entry.name):
        raise NameClash(f"two plugins are called {entry.name!r}; uninstall one of them")
    others = [plugin for _, plugin in manager.list_name_plugin()]
    module = entry.load()
    manager.register(module, name=entry.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginFailure(
            f"{entry.value} has no hook: define `unet_bench_register(registry)` and mark it with "
            "@unet_bench.hookimpl"
        )
    manager.subset_hook_caller("unet_bench_register", others)(registry=draft)


def source_hash(module: str) -> str:
    """Return 12 hex digits over the Python source of a package or module.

    Results know by it what code made them. Empty for one that is not installed.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # what it would be in
        return ""
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.sha256()
    for file in files:
        digest.update(
            file.relative_to(origin.parent).as_posix().encode() + b"\0" + file.read_bytes()
        )
    return digest.hexdigest()[:12]
