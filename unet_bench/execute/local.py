"""Runs jobs on this host: as many at once as it has devices, what is timed alone on its own."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self

from unet_bench.errors import InvalidSuite
from unet_bench.execute.jobs import Ended, Event, Job, Result, Started, Waiting
from unet_bench.execute.logs import tidy, without_secrets
from unet_bench.execute.processes import KILL, Exit, Processes
from unet_bench.execute.verdict import oom_kills, verdict
from unet_bench.host.locks import POLL_S, DeviceLocks, Held, is_of
from unet_bench.host.survey import VISIBILITY, DeviceFacts

IDENTITY = 8  # characters that tell two devices of a host apart
MOST_JOBS = 1024  # at once on the processor
MEMORY_USED = 0.8  # of what is free when a run begins, by jobs that run side by side
GRACE_S = 3.0  # between asking a worker to end, killing it, and doing without its end
WAYS_TO_END = (signal.SIGTERM, KILL)


@dataclass(frozen=True)
class LocalDevice:
    """Where one worker at a time runs. `environ` shows it its device alone."""

    name: str  # of the device, for all processes of this host
    environ: Mapping[str, str]
    model: str = ""


@dataclass
class Running:
    """A job at its place."""

    job: Job
    place: LocalDevice
    locks: list[FileIO]
    had_all_the_time: bool  # it began with the run
    deadline: float
    oom_kills: int  # of this host, when it began
    ended_by: str = ""  # why we ended it
    signals_sent: int = 0  # how often it was told to end

    def result(self, end: Exit) -> Result:
        """Return what the worker wrote, or else the status that its end stands for."""
        job = self.job
        result: Result = {"device_name": self.place.model} if self.place.model else {}
        result |= job.read_result() or verdict(
            job, end, ended_by=self.ended_by, oom_kills_before=self.oom_kills
        )
        result |= {"place": self.place.name, "log": job.log_name}
        if result.get("error"):
            result["error"] = without_secrets(str(result["error"]))
        return result


class Local:
    """The devices of this host.

    `longest_sleep_s` is for who has to look up while jobs run: whom a flag asks to end, not a
    signal.
    """

    remote = False
    ending_s = 8.0

    def __init__(
        self,
        devices: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        *,
        longest_sleep_s: float = math.inf,
        processes: Processes | None = None,
    ) -> None:
        unknown = sorted(set(options or {}) - {"jobs"})
        if unknown:
            raise InvalidSuite(
                f"executor local takes no option {', '.join(unknown)}: leave it out; "
                "it takes jobs=NUMBER"
            )
        self._jobs = _whole(options["jobs"]) if options else 0
        self._devices = tuple(devices)
        self._longest_sleep_s = longest_sleep_s
        self._processes = processes or Processes()
        self._locks = DeviceLocks()
        self._running: dict[str, Running] = {}
        self._has_begun = False  # once: what began then had all the time that there was
        self._memory_mib = free_memory_mib()
        self._wait_announced = False  # of a lock that somebody else holds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for _ended in self._end_all():
                pass  # what wrote its row in time is found when the run goes on
        finally:
            self._processes.close()

    @contextmanager
    def starting(self, block: Sequence[str], modules: Sequence[str]) -> Iterator[None]:
        """See `Executor`."""
        self._processes.begin_forking(block, modules)
        try:
            yield
        finally:
            self._processes.close()

    def device(self, wanted: str) -> str:
        """See `Executor`."""
        from unet_bench.host.survey import choose_device

        named = {choose_device(device).partition(":")[0] for device in self._devices}
        if len(named) > 1:
            raise InvalidSuite(
                f"--devices {','.join(self._devices)} are of several kinds: name devices of one"
            )
        if named and wanted not in ("auto", *named):
            raise InvalidSuite(
                f"--devices {','.join(self._devices)} do not go with --device {wanted}: "
                "leave one out"
            )
        return named.pop() if named else choose_device(wanted)

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """See `Executor`."""
        places = self.places(jobs[0].device, max(job.threads for job in jobs)) if jobs else []
        waiting = {
            timed: deque(job for job in jobs if job.timed == timed) for timed in (True, False)
        }
        order = {job.stem: number for number, job in enumerate(jobs)}
        begun = time.monotonic()
        while (any(waiting.values()) or self._running) and time.monotonic() < until:
            blocked = yield from self._start_jobs(places, waiting, order, until)
            self._has_begun = True
            yield from self._collect_ended(self._sleep_s(blocked, until))
            self._end_overdue()
        for running in self._running.values():
            if running.had_all_the_time and not running.job.checkpoint.exists():
                running.ended_by = (
                    f"did not end within the {until - begun:.0f} s that --time-limit left for it; "
                    "allow more"
                )
        yield from self._end_all()

    def at_once(self, device: str, threads: int) -> int:
        """See `Executor`."""
        return len(self.places(device, threads))

    def places(self, device: str, threads: int) -> list[LocalDevice]:
        """Return where jobs of a device may run: for `cuda` every GPU that can be used.

        The processor has a place for as many jobs as it has cores for, at `threads` each.
        """
        from unet_bench.host.survey import survey

        kind, _, number = device.partition(":")
        if kind == "cpu":
            several = self._devices.count("cpu")
            return [LocalDevice("cpu", {})] * (self._jobs or several or max(1, cores() // threads))
        found = survey()
        named = [device] if number else sorted(self._devices)
        chosen = [found.find(name) or DeviceFacts(name) for name in named] or found.usable(kind)
        # Where none can be used any more, the workers say why.
        return [local_device_of(facts, alone=not number) for facts in chosen or [DeviceFacts(kind)]]

    def _start_jobs(
        self,
        places: Sequence[LocalDevice],
        waiting: Mapping[bool, deque[Job]],
        order: Mapping[str, int],
        until: float,
    ) -> Generator[Event, None, bool]:
        """Begin what can begin; return whether somebody else's lock is in the way."""
        blocked = False
        idle = list(places)
        for running in self._running.values():
            idle.remove(running.place)
        for place in idle:
            next_jobs = sorted(
                (queue[0] for queue in waiting.values() if queue), key=lambda job: order[job.stem]
            )
            for job in next_jobs:
                if not self._fits(job):
                    continue
                try:
                    locks = self._locks.take(place.name, timed=job.timed)
                except Held as lock:
                    if lock.holder == str(os.getpid()) and self._running:
                        # A worker of ours, whose end will wake us. Where it is on this very
                        # device, what is timed has to wait for the device to be left idle.
                        if is_of(lock.path, place.name):
                            break
                        continue
                    blocked = True
                    if not self._wait_announced:
                        yield Waiting(_waits(lock, job, place))
                    self._wait_announced = True
                    continue
                self._wait_announced = False
                if self._locks.notice:
                    yield Waiting(self._locks.notice)
                    self._locks.notice = ""
                waiting[job.timed].popleft()
                job = job.at(environ={**job.environ, **place.environ})
                job.remove_result()
                yield Started(job)
                running = Running(job, place, locks, not self._has_begun, math.inf, oom_kills())
                self._running[job.stem] = running
                self._processes.start(job, until)
                if self._processes.notice:
                    yield Waiting(self._processes.notice)
                    self._processes.notice = ""
                running.deadline = time.monotonic() + job.timeout_s
                break
        return blocked

    def _fits(self, job: Job) -> bool:
        """Return whether there is memory for a job beside those that run; alone it may always."""
        if not self._running or job.device != "cpu":
            return True
        taken = sum(running.job.memory_mib for running in self._running.values())
        return taken + job.memory_mib <= MEMORY_USED * self._memory_mib

    def _collect_ended(self, timeout_s: float | None) -> Iterator[Ended]:
        for end in self._processes.wait(timeout_s):
            if (running := self._running.pop(end.stem, None)) is None:
                continue  # it was done without, and is over after all
            for lock in running.locks:
                lock.close()
            tidy(running.job.log)
            yield Ended(running.job, running.result(end))

    def _sleep_s(self, blocked: bool, until: float) -> float | None:
        """Return how long to sleep unless a worker ends; None is for ever.

        The sleep lasts until a deadline, or until a lock is tried again.
        """
        end = min([until, *(running.deadline for running in self._running.values())])
        longest = min(POLL_S, self._longest_sleep_s) if blocked else self._longest_sleep_s
        seconds = min(longest, max(0.0, end - time.monotonic()))
        return None if seconds == math.inf else seconds

    def _end_overdue(self) -> None:
        for stem, running in list(self._running.items()):
            if time.monotonic() >= running.deadline:
                running.ended_by = (
                    f"did not end within {running.job.timeout_s:g} s; --timeout allows more"
                )
                self._end(stem, running)

    def _end(self, stem: str, running: Running) -> None:
        """Ask a worker to end; at the next call kill it, and then do without its end."""
        if running.signals_sent < len(WAYS_TO_END):
            self._processes.signal(stem, WAYS_TO_END[running.signals_sent])
        else:
            self._processes.abandon(stem)
        running.signals_sent += 1
        running.deadline = time.monotonic() + GRACE_S

    def _end_all(self) -> Iterator[Ended]:
        """End what runs; yield what is complete.

        Complete is what wrote its row in time, or had all the time there was.
        """
        while self._running:
            for stem, running in list(self._running.items()):
                self._end(stem, running)
            deadline = time.monotonic() + GRACE_S
            while self._running and (seconds := deadline - time.monotonic()) > 0:
                for ended in self._collect_ended(seconds):
                    if ended.job.read_result() is not None or ended.result["status"] == "timeout":
                        yield ended


def _waits(lock: Held, job: Job, place: LocalDevice) -> str:
    """Return what a job waits for, and for how long where that has an end."""
    doing = "timing" if job.timed else "measuring"
    bounded = lock.longest_s < math.inf
    longest = f", for at most {lock.longest_s / 60:g} minutes" if bounded else ""
    holder = lock.holder or "?"
    return f"waiting for process {holder} before {doing} on {place.name}{longest}: {lock.path}"


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: those of its container, where that has fewer.

    `quota` is the file in which Linux states a container's share: microseconds of a period, or max.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):  # no container, or none that is limited
        granted, period = quota.read_text().split()
        return max(1, min(here or 1, int(granted) // int(period)))
    return here or 1


def free_memory_mib(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> float:
    """Return the memory that is free: of its container, where that has a limit and less of it.

    `limit` is the file in which Linux states it, in bytes, or max; beside it is what is used.
    """
    import psutil

    free = float(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        used = int(limit.with_name("memory.current").read_text())
        free = min(free, max(0, int(limit.read_text()) - used))
    return free / 2**20


def _whole(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= MOST_JOBS:
        raise InvalidSuite(f"jobs={text[:20]} must be a number from 1 to {MOST_JOBS}")
    return int(text)


def local_device_of(facts: DeviceFacts, *, alone: bool) -> LocalDevice:
    """Return the place of an accelerator; if `alone`, its workers see no other."""
    from unet_bench.host.device import kind_of, visible_variable

    kind = kind_of(facts.device)
    variable, number = visible_variable(kind), int(facts.device.partition(":")[2] or 0)
    # ROCm goes by CUDA's name, too.
    entries = os.environ.get(variable or "") or os.environ.get(VISIBILITY[0], "")
    listed = [entry.strip() for entry in entries.split(",")]
    entry = listed[number] if number < len(listed) and listed[number] else str(number)
    # By its identity: in a container, or in Slurm's share of a node, every GPU may be number 0.
    name = f"{kind}-{facts.identity[:IDENTITY] or entry}"
    return LocalDevice(name, {variable: entry} if variable and alone else {}, facts.name)
