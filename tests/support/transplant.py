"""The weights of one network in another that computes the same, found by running both and not by
any table of names.

Both are run on one image. Whatever layer with parameters is reached in ours takes its weights from
the layer of theirs of the same kind and shape that was given the same map. A map may come with its
channels in another order, as where a skip is concatenated behind the up-sampled map instead of
before it: the order is found by looking at the channels, and the weights are taken in that order.
So every layer is checked as it is reached, and the first one that is given something else is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CLOSE = {"rtol": 1e-8, "atol": 1e-8}
INPUTS_DIM = {nn.Conv2d: 1, nn.Conv3d: 1, nn.ConvTranspose2d: 0, nn.ConvTranspose3d: 0}
"""The dimension of the weights that runs over a layer's input channels, of the layers that mix
them.
"""


class Given(NamedTuple):
    """A layer with parameters, and the map it was given."""

    layer: nn.Module
    map: Tensor


class Pair(NamedTuple):
    """Two layers that compute the same; channel i of what ours is given is channel `order[i]` of
    what theirs is.
    """

    ours: nn.Module
    theirs: nn.Module
    order: Tensor | None

    def reordered(self, name: str, theirs: Tensor) -> Tensor:
        """A tensor of their layer, or its gradient, as it is in ours."""
        return (
            theirs
            if self.order is None or name != "weight"
            else theirs.index_select(self.dim, self.order)
        )

    @property
    def dim(self) -> int:
        return INPUTS_DIM[type(self.ours)]


def transplant(theirs: nn.Module, ours: nn.Module, image: Tensor) -> list[Pair]:
    """Give ours the weights and the statistics of theirs; `image` is what both are run on, in
    training mode.

    Raises AssertionError for a layer of ours without a counterpart, and for layers that remain on
    either side.
    """
    free: list[Given] = []
    pairs: list[Pair] = []

    def take(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        pair = counterpart(names[layer], layer, given[0], free)
        free[:] = [other for other in free if other.layer is not pair.theirs]
        pairs.append(pair)
        for name, parameter in layer.named_parameters():
            parameter.copy_(pair.reordered(name, pair.theirs.get_parameter(name)))

    names = {layer: name for name, layer in ours.named_modules()}
    with torch.no_grad():
        run(theirs, image, lambda layer, given: free.append(Given(layer, given[0].clone())))
        run(ours, image, take)
    for pair in pairs:
        for name, statistic in pair.ours.named_buffers():
            statistic.copy_(pair.theirs.get_buffer(name))
    for network, paired in (
        (ours, {pair.ours for pair in pairs}),
        (theirs, {pair.theirs for pair in pairs}),
    ):
        left = [
            name
            for name, layer in network.named_modules()
            if has_parameters(layer) and layer not in paired
        ]
        assert not left, f"these layers of {type(network).__name__} have no counterpart: {left}"
    return pairs


def run(network: nn.Module, image: Tensor, seen: Any) -> None:
    """A pass in training mode, in which `seen` is told of each layer with parameters what it is
    given.
    """
    handles = [m.register_forward_pre_hook(seen) for m in network.modules() if has_parameters(m)]
    network.train()(image)
    for handle in handles:
        handle.remove()


def has_parameters(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, not only in its parts."""
    return next(module.parameters(recurse=False), None) is not None


def counterpart(name: str, layer: nn.Module, given: Tensor, free: Iterable[Given]) -> Pair:
    """The first free layer of theirs, as they were run, of the same kind and shape and given the
    same map.

    Raises AssertionError when there is none.
    """
    alike = [
        other
        for other in free
        if type(other.layer) is type(layer) and shapes(other.layer) == shapes(layer)
    ]
    for other in alike:
        if other.map.shape == given.shape:
            if torch.allclose(given, other.map, **CLOSE):
                return Pair(layer, other.layer, None)
            if type(layer) in INPUTS_DIM and (order := channel_order(given, other.map)) is not None:
                return Pair(layer, other.layer, order)
    raise AssertionError(
        f"{name} ({layer}) is given a map of shape {tuple(given.shape)} that none of the "
        f"{len(alike)} layers "
        "of theirs of this kind and shape is given: up to here the networks agree, what lies "
        "before it differs"
    )


def shapes(layer: nn.Module) -> dict[str, torch.Size]:
    """The shape of each parameter of a layer."""
    return {name: parameter.shape for name, parameter in layer.named_parameters()}


def channel_order(ours: Tensor, theirs: Tensor) -> Tensor | None:
    """Where each channel of ours `(N C *S)` lies in theirs; `None` when they are not the same
    channels.
    """
    flat = [tensor.movedim(1, 0).flatten(1) for tensor in (ours, theirs)]  # (C, N·S)
    marks = torch.linspace(1, 2, flat[0].shape[1], dtype=ours.dtype).sin()
    ranked = [(channels @ marks).round(decimals=8).argsort(stable=True) for channels in flat]
    order = ranked[1][ranked[0].argsort()]
    return order if torch.allclose(ours, theirs[:, order], **CLOSE) else None


def assert_same(
    theirs: nn.Module, ours: nn.Module, pairs: Sequence[Pair], image: Tensor, training: bool
) -> None:
    """Outputs, gradients of the image and of every parameter, and what batch norms note, are the
    same.
    """
    ran = []
    for network in (theirs, ours):
        network.train(training).zero_grad()
        seen = image.clone().requires_grad_()
        outputs = tensors_of(network(seen))
        marks = torch.Generator().manual_seed(7)
        sum(
            (o * torch.randn(o.shape, dtype=o.dtype, generator=marks)).sum() for o in outputs
        ).backward()
        ran.append((outputs, seen.grad))
    torch.testing.assert_close(ran[1], ran[0], **CLOSE)
    for pair in pairs:
        for name, parameter in pair.ours.named_parameters():
            other = pair.theirs.get_parameter(name).grad
            assert (parameter.grad is None) == (other is None), (
                f"a gradient reaches one {name} alone: {pair}"
            )
            if other is not None:
                torch.testing.assert_close(parameter.grad, pair.reordered(name, other), **CLOSE)
        for name, statistic in pair.ours.named_buffers():
            torch.testing.assert_close(statistic, pair.theirs.get_buffer(name), **CLOSE)


def tensors_of(output: Any) -> list[Tensor]:
    """The logits of every head, the main ones first: of a tensor, of our `Outputs`, of a list."""
    if isinstance(output, Tensor):
        return [output]
    if hasattr(output, "aux"):
        return [output.main, *(logits for _, logits in output.aux)]
    return list(output)
