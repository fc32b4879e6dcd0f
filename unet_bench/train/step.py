"""One optimiser step, in the three parts that it consists of: trainings take it whole, timings also part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unet_bench.interfaces import Outputs, main_output
from unet_bench.measure.bench import Bench
from unet_bench.train.losses import dice_ce
from unet_bench.train.windows import scored


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every variant is trained: AdamW, half a cosine after a linear rise, Dice and cross-entropy."""

    lr: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: float = 0.1  # of the steps
    clip: float = 1.0  # gradient norm


class TrainingStep:
    """Forward pass and loss, backward pass, update: `step(images, target)` is all three."""

    def __init__(
        self,
        bench: Bench,
        model: nn.Module,
        recipe: Recipe | None = None,
        call: Callable[[Tensor], Tensor | Outputs] | None = None,
    ) -> None:
        on_gpu = bench.cell.setting.device.startswith("cuda")
        recipe = recipe or Recipe()
        self.bench, self.model, self.recipe = bench, model, recipe
        self.call = model if call is None else call
        parameters = [*model.parameters()] or [nn.Parameter(torch.zeros(1, device=bench.device))]
        # Torch would choose the same by itself on a GPU; said aloud, tensors without data follow the same path.
        self.optimiser = torch.optim.AdamW(
            parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, foreach=on_gpu or None
        )
        scaled = bench.cell.setting.precision == "fp16" and not bench.stand_in
        self.scaler = torch.amp.GradScaler(bench.device.type, enabled=scaled)

    def __call__(self, images: Tensor, target: Tensor) -> Tensor:
        loss = self.forward(images, target)
        self.backward(loss)
        self.update()
        return loss

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """The loss of `(N C H W)` images and their `(N h w)` classes."""
        with self.bench.precision():
            return loss_of(self.call(images), target, self.bench)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
        if loss.requires_grad:
            self.scaler.scale(loss).backward()

    def update(self) -> None:
        """Clip, take the step, forget the gradients."""
        if any(p.grad is not None for p in self.model.parameters()):
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.scaler.step(self.optimiser)
            self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)


def loss_of(output: Tensor | Outputs, target: Tensor, bench: Bench) -> Tensor:
    """The main head's loss, plus each auxiliary head's, weighted, at full size."""
    size, frame = bench.cell.task.scored, bench.cell.frame
    loss = dice_ce(scored(main_output(output), frame, size), target)
    if isinstance(output, Outputs):
        for weight, logits in output.aux:
            whole = nn.functional.interpolate(logits, size=frame.output, mode="bilinear")
            loss = loss + weight * dice_ce(scored(whole, frame, size), target)
    return loss
