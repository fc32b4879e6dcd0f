"""Golden facts: parameters and MACs of published networks, to the digit."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch

from unet_bench import build_model
from unet_bench.errors import InvalidChoice, UnknownName, Unsupported
from unet_bench.interfaces import main_output
from unet_bench.measure.cost import cost

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference" / "networks.csv"

# variant, changes, channels in, classes, input side, parameters, MACs, the class it mirrors
GOLDEN = [
    ("unet-paper", {}, 1, 2, 572, 31030658, 150428424448, "orig(ci=1,nc=2,pad=0)"),
    ("unet-paper", {}, 1, 2, 696, 31030658, 236254030080, "orig(ci=1,nc=2,pad=0)"),
    ("unet-paper", {}, 3, 1, 572, 31031745, 150793074432, "orig(ci=3,nc=1,pad=0)"),
    ("unet-same", {}, 3, 1, 256, 31031745, 48167387136, "orig(ci=3,nc=1,pad=1)"),
    ("unet-same", {"merge": "add"}, 3, 1, 256, 27898305, 38503710720, None),
    ("unet-milesial", {}, 3, 1, 256, 31037633, 48167387136, "UNet(3,1,bilinear=False)"),
    ("unet-milesial", {}, 1, 2, 256, 31036546, 48096083968, "UNet(1,2,bilinear=False)"),
    ("unet-milesial-bilinear", {}, 3, 1, 256, 17262977, 39980105728, "UNet(3,1,bilinear=True)"),
    ("unet-ubench", {}, 3, 1, 256, 34527041, 65347256320, "U_Net(3,1)"),
    ("unet-nested", {}, 3, 1, 256, 7852545, 13950255104, "UNet(1,3)"),
    ("unet-zju", {}, 3, 1, 256, 39396033, 54643392512, "UNet(3,1)"),
    (
        "resnet34-unet",
        {},
        3,
        1,
        256,
        24436369,
        7813988352,
        "Unet('resnet34',encoder_weights=None,in_channels=3,classes=1)",
    ),
]


@pytest.mark.parametrize(
    ("name", "changes", "channels", "classes", "side", "params", "macs", "reference"),
    GOLDEN,
    ids=[
        f"{name}-{channels}to{classes}-{side}{'-'.join(changes.values())}"
        for name, changes, channels, classes, side, *_ in GOLDEN
    ],
)
def test_parameters_and_macs_to_the_digit(name, changes, channels, classes, side, params, macs, reference) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=channels, classes=classes, **changes)
    found = cost(model, channels, (side, side))
    assert (found["params"], found["macs"]) == (params, macs)


@pytest.mark.skipif(not REFERENCE.exists() or "CI" in os.environ, reason="the table of reference facts is not here")
def test_golden_figures_are_the_reference_tables() -> None:
    with REFERENCE.open(newline="") as file:
        rows = {(row["class_and_arguments"], row["input"], row["params"], row["macs"]) for row in csv.DictReader(file)}
    for _, _, channels, _, side, params, macs, reference in GOLDEN:
        if reference:
            assert (reference, f"1x{channels}x{side}x{side}", str(params), str(macs)) in rows


def test_unet_paper_returns_388_pixels_of_572() -> None:
    model = build_model("unet-paper", in_channels=1, classes=2, width_scale=0.0625).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


def test_real_and_meta_parameters_agree() -> None:
    real = build_model("unet", in_channels=2, classes=3, base_width=8)
    with torch.device("meta"):
        meta = build_model("unet", in_channels=2, classes=3, base_width=8)
    assert [p.shape for p in real.parameters()] == [p.shape for p in meta.parameters()]


def test_overrides_by_keyword_change_the_network() -> None:
    model = build_model("unet-paper", in_channels=1, classes=2, up="bilinear", base_width=16)
    ups = [module for module in model.modules() if isinstance(module, torch.nn.Upsample)]
    assert len(ups) == 4
    assert ups[0].mode == "bilinear"


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"up": "bilinaer"}, UnknownName, "bilinear"),
        ({"upp": "bilinear"}, UnknownName, "up"),
        ({"padding": "mirror"}, InvalidChoice, "reflect"),
        ({"depth": 0}, InvalidChoice, "at least 1"),
        ({"base_width": "wide"}, InvalidChoice, "int"),
        ({"encoder": "timm:resnet43"}, UnknownName, "resnet34"),
        ({"merge": "add", "up": "bilinear"}, Unsupported, "up_policy=halve"),
    ],
)
def test_refuses_what_it_cannot_build_and_says_what_works(overrides, error, words) -> None:
    with pytest.raises(error, match=words):
        build_model("unet", **overrides)


def test_he_initialisation_keeps_an_unnormalised_network_in_range() -> None:
    torch.manual_seed(0)
    model = build_model("unet-same", in_channels=1, classes=2, base_width=16).eval()
    with torch.no_grad():
        out = main_output(model(torch.randn(2, 1, 64, 64)))
    assert 1e-2 < float(out.std()) < 1e2
