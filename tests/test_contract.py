"""Every registered part and variant keeps the contract, by the very checks that plugin authors use."""

from __future__ import annotations

import pytest

from unet_bench.plugins import load
from unet_bench.testing import Check, plugin_checks

MEMBERS = ("timm:resnet18", "timm:mobilenetv3_small_050")  # of open families: small ones
LOADED = load()
CHECKS = [
    check
    for plugin in LOADED.plugins
    for check in plugin_checks(plugin.provider.plugin, members=MEMBERS, registry=LOADED.checked())
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_contract(check: Check) -> None:
    check()
