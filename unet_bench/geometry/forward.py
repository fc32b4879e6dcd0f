"""A forward pass without data: what a network makes of an input size, and whether its parts keep
their contracts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidPart, InvalidSize, UnetBenchError, first_line
from unet_bench.geometry.shapes import Geometry, Skip, format_size
from unet_bench.geometry.tracker import Position, Tracker, centred, flat_tensors
from unet_bench.networks.contracts import Label, main_output, stated_channels


def trace(model: nn.Module, in_channels: int, size: Sequence[int]) -> Geometry:
    """Return what `model`, built on the meta device, makes of an image `(1 in_channels *size)`.

    Raises InvalidSize when it cannot take the size, InvalidPart when a part breaks its contract.
    """
    size, dims = tuple(size), len(size)
    tracker = Tracker(dims)
    parts = PartWatcher(tracker)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # In inference mode operations would come whole, as conv2d and narrow: not understood.
        with torch.inference_mode(False), torch.no_grad(), parts.watch(model), tracker:
            image = torch.empty((1, in_channels, *size), device="meta")
            tracker.place(image, Position((0.0,) * dims, (1.0,) * dims))
            output = main_output(model(image))
    except UnetBenchError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        culprit = f"in {parts.running[-1]}: " if parts.running else ""
        raise InvalidSize(
            f"an input of {format_size(size)} does not pass through the network "
            f"({culprit}{first_line(error)})"
        ) from error
    except Exception as error:
        culprit = str(parts.running[-1]) if parts.running else "this network"
        raise InvalidPart(
            f"{culprit}: forward raised {type(error).__name__}: {first_line(error)}"
        ) from error
    finally:
        for module in training:
            module.training = True
    if output.ndim != dims + 2 or 0 in output.shape:
        raise InvalidSize(
            f"an input of {format_size(size)} gives an output of shape {tuple(output.shape)}: "
            "nothing to score"
        )
    where = tracker.find(output) or centred(size, output.shape[2:])
    return Geometry(
        input=size,
        output=tuple(output.shape[2:]),
        channels=int(output.shape[1]),
        offset=where.origin,
        skips=tuple(sorted(tracker.skips, key=lambda skip: skip.level)),
        lost=tuple(tracker.lost),
        stride=round(tracker.coarsest),
        spacing=where.spacing,
        spare=tracker.spare,
        missing=tracker.missing,
    )


class PartWatcher:
    """Checks each labelled part against its contract while a model runs, and notes its skips.

    `running` are the parts that were entered and not left, innermost last: when a forward pass
    fails, the last one is at fault.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.running: list[Label] = []

    def watch(self, model: nn.Module) -> ExitStack:
        """Watch the labelled parts of a model; the returned stack removes the hooks."""
        hooks = ExitStack()
        for module in model.modules():
            label = getattr(module, "_unet_bench_label", None)
            if label is not None:
                before, after = (functools.partial(f, label) for f in (self._enter, self._leave))
                hooks.enter_context(module.register_forward_pre_hook(before))
                hooks.enter_context(module.register_forward_hook(after))
        return hooks

    def _enter(self, label: Label, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.running.append(label)

    def _leave(self, label: Label, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.running.pop()
        if label.slot == "align":
            self._note_skip(label, inputs, output)
        elif label.slot == "encoder":
            self._place_encoded(module, inputs[0], output)
        elif label.slot not in ("topology", "skip"):
            expected = stated_channels(module, label.place)
            if not isinstance(output, Tensor) or output.shape[1] != expected:
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise InvalidPart(
                    f"{label}: returned {got} where {expected} channels were promised"
                )

    def _place_encoded(self, encoder: nn.Module, image: Tensor, maps: Any) -> None:
        """Place maps that could not be followed (windows, merged patches) by their reductions."""
        tracker = self.tracker
        reductions: list[int] = list(encoder.reductions)  # type: ignore[arg-type]
        finer_ones = [1, *reductions]
        for finer, reduction, x in zip(finer_ones, reductions, flat_tensors(maps), strict=False):
            spacing = (float(reduction),) * tracker.dims
            position = tracker.find(x)
            if position is not None and position.spacing == spacing:
                continue
            centre = ((reduction - 1) / 2,) * tracker.dims
            tracker.place(x, Position(centre, spacing, float(reduction)))
            tracker.coarsest = max(tracker.coarsest, reduction)
            level, factor = finer.bit_length() - 1, reduction // finer
            for side in image.shape[2:]:
                length = -(-side // finer)
                if length % factor:
                    missing = reduction - side % reduction
                    tracker.note_loss(level, length, factor, float(finer), missing)

    def _note_skip(self, label: Label, inputs: tuple[Any, ...], output: Any) -> None:
        """Note how an `align` part brought a skip and an up-sampled map to one size."""
        is_pair = isinstance(output, tuple) and len(output) == 2
        if not is_pair or output[0].shape[2:] != output[1].shape[2:]:
            got = [tuple(t.shape) for t in flat_tensors(output)]
            raise InvalidPart(f"{label}: must return two maps of one size, returned {got}")
        skip, up = inputs
        if skip is up:
            return
        low = shift = (0.0,) * self.tracker.dims
        before, after, lifted = map(self.tracker.find, (skip, *output))
        if before and after and lifted:
            low, shift = before.distance(after), after.distance(lifted)
        start = tuple(map(round, low))
        sides = zip(skip.shape[2:], output[0].shape[2:], start, strict=True)
        self.tracker.skips.append(
            Skip(
                level=label.place.level,
                size=tuple(skip.shape[2:]),
                up_size=tuple(up.shape[2:]),
                low=start,
                high=tuple(b - a - first for b, a, first in sides),
                misalignment=shift,
            )
        )
