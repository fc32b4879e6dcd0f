"""Finding and loading plugins: each fares by itself, and nothing is measured beside a broken one.

The plugins are written into a folder on sys.path beside a fake `.dist-info`, as an installer would
leave them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from unet_bench.errors import PluginFailure, UnknownName
from unet_bench.networks.choices import SLOTS
from unet_bench.registry import plugins
from unet_bench.registry.entries import Entry

REGISTER = """
    from unet_bench import hookimpl

    @hookimpl
    def unet_bench_register(registry):
        registry.up("steep", "steep_parts:make", summary="steep")
        registry.variant("unet-steep", up="steep", summary="steep")
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a module and its distribution where Python finds them: `install("steep", code)`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(plugins.BLOCK_VARIABLE, raising=False)

    def write(name: str, code: str = REGISTER, *, module: str = "", dist: str = "") -> None:
        module, dist = module or f"{name}_module", dist or f"dist-of-{name}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{dist.replace('-', '_')}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[unet_bench]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def fared(name: str, loaded: plugins.Loaded | None = None) -> plugins.Plugin:
    """How the plugin of that name fared."""
    (found,) = [p for p in (loaded or plugins.load()).plugins if p.provider.plugin == name]
    return found


def test_a_sound_plugin(install: Install) -> None:
    install("steep")
    loaded = plugins.load()
    assert fared("steep", loaded) == plugins.Plugin(
        plugins.Provider("steep", "dist-of-steep", "1.2"), "steep_module", "ok", registered=2
    )
    registry = loaded.checked()
    assert str(registry.find("up", "steep").provider) == "steep (dist-of-steep 1.2)"
    assert registry.variants()["unet-steep"].provider == "steep"


def test_ours_come_first_then_third_parties_by_name(install: Install) -> None:
    install("aaa", "", module="a_module")
    install("zzz", "", module="z_module")
    names = [plugin.provider.plugin for plugin in plugins.load().plugins]
    assert names[:2] == ["core", "classic"]
    assert names[-2:] == ["aaa", "zzz"]


def test_an_entry_point_that_is_seen_twice_counts_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("steep")
    shutil.copytree(
        tmp_path / "dist_of_steep-1.2.dist-info", tmp_path / "again" / "dist_of_steep-1.2.dist-info"
    )
    monkeypatch.syspath_prepend(tmp_path / "again")
    assert fared("steep").status == "ok"


def test_blocked_before_it_is_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("steep", "raise RuntimeError('imported')")
    loaded = plugins.load(["steep"])
    assert (fared("steep", loaded).status, fared("steep", loaded).reason) == (
        "blocked",
        "blocked by name",
    )
    loaded.checked()
    monkeypatch.setenv(plugins.BLOCK_VARIABLE, "steep,timm")
    loaded = plugins.load()
    assert {p.provider.plugin for p in loaded.plugins if p.status == "blocked"} == {"steep", "timm"}
    with pytest.raises(UnknownName):
        loaded.checked().find("encoder", "timm:resnet18")


def test_without_all_others_the_classic_plugin_builds_the_baseline() -> None:
    others = {plugin.provider.plugin for plugin in plugins.load().plugins} - {"core", "classic"}
    registry = plugins.load(others).checked()
    assert len(registry.variants()) > 20
    for variant in registry.variants().values():
        for slot in set(SLOTS) - {"decoder_block"}:  # which is `same` everywhere
            assert registry.find(slot, getattr(variant.choices, slot)).provider.plugin == "classic"


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_block_that_blocks_nothing_is_an_error(
    install: Install, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    install("steep")
    if by_variable:
        monkeypatch.setenv(plugins.BLOCK_VARIABLE, "steeep")
    with pytest.raises(UnknownName, match="unknown plugin to block 'steeep'; did you mean steep"):
        plugins.load([] if by_variable else ["steeep"])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
        ("", "PluginFailure: steep_module has no hook: define `unet_bench_register(registry)`"),
        (REGISTER.replace("@hookimpl", ""), "PluginFailure: steep_module has no hook"),
        (
            REGISTER.replace("unet_bench_register", "unet_bench_registr"),
            "unknown hook 'unet_bench_registr'",
        ),
        (REGISTER.replace("(registry)", "(registry, extra)"), "PluginValidationError: "),
        (
            REGISTER.replace("registry.up(", "registry.upp("),
            "AttributeError: 'Registrar' object has no attribute 'upp'",
        ),
        (REGISTER + "        raise ValueError('half-way')", "ValueError: half-way"),
        (REGISTER + "        raise SystemExit(3)", "SystemExit: 3"),
        (
            REGISTER.replace('"steep",', '"so steep",'),
            "InvalidChoice: plugin steep (dist-of-steep 1.2): the name",
        ),
        (
            REGISTER.replace('"steep_parts:make"', '"steep_parts"'),
            "must be a callable or text of the form",
        ),
        (REGISTER.replace('summary="steep"', 'summary=" "'), "'steep' needs a one-line summary"),
        (
            REGISTER.replace("up=", "upp="),
            "UnknownName: unknown slot or axis 'upp'; did you mean up",
        ),
        (
            REGISTER.replace(', up="steep"', ', depth="deep"'),
            "InvalidChoice: depth=deep is not valid: it takes int",
        ),
        (
            REGISTER.replace('summary="steep")', 'summary="s", ignores=("padd",))', 1),
            "unknown slot or axis 'padd'",
        ),
        (
            REGISTER + "        registry.up('steep', print, summary='s')",
            "registers up 'steep' twice",
        ),
        (
            REGISTER + "        registry.variant('unet-steep', summary='s')",
            "registers variant 'unet-steep' twice",
        ),
    ],
)
def test_a_broken_plugin_says_why_and_leaves_nothing_behind(
    install: Install, code: str, reason: str
) -> None:
    without = plugins.load()
    install("steep", code)
    install("zebra", REGISTER.replace("steep", "zebra"))
    loaded = plugins.load()
    plugin = fared("steep", loaded)
    assert (plugin.status, plugin.registered) == ("failed", 0)
    assert reason in plugin.reason
    assert fared("zebra", loaded).status == "ok"
    assert set(loaded.registry.variants()) == {*without.registry.variants(), "unet-zebra"}
    assert {e.name for e in loaded.registry.entries("up")} == {
        *(e.name for e in without.registry.entries("up")),
        "zebra",
    }
    with pytest.raises(
        PluginFailure, match=r"^nothing is measured while a plugin fails"
    ) as failure:
        loaded.checked()
    assert str(failure.value).endswith("run without it: --block steep")
    assert reason in str(failure.value)
    plugins.load(["steep"]).checked()


@pytest.mark.parametrize(
    ("line", "kind", "name", "owner"),
    [
        ('registry.up("bilinear", "m:f", summary="s")', "up", "bilinear", "upsampling"),
        ('registry.variant("unet", summary="s")', "variant", "unet", "classic"),
        ('registry.architecture("unet-add", "m:f", summary="s")', "variant", "unet-add", "skips"),
    ],
)
def test_a_name_that_is_taken_names_both_owners(
    install: Install, line: str, kind: str, name: str, owner: str
) -> None:
    install("steep", REGISTER + f"        {line}")
    loaded = plugins.load()
    assert fared("steep", loaded).reason == (
        f"NameClash: {kind} {name!r} is registered by plugin {owner} (unet-bench {ours()}) and "
        "again by plugin "
        "steep (dist-of-steep 1.2); block one of them (--block steep), or rename"
    )
    assert "unet-steep" not in loaded.registry.variants()


def ours() -> str:
    """The version of unet-bench that is installed."""
    return fared("core").provider.version


def test_two_distributions_with_one_plugin_name(install: Install) -> None:
    install("steep")
    install("steep", REGISTER.replace("steep", "flat"), module="other_module", dist="other-dist")
    loaded = plugins.load()
    both = [plugin for plugin in loaded.plugins if plugin.provider.plugin == "steep"]
    assert sorted(plugin.status for plugin in both) == ["failed", "ok"]
    (failed,) = [plugin for plugin in both if plugin.status == "failed"]
    assert failed.reason == "NameClash: two plugins are called 'steep'; uninstall one of them"
    with pytest.raises(PluginFailure, match="two plugins are called 'steep'"):
        loaded.checked()


def test_a_third_party_cannot_take_the_name_of_one_of_ours(install: Install) -> None:
    install("blocks", REGISTER)
    fates = {
        p.provider.distribution: p.status
        for p in plugins.load().plugins
        if p.provider.plugin == "blocks"
    }
    assert fates == {"unet-bench": "ok", "dist-of-blocks": "failed"}


@pytest.mark.parametrize("reference", ["nowhere_to_be_found:make", "textwrap:nothing"])
def test_a_factory_that_does_not_exist_is_found_when_it_is_needed(
    install: Install, reference: str
) -> None:
    install("steep", REGISTER.replace("steep_parts:make", reference))
    entry = plugins.load().checked().find("up", "steep")
    with pytest.raises(PluginFailure) as failure:
        entry.load()
    message = str(failure.value)
    assert message.startswith(
        "plugin steep (dist-of-steep 1.2): up 'steep' cannot be loaded from " + repr(reference)
    )
    assert message.endswith("block it with --block steep, or mend it")


def test_a_trivial_baseline_has_any_name_and_is_no_variant_to_choose(install: Install) -> None:
    install(
        "steep",
        """
        from unet_bench import hookimpl

        @hookimpl
        def unet_bench_register(registry):
            registry.trivial_baseline("steep", "steep_parts:make", summary="steep")
        """,
    )
    registry = plugins.load().checked()
    assert "steep" in {variant.name for variant in registry.trivial_baselines()}
    assert "steep" not in registry.variants()


def test_an_open_family_finds_its_members(install: Install) -> None:
    install(
        "steep",
        REGISTER.replace('"steep", "steep_parts:make"', '"steep:*", lambda member: member.upper'),
    )
    registry = plugins.load().registry
    entry = registry.find("up", "steep:very")
    assert (entry.name, entry.member) == ("steep:very", "very")
    assert entry.load()() == "VERY"
    assert isinstance(registry.find("up", "steep:*"), Entry)
    with pytest.raises(UnknownName):
        registry.find("up", "steep:")


def test_a_registry_is_made_anew_each_time(install: Install) -> None:
    before = plugins.load()
    install("steep")
    after = plugins.load()
    assert "unet-steep" in after.registry.variants()
    assert "unet-steep" not in before.registry.variants()


@pytest.mark.parametrize(
    "command", [["plugins"], ["list", "variants"], ["list", "parts"], ["new-plugin", "swift"]]
)
def test_looking_imports_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    code = f"""
        import sys
        from unet_bench.cli.app import app
        try:
            app({command!r})
        except SystemExit as end:
            assert not end.code, end.code
        heavy = {{"torch", "timm", "pandas", "numpy", "torchvision"}} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


MANY = """
    from unet_bench import hookimpl

    @hookimpl
    def unet_bench_register(registry):
        for i in range(200):
            registry.up(f"steep-{i}", "steep_parts:make", summary="steep")
            registry.variant(
                f"unet-steep-{i}", up=f"steep-{i}", summary="steep", tags=("one-axis",)
            )
"""


def test_two_hundred_variants_are_registered_and_listed_without_torch(
    install: Install, tmp_path: Path
) -> None:
    """Nor is the module imported that would make their parts: it does not even exist."""
    install("steep", MANY)
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from unet_bench.registry import plugins
        registry = plugins.load().checked()
        assert sum(name.startswith("unet-steep-") for name in registry.variants()) == 200
        from unet_bench.cli.app import app
        try:
            app(["list", "variants"])
        except SystemExit as end:
            assert not end.code, end.code
        heavy = {{"torch", "timm", "pandas", "numpy", "torchvision"}} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "unet-steep-199" in done.stdout


def test_the_source_hash_follows_the_source(install: Install, tmp_path: Path) -> None:
    install("steep")
    before = plugins.source_hash("steep_module")
    assert before == plugins.source_hash("steep_module")
    (tmp_path / "steep_module.py").write_text("changed = True")
    assert plugins.source_hash("steep_module") != before
    assert plugins.source_hash("nowhere_to_be_found") == ""
