"""What the checks of `certify` come to: rows of its runs ─▶ checks ─▶ one sentence.

A check is `passed` only if all that belongs to it was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from unet_bench.analysis.audit import Report
from unet_bench.store.log import Row
from unet_bench.text_format import tally

PASSED: Final = "passed"
FAILED: Final = "failed"
NOT_REACHED: Final = "not reached"
TIME_LIMIT: Final = "--time-limit"  # in the reason of what did not end before a run had to
AS_PLANNED: Final = ("unsupported", "skipped")  # statuses that are no fault of what is checked

REPEATABLE_WITHIN: Final = 0.05  # a pair of identical code, relatively
FOUND: Final = 0.95  # share of slow-downs of 5 % that are found
# Share of 95 % intervals that hold the truth: on shared processors they held it in 86 % of pairs.
HOLD: Final = 0.85
MOST_LOST: Final = 0.1  # share of pairs
CLOCKS_AGREE: Final = 0.02
KERNELS_FILL: Final = 0.9  # of the host's time, where the device is kept busy
MEMORY_SHARE: Final = 0.10
MEMORY_MIB: Final = 64.0  # workspaces of an accelerator's libraries, which nothing foresees
MEMORY_SHARE_ON_CPU: Final = 0.05
MEMORY_MIB_ON_CPU: Final = 1.0
# By precision: the largest difference of outputs, and the least share of pixels of the same class.
# Some ten roundings of the format, in units of the largest score.
OUTPUTS: Final[Mapping[str, tuple[float, float]]] = {
    "fp32": (1e-3, 0.99),
    "tf32": (1e-2, 0.98),
    "fp16": (1e-2, 0.98),
    "bf16": (5e-2, 0.95),
}


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what it came to, what it had to be, and where to look."""

    name: str
    status: str  # passed, failed, not reached
    figure: str
    threshold: str
    evidence: str = ""  # a path within the certificate's folder
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # of `lines`, what was found of each cell, the farthest off first
    lines: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Certificate:
    """What was certified of a device, or why it was not."""

    device: str  # as torch numbers it: cuda:0
    device_name: str
    minutes: float
    made: str  # when, ISO 8601
    versions: Mapping[str, Any]
    checks: tuple[Check, ...]
    stopped: bool = False  # by somebody, before its minutes were over

    def of(self, status: str) -> list[str]:
        """Return the names of the checks of a status."""
        return [check.name for check in self.checks if check.status == status]

    def sentence(self) -> str:
        """Return the verdict in a sentence."""
        what = f"{self.device_name} ({self.device})"
        if self.device == "cpu":
            what = f"a CPU, not a GPU: {self.device_name}"
        failed, missing = self.of(FAILED), self.of(NOT_REACHED)
        if not failed + missing:
            return f"certified: {what}; all {len(self.checks)} checks passed"
        said = [f"{', '.join(failed) or 'nothing'} failed"]
        if missing and self.stopped:
            said.append(f"it was interrupted before {', '.join(missing)} ended")
        elif missing:
            said.append(f"{self.minutes:g} minutes were not enough for {', '.join(missing)}")
        return f"not certified: {'; '.join(said)}; {what}"

    def exit_code(self) -> int:
        """Return 0 for certified, 1 where a check failed, 3 where one was not reached."""
        return 1 if self.of(FAILED) else 3 if self.of(NOT_REACHED) else 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the sentence first."""
        return {"verdict": self.sentence(), "exit_code": self.exit_code(), **asdict(self)}


def from_json(data: Mapping[str, Any]) -> Certificate:
    """Return the certificate of what `to_json` made."""
    checks = tuple(
        Check(**{name: _plain(value) for name, value in one.items()}) for one in data["checks"]
    )
    named = ("device", "device_name", "minutes", "made", "versions")
    stopped = data.get("stopped", False)
    return Certificate(**{name: data[name] for name in named}, checks=checks, stopped=stopped)


def _plain(value: Any) -> Any:
    """Return lists as tuples, as they were before they were JSON."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


# ---- checks of rows


@dataclass(frozen=True)
class Finding:
    """What a row shows: how far off it is, in units of what is allowed, and how that is put."""

    off: float
    fields: tuple[str, ...]
    problem: str = ""


def rows_check(
    name: str,
    rows: Sequence[Row],
    left: int,
    judge: Callable[[Row], Finding],
    *,
    threshold: str,
    evidence: str,
    labels: tuple[str, ...],
) -> Check:
    """Return the check of a run's rows, each judged by itself.

    `left` are the cells that there was no time for. Rows that ended otherwise than `ok` fail it,
    unless they could not run here, which is noted.
    """
    cells = left + len(rows)
    rows = [row for row in rows if not was_cut_short(row)]
    left = cells - len(rows)
    good = [row for row in rows if row["status"] == "ok"]
    findings = sorted(((judge(row), cell_name(row)) for row in good), key=lambda one: -one[0].off)
    problems = [f"{of}: {found.problem}" for found, of in findings if found.problem]
    refused: dict[str, list[str]] = {}
    for row in rows:
        said = f"{row['status']}: {row.get('error') or ''}"
        if row["status"] in AS_PLANNED:
            refused.setdefault(said, []).append(cell_name(row))
        elif row["status"] != "ok":
            problems.append(f"{cell_name(row)}: {said}")
    notes = [f"{', '.join(cells_of)}: {said}" for said, cells_of in refused.items()]
    if left:
        notes.append(f"there was no time for {left} of {cells} cells")
    counts = f"{len(good)} of {cells} cells"
    worst = ""
    if findings and labels:
        found, of = findings[0]
        named = zip(labels, found.fields, strict=True)
        worst = f"farthest off: {of}: {', '.join(f'{label} {text}' for label, text in named)}"
    return Check(
        name,
        status_of(problems, reached=bool(good) and not left),
        "; ".join(filter(None, (counts, worst))),
        threshold,
        evidence,
        tuple(problems),
        tuple(notes),
        ("cell", *labels),
        tuple((of, *found.fields) for found, of in findings),
    )


def status_of(problems: Iterable[str], *, reached: bool) -> str:
    """Return the status of a check: a problem fails it, though there was no time for the rest."""
    return FAILED if any(problems) else PASSED if reached else NOT_REACHED


def was_cut_short(row: Row) -> bool:
    """Return whether a cell was ended since the time of its step was over."""
    return row["status"] == "timeout" and TIME_LIMIT in (row.get("error") or "")


def cell_name(row: Row) -> str:
    """Return a row's variant, and of its setting what is not plain."""
    plain = {"precision": "fp32", "memory_format": "contiguous", "runtime": "eager"}
    plain["batch_norm"] = "kept"
    special = [row[name] for name, usual in plain.items() if row.get(name) not in (usual, None)]
    return " · ".join((row["variant"], *special))


def clocks_check(rows: Sequence[Row], left: int, evidence: str) -> Check:
    """Return the check of the host's clock against events and the profiler."""
    on_cpu = all(row["device"] == "cpu" for row in rows)
    check = rows_check(
        "clocks",
        rows,
        left,
        _clocks,
        threshold=(
            f"events within {CLOCKS_AGREE:.0%} of the host's clock; the profiler's kernels at most "
            f"{CLOCKS_AGREE:.0%} above it and {1 - KERNELS_FILL:.0%} below"
        ),
        evidence=evidence,
        labels=("ms by the host", "events differ by", "profiler differs by", "profiler saw"),
    )
    if not (on_cpu and rows):
        return check
    said = "a CPU has no events and no kernels: the profiler's clock timed the same passes"
    return replace(check, notes=(*check.notes, said))


def _clocks(row: Row) -> Finding:
    events, profiler = row.get("events_disagreement"), row["profiler_disagreement"]
    saw_kernels = row["profiler_saw"] == "kernels"
    problems = []
    if events is not None and not abs(events) <= CLOCKS_AGREE:
        problems.append(f"events disagree with the host's clock by {events:+.2%}")
    if events is None and row["device"] != "cpu":
        problems.append(f"{row['device']} has no events that tell the time")
    if not saw_kernels and row["device"].startswith("cuda"):
        problems.append(
            "torch's profiler sees no kernels of this device; the cell's log may say why, "
            "such as CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"
        )
    least = KERNELS_FILL - 1 if saw_kernels else -CLOCKS_AGREE
    if not least <= profiler <= CLOCKS_AGREE:
        problems.append(f"the profiler disagrees with the host's clock by {profiler:+.2%}")
    off = max(
        abs(events or 0.0) / CLOCKS_AGREE,
        profiler / (CLOCKS_AGREE if profiler > 0 else least),
    )
    fields = (
        f"{row['host_clock_ms']:.3f}",
        "none" if events is None else f"{events:+.2%}",
        f"{profiler:+.2%}",
        str(row["profiler_saw"]),
    )
    return Finding(off, fields, "; ".join(problems))


def memory_check(rows: Sequence[Row], left: int, evidence: str) -> Check:
    """Return the check of predicted memory against what the allocator counted."""
    on_cpu = all(row["device"] == "cpu" for row in rows)
    share, more = (MEMORY_SHARE_ON_CPU, MEMORY_MIB_ON_CPU) if on_cpu else (MEMORY_SHARE, MEMORY_MIB)
    against = "live tensors" if on_cpu else "the allocator's peak"
    check = rows_check(
        "memory",
        rows,
        left,
        lambda row: _memory(row, share, more),
        threshold=(
            f"predicted within {share:.0%} and {more:g} MiB of {against}, in inference and training"
        ),
        evidence=evidence,
        labels=(
            "MiB predicted",
            "measured",
            "error",
            "in training: predicted",
            "measured",
            "error",
        ),
    )
    return check


def _memory(row: Row, share: float, more: float) -> Finding:
    off, problems, fields = 0.0, [], []
    for prefix, of in (("", "inference"), ("train_", "a training step")):
        predicted = row.get(f"predicted_{prefix}memory_mib")
        measured = row.get(f"{prefix}peak_memory_mib")
        if predicted is None or measured is None:
            fields += ["none" if one is None else f"{one:.1f}" for one in (predicted, measured)]
            fields.append("none")
            continue
        error = predicted - measured
        allowed = share * measured + more
        off = max(off, abs(error) / allowed)
        fields += [f"{predicted:.1f}", f"{measured:.1f}", f"{error / measured:+.1%}"]
        if not abs(error) <= allowed:
            problems.append(
                f"{of} was predicted to peak at {predicted:.1f} MiB and did at {measured:.1f}"
            )
    return Finding(off, tuple(fields), "; ".join(problems))


def outputs_check(rows: Sequence[Row], left: int, evidence: str) -> Check:
    """Return the check of each setting's outputs against the plain ones."""
    each = (f"{name} {most:g}, {least:.0%}" for name, (most, least) in OUTPUTS.items())
    return rows_check(
        "outputs",
        rows,
        left,
        _outputs,
        threshold=(
            "scores differ from fp32 eager by at most this share of the largest score, and so many "
            f"pixels at least are of the same class: {'; '.join(each)}"
        ),
        evidence=evidence,
        labels=("largest difference", "same class"),
    )


def _outputs(row: Row) -> Finding:
    difference, agreement = row["output_difference"], row["class_agreement"]
    most, least = OUTPUTS[row["precision"]]
    problems = []
    if not difference <= most:
        problems.append(f"outputs differ by {difference:.2g} of the largest score, beyond {most:g}")
    if not agreement >= least:
        problems.append(f"{agreement:.1%} of pixels are of the same class, below {least:.0%}")
    fields = (f"{difference:.1e}", f"{agreement:.2%}")
    return Finding(difference / most, fields, "; ".join(problems))


def table_check(rows: Sequence[Row], left: int, evidence: str) -> Check:
    """Return the check that a table of the usual probes is made, trainings included."""
    left, rows = (
        left + sum(map(was_cut_short, rows)),
        [row for row in rows if not was_cut_short(row)],
    )
    by_probe: dict[str, dict[str, int]] = {}
    qualities: dict[str, int] = {}
    for row in rows:
        counts = by_probe.setdefault(row["probe"], {})
        counts[row["status"]] = counts.get(row["status"], 0) + 1
        if row["status"] == "ok":
            qualities[row["quality"]] = qualities.get(row["quality"], 0) + 1
    check = rows_check(
        "table",
        [{**row, "variant": f"{row['probe']} of {row['variant']}"} for row in rows],
        left,
        lambda row: Finding(0.0, ()),
        threshold="every cell that can run here ends with figures",
        evidence=evidence,
        labels=(),
    )
    variants = len({row["variant"] for row in rows})
    figure = f"{variants} variants, {sum(map(_ok, rows))} of {left + len(rows)} cells ok"
    figure += f" ({tally(qualities)})" if qualities else ""
    lines = tuple((probe, tally(counts)) for probe, counts in by_probe.items())
    return replace(check, figure=figure, labels=("probe", "cells"), lines=lines)


def _ok(row: Row) -> bool:
    return bool(row["status"] == "ok")


# ---- the others


def selftest_check(report: Report, left: int, evidence: str) -> Check:
    """Return the check of our own timing by an audit, of queued passes too where it has them."""
    problems, figures, lines = [], [], []
    reports = {"latency": report} | ({"throughput": report.throughput} if report.throughput else {})
    for of, one in reports.items():
        assert one is not None
        covered, found = one.coverage, one.detections[-1].found if one.detections else None
        lost = sum(one.lost.values())
        problems += [f"{of}: {problem}" for problem in _faults(one, cut_short=left > 0)]
        figures.append(f"{of} repeatable within {one.within():g} %")
        hits = f"{found.hits} of {found.of}" if found else "none"
        lines.append(
            (of, f"{one.within():g} %", f"{covered.hits} of {covered.of}", hits, str(lost))
        )
    return Check(
        "selftest",
        status_of(problems, reached=not left),
        f"{'; '.join(figures)} ({report.pairs} pairs of identical code)",
        f"identical code within {REPEATABLE_WITHIN:.0%}; as far as so few pairs can tell, the true "
        f"factor lies in {HOLD:.0%} of intervals, and {FOUND:.0%} of the largest slow-downs are "
        f"found; at most {MOST_LOST:.0%} of pairs lost",
        evidence,
        tuple(problems),
        (f"there was no time for {left} of its cells",) if left else (),
        ("timing", "within", "intervals hold the truth", "largest slow-down found", "lost"),
        tuple(lines),
    )


def _faults(report: Report, *, cut_short: bool) -> Iterable[str]:
    """Yield what is wrong with our timing, by an audit that may have been cut short."""
    if not report.worst <= REPEATABLE_WITHIN:
        yield (f"identical code differed by {report.worst:.1%}, beyond {REPEATABLE_WITHIN:.0%}")
    covered = report.coverage
    if covered.of and not covered.share().high >= HOLD:
        yield (
            f"{covered.hits} of {covered.of} intervals hold the true factor, which is too few to "
            f"be {HOLD:.0%}"
        )
    if report.detections:
        largest = report.detections[-1]
        if not largest.found.share().high >= FOUND:
            yield (
                f"a slow-down of {largest.slowdown:.0%} was found in {largest.found.hits} of "
                f"{largest.found.of} pairs, too few to be {FOUND:.0%}"
            )
    all_of_them, lost = report.coverage.of, sum(report.lost.values())
    if cut_short:
        lost -= report.lost.get("timeout", 0)
    if lost > MOST_LOST * (lost + all_of_them):
        yield f"{lost} of {lost + all_of_them} pairs were lost: {tally(report.lost)}"


def environment_check(report: Mapping[str, Any], device: str, evidence: str) -> Check:
    """Return the check that the device is there and can be computed on, by what `doctor` says."""
    if device == "cpu":
        figure = f"{report['cpu']}, {report['cores']} cores"
        problems: list[str] = []
    else:
        [found] = [one for one in report["devices"] if one["device"] == device]
        problems = [found["problem"]] if found["problem"] else []
        about = (
            found["name"],
            f"compute capability {found['capability']}" if found["capability"] else "",
            f"driver {report['driver_version']}" if report["driver_version"] else "",
        )
        figure = ", ".join(filter(None, about))
    return Check(
        "environment",
        status_of(problems, reached=True),
        f"{figure}, torch {report['packages']['torch']}",
        "the device is named, and computes",
        evidence,
        tuple(problems),
    )


def unreached(name: str, why: str, evidence: str = "", measured: int = 0) -> Check:
    """Return a check that is not made, though so many of its cells may have been measured."""
    figure = f"{measured} cells, not judged" if measured else "nothing"
    return Check(name, NOT_REACHED, figure, "", evidence, notes=(why,))


def broken(name: str, problem: str, evidence: str) -> Check:
    """Return a check that could not be made, and why."""
    return Check(name, FAILED, "nothing", "it can be made", evidence, problems=(problem,))
