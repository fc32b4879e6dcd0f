"""A training's whole state in one file, so that a killed one goes on where it was and ends as if
unbroken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unet_bench.host.device import random_state, set_random_state
from unet_bench.host.files import atomic_write

FILE: Final = "state.safetensors"


@dataclass
class Checkpoint:
    """Where it lies, of what it must be, and how often it is written.

    Without a folder or a period: never.

    It has a folder to itself, so that what a killed writer left there goes with it.
    """

    folder: Path | None
    key: str
    every_s: float
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Return whether it is time to write."""
        return (
            self.folder is not None
            and self.every_s > 0
            and time.monotonic() - self.last >= self.every_s
        )

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write tensors and plain data, whole or not at all.

        A disk that refuses costs the checkpoint, not the run.
        """
        self.last = time.monotonic()
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept, plain = storable(tensors), json.dumps(state)
            about = {"key": self.key, "state": plain, "digest": digest(kept, plain)}
            with atomic_write(self.folder / FILE) as draft:
                save_file(kept, draft, metadata=about)
        except (OSError, SafetensorError) as error:
            print(f"no checkpoint could be written to {self.folder}: {error}", file=sys.stderr)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what `save` wrote; None if it is missing, damaged or another's.

        Another's is what another cell, protocol or software wrote.
        """
        if self.folder is None:
            return None
        for draft in self.folder.glob(f".*{FILE}"):  # a writer was killed
            draft.unlink(missing_ok=True)
        if not os.path.isfile(self.folder / FILE):
            return None
        try:
            with safe_open(self.folder / FILE, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("key") != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if about["digest"] != digest(tensors, about["state"]):
                    raise ValueError("it is not what was written")
                return tensors, json.loads(about["state"])
        except Exception as error:  # a damaged file can make safetensors and torch raise anything
            print(
                f"the checkpoint in {self.folder} cannot be used, the training starts over: "
                f"{error}",
                file=sys.stderr,
            )
            return None

    def remove(self) -> None:
        """Delete the checkpoint: the training is over."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as safetensors takes them.

    Each is a copy in the host's memory: tied weights, which share memory, are refused.
    """
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def digest(tensors: Mapping[str, Tensor], plain: str) -> str:
    """Return 16 hex digits over tensors and text.

    Otherwise a disk that returned other bytes would change a result in silence.
    """
    found = hashlib.blake2b(plain.encode(), digest_size=8)
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def state_of(
    model: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a training's state, as named tensors and plain data.

    The tensors are weights, buffers, the optimiser's state and the random numbers'.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if (state := random_state(device)) is not None:
        tensors["random/device"] = state
    plain: dict[str, Any] = {}
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    return tensors, plain


def restore(
    tensors: Mapping[str, Tensor],
    plain: Mapping[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> None:
    """Put back what `state_of` took."""
    model.load_state_dict(within(tensors, "model/"))
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in plain.items()}
    for path, tensor in within(tensors, "optimiser/").items():
        index, _, name = path.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
    torch.set_rng_state(tensors["random/cpu"])
    if "random/device" in tensors:
        set_random_state(device, tensors["random/device"])


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors below a prefix, without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors[name] for name in names}
