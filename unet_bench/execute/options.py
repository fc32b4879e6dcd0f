"""How a run goes about its cells: where, for how long, and what it tries again.

No result depends on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from unet_bench.errors import InvalidSuite, unknown
from unet_bench.spec.option import FROM_ONE, POSITIVE, WHERE, option, require
from unet_bench.spec.suite import parse_duration

# Failures that a second attempt may mend, and how many it gets. Memory that ran out once does so
# again.
RETRIES: Final = {"killed": 1, "timeout": 0, "error": 0, "nonfinite": 0}
KEPT: Final = ("ok", "oom", "unsupported")  # statuses that a resumed run does not try again


def parse_time_limit(text: str) -> float:
    """Return `9m`, `1h30m`, `90s`, `90` in seconds; `none` is no limit. Raises InvalidSuite."""
    return math.inf if text.strip() == "none" else parse_duration(text)


def parse_retries(items: Iterable[str]) -> dict[str, int]:
    """Return the attempts after each kind of failure. Raises InvalidSuite.

    `2` is of every kind; `killed=2` and `timeout=1` are of these.
    """
    retries = dict(RETRIES)
    for item in items:
        kind, equals, number = item.rpartition("=")
        if (equals and kind not in RETRIES) or not number.isdecimal():
            raise InvalidSuite(
                f"retries {item!r} is not valid: write a number, or KIND=NUMBER of "
                f"{', '.join(RETRIES)}; for oom, --shrink-batch tries a smaller batch"
            )
        retries |= dict.fromkeys([kind] if kind else RETRIES, int(number))
    return retries


def parse_options(items: Iterable[str]) -> dict[str, str]:
    """Return `NAME=VALUE` items as a mapping. Raises InvalidSuite."""
    pairs = [item.partition("=") for item in items]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise InvalidSuite(
                f"executor option {name!r} is not valid: write NAME=VALUE, such as partition=gpu"
            )
    return {name: value for name, _, value in pairs}


def require_qualities(names: tuple[str, ...]) -> None:
    """Raise UnknownName for what is no quality of a row."""
    from unet_bench.store.schema import QUALITIES

    for name in names:
        if name not in QUALITIES:
            raise unknown("quality", name, QUALITIES, "python -m unet_bench.store.documentation")


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Options of `run` that are no part of its suite. Raises UnknownName, InvalidSuite."""

    executor: str = option(
        "local", "Where cells run: local, ray, slurm; a resumed run keeps its own", panel=WHERE
    )
    devices: tuple[str, ...] = option(
        (),
        "Only these devices, such as cuda:0,cuda:2",
        panel=WHERE,
        note="all, if left out",
    )
    jobs: int | None = option(
        None,
        "How many cells that are not timed run side by side on a CPU",
        panel=WHERE,
        bounds=FROM_ONE,
        note="as many as there are cores for their threads, if left out",
    )
    options: Mapping[str, str] = option(
        {},
        "NAME=VALUE for the executor, such as partition=gpu",
        "--executor-option",
        panel=WHERE,
        by_commas=False,
        parse=parse_options,
    )
    retries: Mapping[str, int] = option(
        RETRIES,
        "Further attempts at what failed: 1, or killed=2,timeout=1",
        panel=WHERE,
        note="killed=1 if left out",
        parse=parse_retries,
    )
    time_limit_s: float = option(
        math.inf,
        "End in good order within this time: 9m, 1h30m, none; exit code 75",
        "--time-limit",
        panel=WHERE,
        bounds=POSITIVE,
        parse=parse_time_limit,
    )
    rerun: tuple[str, ...] = option(
        (),
        "With --resume: measure again what is contaminated, throttled, …",
        panel=WHERE,
        check=require_qualities,
    )
    keep_failures: bool = option(False, "With --resume: do not try again what failed", panel=WHERE)
    begun: float = field(default_factory=time.monotonic)  # the time limit counts from here

    def __post_init__(self) -> None:
        require(self)
        if self.jobs and self.executor != "local":
            raise InvalidSuite(
                f"--jobs is of this host, and cells run by {self.executor}: leave it out; what "
                "runs side by side there, --executor-option may say"
            )

    @property
    def until(self) -> float:
        """Of the monotonic clock: nothing runs any more by then."""
        return self.begun + self.time_limit_s

    def keeps(self, status: str) -> bool:
        """Return whether a resumed run leaves a cell of this status as it is."""
        return status in KEPT or (self.keep_failures and status in RETRIES)
