"""Being asked to end, by Ctrl-C, SIGTERM or SIGHUP, and ending when a parent does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from unet_bench.errors import UnetBenchError

PR_SET_PDEATHSIG: Final = 1  # Linux's prctl.h
ENDING: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
Handler = Callable[[int, FrameType | None], None]


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's came that asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(end: KeyboardInterrupt) -> int:
    """Return the exit code of a program that was asked to end: 130 after Ctrl-C."""
    return 128 + (end.number if isinstance(end, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise KeyboardInterrupt where a signal asks to end: Terminated, unless it was Ctrl-C."""
    with _handled_by(_raise):
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Do as `terminable`, but end the process at once while a module is imported.

    Libraries do not expect to be interrupted there, and go on with a half of themselves.
    """
    with _handled_by(_raise_unless_importing):
        yield


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    """Have signals handled so; in other threads than the main one nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            before[number] = signal.signal(number, handler)
    try:
        yield
    except UnetBenchError:
        raise
    except BaseException as error:
        asked = _asked_to_end(error)
        if asked is None:
            raise
        # Libraries' own tidying up may fail on the way: what that says is noise.
        sys.unraisablehook = lambda _: None
        raise asked from None
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _asked_to_end(error: BaseException) -> KeyboardInterrupt | None:
    """Return the signal's exception: this one, or that in whose handling it was raised."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause


def _raise(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _raise_unless_importing(number: int, frame: FrameType | None) -> NoReturn:
    caller = frame
    while caller:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"stopped\n")
            os._exit(128 + number)
        caller = caller.f_back
    _raise(number, frame)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that ends.

    Otherwise it might disturb the timing of a new run. Nothing may time beside a new run.
    """
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
