"""A program that is asked to end does so with one line at most, whatever it is about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from unet_bench.cli.app import app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")

# Signals itself when so many modules have been imported since the program began.
PROGRAM = """
import os, sys
number, moment = int(sys.argv[1]), int(sys.argv[2])
seen = 0

def watch(event, _):
    global seen
    if event == "import":
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), number)

from unet_bench.__main__ import main
sys.argv = ["unet-bench", *sys.argv[3:]]
sys.addaudithook(watch)
main()
"""
PLAN = "plan -v unet --data cells --size 16x16 --probes cost --device cpu"
RUN = "run -v unet --data cells --size 16x16 --probes cost --width-scale 0.0625"
SOME = [
    ("SIGINT", 1),
    ("SIGTERM", 5),
    ("SIGHUP", 200),
    ("SIGINT", 420),
    ("SIGTERM", 600),
]


def as_a_shell_begins_it() -> None:
    """Undo what whoever runs the tests ignores: nohup SIGHUP, a background job SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def signalled(folder: Path, name: str, moment: int, command: str) -> subprocess.CompletedProcess:
    number = getattr(signal, name)
    arguments = [sys.executable, "-P", "-c", PROGRAM, str(number), str(moment), *command.split()]
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=as_a_shell_begins_it,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ended_well(done: subprocess.CompletedProcess, name: str) -> bool:
    number = getattr(signal, name)
    if done.returncode == -number:  # before there was a command
        return done.stderr == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    return done.returncode == 128 + number and len(lines) == 1 and lines[0].startswith("stopped")


@pytest.mark.parametrize(("name", "moment"), SOME)
def test_a_signal_while_modules_are_imported_is_a_line_at_most(
    tmp_path: Path, name: str, moment: int
) -> None:
    done = signalled(tmp_path, name, moment, PLAN)
    assert ended_well(done, name), (done.returncode, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "apart"), [("SIGINT", 370), ("SIGTERM", 740), ("SIGHUP", 1110)])
def test_at_any_import_of_a_run(tmp_path: Path, name: str, apart: int) -> None:
    codes = set()
    for moment in range(1, 4000, apart):
        done = signalled(tmp_path, name, moment, RUN)
        codes.add(done.returncode)
        if done.returncode == 0:  # there are no more imports
            break
        assert ended_well(done, name), (moment, done.returncode, done.stderr)
    number = getattr(signal, name)
    assert {-number, 128 + number} <= codes


# A library whose tidying up fails where it was interrupted, twice: on the way and when freed.
UNTIDY = """
import os, signal, sys
import typer
from unet_bench.cli.options import PanelledCommand

class Untidy:
    def __enter__(self):
        return self
    def __exit__(self, *_):
        raise ValueError("cannot close")
    __del__ = __exit__

app = typer.Typer()

@app.command(cls=PanelledCommand)
def work() -> None:
    with Untidy():
        signal.raise_signal(int(sys.argv[1]))

app(args=[])
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_error_of_a_library_that_was_interrupted_is_not_shown(name: str) -> None:
    number = getattr(signal, name)
    done = subprocess.run(
        [sys.executable, "-c", UNTIDY, str(number)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_at_many_moments_of_a_run(tmp_path: Path, name: str) -> None:
    """By the clock: Python itself may speak of what comes before our first line."""
    number = getattr(signal, name)
    for tenths in range(0, 60, 4):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "unet_bench", *RUN.split()],
            cwd=tmp_path,
            preexec_fn=as_a_shell_begins_it,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            process.wait(tenths / 10)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
        about = (tenths, process.returncode, said)
        assert "unet_bench" not in said or "Traceback" not in said, about
        assert process.returncode in (0, -number, 128 + number) or tenths < 2, about


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["run"], "unet_bench.pipeline.plan"),
        (["selftest"], "unet_bench.selftest.selftest"),
    ],
)
def test_what_is_kept_is_said_on_the_one_line(command: list[str], what: str, monkeypatch) -> None:
    def stopped(*_: object, **__: object) -> NoReturn:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr(what, stopped)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 128 + signal.SIGTERM
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped; ")


# Says that it is ready, and waits to be asked to end.
WAITING = """
import sys, time
import typer
from unet_bench.cli.options import PanelledCommand

app = typer.Typer()

@app.command(cls=PanelledCommand)
def work() -> None:
    sys.stderr.write("ready")
    sys.stderr.flush()
    time.sleep(60)

app(args=[])
"""


def test_a_terminal_that_is_gone_takes_no_line_and_leaves_the_exit_code() -> None:
    terminal, end = os.openpty()
    waiting = [sys.executable, "-c", WAITING]
    with subprocess.Popen(waiting, stderr=end, preexec_fn=as_a_shell_begins_it) as program:
        assert os.read(terminal, 5) == b"ready"
        os.close(terminal)
        program.send_signal(signal.SIGHUP)
        assert program.wait(30) == 128 + signal.SIGHUP
    os.close(end)
