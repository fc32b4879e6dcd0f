"""Whole networks: the sizes they are tried at, and whether what geometry says of them is true."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from unet_bench import geometry
from unet_bench.build import build
from unet_bench.errors import InvalidSize
from unet_bench.geometry import Position
from unet_bench.registry import Registry
from unet_bench.testing.case import Case, Inputs, Shape, Size, random_map, require, require_shapes
from unet_bench.variants import Variant

IN_CHANNELS: Final = 2  # neither grey nor colour: nothing may take those for granted
CLASSES: Final = 3
NEAR: Final = 0.25  # of a pixel: how far a traced position may be from the stated one
FAINT: Final = 1e-3  # of the traced image: every gate is then half open, whatever it looks at
AVG_POOL: Final = {nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}
NORMS: Final = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)


def variant_cases(registry: Registry, variant: Variant, sizes: Sequence[Size] = ()) -> list[Case]:
    """The network, at the sizes given; without any, at two legal ones and two odd ones."""
    image_size = tuple(sizes[0]) if sizes else ()
    make = functools.partial(build, registry, variant, IN_CHANNELS, CLASSES, image_size)
    with torch.device("meta"):
        shadow = make()
    legal, odd = (sizes, ()) if sizes else usual_sizes(shadow, variant.choices.dims)
    case = Case(
        what=f"variant {variant.name} of plugin {variant.provider}",
        make=make,
        inputs=lambda size: (random_map(IN_CHANNELS, size),),
        verify=functools.partial(verify, shadow),
        sizes=tuple(legal),
        others=tuple(odd),
    )
    return [case]


def usual_sizes(model: nn.Module, dims: int) -> tuple[list[Size], list[Size]]:
    """A small and a larger legal size, of unlike sides, and an odd one beside each."""
    base, step = geometry.legal_sizes(model, IN_CHANNELS, dims)
    legal = [tuple(base + step * (steps + axis % 2) for axis in range(dims)) for steps in (2, 4)]
    return legal, [tuple(side + more for side in size) for size, more in zip(legal, (1, 3), strict=True)]


def verify(shadow: nn.Module, model: nn.Module, inputs: Inputs, output: Any) -> None:
    """Raises InvalidPart unless evaluation gives logits, as large as geometry says."""
    require(
        isinstance(output, Tensor), f"returned {type(output).__name__} in evaluation, expected one tensor of logits"
    )
    stated = geometry.geometry(shadow, IN_CHANNELS, inputs[0].shape[2:]).output
    require_shapes(output, [Shape(CLASSES, stated, stated)])


def positions(case: Case) -> None:
    """Offset and misalignments are as geometry states them, by the gradients of a network of plain averages."""
    with torch.device("meta"):
        shadow = case.built()
    for size in (*case.sizes[-1:], *case.others[-1:]):  # the larger ones: fewer pixels at a border
        try:
            stated = geometry.geometry(shadow, IN_CHANNELS, size)
        except InvalidSize:
            continue
        noise = torch.rand(1, IN_CHANNELS, *size, dtype=torch.float64) / 100  # so that every maximum is anywhere
        image = FAINT * (1 + noise)
        output, meetings = traced(averaging(case.built()), image.requires_grad_())
        compare("offset", stated.offset, looked_at(output, image, 2 * stated.stride).origin, size)
        require(
            len(meetings) == len(stated.skips), f"{len(meetings)} skips met, but geometry tells of {len(stated.skips)}"
        )
        for skip, met in zip(stated.skips, meetings, strict=True):
            require((skip.size, skip.up_size) == met.sizes, f"level {skip.level}: {met.sizes} met, stated {skip}")
            kept, lifted = looked_at(met.skip, image, 2), looked_at(met.up, image, 2)
            shift = [(u - k) / s for u, k, s in zip(lifted.origin, kept.origin, kept.spacing, strict=True)]
            compare(f"misalignment at level {skip.level}", skip.misalignment, shift, size)


class Meeting(NamedTuple):
    """What an align part was given and returned."""

    level: int
    sizes: tuple[Size, Size]
    skip: Tensor
    up: Tensor


def traced(model: nn.Module, image: Tensor) -> tuple[Tensor, list[Meeting]]:
    """The output, and each meeting of skip and up-sampled map, finest first.

    No gradient passes through a met up-sampled map or a gate: each map is followed to the image on its shortest way.
    """
    meetings: list[Meeting] = []

    def at_align(
        part: nn.Module, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        skip, up = output
        if inputs[0] is not inputs[1]:
            sizes = tuple(inputs[0].shape[2:]), tuple(inputs[1].shape[2:])
            meetings.append(Meeting(part._unet_bench_label.place.level, sizes, skip, up))
        return skip, up.detach()

    def before_skip(part: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return inputs[0], inputs[1].detach()

    for module in model.modules():
        slot = getattr(getattr(module, "_unet_bench_label", None), "slot", "")
        if slot == "align":
            module.register_forward_hook(at_align)
        elif slot == "skip":
            module.register_forward_pre_hook(before_skip)
    output: Tensor = model(image)
    return output, sorted(meetings, key=lambda meeting: meeting.level)


def averaging(model: nn.Module) -> nn.Module:
    """The network with pools that average, kernels that pass on their middle, and without norms: all in plain sight."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NORMS):
                setattr(module, name, nn.Identity())
            elif type(child) in AVG_POOL and not child.return_indices:
                pool = AVG_POOL[type(child)]
                setattr(
                    module,
                    name,
                    pool(child.kernel_size, child.stride, child.padding, child.ceil_mode, count_include_pad=False),
                )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0 if name.endswith("bias") else 1 / max(1, parameter[0].numel()))
        for module in model.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                module.weight.mul_(middle(module.kernel_size))
    return model.double()


def middle(kernel: Sequence[int]) -> Tensor:
    """1 at the middle of a kernel, at the middle two of an even side, else 0."""
    mask = torch.zeros(*kernel)
    mask[tuple(slice((k - 1) // 2, k // 2 + 1) for k in kernel)] = 1
    return mask


def looked_at(found: Tensor, image: Tensor, period: int) -> Position:
    """Where a map's pixels look in the image: the line through what its two ends, of whole periods, depend on."""
    ends = [filled(found, axis) for axis in range(2, found.ndim)]
    lengths = [n // period * period or max(n, 1) for n in ((high - low) // 2 for low, high in ends)]
    first = tuple(slice(low, low + n) for (low, _), n in zip(ends, lengths, strict=True))
    last = tuple(slice(high - n, high) for (_, high), n in zip(ends, lengths, strict=True))
    here, seen = depends_on(found, image, first, far=-1)
    there, beyond = depends_on(found, image, last, far=0)
    spacing = [(b - a) / (q - p) for a, b, p, q in zip(seen, beyond, here, there, strict=True)]
    origin = [a - p * step for a, p, step in zip(seen, here, spacing, strict=True)]
    return Position(tuple(origin), tuple(spacing))


def filled(found: Tensor, axis: int) -> tuple[int, int]:
    """Where along an axis a map holds anything but padding."""
    indices = found.detach().movedim(axis, 0).flatten(1).any(1).nonzero()
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, found.shape[axis])


def depends_on(found: Tensor, image: Tensor, block: tuple[slice, ...], far: int) -> tuple[list[float], list[float]]:
    """(middle of the block in the map, middle of what it depends on in the image), in pixels per dimension.

    What a far corner depends on as well comes through attention or global pooling, from anywhere: it does not count.
    """
    part, corner = found[(..., *block)], found[(..., *[far] * len(block))]
    (grad,) = torch.autograd.grad(part.sum() - part[0, 0].numel() * corner.sum(), image, retain_graph=True)
    middle = middle_of(part.detach())  # a pixel's value is its weight
    return [s.start + m for s, m in zip(block, middle, strict=True)], middle_of(grad.clamp(min=0))


def middle_of(weights: Tensor) -> list[float]:
    """The centroid of a map, in pixels per dimension."""
    weights = weights.sum((0, 1))
    across = [weights.movedim(axis, 0).flatten(1).sum(1) for axis in range(weights.ndim)]
    return [float((w * torch.arange(len(w))).sum() / w.sum()) for w in across]


def compare(what: str, stated: Sequence[float], seen: Sequence[float], size: Size) -> None:
    """Raises InvalidPart when a traced position is not near the stated one."""
    near = all(abs(a - b) <= NEAR for a, b in zip(stated, seen, strict=True))
    told = [round(value, 2) for value in seen]
    require(near, f"at {geometry.text(size)} the {what} is {told} by its gradients, stated {list(stated)}")
