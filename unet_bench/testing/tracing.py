"""Where in the image each map of a network looks, found by gradients: what geometry states is
compared with it.

Geometry reads positions off the operations; this finds the same by computing, and knows nothing of
operations.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from unet_bench.geometry.tracker import Position
from unet_bench.networks.contracts import Label
from unet_bench.testing.case import Size

FAINT: Final = 1e-3  # an image this dark leaves every gate half open, whatever the gate looks at
NORMS: Final = (nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
"""What normalises in evaluation; batch norm does not."""
AVG_POOL: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.MaxPool2d: nn.AvgPool2d,
    nn.MaxPool3d: nn.AvgPool3d,
}


class Meeting(NamedTuple):
    """What an align part was given, and returned."""

    level: int
    sizes: tuple[Size, ...]  # of the skip and of the up-sampled map
    skip: Tensor
    up: Tensor


class Tracer:
    """Runs a network whose maps can be followed to the image. The network is changed for it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = transparent(model)
        self.meetings: list[Meeting] = []
        for module in self.model.modules():
            label: Label | None = getattr(module, "_unet_bench_label", None)
            if label is not None and label.slot == "align":
                module.register_forward_hook(functools.partial(self._met, label.place.level))
            elif label is not None and label.slot == "merge":
                module.register_forward_pre_hook(merged_on_the_skips_way)
            elif label is not None and label.slot == "skip":
                module.register_forward_pre_hook(
                    lambda part, inputs: (inputs[0], inputs[1].detach())
                )
            elif getattr(module, "looks_around", False):
                module.register_forward_hook(lambda part, inputs, output: output.detach())

    def run(self, image: Tensor) -> tuple[Tensor, list[Meeting]]:
        """Return the output, and each meeting of a skip and an up-sampled map, finest first.

        No gradient passes an up-sampled map that is merged with a skip, a gate, or a module that
        states `looks_around`, as attention within windows does: each map is followed to the image
        on its shortest way.
        """
        self.meetings.clear()
        output: Tensor = self.model(image)
        return output, sorted(self.meetings, key=lambda meeting: meeting.level)

    def _met(
        self, level: int, part: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]
    ) -> None:
        skip, up = output
        if inputs[0] is not inputs[1]:
            self.meetings.append(
                Meeting(level, tuple(tuple(t.shape[2:]) for t in inputs), skip, up)
            )


def merged_on_the_skips_way(
    part: nn.Module, inputs: tuple[list[Tensor], Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Return what a merge is given, with gradients along the skip alone.

    Where there is a skip, the up-sampled map comes without its gradient.
    """
    skips, up = inputs
    return skips, up.detach() if skips else up


def transparent(model: nn.Module) -> nn.Module:
    """Return the network made transparent for gradients, in double precision.

    Its kernels pass on their middle, its pools average, and it has no norms.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NORMS):
                setattr(module, name, nn.Identity())
            elif type(child) in AVG_POOL and not child.return_indices:
                setattr(module, name, average_pool(child))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            incoming = parameter[0].numel() if parameter.ndim else 1
            parameter.fill_(0 if name.endswith("bias") else 1 / incoming)
        for module in model.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                module.weight.mul_(middle(module.kernel_size))
    return model.double()


def average_pool(pool: nn.Module) -> nn.Module:
    """Return the average-pool of a max-pool's windows."""
    average = AVG_POOL[type(pool)]
    return average(
        pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, count_include_pad=False
    )


def middle(kernel: Sequence[int]) -> Tensor:
    """Return 1 at the middle of a kernel, or at the middle two of an even side; else 0."""
    mask = torch.zeros(*kernel)
    mask[tuple(slice((side - 1) // 2, side // 2 + 1) for side in kernel)] = 1
    return mask


def looked_at(found: Tensor, image: Tensor, period: int) -> Position:
    """Return where a map's pixels look in the image, as a line.

    The line goes through what two parts of the map, of whole periods, depend on. They lie on either
    side of its middle, half-way to the border, so that a wide kernel does not reach beyond it.
    """
    ends = [filled(found, axis) for axis in range(2, found.ndim)]
    lengths = [n // period * period or max(n, 1) for n in ((high - low) // 2 for low, high in ends)]
    spares = [n // 2 // period * period for n in lengths]
    first = tuple(
        slice(low + s, low + n) for (low, _), n, s in zip(ends, lengths, spares, strict=True)
    )
    last = tuple(
        slice(high - n, high - s) for (_, high), n, s in zip(ends, lengths, spares, strict=True)
    )
    here, seen = depends_on(found, image, first, far=-1)
    there, beyond = depends_on(found, image, last, far=0)
    spacing = [(b - a) / (q - p) for a, b, p, q in zip(seen, beyond, here, there, strict=True)]
    origin = [a - p * step for a, p, step in zip(seen, here, spacing, strict=True)]
    return Position(tuple(origin), tuple(spacing))


def filled(found: Tensor, axis: int) -> tuple[int, int]:
    """Return where along an axis a map holds anything but padding."""
    indices = found.detach().movedim(axis, 0).flatten(1).any(1).nonzero()
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, found.shape[axis])


def depends_on(
    found: Tensor, image: Tensor, block: tuple[slice, ...], far: int
) -> tuple[list[float], list[float]]:
    """Return the middle of the block in the map, and of what it depends on in the image.

    Both are in pixels per dimension. What a far corner depends on as well comes through attention
    or global pooling, from anywhere: it does not count. The corner's negative gradients are left
    out, or a kernel with negative lobes would seem to look at the corner.
    """
    whole = slice(None)
    part, corner = found[(whole, whole, *block)], found.flatten(2)[..., far]
    (grad,) = torch.autograd.grad(part.sum(), image, retain_graph=True)
    quarters = (side // 4 for side in image.shape[2:])
    beyond = tuple(slice(0, n) if far == 0 else slice(-n, None) for n in quarters)
    # Else it looks at its surroundings alone, as convolutions do.
    if bool(grad[(whole, whole, *beyond)].any()):
        (anywhere,) = torch.autograd.grad(corner.sum(), image, retain_graph=True)
        grad = grad - part[0, 0].numel() * anywhere.clamp(min=0)
    middle = middle_of(part.detach())  # a pixel's value is its weight
    return [s.start + m for s, m in zip(block, middle, strict=True)], middle_of(grad.clamp(min=0))


def middle_of(weights: Tensor) -> list[float]:
    """Return the centroid of a map, in pixels per dimension."""
    weights = weights.sum((0, 1))
    across = [weights.movedim(axis, 0).flatten(1).sum(1) for axis in range(weights.ndim)]
    return [float((w * torch.arange(len(w))).sum() / w.sum()) for w in across]
