"""A network is examined once, until anything changes that its examination depends on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unet_bench import pipeline
from unet_bench.errors import UnknownName
from unet_bench.host.cache import add_entries, cache_folder, read_entries
from unet_bench.models.select import grid, select
from unet_bench.networks.variants import Variant
from unet_bench.plan import examinations
from unet_bench.plan.cells import Planned
from unet_bench.plan.examinations import Examinations, each_of, network_of, plain_of_network
from unet_bench.present.progress import examining
from unet_bench.registry import plugins
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task
from unet_bench.spec.suite import from_dict

TASK = Task(
    name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=(32, 32), fit="crop"
)
TINY = {"preset": "quick", "data": ["cells"], "size": "32x32", "width_scale": 0.0625}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNET_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def planned(*variants: str, **options: Any) -> list[Planned]:
    suite = from_dict({**TINY, "variants": list(variants), **options})
    with pipeline.plan(suite, dry_run=True) as plan:
        # How fast this machine is, is found anew each time.
        return [replace(one, seconds=0.0) for one in plan.planned]


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the test fail where anything is examined."""
    for name in ("examine", "matched", "simulate_pass"):
        monkeypatch.setattr(examinations, name, lambda *_, **__: pytest.fail("examined again"))


@pytest.mark.parametrize("name", ["unet", "unet-paper", "resnet34-unet", "swin-unet", "floor-otsu"])
def test_what_is_kept_says_all_that_was_found(registry: Registry, name: str) -> None:
    known = [*select(registry, ["all"]), *registry.trivial_baselines()]
    [variant] = [variant for variant in known if variant.name == name]
    found = Examinations(registry).examine(variant, TASK, (16, 16))
    assert network_of(variant, json.loads(json.dumps(plain_of_network(found)))) == found


def test_a_plan_made_before_is_made_again_without_examining(cache: Path, monkeypatch) -> None:
    first = planned("unet", "unet-paper", "unet-nearest", match="params")
    refuse(monkeypatch)
    assert planned("unet", "unet-paper", "unet-nearest", match="params") == first
    [file] = cache.iterdir()
    assert not cache.stat().st_mode & 0o077
    entries = read_entries(file)
    monkeypatch.undo()
    monkeypatch.setenv("UNET_BENCH_CACHE", str(cache))
    planned("unet", batch=[2])
    assert read_entries(file).keys() > entries.keys()


def test_an_edited_plugin_is_examined_again(cache: Path, tmp_path, monkeypatch) -> None:
    source = tmp_path / "scratch_up.py"
    text = (
        "import unet_bench\n"
        "from torch import nn\n"
        "def up(place):\n"
        "    return nn.ConvTranspose2d(place.in_channels, place.out_channels, SIDE, stride=2)\n"
        "@unet_bench.hookimpl\n"
        "def unet_bench_register(registry):\n"
        "    registry.up('scratch', up, summary='Scratch.', variant='unet-scratch')\n"
    )
    ours = plugins.find()
    entry = importlib.metadata.EntryPoint("scratch", "scratch_up", plugins.GROUP)
    monkeypatch.setattr(plugins, "find", lambda: [*ours, entry])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    params = []
    for side in (2, 2, 4):
        source.write_text(text.replace("SIDE", f"{side}, padding={side // 2 - 1}"))
        sys.modules.pop("scratch_up", None)
        if params:
            kept = planned("unet")  # what is not of the plugin is known all the while
            assert kept[0].params
        params.append(
            {p.names[0]: p.params for p in planned("unet-scratch", probes=["cost"])}["unet-scratch"]
        )
    sys.modules.pop("scratch_up", None)
    assert params[0] == params[1] < params[2]


def test_failures_that_may_pass_and_strangers_modules_are_not_kept(
    registry: Registry, tmp_path: Path, monkeypatch
) -> None:
    sources = examinations.Sources(plugins.load())
    [variant] = select(registry, ["unet"])
    fails = examinations.ExaminedNetwork(variant, None, status="error", reason="no memory")
    with monkeypatch.context() as patched:
        patched.setattr(examinations, "examine", lambda *_: fails)
        known = Examinations(registry, sources, tmp_path)
        assert known.examine(variant, TASK) == known.examine(variant, TASK) == fails
        known.save()
    assert not [*tmp_path.iterdir()]
    again = Examinations(registry, sources, tmp_path)
    assert not again.examine(variant, TASK).status
    again.save()
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"KEY": 3}', '{"KEY": {"status": []}}'])
def test_what_stands_in_the_cache_may_be_anything(
    registry: Registry, tmp_path: Path, content: str
) -> None:
    sources = examinations.Sources(plugins.load())
    [variant] = select(registry, ["unet"])
    first = Examinations(registry, sources, tmp_path)
    found = first.examine(variant, TASK)
    first.save()
    [file] = tmp_path.iterdir()
    [key] = read_entries(file)
    file.write_text(content.replace("KEY", key))
    assert Examinations(registry, sources, tmp_path).examine(variant, TASK) == found


def test_a_cache_that_others_can_open_or_that_cannot_be_made_is_none(
    tmp_path: Path, monkeypatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("shared", "file", "link"):
        monkeypatch.setenv("UNET_BENCH_CACHE", str(tmp_path / name))
        assert cache_folder() is None
    monkeypatch.setenv("UNET_BENCH_CACHE", "")
    assert cache_folder() is None
    monkeypatch.delenv("UNET_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "xdg" / "unet-bench"


def test_files_of_older_software_go(tmp_path: Path) -> None:
    for number in range(6):
        file = tmp_path / f"networks-{number}.json"
        add_entries(file, {"a": number})
        os.utime(file, (number, number))
    add_entries(tmp_path / "networks-9.json", {"a": 1})
    add_entries(tmp_path / "networks-9.json", {"b": 2})
    assert {file.name[9] for file in tmp_path.iterdir()} == set("3459")
    assert read_entries(tmp_path / "networks-9.json") == {"a": 1, "b": 2}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_work_is_done_side_by_side_and_what_a_dead_process_leaves_is_done_here() -> None:
    here, items = os.getpid(), list(range(64))

    def work(item: int) -> tuple[int, bool]:
        if item == 10 and os.getpid() != here:
            os._exit(1)
        return item, os.getpid() == here

    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    done = dict(each_of(items, work))
    assert sorted(done) == items
    assert done[10]
    assert not all(done.values())
    assert [*each_of([1, 2], work)] == [(1, True), (2, True)]


def test_how_many_are_examined_is_told(registry: Registry) -> None:
    told: list[tuple[int, int]] = []
    variants = select(registry, ["unet", "unet-add", "unet-nearest"])
    known = Examinations(registry)

    def use(some: list[Variant]) -> None:
        for variant in some:
            known.examine(variant, TASK)

    for _ in range(2):
        known.examine_ahead(variants, use, lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]


def test_a_misspelt_part_is_refused_before_a_grid_is_made(registry: Registry, monkeypatch) -> None:
    made = []
    plain = Variant.with_choices
    monkeypatch.setattr(
        Variant, "with_choices", lambda *args, **changes: made.append(1) or plain(*args, **changes)
    )
    numbers = ",".join(map(str, range(1, 31)))
    vary = ["up=bilinear,billinear", f"base_width={numbers}", f"max_width={numbers}"]
    with pytest.raises(UnknownName, match="billinear"):
        grid(registry, "unet", vary)
    assert len(made) < 100


def test_a_long_look_is_told_now_and_then_and_a_short_one_is_not(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr("unet_bench.present.progress.time.monotonic", lambda: now[0])
    with examining() as watch:
        for examined in range(30):
            watch(examined, 30)
            now[0] += 0.5
    assert capsys.readouterr().err.splitlines() == [
        "examined 2 of 30 networks",
        "examined 22 of 30 networks",
    ]
    with examining() as watch:
        watch(1, 2)
    assert not capsys.readouterr().err
