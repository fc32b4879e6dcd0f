"""Cross-entropy and soft Dice over the pixels that are not ignored, and how to weight classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unet_bench.data.dataset import IGNORE


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    *,
    cross_entropy: float = 1.0,
    dice: float = 1.0,
    class_weights: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Return `cross_entropy` times the mean cross-entropy, plus `dice` times one minus soft Dice.

    `logits` `(N classes *S)`, `target` `(N *S)` class ids; pixels of id 255 are ignored. Soft Dice
    is pooled over the batch and averaged over the classes in it. `class_weights` `(classes,)`
    weight the mean of the cross-entropy, as they do in torch: it is divided by the sum of its
    pixels' class weights. `weight` `(N *S)` multiplies the cross-entropy per pixel, without a
    change of the divisor, so that it scales gradients as in the sum of Ronneberger et al. 2015, eq.
    1. Where no pixel is left, the loss is 0.

    No value is looked at, so that it runs without waiting for a GPU, and on tensors without data.
    """
    logits, valid = logits.float(), target != IGNORE
    loss = logits.new_zeros(())
    if cross_entropy:
        # Summed here, not by torch's reduction, which adds in no fixed order on CUDA.
        entropy = F.cross_entropy(
            logits, target, weight=class_weights, ignore_index=IGNORE, reduction="none"
        )
        if weight is not None:
            entropy = entropy * weight
        if class_weights is None:
            divisor = valid.sum().clamp_min(1)
        else:
            divisor = (class_weights[target.where(valid, 0)] * valid).sum().clamp_min(1e-6)
        loss = loss + cross_entropy * entropy.sum() / divisor
    if dice:
        loss = loss + dice * _dice_loss(logits, target, valid)
    return loss


def _dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    classes = torch.arange(logits.shape[1], device=target.device)
    # (N classes *S); an ignored pixel belongs to none.
    truth = target.unsqueeze(1) == classes.view(-1, *(1,) * (target.ndim - 1))
    probability = logits.softmax(1) * valid.unsqueeze(1)
    axes = (0, *range(2, logits.ndim))
    pixels = truth.sum(axes)
    overlap, both = (probability * truth).sum(axes), probability.sum(axes) + pixels
    present = pixels > 0
    missed = 1 - 2 * overlap / both.clamp_min(1e-6)
    return (missed * present).sum() / present.sum().clamp_min(1)


def median_frequency(masks: list[Tensor], classes: int) -> Tensor:
    """Return weights `(classes,)` that balance classes.

    A class's weight is the median of all frequencies over its own. A class's frequency is its
    pixels over all pixels, but for ignored ones, of the images in which it occurs (Eigen and Fergus
    2015, section 6.3.2). A class that occurs nowhere has weight 0, and does not enter the median.
    """
    counted = torch.stack(
        [torch.bincount(mask.flatten(), minlength=IGNORE + 1)[:classes] for mask in masks]
    )
    counts = counted.cpu().double()  # on the host: not every device has doubles
    pixels, among = counts.sum(0), ((counts > 0) * counts.sum(1, keepdim=True)).sum(0)
    present = pixels > 0
    frequency = pixels[present] / among[present]
    weights = torch.zeros_like(pixels)
    weights[present] = frequency.quantile(0.5) / frequency if len(frequency) else frequency
    return weights.float()
