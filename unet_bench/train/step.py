"""One optimiser step, in the three parts that it consists of: trainings take it whole, timings also
part by part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.host.device import kind_of
from unet_bench.networks.contracts import Outputs, main_output
from unet_bench.networks.layers import LINEAR_MODE
from unet_bench.spec.recipe import Recipe
from unet_bench.train.losses import segmentation_loss
from unet_bench.train.windows import scored


class TrainingStep:
    """Forward pass and loss, backward pass, and update, as the cell's recipe has them.

    `step(images, target)` does all three. `class_weights` `(classes,)` weigh the cross-entropy;
    None: all alike.
    """

    def __init__(
        self,
        context: MeasurementContext,
        model: nn.Module,
        call: Callable[[Tensor], Tensor | Outputs] | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.context, self.model, self.recipe = context, model, context.cell.protocol.recipe
        self.call = model if call is None else call
        self.class_weights = class_weights
        parameters = [*model.parameters()] or [nn.Parameter(torch.zeros(1, device=context.device))]
        self.optimiser = self.optimiser_of(parameters)
        scaled = context.cell.setting.precision == "fp16" and not context.stand_in
        self.scaler = torch.amp.GradScaler(context.device.type, enabled=scaled)

    def optimiser_of(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the recipe's optimiser, as the setting's device runs it."""
        fused = self.fused and not self.context.stand_in
        # Torch would choose the same by itself on a GPU; said aloud, tensors without data follow
        # the same path.
        foreach = kind_of(self.context.cell.setting.device) in ("cuda", "xpu") or None
        return optimiser(self.recipe, parameters, foreach=foreach, fused=fused)

    @property
    def fused(self) -> bool:
        """Whether the update is one operation, without tensors of its own: several times quicker.

        So it is on a processor, where torch itself would go tensor by tensor.
        """
        real = all(parameter.is_floating_point() for parameter in self.model.parameters())
        return real and kind_of(self.context.cell.setting.device) == "cpu"

    def __call__(self, images: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        loss = self.forward(images, target, weight)
        self.backward(loss)
        self.update()
        return loss

    def forward(self, images: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of images `(N C *S)` and the classes `(N *s)` of their scored pixels.

        `weight` `(N *s)` is that of each pixel.
        """
        with self.context.precision():
            return loss_of(self.call(images), target, self.context, self.class_weights, weight)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss."""
        if loss.requires_grad:
            self.scaler.scale(loss).backward()

    def update(self) -> None:
        """Clip, take the step, forget the gradients."""
        if any(p.grad is not None for p in self.model.parameters()):
            self.scaler.unscale_(self.optimiser)
            if self.recipe.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            # What is fused takes no memory: tensors without data, which torch refuses, are spared.
            if not (self.fused and self.context.stand_in):
                self.scaler.step(self.optimiser)
                self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)

    def set_rate(self, factor: float) -> None:
        """Learn at `factor` times the recipe's rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = factor * self.recipe.lr


def optimiser(
    recipe: Recipe, parameters: list[nn.Parameter], *, foreach: bool | None, fused: bool
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; `foreach` and `fused` are ways to compute the same."""
    how: dict[str, Any] = {"fused": True} if fused else {"foreach": foreach}
    how |= {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **how)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, **how)
    return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **how)


def loss_of(
    output: Tensor | Outputs,
    target: Tensor,
    context: MeasurementContext,
    class_weights: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the main head's loss; with deep supervision the weighted mean over all heads.

    The main head has weight 1 and each auxiliary head that of its output; as nnU-Net does, the
    weights are divided by their sum (Isensee et al. 2021), so that a learning rate means the same
    with and without auxiliary heads. An auxiliary head's loss is taken at full size.
    """
    recipe = context.cell.protocol.recipe
    size, input_window = context.cell.training_window

    def of(logits: Tensor) -> Tensor:
        return segmentation_loss(
            scored(logits, input_window, size),
            target,
            cross_entropy=recipe.cross_entropy,
            dice=recipe.dice,
            class_weights=class_weights,
            weight=weight,
        )

    loss = of(main_output(output))
    if isinstance(output, Outputs) and recipe.deep_supervision:
        mode = LINEAR_MODE[len(input_window.output)]
        for share, logits in output.aux:
            full_size = nn.functional.interpolate(logits, size=input_window.output, mode=mode)
            loss = loss + share * of(full_size)
        loss = loss / (1 + sum(share for share, _ in output.aux))
    return loss
