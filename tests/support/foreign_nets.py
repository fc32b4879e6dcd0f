"""Networks as people have them: their arguments' names, and what they return."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Channels and classes by their usual names, logits alone."""

    def __init__(self, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, image: Tensor) -> Any:
        return self.body(image)


class Weights(Enum):
    """As torchvision names published weights."""

    IMAGENET = "imagenet"


class Pretrained(Plain):
    """Begins from published weights in three ways, unless told otherwise."""

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1,
        encoder_weights: str | None = "imagenet",
        pretrained: bool = True,
        weights_backbone: Weights | None = Weights.IMAGENET,
        pretrained_path: str | None = "weights.pth",
        init_weights: bool = True,
        pretrained_window_size: int = 7,
    ) -> None:
        super().__init__(in_channels, classes)
        self.given = (encoder_weights, pretrained, weights_backbone, pretrained_path)
        assert init_weights
        assert pretrained_window_size == 7


class Downloading(Plain):
    """Fetches weights on its own account."""

    def __init__(self, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__(in_channels, num_classes)
        torch.hub.load_state_dict_from_url("https://example.invalid/weights.pth")


def _from_hub() -> None:
    huggingface_hub.hf_hub_download("unet-bench/none-such", "model.safetensors")


def _from_another() -> None:
    nn.Conv2d(1, 1, 1).load_state_dict(nn.Conv2d(1, 1, 1).state_dict())


LOADERS: dict[str, Callable[[], Any]] = {
    "torch": lambda: torch.load("none-such.pth"),
    "script": lambda: torch.jit.load("none-such.pt"),
    "safetensors": functools.partial(safetensors.torch.load_file, "none-such.safetensors"),
    "numpy": lambda: np.load("none-such.npz"),
    "hub": _from_hub,
    "another": _from_another,
}


class Loading(Plain):
    """Loads weights in one of the ways that people have."""

    def __init__(
        self,
        how: str,
        in_channels: int = 3,
        classes: int = 1,
        checkpoint: str = "none-such.pth",
        use_checkpoint: bool = False,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(in_channels, classes)
        if checkpoint:
            LOADERS[how]()


class Disguising(Plain):
    """Makes another error of what it meets."""

    def __init__(self, in_channels: int = 3, classes: int = 1) -> None:
        super().__init__(in_channels, classes)
        try:
            LOADERS["torch"]()
        except Exception:
            raise RuntimeError("no weights") from None


class DoingWithout(Plain):
    """Goes on where weights cannot be had."""

    def __init__(self, in_channels: int = 3, classes: int = 1) -> None:
        super().__init__(in_channels, classes)
        with contextlib.suppress(Exception):
            LOADERS["torch"]()


class Exiting(Plain):
    """Ends the program, as scripts do that miss a file."""

    def __init__(self, in_channels: int = 3, classes: int = 1) -> None:
        super().__init__(in_channels, classes)
        sys.exit("no configuration")


class Classifying(Plain):
    """Says of a whole image what it is."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(image).mean((2, 3))


class Sized(Plain):
    """Takes images of the size that it was built for alone."""

    def __init__(self, num_classes: int, in_chans: int = 1, img_size: int = 224) -> None:
        super().__init__(in_chans, num_classes)
        self.size = img_size

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[-1] == self.size, f"{image.shape[-1]} is not {self.size}"
        return super().forward(image)


class In32s(Sized):
    """Cannot be built for a size that 32 does not divide, nor run at another."""

    def __init__(self, num_classes: int, in_chans: int = 1, img_size: int = 224) -> None:
        super().__init__(num_classes, in_chans, img_size)
        assert img_size % 32 == 0


class Only224(Plain):
    """Has no argument for its size."""

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[-1] == 224, "not 224"
        return super().forward(image)


class Volumes(nn.Module):
    """Wants to be told the dimensions, and the size as one number for each."""

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, img_size: Any = (96, 96, 96)
    ) -> None:
        super().__init__()
        self.body, self.size = nn.Conv3d(in_channels, out_channels, 1), img_size
        assert spatial_dims == 3

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[2:] == self.size
        return self.body(image)


class Odd(Plain):
    """Names that nobody would guess."""

    def __init__(self, colours: int = 3, kinds: int = 1) -> None:
        super().__init__(colours, kinds)


class Looking(Plain):
    """Looks at numbers while it is built, as networks with stochastic depth do."""

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__(n_channels, n_classes)
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]


class Loud(Plain):
    """Prints."""

    def __init__(self, input_channel: int = 3, num_classes: int = 1) -> None:
        super().__init__(input_channel, num_classes)
        print("built")

    def forward(self, image: Tensor) -> Tensor:
        print("run")
        return super().forward(image)


class InDict(Plain):
    def forward(self, image: Tensor) -> Any:
        return {"aux": image, "out": super().forward(image)}


class AsObject(Plain):
    def forward(self, image: Tensor) -> Any:
        return SimpleNamespace(loss=None, logits=super().forward(image))


class FinestLast(Plain):
    def forward(self, image: Tensor) -> Any:
        logits = super().forward(image)
        return [logits[..., ::4, ::4], logits[..., ::2, ::2], logits]


class WithFeatures(Plain):
    def forward(self, image: Tensor) -> Any:
        return super().forward(image), image.repeat(1, 16, 1, 1)


class Alike(Plain):
    def forward(self, image: Tensor) -> Any:
        return (super().forward(image),) * 3


class AlikeInTraining(Plain):
    def forward(self, image: Tensor) -> Any:
        logits = super().forward(image)
        return [logits, logits] if self.training else logits


class Flat(Plain):
    def forward(self, image: Tensor) -> Any:
        return super().forward(image)[:, 0]


def needy(in_channels: int, classes: int, mystery: int) -> nn.Module:
    """Want what cannot be guessed."""
    raise NotImplementedError


def any_of(**options: Any) -> nn.Module:
    """Pass on whatever it is given."""
    return Pretrained(**options)


CONSTANT = 3
