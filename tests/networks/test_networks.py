"""Golden facts: parameters and MACs of published networks, to the digit."""

from __future__ import annotations

import csv

import pytest
import torch
from support.golden import Golden, ours, read_golden
from support.paths import FILES
from support.sampling import sampled

from unet_bench import build_model
from unet_bench.errors import InvalidChoice, UnknownName, Unsupported
from unet_bench.networks.contracts import main_output
from unet_bench.registry.registry import Registry

GOLDEN = read_golden()


def first_of_each_network() -> dict[str, Golden]:
    """Return the first row of each network: what a plain `pytest` takes of them."""
    first: dict[str, Golden] = {}
    for golden in GOLDEN:
        first.setdefault(golden.variant.partition("+")[0], golden)
    return first


@pytest.mark.parametrize("golden", sampled(GOLDEN, [*first_of_each_network().values()][::3]))
def test_parameters_and_macs_to_the_digit(golden: Golden, registry: Registry) -> None:
    found = ours(registry, golden)
    assert (found["params"], golden.macs and found["macs"]) == (golden.params, golden.macs)


def test_golden_figures_are_the_reference_tables() -> None:
    """A golden row that names a class of the table has the table's figures at the table's input."""
    with (FILES / "networks.csv").open(newline="") as file:
        rows = {(row["class_and_arguments"], row["input"]): row for row in csv.DictReader(file)}
    compared = 0
    for golden in GOLDEN:
        at = f"1x{golden.in_channels}x{'x'.join(map(str, golden.size))}"
        if known := rows.get((golden.source.partition(": ")[2], at)):
            compared += 1
            assert (known["params"], known["macs"]) == (str(golden.params), str(golden.macs)), (
                golden
            )
    assert compared >= 10


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
        ({"skip_levels": "1/7"}, Unsupported, "0 to 3"),
        ({"aux_heads": 9}, Unsupported, "4 further maps"),
        ({"aux_heads": 1, "padding": "valid"}, Unsupported, "another part of the image"),
        ({"width_scale": "nan"}, InvalidChoice, "above 0"),
        ({"leak": "inf"}, InvalidChoice, "0.01"),
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
