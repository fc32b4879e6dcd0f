"""The choices a U-Net is made of: one field for each slot (a part fills it) and each axis (a
value).

This is the one table from which variants, result columns, `--vary` and the docs take their names.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from unet_bench.errors import InvalidChoice, unknown

Value = str | int | float | bool | tuple[int, ...]


def _slot(default: str, help: str) -> Any:
    return field(default=default, metadata={"kind": "slot", "help": help, "values": ()})


def _axis(default: Value, help: str, *values: str, empty: str = "") -> Any:
    """Return an axis.

    `values` are those it takes, if not any of its type; `empty` is the word for an empty list.
    """
    return field(
        default=default, metadata={"kind": "axis", "help": help, "values": values, "empty": empty}
    )


NORMS: Final = ("none", "batch", "instance", "group", "layer")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A full set of choices.

    The defaults are the baseline `unet`: the 2015 shape, padded and batch-normed.
    """

    encoder: str = _slot("plain", "turns the image into one feature map per level")
    encoder_block: str = _slot("double-conv", "the convolutions of one encoder level")
    decoder_block: str = _slot(
        "same", "the convolutions of one decoder level; `same` is the encoder's"
    )
    bottleneck: str = _slot("plain", "what the coarsest map passes through after the encoder")
    down: str = _slot("max-pool", "halves a map between two encoder levels")
    up: str = _slot("transpose", "doubles a map between two decoder levels")
    align: str = _slot("crop", "brings the skip and the up-sampled map to one size")
    skip: str = _slot("identity", "what an encoder map passes through on its way to the decoder")
    merge: str = _slot("concat", "joins the skip and the up-sampled map")
    topology: str = _slot("unet", "which maps reach which decoder level")
    head: str = _slot("conv-1x1", "turns the finest decoder map into class scores")
    padding: str = _axis(
        "zeros",
        "what a convolution sees beyond the border; `valid`: it stops there",
        *("valid", "zeros", "reflect", "replicate", "circular"),
    )
    norm: str = _axis(
        "batch", "normalisation beside each convolution; `layer`: of each pixel's channels", *NORMS
    )
    decoder_norm: str = _axis(
        "same", "normalisation in the decoder; `same` is the encoder's", "same", *NORMS
    )
    norm_groups: int = _axis(8, "groups of group norm; fewer where they do not divide the channels")
    act: str = _axis(
        "relu", "activation beside each convolution", "relu", "leaky_relu", "prelu", "silu", "gelu"
    )
    leak: float = _axis(0.01, "slope of leaky ReLU below zero")
    order: str = _axis(
        "conv-norm-act",
        "the order of convolution, normalisation and activation",
        *("conv-norm-act", "conv-act-norm", "norm-conv-act", "norm-act-conv"),
    )
    bias: bool = _axis(True, "whether convolutions have a bias")
    dropout: float = _axis(0.0, "dropout probability at the end of the contracting path")
    base_width: int = _axis(64, "channels of the finest level; each coarser level doubles them")
    max_width: int = _axis(4096, "the widest a level may become")
    depth: int = _axis(4, "how often the map is halved")
    encoder_widths: tuple[int, ...] = _axis(
        (),
        "channels per level of the plain encoder, finest first; `doubling` from base_width on",
        empty="doubling",
    )
    decoder_widths: tuple[int, ...] = _axis(
        (), "channels per decoder level, finest first; `mirror` is the encoder's", empty="mirror"
    )
    width_scale: float = _axis(1.0, "factor on every width")
    up_policy: str = _axis(
        "halve",
        "channels after an up-sampling: half of those before, as many, or the level's width",
        "halve",
        "keep",
        "match",
    )
    decoder_mid: str = _axis(
        "out",
        "channels between a decoder block's convolutions: its output's, or half its input's",
        "out",
        "half-in",
    )
    convs_per_level: int = _axis(2, "convolutions per block")
    decoder_convs: int = _axis(
        0, "convolutions per block of the decoder; 0: as many as in the encoder's"
    )
    blocks_per_level: tuple[int, ...] = _axis(
        (1,), "blocks in a row per level of the plain encoder, finest first"
    )
    skip_levels: tuple[int, ...] = _axis(
        (), "levels that have a skip, 0 the finest; `all` of them", empty="all"
    )
    aux_heads: int = _axis(0, "coarser decoder maps with a head of their own, for deep supervision")
    average_heads: bool = _axis(False, "whether evaluation returns the mean of all heads")
    dims: int = _axis(2, "spatial dimensions", "2", "3")

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,), default=least) < least:
                raise InvalidChoice(
                    f"{name}={self.text()[name]} is too small: it must be at least {least}"
                )
        if not 0 < self.width_scale < math.inf:
            raise InvalidChoice(f"width_scale={self.width_scale} must be above 0, such as 0.25")
        if not math.isfinite(self.leak):
            raise InvalidChoice(f"leak={self.leak} must be a number, such as 0.01")
        if not 0 <= self.dropout < 1:
            raise InvalidChoice(f"dropout={self.dropout} must be at least 0 and below 1")
        if not self.blocks_per_level:
            raise InvalidChoice(
                "blocks_per_level is empty: name a number per level, such as 1/3/4/6"
            )

    def replace(self, **changes: Value | str) -> Choices:
        """Return a copy with some choices changed; text values are parsed.

        Raises UnknownName, InvalidChoice.
        """
        parsed: dict[str, Any] = {name: parse_value(name, value) for name, value in changes.items()}
        return dataclasses.replace(self, **parsed)

    def items(self) -> list[tuple[str, Value]]:
        """Return (name, value) for every choice, slots first."""
        return [(name, getattr(self, name)) for name in NAMES]

    def text(self) -> dict[str, str]:
        """Return every choice as text, as it stands in `--vary`, TOML and canonical names."""
        return {name: format_value(name, value) for name, value in self.items()}


LEAST: Final = {
    **dict.fromkeys(("base_width", "max_width", "depth", "convs_per_level", "norm_groups"), 1),
    **dict.fromkeys(("encoder_widths", "decoder_widths", "blocks_per_level"), 1),
    **dict.fromkeys(("decoder_convs", "aux_heads", "skip_levels"), 0),
}
"""The least that a number, or each in a list, may be."""
OF_PLAIN_ENCODER: Final = (
    *("encoder_block", "down", "depth", "base_width", "max_width"),
    *("encoder_widths", "blocks_per_level", "width_scale"),
)
"""What an encoder that comes as a whole `ignores`. With its width given, the decoder's is not
scaled either.
"""
FIELDS: Final = {f.name: f for f in fields(Choices)}
NAMES: Final = tuple(FIELDS)
SLOTS: Final = tuple(name for name, f in FIELDS.items() if f.metadata["kind"] == "slot")
AXES: Final = tuple(name for name, f in FIELDS.items() if f.metadata["kind"] == "axis")
DTYPES: Final[Mapping[str, str]] = {
    name: {bool: "boolean", int: "Int64", float: "Float64"}.get(type(f.default), "string")
    for name, f in FIELDS.items()
}


def at_level(values: tuple[int, ...], level: int) -> int:
    """Return the value of a level; the last one counts for all coarser levels."""
    return values[min(level, len(values) - 1)]


def format_value(name: str, value: Value) -> str:
    """Return the value of the choice `name` as text.

    Lists have slashes, booleans are true and false.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(map(str, value)) or str(FIELDS[name].metadata["empty"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_value(name: str, value: object) -> Value:
    """Return the typed value of the choice `name` from text or from a typed value.

    Raises UnknownName for a name that is neither slot nor axis, InvalidChoice for a value it does
    not take.
    """
    if name not in FIELDS:
        raise unknown("slot or axis", name, NAMES, "unet-bench list parts")
    allowed: tuple[str, ...] = FIELDS[name].metadata["values"]
    default: Value = getattr(Choices(), name)
    try:
        is_empty = value and value == FIELDS[name].metadata.get("empty")
        parsed = () if is_empty else _convert(value, default)
    except (KeyError, ValueError, TypeError) as error:
        wanted = (
            "a list such as 64/64/128/256" if isinstance(default, tuple) else type(default).__name__
        )
        raise InvalidChoice(f"{name}={value} is not valid: it takes {wanted}") from error
    if allowed and format_value(name, parsed) not in allowed:
        raise InvalidChoice(f"{name}={value} is not valid: it takes one of {', '.join(allowed)}")
    return parsed


def _convert(value: object, default: Value) -> Value:
    if isinstance(default, bool):
        return {"true": True, "false": False}[str(value).lower()]
    if isinstance(default, tuple):
        items = value if isinstance(value, (list, tuple)) else str(value).split("/")
        return tuple(map(int, items))
    if isinstance(default, int):
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)  # type: ignore[call-overload,no-any-return]
    if isinstance(default, float):
        return float(value)  # type: ignore[arg-type]
    if not isinstance(value, str):
        raise TypeError(value)
    return value
