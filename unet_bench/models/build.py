"""From a variant to a network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from unet_bench.errors import InvalidChoice, InvalidPart, Unsupported
from unet_bench.geometry.meta import on_meta
from unet_bench.geometry.sizes import margins
from unet_bench.models.foreign import build_foreign
from unet_bench.models.select import canonicalised, checked, select_one
from unet_bench.networks.choices import SLOTS, Choices, Value
from unet_bench.networks.contracts import NamedFactory
from unet_bench.networks.unet import assemble
from unet_bench.networks.variants import Variant
from unet_bench.registry.plugins import load
from unet_bench.registry.registry import Registry


def build_model(
    name: str = "unet",
    *,
    in_channels: int = 3,
    classes: int = 2,
    image_size: Sequence[int] = (),
    **overrides: Value,
) -> nn.Module:
    """Build the network of a variant: `(N in_channels H W)` to logits `(N classes H' W')`.

    `overrides` change slots and axes: `build_model("unet", up="bilinear", base_width=16)`. Raises
    UnknownName, InvalidChoice, Unsupported.
    """
    registry = load().checked()
    variant = select_one(registry, name)
    if overrides:
        variant = variant.with_choices(**overrides)
    return build(registry, variant, in_channels, classes, image_size)


def build(
    registry: Registry,
    variant: Variant,
    in_channels: int,
    classes: int,
    image_size: Sequence[int] = (),
) -> nn.Module:
    """Build the network of a variant on torch's current default device."""
    if in_channels < 1 or classes < 1:
        raise InvalidChoice(
            f"in_channels={in_channels} and classes={classes} must both be at least 1"
        )
    try:
        if variant.architecture:
            return _architecture(registry, variant, in_channels, classes, image_size)
        choices = canonicalised(registry, checked(registry, variant)).choices
        parts = {slot: _factory(registry, slot, choices) for slot in SLOTS}
        make = functools.partial(assemble, choices, parts, in_channels, classes)
        if choices.padding != "valid":
            return make()
        with on_meta():
            template = make()
        return make(margins(template, in_channels, choices.dims))
    except InvalidChoice as error:
        raise Unsupported(f"{variant.name}: {error}") from error


def _factory(registry: Registry, slot: str, choices: Choices) -> NamedFactory:
    name = getattr(choices, slot)
    entry = registry.find(slot, name)
    if choices.dims not in entry.dims:
        raise Unsupported(
            f"{slot}={name} does not serve dims={choices.dims}: it serves {entry.dims}"
        )
    return NamedFactory(slot, name, str(entry.provider), entry.load())


def _architecture(
    registry: Registry, variant: Variant, in_channels: int, classes: int, image_size: Sequence[int]
) -> nn.Module:
    if registry.is_foreign(variant):
        return build_foreign(variant.architecture, in_channels, classes, image_size)
    entry = registry.find("architecture", variant.architecture)
    if absent := entry.absent:
        raise Unsupported(f"{variant.name} {absent}")
    args = dict(variant.args)
    if "base_width" in entry.args:
        args["width_scale"] = variant.choices.width_scale
    dims = variant.choices.dims
    if dims not in entry.dims:
        kinds = " and ".join({2: "images", 3: "volumes"}[of] for of in entry.dims)
        raise Unsupported(
            f"{variant.name} is a network for {kinds} alone: dims={dims} is not available"
        )
    model = entry.load()(
        in_channels=in_channels, classes=classes, dims=dims, image_size=tuple(image_size), **args
    )
    if not isinstance(model, nn.Module):
        raise InvalidPart(
            f"architecture {entry.name} of plugin {entry.provider} returned "
            f"{type(model).__name__}, no nn.Module"
        )
    return model


def published_weights(model: nn.Module) -> Callable[[str], None] | None:
    """Return what brings published weights (`imagenet`) into a network or its encoder.

    That is `load_pretrained`, if it has that.
    """
    owners = (model, getattr(model, "encoder", None))
    methods = (getattr(owner, "load_pretrained", None) for owner in owners)
    found: Callable[[str], None] | None = next(filter(None, methods), None)
    return found


def takes_width(registry: Registry, variant: Variant) -> bool:
    """Return whether `width_scale` changes a variant.

    It does not where the encoder, or the architecture, comes as it is.
    """
    if not variant.architecture:
        return "width_scale" not in canonicalised(registry, variant).inactive
    if registry.is_foreign(variant):
        return False
    return "base_width" in registry.find("architecture", variant.architecture).args


def doubling_step(variant: Variant) -> float:
    """Return the width scale whose multiples keep widths that double exactly; 0: unknown.

    Parts that add maps may need such widths. `unet.scaled` rounds each width to a multiple of four.
    """
    return 0.0 if variant.architecture else 4 / variant.choices.base_width


def with_width_scale(variant: Variant, scale: float) -> Variant:
    """Return the variant at a part of its width, under its own name."""
    return replace(variant, choices=variant.choices.replace(width_scale=scale))
