"""Every registered part and variant keeps the contract, by the very checks that plugin authors use.

Every part is checked by every rule, and every network comes out with its shapes. What else is
checked of networks made of such parts is what may go wrong between them.

A plain `pytest` takes a sample: every part by the rule `shapes`, the networks in `SHORT` by every
rule. The rest is marked `full`.
"""

from __future__ import annotations

import pytest

from unet_bench.registry.plugins import load
from unet_bench.testing import Check, plugin_checks

MEMBERS = (  # of open families: small ones
    *(
        "timm:test_resnet",
        "timm:mobilenetv3_small_050",
        "torchvision:resnet18",
        "mit:b0",
        "recurrent:2",
    ),
    *("encoder=large-kernel:3-3-7", "encoder_block=large-kernel:7", "decoder_block=large-kernel:7"),
)
SHORT = (
    "unet",
    "unet-paper",
    "unet-modern",
    "unet-no-skip",
    "unet-deep-supervision",
    "unet++",
    "segnet",
)
MOVING = {"up", "down", "padding", "align", "topology"}  # the choices that say where a map lies
BACKBONES = ("resnet34-unet", "swin-tiny-unet", "mit-b0-unet")  # one of a kind
LOADED = load()
VARIANTS = LOADED.checked().variants()


def is_wanted(check: Check) -> bool:
    """Whether a check is run at all.

    A one-axis variant is `unet` but for one part, which is checked by itself: what is left is where
    maps lie. A backbone is its family's part; positions in it take long, so one of each kind is
    followed: of convolutions, of windows, and of overlapping patches. Depth and a third dimension
    make maps many and large, and move none.
    """
    variant, rule = VARIANTS.get(check.examined), check.rule.__name__
    if variant is None or variant.name in SHORT or rule == "shapes":
        return True
    choices, backbone = variant.choices, ":" in variant.choices.encoder
    if rule == "positions":
        moves = "one-axis" not in variant.tags or bool(MOVING & {*variant.tags})
        return (
            moves
            and choices.dims == 2
            and choices.depth <= 5
            and (not backbone or variant.name in BACKBONES)
        )
    return "one-axis" not in variant.tags and not backbone


def is_sampled(check: Check) -> bool:
    """Return whether a plain `pytest` runs a check."""
    if check.examined in VARIANTS:
        return check.examined in SHORT
    return check.rule.__name__ == "shapes"


CHECKS = [
    check
    for plugin in LOADED.plugins
    for check in plugin_checks(plugin.provider.plugin, members=MEMBERS, registry=LOADED.checked())
    if is_wanted(check)
]


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=str(check), marks=() if is_sampled(check) else pytest.mark.full)
        for check in CHECKS
    ],
)
def test_contract(check: Check) -> None:
    check()


def test_every_part_is_sampled_and_every_network_is_checked() -> None:
    sampled = {check.examined for check in CHECKS if is_sampled(check)}
    checked = {check.examined for check in CHECKS}
    parts = checked - {*VARIANTS}
    assert sampled == parts | {*SHORT}
    absent = {name for name, variant in VARIANTS.items() if LOADED.checked().absent(variant)}
    assert checked - parts == {*VARIANTS} - absent
