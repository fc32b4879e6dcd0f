"""One command that says of a device whether it can be measured on as it is meant, with evidence.

steps, each an ordinary run below one folder ─▶ rows ─▶ checks ─▶ certificate.json, .md and a .zip

A step has a share of the minutes, and must be over by then: what there was no time for is said, and
is not certified. Time that a step leaves goes to the next one.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
import traceback
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unet_bench import pipeline
from unet_bench.errors import StoreError, UnetBenchError, command_line
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.signals import exit_code, terminable
from unet_bench.limits import read_json
from unet_bench.spec.suite import from_options, read
from unet_bench.store.run_folder import MANIFEST, in_plain_words, write_text

if TYPE_CHECKING:
    from unet_bench.analysis.certificate import Certificate, Check
    from unet_bench.plan.cells import Planned
    from unet_bench.present.progress import Watcher
    from unet_bench.spec.cell import Setting
    from unet_bench.store.log import Row

MINUTES: Final = 15.0  # on a GPU enough for all of it
REQUEST: Final = "request.json"
ENVIRONMENT: Final = "environment.json"
CERTIFICATE: Final = "certificate.json"
NO_TIME: Final = "there was no time for it"
INTERRUPTED: Final = "it was interrupted"
REPORT: Final = "report.html"
PAIRS: Final = 20  # of the self-test, where there are MINUTES; fewer in proportion
REPEATS: Final = 3
FEWEST_PAIRS: Final = 4
VARIANTS: Final = 32  # of the table, likewise
FEWEST_VARIANTS: Final = 4
CONVOLUTIONAL: Final = ("unet", "unet-bilinear", "resnet34-unet")
PART: Final = 24  # variants of a run, where all are measured
FINE: Final = {"ok", "unsupported", "skipped"}  # statuses
AT_ONCE: Final = 3  # workers on one accelerator, for what is not timed
TEMPORARY: Final = (".lock", "inbox", "checkpoints")  # in a run's folder, and not in the .zip

# What is run on a kind of device, as fields of a suite.
LOADS: Final[Mapping[str, Mapping[str, Any]]] = {
    "gpu": {"size": "256x256", "width_scale": 1.0, "batch": (8,), "steps": 60, "speed_s": 1.0},
    "cpu": {"size": "64x64", "width_scale": 0.125, "batch": (2,), "steps": 10, "speed_s": 0.5},
}
SMALL: Final[Mapping[str, Mapping[str, Any]]] = {
    "gpu": {"size": "128x128", "width_scale": 0.25, "batch": (4,)},
    "cpu": {"size": "64x64", "width_scale": 0.125, "batch": (2,)},
}
QUEUED: Final[Mapping[str, Mapping[str, Any]]] = {
    "gpu": {"batch": (16,), "precision": ("fp32", "fp16")},
    "cpu": {"precision": ("fp32", "bf16")},
}
EVERY_SETTING: Final[Mapping[str, Any]] = {
    "precision": ("fp32", "tf32", "fp16", "bf16"),
    "memory_format": ("contiguous", "channels_last"),
    "runtime": ("eager", "compile", "cudagraphs"),
    "batch_norm": ("kept", "folded"),
}
# Besides those that change one thing: as people run networks for speed.
COMBINED: Final = (
    ("bf16", "channels_last", "compile", "kept"),
    ("fp16", "channels_last", "cudagraphs", "folded"),
)


@dataclass(frozen=True)
class Request:
    """What was asked for; a certificate that goes on asks for the same."""

    device: str  # as torch numbers it: cuda:0
    minutes: float

    @property
    def kind(self) -> str:
        """Which loads it gets: those of a cpu or a gpu."""
        return "cpu" if self.device == "cpu" else "gpu"

    def share_of(self, most: int, least: int) -> int:
        """Return how many of something there is time for, in proportion to the minutes."""
        return max(least, min(most, round(most * self.minutes / MINUTES)))


@dataclass(frozen=True)
class Step:
    """A check, and the runs that it is made from.

    One that has a lot to plan has several: nothing is measured while a run is planned, and only
    between runs is the time looked at.
    """

    name: str
    until: float  # the share of the minutes by whose end it is over
    check: Callable[[Certifying, Step], Check]
    suites: Callable[[Request], Sequence[Mapping[str, Any]]] = lambda request: [{}]
    keep: Callable[[Planned], bool] = lambda planned: True
    at_once: int = 1
    judge: Callable[[Sequence[Row], int, str], Check] | None = None


@dataclass(frozen=True)
class Certifying:
    """A certificate in the making."""

    folder: Path
    request: Request
    environment: Mapping[str, Any]
    progress: Watcher
    begun: float  # of the monotonic clock
    minutes: float
    earlier: Mapping[str, Check]  # what is known of each step by an attempt before

    def limits(self, step: Step) -> ExecutionOptions:
        """Return when a step has to be over, and where it runs."""
        return ExecutionOptions(
            begun=self.begun, time_limit_s=max(0.1, 60 * self.minutes * step.until)
        )

    def run_in(self, folder: Path) -> Path | None:
        """Return the run in a folder, if one was begun there."""
        runs = sorted(folder.glob(f"*/{MANIFEST}"))
        return runs[-1].parent if runs else None

    def evidence(self, path: Path | None) -> str:
        """Return a path as one within the folder."""
        return path.relative_to(self.folder).as_posix() if path else ""


@dataclass(frozen=True)
class Outcome:
    """A certificate, where it was left, and what cut it short, if anything did."""

    certificate: Certificate
    folder: Path
    archive: Path
    stopped: KeyboardInterrupt | None = None

    def exit_code(self) -> int:
        """Return 130 after Ctrl-C, 143 after SIGTERM, else the certificate's."""
        return exit_code(self.stopped) if self.stopped else self.certificate.exit_code()


def certify(
    doctor: Callable[[], Mapping[str, Any]],
    *,
    device: str = "auto",
    minutes: float | None = None,
    out: Path = Path("results"),
    resume: Path | None = None,
) -> Outcome:
    """Check that a device can be measured on, within so many minutes, and leave the evidence.

    `doctor` makes that command's report. `resume` is the folder of a certificate that goes on.
    After Ctrl-C what was reached is judged. Raises any UnetBenchError before anything is measured,
    afterwards where the disk says no.
    """
    begun = time.monotonic()
    folder, request = (
        (resume, requested(resume)) if resume else begin(out, chosen(device), minutes or MINUTES)
    )

    from unet_bench.present.progress import Watcher

    stopped, checks = None, []
    with Watcher() as progress:
        environment = doctor()
        at_work = Certifying(
            folder,
            request,
            environment,
            progress,
            begun,
            minutes or request.minutes,
            earlier_checks(folder, versions(environment)),
        )
        for number, step in enumerate(STEPS, 1):
            progress.waiting(f"{number} of {len(STEPS)}: {step.name}")
            try:
                if stopped is None:
                    checks.append(checked(at_work, step))
                else:
                    checks.append(unbegun(at_work, step, INTERRUPTED))
            except KeyboardInterrupt as end:
                stopped = end
                checks.append(unbegun(at_work, step, INTERRUPTED))
        found = certificate_of(at_work, checks, stopped=stopped is not None)
        write_certificate(found, folder)
    archive = folder.with_name(f"{folder.name}.zip")
    if stopped is None:
        pack(folder, archive)
    return Outcome(found, folder, archive, stopped)


# ---- beginning, and going on


def chosen(device: str) -> str:
    """Return a device as torch numbers it. Raises InvalidSuite if it cannot be used."""
    from unet_bench.host.survey import choose_device, survey

    name = choose_device(device)
    found = survey().find(name) if name != "cpu" else None
    return found.device if found else name


def begin(out: Path, device: str, minutes: float) -> tuple[Path, Request]:
    """Make the folder of a new certificate. Raises StoreError."""
    request = Request(device, minutes)
    now = dt.datetime.now(dt.UTC)
    folder = out / f"certificate-{now:%Y%m%d-%H%M%S}-{os.getpid()}"
    with in_plain_words("create", folder):
        folder.mkdir(parents=True)
    write_text(folder / REQUEST, json.dumps(asdict(request), indent=2) + "\n")
    return folder, request


def requested(folder: Path) -> Request:
    """Return what a certificate was begun with. Raises StoreError."""
    try:
        found = read_json(folder / REQUEST)
        return Request(str(found["device"]), float(found["minutes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder} holds no certificate that can go on ({error}): name the folder that "
            "`unet-bench certify` made"
        ) from error


def earlier_checks(folder: Path, of: Mapping[str, Any]) -> dict[str, Check]:
    """Return the checks of the certificate that an earlier attempt left, of the same versions."""
    from unet_bench.analysis.certificate import from_json

    try:
        found = from_json(read_json(folder / CERTIFICATE))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {check.name: check for check in found.checks} if found.versions == of else {}


# ---- a step


def checked(at_work: Certifying, step: Step) -> Check:
    """Return a step's check; what goes wrong in it fails this check and no other.

    Raises StoreError where the disk says no, KeyboardInterrupt.
    """
    from unet_bench.analysis.certificate import broken

    if time.monotonic() >= at_work.limits(step).until:
        return unbegun(at_work, step, NO_TIME)
    try:
        return step.check(at_work, step)
    except StoreError:
        raise
    except Exception as error:
        file = at_work.folder / f"{step.name}-error.txt"
        write_text(file, traceback.format_exc())
        said = str(error) if isinstance(error, UnetBenchError) else repr(error)
        return broken(step.name, said, file.name)


def unbegun(at_work: Certifying, step: Step, why: str) -> Check:
    """Return the check of a step that is not made: as an earlier attempt left it, if one did."""
    from unet_bench.analysis.certificate import unreached, was_cut_short
    from unet_bench.store.log import iterate_rows, latest

    if step.name in at_work.earlier:
        return at_work.earlier[step.name]
    folder = at_work.folder / step.name
    runs = [file.parent for file in folder.rglob(MANIFEST)]
    rows = [row for run in runs for row in latest(iterate_rows(run)).values()]
    measured = sum(not was_cut_short(row) for row in rows)
    return unreached(step.name, why, at_work.evidence(folder if runs else None), measured)


def check_environment(at_work: Certifying, step: Step) -> Check:
    """Return the check of what `doctor` reports, having saved it."""
    from unet_bench.analysis.certificate import environment_check

    file = at_work.folder / ENVIRONMENT
    write_text(file, json.dumps(at_work.environment, indent=2) + "\n")
    return environment_check(at_work.environment, at_work.request.device, file.name)


def check_selftest(at_work: Certifying, step: Step) -> Check:
    """Return the check of our timing against identical code and code that is slower."""
    from unet_bench import selftest
    from unet_bench.analysis.audit import trials_of
    from unet_bench.analysis.certificate import selftest_check, was_cut_short
    from unet_bench.store.log import iterate_rows, latest

    request, folder = at_work.request, at_work.folder / step.name
    try:
        done = selftest.selftest(
            quick=True,
            pairs=request.share_of(PAIRS, FEWEST_PAIRS),
            repeats=request.share_of(REPEATS, 1),
            out=folder,
            resume=at_work.run_in(folder),
            execution=at_work.limits(step),
            device=request.device,
        )
    except UnetBenchError:
        run = at_work.run_in(folder)
        rows = latest(iterate_rows(run)).values() if run else ()
        lost = trials_of(row for row in rows if not was_cut_short(row))[1]
        if run and not lost:
            return unbegun(at_work, step, "there was no time for a pair of identical code")
        raise
    if done.stopped:
        raise done.stopped
    return selftest_check(done.report, done.left, at_work.evidence(done.path))


def check_rows(at_work: Certifying, step: Step) -> Check:
    """Return the check of the rows of a step's runs, begun or gone on with."""
    assert step.judge is not None
    suites, rows, left, folder = step.suites(at_work.request), [], 0, at_work.folder / step.name
    for number, fields in enumerate(suites, 1):
        part = folder / str(number) if len(suites) > 1 else folder
        if time.monotonic() >= at_work.limits(step).until:
            left += len(fields["variants"])
            continue
        done = measured(at_work, step, fields, part)
        rows += done[0]
        left += done[1]
    run = folder if len(suites) > 1 else at_work.run_in(folder)
    return step.judge(rows, left, at_work.evidence(run))


def measured(
    at_work: Certifying, step: Step, fields: Mapping[str, Any], part: Path
) -> tuple[list[Row], int]:
    """Return the rows of a run in a folder, and how many cells there was no time for."""
    from unet_bench.store.log import iterate_rows, latest

    device = at_work.request.device
    many = places(device, step.at_once)
    wanted = {"device": many[0].partition(":")[0] if many else device, **fields}
    execution = replace(at_work.limits(step), devices=many)
    with pipeline.plan(from_options(wanted), execution=execution) as plan:
        kept = [
            planned
            for planned in plan.planned
            if step.keep(planned) and not plan.requested.isdisjoint(planned.names)
        ]
        plan, before = replace(plan, planned=kept), at_work.run_in(part)
        with terminable():
            done = pipeline.execute(plan, part, at_work.progress, before, execution)
            if many and not done.statuses <= FINE and time.monotonic() < execution.until:
                # A GPU may be one process's alone: what failed is tried by one worker at a time.
                execution = replace(execution, devices=many[:1])
                executor = pipeline.executor_of(execution, plan.loaded.registry)
                plan = replace(plan, executor=executor)
                done = pipeline.execute(plan, part, at_work.progress, done.path, execution)
    return settled(latest(iterate_rows(done.path)), done.left), len(done.left)


def settled(rows: Mapping[str, Row], left: Sequence[Planned]) -> list[Row]:
    """Return the rows by `cell_id` of what is not to be measured again, as after an update."""
    from unet_bench.execute.row import row_id

    again = {row_id(planned, name) for planned in left for name in planned.names}
    return [row for cell_id, row in rows.items() if cell_id not in again]


def check_table(at_work: Certifying, step: Step) -> Check:
    """Return the check of a table for reference, having written its report."""
    from unet_bench.present.report import write_report

    check = check_rows(at_work, step)
    write_report([at_work.folder / check.evidence], at_work.folder / REPORT)
    return replace(check, notes=(*check.notes, f"as a page: {REPORT}"))


def places(device: str, at_once: int) -> tuple[str, ...]:
    """Return the device as often as workers may run on it at once; empty: once.

    A GPU that is not the first of its kind is planned for by its number, and so gets one.
    """
    from unet_bench.host.survey import survey

    if device == "cpu" or at_once == 1:
        return ()
    first = survey().find(device.partition(":")[0])
    return (device,) * at_once if first and first.device == device else ()


def changes_one_thing(planned: Planned) -> bool:
    """Return whether a cell's setting differs in one axis from the plain one, or is in COMBINED."""
    values = setting_values(planned.cell.setting)
    plain = [axis[0] for axis in EVERY_SETTING.values()]
    changed = sum(value != usual for value, usual in zip(values, plain, strict=True))
    return changed == 1 or values in COMBINED


def setting_values(setting: Setting) -> tuple[str, ...]:
    """Return a setting's values on the axes that change outputs."""
    return tuple(getattr(setting, name) for name in EVERY_SETTING)


def _judge(name: str) -> Callable[[Sequence[Row], int, str], Check]:
    """Return a function of `analysis.certificate`, which is imported when it is called."""

    def judge(rows: Sequence[Row], left: int, evidence: str) -> Check:
        from unet_bench.analysis import certificate

        check: Check = getattr(certificate, name)(rows, left, evidence)
        return check

    return judge


# ---- the steps, in the order in which they lose their time


def _clocks(request: Request) -> Sequence[Mapping[str, Any]]:
    fixed = {"variants": CONVOLUTIONAL, "probes": ("clocks",), "limit_tmac": 0.0}
    return [{**LOADS[request.kind], **QUEUED[request.kind], **fixed}]


def _outputs(request: Request) -> Sequence[Mapping[str, Any]]:
    fixed = {"variants": CONVOLUTIONAL[::2], "probes": ("outputs",), "limit_tmac": 0.0}
    return [{**SMALL[request.kind], **EVERY_SETTING, **fixed}]


def _memory(request: Request) -> Sequence[Mapping[str, Any]]:
    fixed = {**SMALL[request.kind], "probes": ("memory",), "limit_tmac": 0.0}
    return [{**fixed, "variants": part} for part in parts(every_variant(), PART)]


def _table(request: Request) -> Sequence[Mapping[str, Any]]:
    variants = read("tour")["variants"][: request.share_of(VARIANTS, FEWEST_VARIANTS)]
    return [{**LOADS[request.kind], "variants": variants, "floors": False}]


def parts(names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return names in parts of a size, the last one of what is left."""
    return [tuple(names[begin : begin + size]) for begin in range(0, len(names), size)]


def every_variant() -> list[str]:
    """Return the names of all variants that can be built here."""
    from unet_bench.models.select import select
    from unet_bench.registry import plugins

    return [variant.name for variant in select(plugins.load().checked(), ["all"])]


STEPS: Final = (
    Step("environment", 1.0, check_environment),
    Step("selftest", 0.25, check_selftest),
    Step("clocks", 0.30, check_rows, _clocks, judge=_judge("clocks_check")),
    Step(
        "outputs",
        0.42,
        check_rows,
        _outputs,
        keep=changes_one_thing,
        at_once=AT_ONCE,
        judge=_judge("outputs_check"),
    ),
    Step("memory", 0.62, check_rows, _memory, at_once=AT_ONCE, judge=_judge("memory_check")),
    Step("table", 0.95, check_table, _table, judge=_judge("table_check")),
)


# ---- what is left


def versions(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return what a certificate is of, besides the device: what doctor's report says."""
    packages = environment["packages"]
    found = {
        "unet-bench": packages["unet-bench"],
        "torch": packages["torch"],
        "cuda": environment["cuda"],
        "driver": environment["driver_version"],
    }
    return {name: version for name, version in found.items() if version}


def certificate_of(at_work: Certifying, checks: Sequence[Check], *, stopped: bool) -> Certificate:
    """Return the certificate of all checks."""
    from unet_bench.analysis.certificate import Certificate

    report, device = at_work.environment, at_work.request.device
    named = {one["device"]: one["name"] for one in report["devices"]}
    return Certificate(
        device,
        named.get(device) or report["cpu"],
        at_work.minutes,
        dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        versions(report),
        tuple(checks),
        stopped,
    )


def write_certificate(certificate: Certificate, folder: Path) -> None:
    """Write certificate.json and certificate.md. Raises StoreError."""
    from unet_bench.present.certificate import certificate_document

    document = certificate_document(certificate)
    write_text(folder / CERTIFICATE, str(document.rendered("json")))
    write_text(folder / "certificate.md", f"# Certificate\n\n{document.rendered('md')}")


def pack(folder: Path, archive: Path) -> None:
    """Write the whole folder into one .zip, as a whole. Raises StoreError."""
    draft = archive.with_suffix(".part")
    with in_plain_words("write", archive):
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(folder.rglob("*")):
                within = file.relative_to(folder)
                if file.is_file() and not set(within.parts) & set(TEMPORARY):
                    packed.write(file, Path(folder.name) / within)
        draft.replace(archive)


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a certificate."""
    return command_line("certify", "--resume", folder)
