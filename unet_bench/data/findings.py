"""What comes up while a data set is read: problems, doubts and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unet_bench.errors import InvalidData, offenders
from unet_bench.limits import one_line

LINE: Final = 1000
"""Characters of a problem: it may hold an entry to paste."""


@dataclass(frozen=True)
class Findings:
    """What comes up while the data in `root` are read.

    A problem makes them unusable. A doubt is a reason to think that they may be misread. A note
    says what was done to them, or what was left out.
    """

    root: Path
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise InvalidData over all problems, if there is one."""
        if self.problems:
            lines = offenders([one_line(problem, LINE) for problem in self.problems])
            raise InvalidData(
                f"the data in {one_line(str(self.root))} cannot be used, "
                f"{len(self.problems)} problem(s):\n{lines}"
            )


def listing(names: list[str], most: int = 3) -> str:
    """Return names for a message: the first few, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return one_line(", ".join(names[:most])) + more
