"""The host's clock against others, of the same passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from unet_bench.host import device
from unet_bench.measure import clocks
from unet_bench.measure.probes import CHECKING_PROBES

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

CLOCKS = {probe.name: probe for probe in CHECKING_PROBES}["clocks"]


class Event:
    """An event that tells `rate` times the time that passed."""

    rate = 1.0

    def __init__(self, *_: Any, **__: Any) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * self.rate * (end.at - self.at)


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "BLOCK_S", 0.02)
    monkeypatch.setattr(clocks, "BLOCKS", 3)


def test_on_a_cpu_the_profilers_clock_agrees_and_there_are_no_events(
    context_of: Callable[..., MeasurementContext],
) -> None:
    row = clocks.probe(context_of("unet"))
    assert row.keys() == {column.name for column in CLOCKS.columns}
    assert (row["device_events_ms"], row["events_disagreement"]) == (None, None)
    assert row["profiler_saw"] == "passes"
    # as far as machines allow on which much else runs
    assert row["profiler_ms"] == pytest.approx(row["profiled_host_ms"], rel=0.5)
    assert row["clock_passes"] >= 3
    assert device.timed_events(torch.device("cpu")) is None


@pytest.mark.parametrize("rate", [1.0, 1.25])
def test_events_that_run_fast_are_found(
    context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(Event, "rate", rate)
    monkeypatch.setattr(clocks, "timed_events", lambda _: (Event(), Event()))
    row = clocks.probe(context_of("unet"))
    assert row["events_disagreement"] == pytest.approx(rate - 1, abs=0.1)


def test_kernels_are_summed_as_torchs_own_table_does() -> None:
    def event(kind: str, micros: float, annotation: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            device_type=SimpleNamespace(name=kind),
            self_device_time_total=micros,
            is_user_annotation=annotation,
        )

    events = [event("CUDA", 2e6), event("CUDA", 1e6), event("CPU", 5e6), event("CUDA", 9e6, True)]
    assert clocks.kernel_seconds(events, "cuda") == pytest.approx(3.0)


def test_a_profiler_that_may_not_see_kernels_times_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import profiler

    cpu, profile = profiler.ProfilerActivity.CPU, profiler.profile
    cuda = profiler.ProfilerActivity.CUDA
    monkeypatch.setattr(profiler, "supported_activities", lambda: {cpu, cuda})
    monkeypatch.setattr(profiler, "profile", lambda activities: profile(activities=[cpu]))
    found = clocks.profiled(torch.device("cuda", 0), lambda: 1.0)
    assert found.of == "passes"


def test_where_a_device_must_have_events_their_refusal_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no events")

    monkeypatch.setattr(torch, "Event", refuse)
    assert device.timed_events(torch.device("mps", 0)) is None
    with pytest.raises(RuntimeError, match="no events"):
        device.timed_events(torch.device("cuda", 0))
