"""Ceilings of a device: measured by the first cells of a run, and known to the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unet_bench.measure import ceiling as ceilings
from unet_bench.measure.ceiling import MEASURED, Ceiling, ceiling_of_run

CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Ceiling]:
    """What was measured, the later the lower, as on a machine that gets busier."""
    found: list[Ceiling] = []

    def measure(device: torch.device, precision: str) -> Ceiling:
        found.append(Ceiling(1e9 / (1 + len(found)), 1e8 / (1 + len(found))))
        return found[-1]

    monkeypatch.setattr(ceilings, "ceiling", measure)
    return found


def test_the_first_cells_measure_and_the_best_counts(
    tmp_path: Path, measured: list[Ceiling]
) -> None:
    notes = tmp_path / "ceiling.json"
    found = [ceiling_of_run(CPU, "fp32", notes) for _ in range(MEASURED + 3)]
    assert len(measured) == MEASURED
    assert set(found) == {Ceiling(1e9, 1e8)}


def test_without_a_file_each_cell_measures(measured: list[Ceiling]) -> None:
    assert [ceiling_of_run(CPU, "fp32", None) for _ in range(5)] == measured


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "[[1]]", "[[0, 1]]", '[["x", 1]]', "[[NaN, 1]]", "[[1e999, 1]]"],
)
def test_what_is_no_ceiling_is_measured_again(
    tmp_path: Path, measured: list[Ceiling], text: str
) -> None:
    notes = tmp_path / "ceiling.json"
    notes.write_text(text)
    assert ceiling_of_run(CPU, "fp32", notes) == Ceiling(1e9, 1e8)
    assert json.loads(notes.read_text()) == [[1e9, 1e8]]


def test_a_device_does_more_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceilings.SIDE, "cpu", 64)
    monkeypatch.setitem(ceilings.COPIED, "cpu", 2**10)
    found = ceilings.ceiling(CPU, "fp32")
    assert found.flop_s > 0
    assert found.byte_s > 0
    assert found.attainable(1e9) == found.flop_s
