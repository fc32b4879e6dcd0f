"""Tensors of `cuda` without data, by torch's FakeTensorMode: shapes and devices are true, and
nothing is computed.

Torch itself refuses operations on tensors of two devices. What it lets pass and a GPU would pay for
is noted by `Watching`: tensors made on the host, copies between host and device, waits for a value,
casts of weights. A backward pass cannot be had so: a CUDA build of torch would ask the driver for a
context.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
WAITS = (aten._local_scalar_dense.default, aten.nonzero.default)
# In inference mode operations arrive as they were called, elsewise as what they are made of.
CASTS = (aten._to_copy, aten.to)


def believe_in_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have autocast work for `cuda` on a machine without one."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)


class Watching(TorchDispatchMode):
    """Notes in `seen` what a GPU would pay for, and counts all casts."""

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.seen: collections.Counter[str] = collections.Counter()
        self.casts = 0
        self._weights = {id(weight) for weight in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = devices((args, kwargs or {}))
        self.seen[f"waits: {func}"] += func in WAITS
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in CASTS and result.dtype != args[0].dtype:
            self.casts += 1
            self.seen["casts a weight"] += id(args[0]) in self._weights
        made = devices(result)
        if len(given) > 1 or (given and made and given != made):
            self.seen[f"{'+'.join(sorted(given))} to {'+'.join(sorted(made))}: {func}"] += 1
        elif not given and "cpu" in made:
            self.seen[f"made on the host: {func}"] += 1
        return result

    def found(self) -> dict[str, int]:
        return dict(+self.seen)


def devices(values: Any) -> set[str]:
    """The kinds of device tensors lie on; plain numbers, which travel with a call, left out."""
    return {
        leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.ndim
    }


def moved(
    model: nn.Module, mode: FakeTensorMode, memory_format: torch.memory_format, dims: int
) -> nn.Module:
    """The network, in place, with weights and buffers of `cuda` and without data; tied ones stay
    tied.
    """
    known: dict[int, Tensor] = {}

    def there(tensor: Tensor) -> Tensor:
        if id(tensor) not in known:
            order = memory_format if tensor.ndim == 2 + dims else torch.preserve_format
            made = mode.from_tensor(tensor.detach())
            with mode:
                made = made.to("cuda", memory_format=order)
            known[id(tensor)] = (
                nn.Parameter(made, tensor.requires_grad)
                if isinstance(tensor, nn.Parameter)
                else made
            )
        return known[id(tensor)]

    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                held[name] = None if tensor is None else there(tensor)  # type: ignore[assignment]
    return model
