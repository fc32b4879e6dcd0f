"""What runs code, and what only looks as if it might: nothing is imported from the current folder
or from what a run's folder names unless somebody says so.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import unet_bench as package
from unet_bench import selftest
from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.execute.jobs import Job
from unet_bench.execute.local import Local
from unet_bench.execute.processes import Processes
from unet_bench.execute.worker import outcome
from unet_bench.geometry.shapes import InputWindow
from unet_bench.host.survey import DeviceFacts
from unet_bench.models.foreign import build_foreign, foreign_variant
from unet_bench.pipeline import notes_of
from unet_bench.spec.cell import Setting, Task
from unet_bench.spec.suite import Suite
from unet_bench.store.log import read_manifest, resume_command
from unet_bench.store.trust import code_named_by, require_trust
from unet_bench.train.trained import load_network

TELLS = "open({0!r}, 'a').write(__name__ + '\\n')\n"
NET = (
    "import torch\nclass Net(torch.nn.Conv2d):\n    def __init__(self): super().__init__(1, 2, 1)\n"
)
HOSTILE = ("torch", "pandas", "json", "psutil", "unet_bench", "unet_bench_x", "unet_bench_classic")


class Hostile:
    """A folder with modules that note that they ran, one of them a plugin by its `.dist-info`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder / "here", folder / "ran"
        self.folder.mkdir()
        for name in HOSTILE:
            self.put(name, "")
        info = self.folder / "unet_bench_x-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unet-bench-x\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[unet_bench]\nx = unet_bench_x\n")

    def put(self, name: str, code: str) -> None:
        (self.folder / f"{name}.py").write_text(TELLS.format(str(self.notes)) + code)

    @property
    def ran(self) -> list[str]:
        return self.notes.read_text().split() if self.notes.exists() else []


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    """The current folder."""
    made = Hostile(tmp_path)
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return made


def test_no_python_is_begun_but_by_the_command_that_is_safe() -> None:
    root = Path(package.__file__).parent
    files = [*root.rglob("*.py"), *root.parent.glob("plugins/*/*.py")]
    assert len(files) > 150
    used = [
        file.relative_to(root.parent).as_posix()
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"
    ]
    assert used == ["unet_bench/host/interpreter.py"]


@pytest.mark.parametrize("fresh", [False, True])
def test_workers_import_nothing_from_the_current_folder(
    hostile: Hostile, tmp_path: Path, fresh: bool
) -> None:
    (tmp_path / "logs").mkdir()
    job = Job(
        stem="a",
        folder=str(tmp_path),
        cell={},
        key="k",
        modules=("psutil",),
        fresh=fresh,
        environ={"no text": 1},  # it ends before it has imported anything
    )
    processes = Processes()
    try:
        if fresh:
            processes.start(job.at(environ={}))
        else:
            processes.start(job)
        assert processes.wait(60)
    finally:
        processes.close()
    assert hostile.ran == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "doctor",
        "run -v unet --data cells --size 16x16 --probes cost,speed --speed-s 0.1 --threads 1",
    ],
)
@pytest.mark.parametrize("program", [("-P", "-m", "unet_bench"), ("-m", "unet_bench")])
def test_no_command_imports_anything_from_the_current_folder(
    hostile: Hostile, command: str, program: tuple[str, ...]
) -> None:
    if "-P" not in program:
        (hostile.folder / "unet_bench.py").unlink()  # Python itself would run it
    done = subprocess.run(
        [sys.executable, *program, *command.split()], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert hostile.ran == []


def test_a_model_is_imported_from_the_current_folder_and_nothing_else_is(hostile: Hostile) -> None:
    hostile.put("mynet", NET)
    hostile.put("yaml", "")
    before = [*sys.path]
    build_foreign("mynet:Net", 1, 2, (16, 16))
    assert hostile.ran == ["mynet"]
    assert sys.path == [*before, ""]  # what is installed comes first from now on
    here = ("cpu", Local(), DeviceFacts("cpu"), ())
    [note] = notes_of(Suite(models=("mynet:Net",), device="cpu"), *here)
    assert str(hostile.folder) in note
    assert list(notes_of(Suite(device="cpu"), *here)) == []
    del sys.modules["mynet"]


@pytest.mark.parametrize("there", [True, False])
def test_a_worker_looks_for_models_where_the_run_was_begun(
    hostile: Hostile, tmp_path: Path, there: bool
) -> None:
    """Also one of a cluster, whose processes are elsewhere."""
    folder = tmp_path if there else tmp_path / "not on this host"
    outcome(Job(stem="a", folder=str(tmp_path), begun_in=str(folder), cell={}, key="k"))
    assert Path.cwd() == (tmp_path if there else hostile.folder)


# --- what a run's folder names


@pytest.fixture
def colleague(hostile: Hostile, tmp_path: Path, finished_run: Path) -> Path:
    """A run that names modules which lie in the current folder."""
    hostile.put("evil", NET)
    run = tmp_path / "colleague"
    shutil.copytree(finished_run, run)
    manifest = json.loads((run / "run.json").read_text())
    manifest["suite"]["models"] = ["evil:Net"]
    manifest["executor"] = {"name": "slurm", "devices": [], "options": {"setup": "touch x"}}
    (run / "run.json").write_text(json.dumps(manifest))
    keep_network(run)
    return run


def keep_network(run: Path) -> None:
    """Leave a trained network, the module of which is somebody's, as `predict` looks for it."""
    size = (16, 16)
    window = InputWindow(input=size, output=size, start=(0, 0), context=(0, 0))
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )
    about = {
        "variant": foreign_variant("evil:Net").to_json(),
        "task": asdict(task),
        "setting": asdict(Setting()),
        "frame": asdict(window),
        "mean": [0.0],
        "std": [1.0],
        "image_type": "uint8",
        "seed": 0,
        "val_dice": None,
    }
    shutil.rmtree(run / "weights", ignore_errors=True)  # the run's own
    (run / "weights").mkdir()
    (run / "weights" / "accuracy-0.json").write_text(json.dumps(about))


def test_no_answer_from_a_run_imports_what_it_names(
    unet_bench, hostile: Hostile, colleague: Path
) -> None:
    for command in ("show", "summary", "rank", "effects", "recommend"):
        unet_bench(command, str(colleague))
    assert unet_bench("report", str(colleague), "-o", str(colleague / "r.html")).returncode == 0
    assert hostile.ran == []


def test_a_self_test_takes_conditions_from_a_run_and_no_code(
    hostile: Hostile, colleague: Path
) -> None:
    suite = selftest.suite_for("unet", 1, selftest.conditions(colleague))
    assert suite.models == ()
    assert hostile.ran == []


def test_going_on_with_a_run_needs_trust_where_it_names_code(
    unet_bench, hostile: Hostile, colleague: Path
) -> None:
    refused = unet_bench("run", "--resume", str(colleague))
    assert refused.returncode == 2
    for words in (str(colleague), "--model evil:Net", "--executor-option setup=touch x", "--trust"):
        assert words in refused.stderr
    assert hostile.ran == []
    assert resume_command(colleague) == f"unet-bench run --resume {colleague} --trust"
    named = code_named_by(read_manifest(colleague), executor=False)
    assert named == ["--model evil:Net"]
    require_trust(colleague, named, trusted=True)


@pytest.mark.parametrize("value", [None, 3, "text", [], {}])
def test_a_damaged_manifest_names_no_code(value: object) -> None:
    assert code_named_by({"suite": value, "executor": value}) == []


@pytest.mark.parametrize("value", ["evil:Net", {"evil:Net": 1}, ["evil:Net"]])
def test_code_is_found_in_whatever_form_it_is_named(value: object) -> None:
    named = code_named_by({"suite": {"models": value}, "executor": {"options": value}})
    assert len(named) == 2
    assert all("evil:Net" in text for text in named)


def test_a_run_without_code_goes_on_without_trust(finished_run: Path) -> None:
    require_trust(finished_run, code_named_by(read_manifest(finished_run)), trusted=False)
    assert "--trust" not in resume_command(finished_run)


def test_a_kept_network_that_is_somebody_s_module_needs_trust(
    hostile: Hostile, colleague: Path
) -> None:
    with pytest.raises(InvalidSuite, match=r"evil:Net.*--trust"):
        load_network(colleague, "evil:Net")
    assert hostile.ran == []
    with pytest.raises(StoreError, match="cannot be used"):  # there are no weights
        load_network(colleague, "evil:Net", trust=True)
    assert hostile.ran == ["evil"]
    del sys.modules["evil"]
