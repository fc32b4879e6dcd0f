"""A setting's outputs against the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from unet_bench.errors import NonFinite, Unsupported
from unet_bench.measure import outputs
from unet_bench.measure.probes import CHECKING_PROBES

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext


def test_equal_outputs_do_not_differ(context_of: Callable[..., MeasurementContext]) -> None:
    row = outputs.probe(context_of("unet"))
    [columns] = [probe.columns for probe in CHECKING_PROBES if probe.name == "outputs"]
    assert row.keys() == {column.name for column in columns}
    assert row == {"output_difference": 0.0, "class_agreement": 1.0}


@pytest.mark.parametrize(
    ("setting", "most"),
    [
        ({"memory_format": "channels_last"}, 1e-4),
        ({"batch_norm": "folded"}, 1e-4),
        ({"precision": "bf16"}, 5e-2),
    ],
)
def test_a_setting_changes_them_as_little_as_its_format_allows(
    context_of: Callable[..., MeasurementContext], setting: dict[str, str], most: float
) -> None:
    row = outputs.probe(context_of("unet", **setting))
    assert row["output_difference"] <= most
    assert row["class_agreement"] >= 0.95
    assert row["output_difference"] > 0 or "precision" not in setting


def test_a_difference_is_relative_to_the_largest_score() -> None:
    expected = torch.tensor([[[[4.0, 0.0]], [[0.0, 1.0]]]])
    found = torch.tensor([[[[4.0, 2.0]], [[0.0, 1.0]]]])
    assert outputs.compared(found, expected) == {"output_difference": 0.5, "class_agreement": 0.5}


@pytest.mark.parametrize(
    ("setting", "reason"),
    [({"precision": "tf32"}, "needs a CUDA device"), ({"runtime": "cudagraphs"}, "CUDA device")],
)
def test_what_cannot_run_says_why(
    context_of: Callable[..., MeasurementContext], setting: dict[str, str], reason: str
) -> None:
    with pytest.raises(Unsupported, match=reason):
        outputs.probe(context_of("unet", **setting))


def test_an_output_that_is_no_number_is_told(
    context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "logits", lambda _: torch.tensor([float("nan")]))
    with pytest.raises(NonFinite):
        outputs.probe(context_of("unet"))
