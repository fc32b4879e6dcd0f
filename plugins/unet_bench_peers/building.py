"""Making other packages' networks on whatever device is torch's default."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

MISUSE = (ValueError, TypeError, AttributeError, LookupError, AssertionError, RuntimeError)
"""What packages raise for arguments that do not go together."""


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """Return `make()`, on torch's default device.

    What cannot be made there is made on the CPU and moved. While they are made some networks read
    numbers off tensors, which the meta device has none of, and some put tensors on the CPU whatever
    the default is. Raises what `make` raises on the CPU.
    """
    device = torch.get_default_device()
    try:
        return make().to(device)
    except MISUSE:
        with torch.device("cpu"):
            return make().to(device)
