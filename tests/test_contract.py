"""Every registered part and variant keeps the contract, by the very checks that plugin authors use."""

from __future__ import annotations

import pytest

from unet_bench.plugins import load
from unet_bench.testing import Check, plugin_checks

MEMBERS = ("timm:test_resnet", "timm:mobilenetv3_small_050")  # of open families: small ones
# Large only because they must be: each is like a quicker variant but for one part, which has its own checks.
LARGE = ("unet-valid-pad", "unet-valid-resize", "resnet34-unet")
LOADED = load()
CHECKS = [
    check
    for plugin in LOADED.plugins
    for check in plugin_checks(plugin.provider.plugin, members=MEMBERS, registry=LOADED.checked())
]


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=str(check), marks=[pytest.mark.slow] * (check.subject in LARGE)) for check in CHECKS],
)
def test_contract(check: Check) -> None:
    check()
