"""The program's edges: any encoding, a pipe nobody reads, plugins that print, commands to paste."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unet_bench as package
from unet_bench import pipeline
from unet_bench.cli.app import COMMANDS, main
from unet_bench.cli.measure import end_code, time_notes
from unet_bench.execute.driver import Finished
from unet_bench.execute.options import ExecutionOptions
from unet_bench.present import stdout
from unet_bench.spec.suite import from_options
from unet_bench.store.log import resume_command

ANSWERS = [
    "show RUN",
    "show RUN -f md",
    "show RUN -f csv",
    "show RUN --json",
    "compare RUN RUN",
    "effects RUN",
    "summary RUN",
    "rank RUN",
    "recommend RUN",
    "curves RUN",
    "report RUN -f md",
    "list parts",
    "list variants --detail unet",
    "plugins",
    "geometry unet-paper",
    "show nöwhere",
    "run --help",
    "--help",
]


def printed(args: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a command with standard output in an encoding; return its exit code and what it wrote."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["unet-bench", *args])
        patched.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            main()
    stream.flush()
    known = "utf-8" if encoding == "ascii" else encoding  # as click writes help where it is ASCII
    return int(end.value.code or 0), written.getvalue().decode(known)


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.full)])
@pytest.mark.parametrize("command", ANSWERS)
def test_any_encoding_takes_any_answer(
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    encoding: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    args = [str(finished_run) if word == "RUN" else word for word in command.split()]
    code, text = printed(args, encoding, monkeypatch)
    assert code == (2 if "nöwhere" in command else 0)
    assert text or code


def test_signs_that_an_encoding_lacks_become_ones_that_look_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    stdout.encode_anything()
    stdout.echo("64×64 ±1 é 木 \udcff")
    assert written.getvalue() == b"64x64 +-1 \\u00e9 \\u6728 \\udcff\n"


@pytest.mark.skipif(sys.platform == "win32", reason="has pipes of another kind")
@pytest.mark.parametrize("command", ["list presets", "list presets --json", "--help"])
def test_a_pipe_that_nobody_reads_ends_quietly(command: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "unet_bench", *command.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
@pytest.mark.parametrize("command", ["list presets", "--help"])
def test_a_full_disk_is_one_line(command: str, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "unet_bench", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


LOUD = """
import os
print("imported")
os.system("echo from a child")
from unet_bench import hookimpl

def reads(path):
    print("asked")
    return False

@hookimpl
def unet_bench_register(registry):
    print("registered")
    registry.variant("unet-loud", up="bilinear", summary="loud")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its shell is another")
def test_what_plugins_print_is_no_part_of_the_answer(unet_bench, tmp_path: Path) -> None:
    about = tmp_path / "loud-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[unet_bench]\nloud = ub_loud\n")
    (tmp_path / "ub_loud.py").write_text(LOUD)
    done = unet_bench("plugins", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert "loud" in {row["plugin"] for row in json.loads(done.stdout)}
    for words in ("imported", "from a child", "registered"):
        assert words in done.stderr


def test_what_a_network_prints_is_no_part_of_the_plan(unet_bench) -> None:
    nets = ["--model", "support.foreign_nets:Loud", "--probes", "cost", "--size", "32x32"]
    done = unet_bench("plan", *nets, "--width-scale", "0.0625", "--data", "cells", "--json")
    assert [row["status"] for row in json.loads(done.stdout)] == ["to run"] * 2
    assert "built" in done.stderr
    assert "run" in done.stderr


def test_a_run_of_nothing_but_what_cannot_run_fails(capsys: pytest.CaptureFixture[str]) -> None:
    statuses = {"ok", "unsupported"}
    assert end_code(Finished(Path("a run"), statuses), limited=False) == 0
    assert end_code(Finished(Path("a run"), statuses, refused=True), limited=False) == 1
    assert "unet-bench show 'a run' --columns variant,error" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("beside", "code"), [([], 1), (["--variants", "unet"], 0)])
def test_a_network_that_cannot_run_alone_is_no_success(unet_bench, beside, code: int) -> None:
    nets = ["--model", "support.foreign_nets:Only224", *beside]
    small = ["--data", "cells", "--size", "32x32", "--width-scale", "0.0625", "--probes", "cost"]
    done = unet_bench("run", *nets, *small, "--out", "runs")
    assert (done.returncode, "none of the chosen variants can run" in done.stderr) == (
        code,
        bool(code),
    )


# ---- commands to paste

AWKWARD = Path("my runs") / "it's ünique"


def commands(text: str) -> list[list[str]]:
    """Return the words of each command that a text names, as a shell would take them."""
    found = re.findall(r"unet-bench (?:run|show|selftest|report|data) [^`\n]*", text)
    return [shlex.split(command) for command in found]


def test_the_command_to_go_on_with_can_be_pasted() -> None:
    found = commands(resume_command(AWKWARD))
    assert found == [["unet-bench", "run", "--resume", str(AWKWARD)]]


@pytest.mark.parametrize("command", ["show RUN", "report RUN -f md -o out.md", "recommend RUN"])
def test_commands_that_answers_name_can_be_pasted(
    unet_bench, finished_run: Path, tmp_path: Path, command: str
) -> None:
    shutil.copytree(finished_run, tmp_path / AWKWARD)
    done = unet_bench(*(str(AWKWARD) if word == "RUN" else word for word in command.split()))
    assert done.returncode == 0, done.stderr
    files = [*tmp_path.glob("out.md")]
    text = done.stdout + "".join(file.read_text(encoding="utf-8") for file in files)
    for words in commands(text):
        assert words[1] in COMMANDS
        for word in words:
            assert word == str(AWKWARD) or "ünique" not in word


def test_a_new_plugin_is_installed_as_it_says(unet_bench, tmp_path: Path) -> None:
    done = unet_bench("new-plugin", "sharp", "--out", "my plugins")
    [told] = re.findall(r"next: (.*)", done.stdout)
    folder = "my plugins/unet-bench-sharp"
    wanted = ["pip", "install", "-e", f"{folder}[test]", "&&", "pytest", folder]
    assert shlex.split(told) == wanted
    assert (tmp_path / folder).is_dir()


def test_no_command_has_a_path_that_is_not_quoted() -> None:
    folders = [Path(package.__file__).parent]
    wrong = [
        f"{file.name}: {line.strip()}"
        for folder in folders
        for file in folder.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"unet-bench \w[^`]*\{[^}]*(path|folder|file|out|run)\b[^}]*\}", line)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ({"steps": 20_000}, True),
        ({"steps": 20}, False),  # it is quick
        ({"steps": 20_000, "race": True}, False),  # it is a race
        ({"steps": 20_000, "variants": ["unet", "unet-add"]}, False),  # there is little to race
    ],
)
def test_a_long_run_of_many_networks_is_told_of_races(
    options: dict[str, object], is_told: bool
) -> None:
    many = [f"unet+base_width={width}" for width in range(8, 15)]  # and the baseline
    wanted = {"variants": many, "probes": ["accuracy"], "limit_tmac": 0, "data": ["brain"]}
    with pipeline.plan(from_options({**wanted, **options}), None, ExecutionOptions()) as plan:
        notes = [*time_notes(plan, ExecutionOptions())]
    assert [("--budget 15m trains all 8 networks" in note) for note in notes] == [True] * is_told


def test_a_command_to_copy_is_never_broken(unet_bench) -> None:
    run = Path(__file__).parents[2] / "results" / "reference" / "first-cpu"
    done = unet_bench("recommend", str(run), env={"COLUMNS": "60"})
    commands = [line.strip() for line in done.stdout.splitlines() if "unet-bench run" in line]
    assert commands
    for command in commands:
        words = shlex.split(command)
        assert not words[-1].startswith("--")
        assert len(words[words.index("--seeds") + 1]) > 30  # all of them


def test_list_says_what_there_is_and_takes_patterns(unet_bench) -> None:
    kinds = json.loads(unet_bench("list", "--json").stdout)
    assert all(row["number"] > 0 for row in kinds)
    for row in kinds:
        assert unet_bench(*row["command"].split()[1:]).returncode == 0
    up = json.loads(unet_bench("list", "variants", "tag:up", "--json").stdout)
    assert {"unet-bilinear", "unet-pixel-shuffle"} <= {row["name"] for row in up}
    assert all("up" in row["tags"].split(",") for row in up)
    parts = json.loads(unet_bench("list", "parts", "bi*", "attention", "--json").stdout)
    assert {"bilinear", "attention"} <= {row["name"] for row in parts}
    wrong = unet_bench("list", "parts", "bilinaer")
    assert wrong.returncode == 2
    assert "did you mean bilinear" in wrong.stderr
