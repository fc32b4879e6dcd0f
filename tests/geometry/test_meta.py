"""What is remembered of operations without data, and what is not done without data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.geometry.meta import Observer, on_meta


class Seen(Observer):
    """The names of the operations that ran, and whether each result had data."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.names.append(func.overloadpacket.__name__)


def described(value: Any) -> Any:
    """Return all of a result that a later operation can depend on."""
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    if not isinstance(value, Tensor):
        return value
    storage = value.untyped_storage().nbytes()
    return value.shape, value.stride(), value.dtype, value.storage_offset(), storage


def image(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


OPERATIONS = {
    "convolution": lambda: F.conv2d(image(1, 3, 8, 8), image(4, 3, 3, 3), stride=2),
    "channels last": lambda: image(2, 3, 4, 4).to(memory_format=torch.channels_last).relu(),
    "batch norm": lambda: F.batch_norm(image(2, 3, 4, 4), image(3), image(3), training=True),
    "pool": lambda: F.max_pool2d(image(1, 3, 8, 8), 2, return_indices=True),
    "view": lambda: image(4, 4)[1:, 2:],
    "chunks": lambda: image(4, 4).chunk(2),
    "in place": lambda: image(4, 4).add_(1),
    "in place, transposed": lambda: image(4, 2).t_(),
    "resized": lambda: image(4).resize_(2, 3),
    "a whole number": lambda: image(4, dtype=torch.int64).add(1),
    "a fraction": lambda: image(4, dtype=torch.int64).add(1.0),
    "a sum of some": lambda: image(4, 6).sum(1),
    "a sum of all": lambda: image(4, 6).sum(),
    "expanded": lambda: image(4, 1).expand(4, 5).mul(2),
    "twice": lambda: torch.stack([image(2), image(2)]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_remembered_is_what_torch_returns(name: str) -> None:
    own = described(OPERATIONS[name]())
    for _ in range(3):
        with Seen() as seen:
            found = OPERATIONS[name]()
        assert seen.names
        assert described(found) == own


def test_an_operation_in_place_returns_its_tensor_and_a_view_keeps_its_storage() -> None:
    x = image(4, 4)
    for _ in range(2):
        with Seen():
            changed, view = x.add_(1), x[1:]
        assert changed is x
        assert view.untyped_storage()._cdata == x.untyped_storage()._cdata


def test_results_are_tensors_of_their_own() -> None:
    with Seen():
        first, second = (image(4).relu() for _ in range(2))
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


def test_values_are_asked_of_tensors_with_data() -> None:
    with Seen():
        few = torch.tensor([1, 0]).nonzero()
        many = torch.tensor([1, 1]).nonzero()
    assert (len(few), len(many)) == (1, 2)


def test_no_first_weights_are_drawn_without_data() -> None:
    with Seen() as seen, on_meta():
        block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4))
        nn.init.trunc_normal_(block[2].weight, std=0.02)
        nn.init.kaiming_normal_(block[0].weight)
    assert {parameter.device.type for parameter in block.parameters()} == {"meta"}
    assert not {"normal_", "uniform_", "fill_", "zero_"} & {*seen.names}


def test_weights_with_data_are_drawn_all_the_same() -> None:
    with on_meta():
        weight = torch.zeros(8, device="cpu")
        nn.init.normal_(weight)
        nn.init.uniform_(tensor=(other := torch.zeros(8, device="cpu")))
    assert weight.abs().sum() > 0
    assert other.abs().sum() > 0
