"""Every registered part and variant keeps the contract, by the very checks that plugin authors use.

By default every part is checked by every rule, and every network that can be made small comes out with its shapes. The
rest of what is checked of whole networks is `slow`: made of parts that keep the contract they mostly keep it too, and
the short list has a network of each kind. What may go wrong between sound parts is where maps lie: that is checked of
whatever moves them.
"""

from __future__ import annotations

import pytest

from unet_bench.plugins import load
from unet_bench.testing import Check, plugin_checks
from unet_bench.variants import Variant

MEMBERS = (  # of open families: small ones
    *("timm:test_resnet", "timm:mobilenetv3_small_050", "torchvision:resnet18", "mit:b0", "recurrent:2"),
    *("encoder=large-kernel:3-3-7", "encoder_block=large-kernel:7", "decoder_block=large-kernel:7"),
)
SHORT = ("unet", "unet-paper", "unet-modern", "unet-no-skip", "unet-deep-supervision", "unet++", "segnet")
MOVING = {"up", "down", "padding", "align", "topology"}  # the choices that say where a map lies
BACKBONES = (
    "resnet34-unet",
    "mobilenetv3-unet",
    "convnext-tiny-unet",
    "swin-tiny-unet",
    "pvt-v2-b0-unet",
    "mit-b0-unet",
)
LOADED = load()
VARIANTS = LOADED.checked().variants()


def is_left_out(check: Check) -> bool:
    """Positions take minutes where maps are many and large: in depth and in 3-D they are as in small networks, and of
    backbones one of each kind is followed.
    """
    if check.subject not in VARIANTS or check.rule.__name__ != "positions":
        return False
    choices = VARIANTS[check.subject].choices
    return choices.dims == 3 or choices.depth > 5 or (":" in choices.encoder and check.subject not in BACKBONES)


CHECKS = [
    check
    for plugin in LOADED.plugins
    for check in plugin_checks(plugin.provider.plugin, members=MEMBERS, registry=LOADED.checked())
    if not is_left_out(check)
]


def is_slow(check: Check) -> bool:
    variant, rule = VARIANTS.get(check.subject), check.rule.__name__
    if variant is None or variant.name in SHORT:  # a part, or of the short list
        return False
    moves = rule == "positions" and "one-axis" in variant.tags and MOVING & {*variant.tags}
    return is_large(variant) or not (rule == "shapes" or moves)


def is_large(variant: Variant) -> bool:
    """Whether it stays large when it is made narrow: for what a backbone, a depth, a dimension, lost borders need."""
    choices = variant.choices
    return ":" in choices.encoder or choices.depth > 5 or choices.dims == 3 or choices.padding == "valid"


@pytest.mark.parametrize(
    "check", [pytest.param(check, id=str(check), marks=[pytest.mark.slow] * is_slow(check)) for check in CHECKS]
)
def test_contract(check: Check) -> None:
    check()


def test_the_default_session_has_every_part_and_nearly_every_network() -> None:
    quick = {check.subject for check in CHECKS if not is_slow(check)}
    assert {check.subject for check in CHECKS if "=" in check.subject} <= quick
    assert all(is_large(VARIANTS[name]) for name in {check.subject for check in CHECKS} - quick)
    assert quick >= {*SHORT}
