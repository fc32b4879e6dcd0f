"""Run folders that were edited, or come from elsewhere: a right answer, or one message; no pickle.

Each field of run.json, of a row, of samples' and of weights' JSON is replaced by values of other
types, and every command that reads a folder is run on it.
"""

from __future__ import annotations

import ast
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fuzzing import LONGEST, edits_of

import unet_bench
from unet_bench import pipeline, selftest
from unet_bench.cli.measure import execution_of
from unet_bench.errors import StoreError, UnetBenchError
from unet_bench.execute.options import ExecutionOptions
from unet_bench.store.log import Store, read_manifest
from unet_bench.store.runs import read_runs
from unet_bench.store.tables import records

ROOT = Path(unet_bench.__file__).parents[1]
COMMANDS = {
    "show": ["show", "RUN"],
    "report": ["report", "RUN", "-o", "report.html"],
    "markdown": ["report", "RUN", "-f", "md", "-o", "report.md"],
    "effects": ["effects", "RUN"],
    "rank": ["rank", "RUN"],
    "recommend": ["recommend", "RUN"],
    "compare": ["compare", "RUN", "RUN"],
    "summary": ["summary", "RUN"],
    "curves": ["curves", "RUN"],
}


@pytest.fixture(scope="module")
def measured(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder of this module alone."""
    run = tmp_path_factory.mktemp("foreign") / "run"
    return shutil.copytree(finished_run, run)


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def edits(run: Path, of: str) -> tuple[Path, Any, Callable[[Any], str]]:
    """A file of a run, what is edited in it, and the file's text with that edited."""
    file = {
        "manifest": run / "run.json",
        "row": run / "cells.jsonl",
        "curve": first(run, "samples/accuracy-*.json"),
        "shape": first(run, "samples/cost-*.json"),
    }[of]
    if of != "row":
        return file, json.loads(file.read_text()), json.dumps
    lines = file.read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    row = next(row for row in rows if row["probe"] == "accuracy" and row["status"] == "ok")
    others = [line for line in lines if json.loads(line)["cell_id"] != row["cell_id"]]
    return file, row, lambda edited: "".join([*others, json.dumps(edited), "\n"])


def used(run: Path) -> Iterator[Callable[[], object]]:
    """What `--resume` and `selftest RUN` read before they measure."""

    def opened() -> None:
        with Store.open(run) as store:
            store.attempts()

    yield opened
    yield lambda: pipeline.suite_of_run(run)
    yield lambda: pipeline.recipe_of_run(run)
    yield lambda: execution_of(run, {})
    yield lambda: selftest.conditions(run)


def require_right_or_told(call: Callable[[], object]) -> None:
    try:
        call()
    except UnetBenchError as error:
        assert 10 < len(str(error)) < LONGEST


def check(run: Path, of: str, share: float, answer: Any, commands: dict[str, list[str]]) -> None:
    file, whole, text = edits(run, of)
    kept, chosen = file.read_bytes(), random.Random(of)
    for where, edited in edits_of(whole):
        if chosen.random() > share:
            continue
        try:
            file.write_text(text(edited))
            for call in used(run):
                require_right_or_told(call)
            name = chosen.choice([*commands])
            words = [str(run) if word == "RUN" else word for word in commands[name]]
            done = answer(*words)
        finally:
            file.write_bytes(kept)
        case = f"{name} with {of} {where}: {done.stderr[-2000:]}"
        assert done.returncode in (0, 1, 2), case
        assert "Traceback" not in done.stderr, case
        assert "\x1b[31m" not in done.stdout, case
        if done.returncode == 2:
            assert done.stderr.startswith("unet-bench: "), case
            assert len(done.stderr) < LONGEST, case


KINDS = ["manifest", "row", "curve", "shape"]


@pytest.mark.parametrize("of", KINDS)
def test_edited_folders_are_answered_rightly_or_refused(
    measured: Path, unet_bench: Any, of: str
) -> None:
    quick = {name: words for name, words in COMMANDS.items() if name not in ("report", "markdown")}
    check(measured, of, 0.004 if of in ("manifest", "row") else 0.02, unet_bench, quick)


@pytest.mark.slow
@pytest.mark.parametrize("of", KINDS)
def test_many_edited_folders_are_answered_rightly_or_refused(
    measured: Path, unet_bench: Any, of: str
) -> None:
    check(measured, of, 0.03, unet_bench, COMMANDS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("argv", 5, r"argv is 5: it must be a list"),
        ("run_id", "a\nb", r"run_id is no name on one line"),
        ("suite", [], r"suite is \[\]: it must be an object"),
        ("suite", {"steps": "x"}, r"steps='x' is not valid: it takes a whole number"),
        ("suite", {"models": True}, r"models=True is not valid: it takes text"),
        ("probes", 5, r"probes is 5: it must be an object"),
        ("probes", {"p": {"any_device": "yes"}}, r"any_device is 'yes': it must be true or false"),
        ("probes", {"p": {"columns": [{"name": "x"}]}}, r"columns\[0\] lacks dtype"),
        (
            "probes",
            {"p": {"columns": [{"name": "x", "dtype": "complex"}]}},
            r"dtype is 'complex': it must be one of 'Float64'",
        ),
        ("environment", {"env_id": {"a": {"b": 1}}}, r"environment\.env_id"),
        ("executor", {"devices": 5}, r"devices is 5: it must be a list"),
        ("executor", {"options": {"a": 1}}, r"options\.a is 1: it must be text"),
        ("plugins", [5], r"plugins\[0\] is 5: it must be an object"),
    ],
)
def test_a_field_of_another_type_is_named_with_value_rule_and_remedy(
    tmp_path: Path, name: str, value: Any, said: str
) -> None:
    stated = {"schema_version": 1, "run_id": "r1", name: value}
    (tmp_path / "run.json").write_text(json.dumps(stated))
    with pytest.raises(StoreError, match=rf"run\.json is not what .*{said}.*; mend it, or start"):
        read_manifest(tmp_path)


def test_what_an_older_run_did_not_state_may_be_missing_or_null(tmp_path: Path) -> None:
    stated = {"schema_version": 1, "run_id": "r1", "executor": None, "argv": None}
    (tmp_path / "run.json").write_text(json.dumps(stated))
    assert read_manifest(tmp_path) == {"schema_version": 1, "run_id": "r1"}
    assert execution_of(tmp_path, {}).executor == ExecutionOptions().executor


@pytest.mark.parametrize(
    ("name", "value"), [("params", -5), ("dice", 1.5), ("dice", -0.1), ("latency_ms", -2.0)]
)
def test_a_figure_that_no_cell_can_come_to_is_refused(
    tmp_path: Path, name: str, value: float
) -> None:
    row = {"cell_id": "c", "variant": "unet", "probe": "cost", "status": "ok", name: value}
    with Store.create(tmp_path, {"run_id": "r1"}) as store:
        store.append(row)
    with pytest.raises(StoreError, match=rf"line 1 is not .*{name} does not take {value}"):
        read_runs([store.path])


def test_a_true_folder_is_read(measured: Path) -> None:
    assert {row["status"] for row in records(read_runs([measured]).cells)} <= {"ok", "skipped"}


# ---- nothing that could run code is read from disk


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for folder in ("unet_bench", "plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), node


def test_no_pickle_is_loaded_from_disk() -> None:
    """torch.load and numpy.load take pickles unless they are told not to."""
    unsafe = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
    safely = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    for where, name, call in calls():
        root = name.partition(".")[0]
        assert root not in unsafe, f"{where}: {name}"
        assert name not in ("yaml.load", "yaml.unsafe_load", "eval", "exec"), f"{where}: {name}"
        assert not name.endswith(("read_pickle", "numpy.load")), f"{where}: {name}"
        if name in safely:
            key, value = safely[name]
            stated = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert stated.get(key) == str(value), f"{where}: {name} without {key}={value}"
