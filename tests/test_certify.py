"""A certificate: what rows come to, what is said of what was not reached, and going on."""

from __future__ import annotations

import importlib.util
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unet_bench import certify as certified
from unet_bench.analysis.audit import Trial, audit
from unet_bench.analysis.certificate import (
    Certificate,
    Check,
    clocks_check,
    environment_check,
    from_json,
    memory_check,
    outputs_check,
    selftest_check,
    table_check,
)
from unet_bench.errors import InvalidSuite, StoreError, UnetBenchError
from unet_bench.execute.row import row_id
from unet_bench.present.certificate import certificate_document
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.schema import INTERVALS

ROOT = Path(__file__).parents[1]
PLAIN = {"variant": "unet", "status": "ok", "device": "cuda:0", "precision": "fp32"}
DOCTOR = {
    "cpu": "A processor",
    "cores": 2,
    "cuda": "13.0",
    "driver_version": "580.1",
    "packages": {"unet-bench": "0.1.0", "torch": "2.14"},
    "devices": [{"device": "cuda:0", "name": "A GPU", "capability": "9.0", "problem": ""}],
}
CLOCKS = {
    "host_clock_ms": 10.0,
    "events_disagreement": 0.001,
    "profiler_disagreement": -0.05,
    "profiler_saw": "kernels",
}
MEMORY = {
    "predicted_memory_mib": 100.0,
    "peak_memory_mib": 160.0,
    "predicted_train_memory_mib": 1000.0,
    "train_peak_memory_mib": 1100.0,
}
OUTPUTS = {"output_difference": 1e-5, "class_agreement": 1.0}
CUT_SHORT = {"status": "timeout", "error": "did not end within the 4 s that --time-limit left"}


# ---- rows


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({}, ""),
        ({"events_disagreement": 0.03}, "events disagree with the host's clock by +3.00%"),
        ({"events_disagreement": float("nan")}, "events disagree"),
        ({"events_disagreement": None}, "cuda:0 has no events"),
        ({"profiler_disagreement": 0.03}, "the profiler disagrees with the host's clock by +3.00%"),
        ({"profiler_disagreement": -0.2}, "the profiler disagrees"),
        ({"profiler_saw": "passes"}, "sees no kernels"),
        ({"device": "cpu", "events_disagreement": None, "profiler_saw": "passes"}, "by -5.00%"),
    ],
)
def test_clocks_agree_or_it_is_told_by_how_much_not(found: dict[str, Any], problem: str) -> None:
    check = clocks_check([{**PLAIN, **CLOCKS, **found}], 0, "clocks/run")
    assert check.status == ("failed" if problem else "passed")
    assert problem in "".join(check.problems)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({}, "passed"),
        ({"peak_memory_mib": 200.0}, "failed"),
        ({"train_peak_memory_mib": 700.0}, "failed"),
        ({"device": "cpu"}, "failed"),  # there nothing takes memory beside tensors
        ({"device": "cpu", "peak_memory_mib": 104.0, "train_peak_memory_mib": 1001.0}, "passed"),
        ({"train_peak_memory_mib": None}, "passed"),  # it cannot be trained
    ],
)
def test_memory_is_within_what_is_stated(found: dict[str, Any], status: str) -> None:
    check = memory_check([{**PLAIN, **MEMORY, **found}], 0, "memory/run")
    assert check.status == status
    assert bool(check.problems) == (status == "failed")


def test_the_farthest_off_is_named_first() -> None:
    rows = [{**PLAIN, **MEMORY, "variant": name} for name in ("near", "far", "between")]
    for row, peak in zip(rows, (100.0, 170.0, 120.0), strict=True):
        row["peak_memory_mib"] = peak
    check = memory_check(rows, 0, "")
    assert check.lines[0][0] == "far"
    assert "3 of 3 cells; farthest off: far: MiB predicted 100.0, measured 170.0" in check.figure


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({}, "passed"),
        ({"output_difference": 2e-3}, "failed"),
        ({"output_difference": 2e-3, "precision": "fp16"}, "passed"),
        ({"output_difference": 0.2, "precision": "bf16"}, "failed"),
        ({"class_agreement": 0.9}, "failed"),
        ({"output_difference": float("nan")}, "failed"),
    ],
)
def test_outputs_are_as_near_as_their_format_allows(found: dict[str, Any], status: str) -> None:
    assert outputs_check([{**PLAIN, **OUTPUTS, **found}], 0, "").status == status


def test_what_cannot_run_is_noted_and_what_fails_fails() -> None:
    good = {**PLAIN, **OUTPUTS}
    refused = {**PLAIN, "status": "unsupported", "error": "no tf32 here", "precision": "tf32"}
    check = outputs_check([good, refused, {**refused, "variant": "unet-add"}], 0, "")
    assert check.status == "passed"
    assert check.notes == ("unet · tf32, unet-add · tf32: unsupported: no tf32 here",)
    check = outputs_check([good, {**PLAIN, "status": "error", "error": "RuntimeError: no"}], 0, "")
    assert check.status == "failed"
    assert check.problems == ("unet: error: RuntimeError: no",)


@pytest.mark.parametrize("check", [clocks_check, memory_check, outputs_check, table_check])
def test_what_there_was_no_time_for_is_said_and_does_not_pass(check: Callable[..., Check]) -> None:
    row = {**PLAIN, **CLOCKS, **MEMORY, **OUTPUTS, "probe": "speed", "quality": "clean"}
    assert check([row], 0, "").status == "passed"
    for cells, left in (([row], 2), ([row, {**PLAIN, **CUT_SHORT, "probe": "speed"}], 0), ([], 5)):
        found = check(cells, left, "")
        assert (found.status, found.problems) == ("not reached", ())
        assert "no time for" in "".join(found.notes)
    assert check([{**row, "status": "killed"}], 3, "").status == "failed"


def test_a_table_counts_cells_by_probe() -> None:
    rows = [{**PLAIN, "probe": probe, "quality": "clean"} for probe in ("speed", "memory")]
    check = table_check(rows, 0, "table/run")
    assert check.lines == (("speed", "1 ok"), ("memory", "1 ok"))
    assert "1 variants, 2 of 2 cells ok (2 clean)" in check.figure


# ---- the self-test


def report(worst: float = 1.01, found: bool = True, lost: dict[str, int] | None = None) -> Any:
    trials = [Trial(0.0, 1.0, 0.99, 1.01)] * 9 + [Trial(0.0, worst, worst - 0.01, worst + 0.01)]
    slowed = Trial(0.05, 1.05, 1.04 if found else 0.98, 1.06)
    return audit([*trials, slowed, slowed, slowed], budget_s=1.0, lost=lost)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, ""),
        ({"worst": 1.08}, "identical code differed by 8.0%"),
        ({"found": False}, "a slow-down of 5% was found in 0 of 3 pairs"),
        ({"lost": {"contaminated": 4}}, "4 of 17 pairs were lost: 4 contaminated"),
    ],
)
def test_our_timing_is_judged_by_its_audit(given: dict[str, Any], problem: str) -> None:
    check = selftest_check(report(**given), 0, "selftest/run")
    assert check.status == ("failed" if problem else "passed")
    assert problem in "".join(check.problems)


def test_queued_passes_are_judged_too_and_what_was_cut_short_is_no_loss() -> None:
    both = replace(report(), throughput=report(worst=1.2))
    assert selftest_check(both, 0, "").problems[0].startswith("throughput: identical code")
    cut = selftest_check(report(lost={"timeout": 3}), 5, "")
    assert (cut.status, cut.problems) == ("not reached", ())


# ---- the certificate


def certificate(*statuses: str, device: str = "cuda:0") -> Certificate:
    checks = [
        Check(
            f"check-{number}",
            status,
            "a figure",
            "a threshold",
            "evidence/run",
            ("it is wrong",) if status == "failed" else (),
            ("a note",),
            ("cell", "off"),
            (("unet", "1 %"),) * 20,
        )
        for number, status in enumerate(statuses)
    ]
    return Certificate(device, "A GPU", 15.0, "2026-01-01", {"torch": "2.14"}, tuple(checks))


@pytest.mark.parametrize(
    ("statuses", "code", "sentence"),
    [
        (("passed", "passed"), 0, "certified: A GPU (cuda:0); all 2 checks passed"),
        (("passed", "failed"), 1, "not certified: check-1 failed; A GPU (cuda:0)"),
        (("failed", "not reached"), 1, "check-0 failed; 15 minutes were not enough for check-1"),
        (("passed", "not reached"), 3, "nothing failed; 15 minutes were not enough for check-1"),
    ],
)
def test_the_verdict_is_one_sentence(statuses: tuple[str, ...], code: int, sentence: str) -> None:
    made = certificate(*statuses)
    assert made.exit_code() == code
    assert sentence in made.sentence()
    assert made.sentence().startswith("certified") == (code == 0)
    assert from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_cpu_is_not_called_a_gpu() -> None:
    assert "a CPU, not a GPU" in certificate("passed", device="cpu").sentence()


def test_the_page_says_the_verdict_first_and_every_problem_with_its_evidence() -> None:
    page = str(certificate_document(certificate("passed", "failed")).rendered("md"))
    assert page.startswith("not certified: check-1 failed")
    assert "| check-1 | failed | a figure | a threshold | evidence/run |" in page
    assert "- check-1: it is wrong" in page
    assert "8 lines more are in certificate.json" in page


def test_a_device_that_cannot_compute_is_not_certified() -> None:
    assert "driver 580.1" in environment_check(DOCTOR, "cuda:0", "").figure
    broken = {**DOCTOR, "devices": [{**DOCTOR["devices"][0], "problem": "no kernel image"}]}  # type: ignore[index]
    check = environment_check(broken, "cuda:0", "environment.json")
    assert (check.status, check.problems) == ("failed", ("no kernel image",))


# ---- the command, with steps that measure nothing


def steps(monkeypatch: pytest.MonkeyPatch, **results: str | Exception) -> list[str]:
    """Have these steps in place of ours; returns the names of those that ran."""
    ran: list[str] = []

    def check(at_work: certified.Certifying, step: certified.Step) -> Check:
        ran.append(step.name)
        result = results[step.name]
        if isinstance(result, BaseException):
            raise result
        (at_work.folder / step.name).mkdir(exist_ok=True)
        (at_work.folder / step.name / ".lock").touch()
        return Check(step.name, result, "1", "2", step.name)

    made = (certified.Step("environment", 1.0, certified.check_environment),)
    made += tuple(certified.Step(name, 0.9, check) for name in results)
    monkeypatch.setattr(certified, "STEPS", made)
    return ran


def made_in(out: Path, **more: Any) -> certified.Outcome:
    return certified.certify(lambda: DOCTOR, out=out, **{"device": "cpu", **more})


def test_one_folder_and_one_zip_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(monkeypatch, one="passed", two="passed")
    done = made_in(tmp_path)
    assert done.exit_code() == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        done.folder.name,
        done.archive.name,
    ]
    names = {Path(name).name for name in zipfile.ZipFile(done.archive).namelist()}
    assert names == {"certificate.json", "certificate.md", "environment.json", "request.json"}
    stated = json.loads((done.folder / "certificate.json").read_text())
    assert stated["verdict"].startswith("certified: a CPU, not a GPU: A processor")


def test_a_step_that_breaks_fails_alone_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = steps(monkeypatch, one=RuntimeError("no such kernel"), two="passed")
    done = made_in(tmp_path)
    assert (done.exit_code(), ran) == (1, ["one", "two"])
    [failed] = [check for check in done.certificate.checks if check.status == "failed"]
    assert failed.problems == ("RuntimeError('no such kernel')",)
    assert "Traceback" in (done.folder / failed.evidence).read_text()


def test_a_disk_that_says_no_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(monkeypatch, one=StoreError("disk full"))
    with pytest.raises(StoreError, match="disk full"):
        made_in(tmp_path)


def test_a_step_whose_time_is_over_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = steps(monkeypatch, one="passed", two="passed")

    def slow_doctor() -> dict[str, Any]:
        time.sleep(0.15)
        return DOCTOR

    done = certified.certify(slow_doctor, device="cpu", minutes=0.001, out=tmp_path)
    assert (done.exit_code(), ran) == (3, [])
    assert done.certificate.of("not reached") == ["environment", "one", "two"]


def test_ctrl_c_leaves_what_was_reached_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, one="passed", two=KeyboardInterrupt(), three="passed")  # type: ignore[arg-type]
    done = made_in(tmp_path, minutes=7.0)
    statuses = {check.name: check.status for check in done.certificate.checks}
    assert statuses["one"] == "passed"
    assert (statuses["two"], statuses["three"]) == ("not reached", "not reached")
    assert done.exit_code() == 130
    assert not done.archive.exists()
    steps(monkeypatch, one="passed", two="passed", three="passed")
    again = certified.certify(lambda: DOCTOR, resume=done.folder)
    assert (again.folder, again.exit_code(), again.certificate.minutes) == (done.folder, 0, 7.0)


def test_what_is_no_certificate_does_not_go_on(
    tmp_path: Path, unet_bench: Callable[..., Any]
) -> None:
    with pytest.raises(StoreError, match="holds no certificate that can go on"):
        certified.certify(lambda: DOCTOR, resume=tmp_path)
    done = unet_bench("certify", "--resume", str(tmp_path), "--device", "cpu")
    assert (done.returncode, "leave out --device" in done.stderr) == (2, True)
    with pytest.raises(InvalidSuite, match="not available here"):
        made_in(tmp_path, device="xpu")
    assert not [*tmp_path.iterdir()]


# ---- what belongs to a step


def test_fewer_minutes_leave_out_pairs_and_variants_in_proportion() -> None:
    whole, less, tiny = (certified.Request("cuda:0", minutes) for minutes in (15.0, 9.0, 0.5))
    assert [one.share_of(20, 4) for one in (whole, less, tiny)] == [20, 12, 4]
    assert certified.Request("cuda:0", 60.0).share_of(20, 4) == 20
    assert [len(certified._table(one)[0]["variants"]) for one in (whole, less)] == [32, 19]


def test_every_variant_is_in_one_part() -> None:
    assert certified.parts(["a", "b", "c"], 2) == [("a", "b"), ("c",)]


def test_every_suite_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from unet_bench.spec.suite import from_options

    monkeypatch.setattr(certified, "every_variant", lambda: ["unet"])
    for step in certified.STEPS:
        for device in ("cpu", "cuda:0"):
            for fields in step.suites(certified.Request(device, 15.0)):
                from_options({"device": device, **fields})


def test_steps_end_one_after_another_and_leave_time_for_the_report() -> None:
    ends = [step.until for step in certified.STEPS[1:]]
    assert ends == sorted(ends)
    assert ends[-1] < 1


def test_an_interrupted_attempt_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, one="failed", two="passed")
    folder = made_in(tmp_path).folder
    ran = steps(monkeypatch, one=KeyboardInterrupt(), two="passed")  # type: ignore[arg-type]
    again = certified.certify(lambda: DOCTOR, resume=folder)
    assert (again.exit_code(), ran) == (130, ["one"])
    assert [check.status for check in again.certificate.checks] == ["passed", "failed", "passed"]
    newer = {**DOCTOR, "packages": {**DOCTOR["packages"], "torch": "2.15"}}  # type: ignore[dict-item]
    again = certified.certify(lambda: newer, resume=folder)
    assert again.certificate.of("not reached") == ["one", "two"]
    assert "it was interrupted before one, two ended" in again.certificate.sentence()


def test_a_self_test_without_a_pair_says_whether_it_was_time_or_quiet_that_it_lacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unet_bench import selftest
    from unet_bench.store import log

    def without_a_pair(**_: Any) -> Any:
        raise UnetBenchError("no pair of identical code gave a ratio (1 contaminated)")

    def checked(*rows: dict[str, Any]) -> Check:
        numbered = [{**row, "cell_id": str(number)} for number, row in enumerate(rows)]
        monkeypatch.setattr(log, "iterate_rows", lambda run: iter(numbered))
        return certified.checked(at_work, step)

    monkeypatch.setattr(selftest, "selftest", without_a_pair)
    [step] = [step for step in certified.STEPS if step.name == "selftest"]
    (tmp_path / "selftest" / "run").mkdir(parents=True)
    (tmp_path / "selftest" / "run" / "run.json").touch()
    request = certified.Request("cpu", 4.0)
    begun = time.monotonic()
    at_work = certified.Certifying(tmp_path, request, DOCTOR, Any, begun, 4.0, {})  # type: ignore[arg-type]
    slowed = {"status": "ok", "quality": "clean", "slowdown": 0.05, "latency_ratio": 1.05}
    slowed |= dict(zip(INTERVALS["latency_ratio"], (1.04, 1.06), strict=True))
    noisy = {"status": "ok", "quality": "contaminated"}
    found = checked(slowed, CUT_SHORT)
    assert (found.status, found.figure) == ("not reached", "1 cells, not judged")
    assert "no time for a pair" in found.notes[0]
    found = checked(noisy, CUT_SHORT)
    assert (found.status, "1 contaminated" in found.problems[0]) == ("failed", True)


def test_what_is_to_be_measured_again_is_counted_once() -> None:
    left: Any = SimpleNamespace(cell=SimpleNamespace(id="old"), names=("unet",))
    rows = {name: {**PLAIN, "cell_id": name} for name in ("new", row_id(left, "unet"))}
    assert certified.settled(rows, [left]) == [rows["new"]]
    assert len(certified.settled(rows, [])) == 2


def test_every_file_of_a_run_is_explained() -> None:
    page = str(certificate_document(certificate("passed")).rendered("md"))
    run = RunFolder(Path("run"))
    named = [name for name, value in vars(RunFolder).items() if isinstance(value, property)]
    paths = [getattr(run, name) for name in named if name != "weights"]  # which are not kept
    names = {path.name for path in (*paths, *map(run.table, ("cells", "results", "classes")))}
    names |= {certified.REQUEST, certified.ENVIRONMENT, certified.REPORT, *certified.TEMPORARY}
    assert sorted(name for name in names if name not in page) == []


@pytest.mark.slow
def test_a_processor_is_certified_as_one(unet_bench: Callable[..., Any], tmp_path: Path) -> None:
    done = unet_bench("certify", "--device", "cpu", "--minutes", "0.3", fresh=True)
    assert done.returncode in (1, 3), done.stderr
    [folder] = (path for path in (tmp_path / "results").iterdir() if path.is_dir())
    assert "a CPU, not a GPU" in (folder / "certificate.md").read_text()
    assert folder.with_suffix(".zip").exists()


def test_the_docs_enter_what_was_certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gpu.md").write_text((ROOT / "docs" / "gpu.md").read_text())
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert "None yet." in generate.gpu()
    folder = tmp_path / "results" / "reference" / "h200-gpu"
    folder.mkdir(parents=True)
    certified.write_certificate(certificate("passed"), folder)
    page = generate.gpu()
    assert "None yet." not in page
    assert "| certified: A GPU (cuda:0); all 1 checks passed | torch 2.14 |" in page
    assert "(../results/reference/h200-gpu/certificate.md)" in page
