"""How a run goes about its cells: where, for how long, and what it tries again. No result depends
on it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from unet_bench.errors import InvalidSuite

# Failures that a second attempt may mend, and how many it gets. Memory that ran out once does so
# again.
RETRIES: Final[Mapping[str, int]] = {"killed": 1, "timeout": 0, "error": 0, "nonfinite": 0}
KEPT: Final = ("ok", "oom", "unsupported")  # statuses that a resumed run does not try again
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Options of `run` that are no part of its suite."""

    executor: str = "local"
    devices: tuple[str, ...] = ()  # of those that the executor has; all, if none is named
    options: Mapping[str, str] = field(default_factory=dict)  # the executor's own
    retries: Mapping[str, int] = field(default_factory=lambda: RETRIES)
    until: float = math.inf  # of the monotonic clock: nothing runs any more by then
    rerun: tuple[str, ...] = ()  # qualities that a resumed run measures again
    keep_failures: bool = False  # a resumed run does not try them again

    def keeps(self, status: str) -> bool:
        """Whether a resumed run leaves a cell of this status as it is."""
        return status in KEPT or (self.keep_failures and status in RETRIES)


def parse_time_limit(text: str) -> float:
    """`9m`, `1h30m`, `90s`, `90`, in seconds; `none` is no limit. Raises InvalidSuite."""
    return math.inf if text.strip() == "none" else parse_duration(text)


def parse_duration(text: str) -> float:
    """`9m`, `1h30m`, `90s`, `90`, in seconds. Raises InvalidSuite."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise InvalidSuite(f"time limit {text!r} is not valid: write 9m, 1h30m, 540s, or none")
    seconds = sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
    if not 0 < seconds < math.inf:
        raise InvalidSuite(f"time limit {text!r} must be above 0")
    return seconds


def parse_retries(text: str) -> dict[str, int]:
    """`2`, of every kind; or `killed=2,timeout=1`, of these. Raises InvalidSuite."""
    if text.strip().isdecimal():
        return dict.fromkeys(RETRIES, int(text))
    retries = dict(RETRIES)
    for item in filter(None, (item.strip() for item in text.split(","))):
        kind, _, number = item.partition("=")
        if kind not in RETRIES or not number.isdecimal():
            raise InvalidSuite(
                f"retries {item!r} is not valid: write a number, or KIND=NUMBER of {', '.join(RETRIES)}; "
                "of oom, --shrink-batch tries a smaller batch"
            )
        retries[kind] = int(number)
    return retries


def parse_options(items: list[str]) -> dict[str, str]:
    """`NAME=VALUE` items as a mapping. Raises InvalidSuite."""
    pairs = [item.partition("=") for item in items]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise InvalidSuite(
                f"executor option {name!r} is not valid: write NAME=VALUE, such as partition=gpu"
            )
    return {name: value for name, _, value in pairs}
