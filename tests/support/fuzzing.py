"""How files are damaged, and what a damaged one may end in."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from unet_bench import limits
from unet_bench.errors import UnetBenchError

SCALE = int(os.environ.get("UNET_BENCH_FUZZ", "1"))  # times as many examples as usual
WAIT_S = 30
LONGEST = 12 * (limits.LINE + 40)  # characters of a message
Result = TypeVar("Result")

EXTREMES = st.sampled_from(
    [
        b"\0",
        b"\xff",
        b"\0\0",
        b"\xff\x7f",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0" * 8,
        b"\x01",
        b'"',
        b"[" * 9,
    ]
) | st.binary(max_size=16)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "",
            "/",
            "..",
            "../../etc/passwd",
            "/dev/zero",
            "\0",
            "\ud800",
            "a\nb",
            "x" * 5000,
            "imagesTr",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def fuzz(examples: int) -> Callable[[Any], Any]:
    """Return settings for so many examples, the same ones in every run unless SCALE is changed."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples * SCALE, derandomize=SCALE == 1, suppress_health_check=checks
    )


def ours(call: Callable[[], Result]) -> Result | None:
    """Return what a call returns, or None if it raises a readable error of ours; it must end."""
    with within(WAIT_S):
        try:
            return call()
        except UnetBenchError as error:
            text = str(error)
            assert 10 < len(text) < LONGEST, f"{len(text)} characters: {text[:500]}"
            assert all(line.isprintable() for line in text.split("\n")), ascii(text)
            return None


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise AssertionError if the block takes longer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: object) -> None:
        raise AssertionError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a function that damages bytes by one to three blows.

    A blow flips a byte, overwrites some by extreme numbers, cuts out, puts in, repeats or cuts off.
    """
    blows = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.floats(0, 1), st.integers(1, 200), EXTREMES),
            min_size=1,
            max_size=3,
        )
    )

    def damaged(content: bytes) -> bytes:
        for kind, place, length, extreme in blows:
            at = int(place * len(content))
            if kind == 0 and at < len(content):
                content = content[:at] + bytes([content[at] ^ length]) + content[at + 1 :]
            elif kind == 1:
                content = content[:at] + extreme + content[at + len(extreme) :]
            elif kind == 2:
                content = content[:at] + content[at + length :]
            elif kind == 3:
                content = content[:at] + extreme + content[at:]
            elif kind == 4:
                content = content[:at] + content[at : at + length] * 3 + content[at + length :]
            elif kind == 5:
                content = content[:at]
        return content

    return damaged


def changed(value: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a JSON value with some of its parts replaced by anything."""
    if isinstance(value, dict):
        return st.fixed_dictionaries({key: changed(inner) for key, inner in value.items()}) | JSON
    if isinstance(value, list):
        return st.tuples(*map(changed, value)).map(list) | JSON
    return st.just(value) | st.just(value) | JSON


OTHERS: list[Any] = [
    *(7, -1, 1.5, 2**70, 1e400, math.nan, True, None),
    *("", "x" * 100_000, "a\nb\x1b[31m", [], [1], [None], {}, {"a": {"b": 1}}),
]
Place = tuple[str | int, ...]


def paths(value: Any, to: Place = ()) -> Iterator[Place]:
    """The path to a value and to each that it holds; of a list to the first item."""
    yield to
    keys = [*value] if isinstance(value, dict) else []
    for key in [0] if isinstance(value, list) and value else keys:
        yield from paths(value[key], (*to, key))


def replaced(value: Any, path: Place, other: Any) -> Any:
    if not path:
        return other
    key, *rest = path
    copy: Any = value.copy()
    copy[key] = replaced(copy[key], tuple(rest), other)
    return copy


def edits_of(whole: Any) -> Iterator[tuple[str, Any]]:
    """Yield a JSON value with each of its fields replaced by values of other types, and which."""
    for path in paths(whole):
        for other in OTHERS:
            yield f"{path} = {other!r:.60}", replaced(whole, path, other)
