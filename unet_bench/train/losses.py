"""Cross-entropy plus soft Dice over the pixels that are not ignored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unet_bench.data.dataset import IGNORE


def dice_ce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy plus one minus soft Dice, averaged over the classes in the batch.

    `logits` `(N classes H W)`, `target` `(N H W)` class ids; pixels of id 255 are ignored.
    """
    logits = logits.float()
    valid = target != IGNORE
    if not valid.any():
        return logits.sum() * 0
    entropy = F.cross_entropy(logits, target, ignore_index=IGNORE)
    truth = F.one_hot(torch.where(valid, target, 0), logits.shape[1]).movedim(-1, 1) * valid.unsqueeze(1)
    probability = logits.softmax(1) * valid.unsqueeze(1)
    axes = (0, *range(2, logits.ndim))
    overlap, both = (probability * truth).sum(axes), (probability + truth).sum(axes)
    present = truth.sum(axes) > 0
    dice = (2 * overlap / both.clamp_min(1e-6))[present]
    return entropy + 1 - dice.mean()
