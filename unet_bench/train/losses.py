"""Cross-entropy plus soft Dice over the pixels that are not ignored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unet_bench.data.dataset import IGNORE


def dice_ce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy plus one minus soft Dice, averaged over the classes in the batch.

    `logits` `(N classes H W)`, `target` `(N H W)` class ids; pixels of id 255 are ignored. Where nothing is left, 0.
    No value is looked at, so that it runs without waiting for a GPU, and on tensors without data.
    """
    logits, valid = logits.float(), target != IGNORE
    count = valid.sum().clamp_min(1)
    entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum") / count
    classes = torch.arange(logits.shape[1], device=target.device).view(1, -1, *[1] * (target.ndim - 1))
    truth = target.unsqueeze(1) == classes  # (N classes H W); an ignored pixel belongs to none
    probability = logits.softmax(1) * valid.unsqueeze(1)
    axes = (0, *range(2, logits.ndim))
    pixels = truth.sum(axes)
    overlap, both = (probability * truth).sum(axes), probability.sum(axes) + pixels
    present = pixels > 0
    dice = (2 * overlap / both.clamp_min(1e-6) * present).sum() / present.sum().clamp_min(1)
    return entropy + present.any() - dice
