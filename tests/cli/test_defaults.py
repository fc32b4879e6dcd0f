"""Options that hold without being given: where they are found, and how a user sees that they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLAN = ("plan", "-v", "unet", "--data", "cells", "--probes", "cost", "--json")


def size_of(done) -> int:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]["output"][0]


def test_the_nearest_file_counts_and_a_given_option_more(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.unet-bench]\nsize = "48x48"\n')
    done = unet_bench(*PLAN)
    assert size_of(done) == 48
    assert f"note: not given, but a default: --size 48x48 ({tmp_path / 'pyproject.toml'})" in (
        done.stderr
    )
    (tmp_path / "unet-bench.toml").write_text('size = "64x64"\n[plan]\nsize = "80x80"\n')
    assert size_of(unet_bench(*PLAN)) == 80
    done = unet_bench(*PLAN, "--size", "96x96")
    assert size_of(done) == 96
    assert "default" not in done.stderr


def test_a_variable_counts_more_than_a_file(
    unet_bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unet-bench.toml").write_text('size = "64x64"\n')
    monkeypatch.setenv("UNET_BENCH_SIZE", "32x32")
    assert size_of(unet_bench(*PLAN)) == 32


def test_a_slip_in_a_variable_is_told_and_other_tools_variables_are_theirs(
    unet_bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNET_BENCH_TEST_DATA", "UNET_BENCH_GPU_FAULTS", "UNET_BENCH_BLOCK"):
        monkeypatch.setenv(name, "zoo")
    done = unet_bench(*PLAN)
    assert (done.returncode, "default" in done.stderr) == (0, False)
    monkeypatch.setenv("UNET_BENCH_SIZ", "1")
    done = unet_bench(*PLAN)
    assert done.returncode == 2
    assert "UNET_BENCH_SIZ: unknown option 'siz'; did you mean size" in done.stderr


def test_several_values_are_a_list(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "unet-bench.toml").write_text('variants = ["unet", "unet-add"]\nseeds = "0,1"\n')
    done = unet_bench("plan", "--data", "cells", "--probes", "cost", "--json")
    names = {cell["variant"] for cell in json.loads(done.stdout)}
    assert {"unet", "unet-add"} <= names


def test_a_suite_and_a_resumed_run_say_all_themselves(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "unet-bench.toml").write_text('size = "64x64"\n')
    (tmp_path / "mine.toml").write_text(
        'variants = ["unet"]\ndata = ["cells"]\nprobes = ["cost"]\nsize = "32x32"\n'
    )
    assert size_of(unet_bench("plan", "--suite", "mine.toml", "--json")) == 32
    done = unet_bench("run", "--resume", "nowhere")
    assert "size" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("siez = 3", "did you mean size"),
        ("trust = true", "give it on the command line"),
        ('model = "evil:Net"', "give it on the command line"),
        ('executor-option = "setup=evil"', "give it on the command line"),
        ("size = [1, 2]", "size = 1,2 is not valid: it takes one value"),
        ("size = {a = 1}", "it takes one value"),
        ("[plan]\nfollow = true", "unknown option 'follow'"),
        ("size =", "correct it, or remove it"),
        ('memory-limit = "much"', "--memory-limit much"),
    ],
)
def test_what_is_no_default_is_told_with_its_file(
    unet_bench, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "unet-bench.toml").write_text(text)
    done = unet_bench(*PLAN)
    assert done.returncode == 2
    assert words in done.stderr
    assert "unet-bench.toml" in done.stderr
    assert unet_bench("--version").returncode == 0


def test_other_tools_tables_are_none_of_ours(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 3\n")
    assert "default" not in unet_bench(*PLAN).stderr
    (tmp_path / "pyproject.toml").write_text("no toml at all")
    assert unet_bench(*PLAN).returncode == 0


def test_quiet_is_the_answer_alone(unet_bench) -> None:
    said = unet_bench(*PLAN, "--eval-images", "4")
    quiet = unet_bench(*PLAN, "--eval-images", "4", "-q")
    assert (quiet.stderr, quiet.stdout) == ("", said.stdout)
    refused = unet_bench(*PLAN, "-q", "--preset", "none")
    assert "unknown preset" in refused.stderr
    assert unet_bench(*PLAN, "--eval-images", "4").stderr == said.stderr  # of one call alone
