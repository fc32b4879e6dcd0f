"""Every error a user can meet. A message says the value, the rule it breaks, and the remedy.

All of them carry one string, so they pickle and travel between processes as they are.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shlex
from collections.abc import Iterable
from typing import Final

OUT_OF_MEMORY: Final = (  # as torch on a CPU, C++, cuBLAS, cuDNN, MPS and the system say it
    "can't allocate memory",
    "bad_alloc",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "MPS backend out of memory",
    "Cannot allocate memory",
)
ASKED: Final = re.compile(r"tried to allocate ([0-9.]+) (bytes|[KMGT]iB)", re.IGNORECASE)


class UnetBenchError(Exception):
    """Something a user can cause and can mend: shown as one message, without a traceback."""


class UnknownName(UnetBenchError):
    """A variant, part, data set, probe or preset that nobody registered."""


class NameClash(UnetBenchError):
    """Two plugins registered the same name."""


class PluginFailure(UnetBenchError):
    """A plugin that could not be imported or registered, and was not blocked."""


class InvalidChoice(UnetBenchError):
    """A slot or axis was given a value it does not take."""


class InvalidPart(UnetBenchError):
    """A part broke its contract: wrong shape, wrong channels, wrong type."""


class InvalidSuite(UnetBenchError):
    """A suite, preset or set of options that contradicts itself."""


class InvalidData(UnetBenchError):
    """Images or masks that cannot be used; the message names the offenders."""


class InvalidSize(UnetBenchError):
    """An image size that a network cannot take; the message names sizes it can."""


class Unsupported(UnetBenchError):
    """A variant that cannot run on this task or setting, by its nature."""


class NotInstalled(UnetBenchError):
    """An optional package that is needed here; the message has the line that installs it."""


class WrongOutput(UnetBenchError):
    """A network that returns something else where it is run by a runtime."""


class StoreError(UnetBenchError):
    """A results folder that cannot be read or written."""


class NonFinite(UnetBenchError):
    """A loss or an output that became NaN or infinite."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, in any words of torch or Python."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in OUT_OF_MEMORY)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception of any library says that nothing more can be written."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def bytes_asked(error: BaseException) -> int | None:
    """Return how many bytes were asked for when memory ran out; None if the message is silent."""
    if not is_out_of_memory(error) or not (found := ASKED.search(str(error))):
        return None
    return int(float(found[1]) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(found[2]))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def command_line(*words: object) -> str:
    """Return a call of unet-bench to paste: words with spaces or signs are in quotes."""
    return shlex.join(["unet-bench", *map(str, words)])


def unknown(kind: str, name: str, known: Iterable[str], command: str) -> UnknownName:
    """Return the error for an unknown name: the nearest names and the command that lists all."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    return UnknownName(f"unknown {kind} {name!r}{hint} All of them: `{command}`")


def offenders(problems: list[str], limit: int = 10) -> str:
    """Return the first `limit` problems, one a line, and a count of the rest."""
    lines = [f"  {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  … and {len(problems) - limit} more")
    return "\n".join(lines)
