"""Standard output, which is the answer's alone: what plugins and libraries print goes to stderr."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final, TextIO

ALIKE: Final[Mapping[str, str]] = {
    "×": "x",
    "±": "+-",
    "–": "-",
    "−": "-",
    "─": "-",
    "·": "-",
    "…": "...",
    "≈": "~",
    "÷": "/",
    "†": "^",
    "→": "->",
    "²": "2",
    "³": "3",
    "⁹": "9",
    "°": " deg",
    "µ": "u",
    "Δ": "d",
    "√": "sqrt ",
}
"""What stands for our signs where an encoding lacks them."""
_answers: TextIO | None = None
_quiet = False


def stdout() -> TextIO:
    """Return the stream that answers are printed to."""
    return _answers or sys.stdout


def echo(text: str, end: str = "\n") -> None:
    """Print a text as the answer."""
    print(text, file=stdout(), end=end, flush=True)


def be_quiet(wanted: bool) -> bool:
    """Say whether notes and progress are left out from now on."""
    global _quiet
    _quiet = wanted
    return wanted


def is_quiet() -> bool:
    """Return whether notes and progress are left out."""
    return _quiet


def tell(text: str, end: str = "\n", *, always: bool = False) -> None:
    """Print a text to stderr; where that is closed, full or gone, the text is lost.

    So it is where one is to be quiet, unless it is `always` told.
    """
    if sys.stderr is not None and (always or not _quiet):
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, end=end, flush=True)


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Keep standard output for `stdout()`; what else is printed meanwhile goes to stderr."""
    global _answers
    usual = sys.stdout
    if usual is None or sys.stderr is None:  # closed by whoever started this process
        yield
        return
    _answers, sys.stdout = _apart(usual), sys.stderr
    try:
        yield
    finally:
        _answers, sys.stdout = None, usual


def _apart(usual: TextIO) -> TextIO:
    """Return standard output on a file of its own, if it is file 1, which is stderr from now on.

    So it is for C libraries and child processes, too.
    """
    if usual is not sys.__stdout__ or not isinstance(usual, io.TextIOWrapper):
        return usual
    usual.flush()
    own = os.fdopen(os.dup(1), "w", encoding=usual.encoding, errors=usual.errors)
    os.dup2(2, 1)
    return own


def encode_anything() -> None:
    """Have standard output write what its encoding lacks as ASCII that looks alike, or escaped."""
    codecs.register_error("alike", _alike)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="alike")


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    found = (ALIKE.get(c) or json.dumps(c)[1:-1] for c in lacking)  # escaped as in JSON
    return "".join(found), error.end
