"""Backbones as encoders: timm's, torchvision's and SegFormer's keep one contract, or say why they
cannot.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from support.sampling import sampled
from torch import nn
from torchvision import models

from unet_bench import build_model
from unet_bench.errors import InvalidChoice, InvalidData, InvalidSize, UnknownName
from unet_bench.measure.cost import cost
from unet_bench.networks.contracts import Place
from unet_bench.registry.registry import Registry

TIMM = (
    *(
        "resnet18",
        "resnext50_32x4d",
        "seresnet50",
        "densenet121",
        "mobilenetv3_small_050",
        "efficientnet_b0",
    ),
    *(
        "convnext_atto",
        "swin_tiny_patch4_window7_224",
        "pvt_v2_b0",
        "vgg11",
        "mambaout_femto",
        "test_vit",
    ),
)
SAMPLE = ("timm:mobilenetv3_small_050", "torchvision:resnet18", "mit:b0")  # one of each family
TORCHVISION = (
    *(
        "resnet18",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
    ),
    *(
        "efficientnet_b0",
        "convnext_tiny",
        "swin_t",
        "swin_v2_t",
        "vgg11",
        "vgg11_bn",
        "regnet_x_400mf",
    ),
    *("shufflenet_v2_x0_5", "mnasnet0_5"),
)


def encoder(registry: Registry, name: str, in_channels: int = 3) -> nn.Module:
    return registry.find("encoder", name).load()(Place(in_channels=in_channels, out_channels=8))


@pytest.mark.parametrize(
    "name",
    sampled(
        [
            *(f"timm:{name}" for name in TIMM),
            *(f"torchvision:{name}" for name in TORCHVISION),
            "mit:b0",
            "mit:b5",
        ],
        SAMPLE,
    ),
)
def test_a_backbone_gives_a_map_per_stated_reduction(registry, name) -> None:
    with torch.device("meta"), torch.no_grad():
        made = encoder(registry, name, in_channels=2).eval()
        maps = made(torch.empty(1, 2, 64, 96))
    expected = [
        (1, c, 64 // r, 96 // r) for c, r in zip(made.channels, made.reductions, strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected
    assert made.reductions == sorted(set(made.reductions))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("timm:resnet43", UnknownName, "resnet34"),
        ("torchvision:resnet35", UnknownName, "resnet34"),
        ("mit:b7", UnknownName, "b5"),
        # Older versions of timm give no maps of it at all.
        ("timm:crossvit_tiny_240", InvalidChoice, "1/12, 1/17|features_only"),
        ("torchvision:vit_b_16", InvalidChoice, "look for it in timm"),
        ("torchvision:alexnet", InvalidChoice, "128×192 pixels give 64×31×47"),
        pytest.param(
            *("torchvision:googlenet", InvalidChoice, "InceptionAux"),
            marks=pytest.mark.filterwarnings("ignore:The default weight initialization"),
        ),
    ],
)
def test_what_cannot_be_an_encoder_is_refused_with_what_can(registry, name, error, words) -> None:
    with torch.device("meta"), pytest.raises(error, match=words):
        encoder(registry, name)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        (
            "timm:test_maxvit",
            (64, 250),
            "only sides that are multiples of 160; nearest that works: 160×320",
        ),
        ("timm:test_coatnet", (64, 96), "only sides of 160; nearest that works: 160×160"),
    ],
)
def test_a_backbone_for_certain_sizes_says_which(registry, name, size, words) -> None:
    if name.removeprefix("timm:") not in timm.list_models():
        pytest.skip(f"timm {timm.__version__} has no {name.removeprefix('timm:')}")
    with torch.device("meta"), torch.no_grad():
        made = encoder(registry, name).eval()
        made(torch.empty(1, 3, 160, 160))
        with pytest.raises(InvalidSize, match=words):
            made(torch.empty(1, 3, *size))


def test_maps_with_channels_last_are_turned(registry) -> None:
    made = encoder(registry, "timm:test_mambaout").eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for turned, own in zip(made(image), made.body(image), strict=True):
            assert torch.equal(turned, own.movedim(-1, 1))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "regnet_x_400mf"])
def test_torchvisions_modules_in_order_are_its_model(registry, name) -> None:
    from unet_bench_torchvision.encoder import trunk

    made, model = (
        encoder(registry, f"torchvision:{name}").eval(),
        models.get_model(name, weights=None).eval(),
    )
    made.steps.load_state_dict(nn.ModuleList(trunk(model)).state_dict())
    image = torch.randn(1, 3, 64, 64)
    classify = model.classifier if hasattr(model, "classifier") else model.fc
    with torch.no_grad():
        assert torch.allclose(
            classify(model.avgpool(made(image)[-1]).flatten(1)), model(image), atol=1e-5
        )


@pytest.mark.parametrize(
    ("channels", "factors"), [(1, [[1, 1, 1]]), (4, [[0.75, 0, 0], [0, 0.75, 0], [0, 0, 0.75]])]
)
def test_torchvisions_weights_come_from_its_folder_and_fit_the_channels(
    registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels, factors
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = models.resnet18(weights=None)
    url = models.get_model_weights("resnet18").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(published.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    made = encoder(registry, "torchvision:resnet18", channels)
    made.load_pretrained("imagenet")
    stem, last = made.steps[0].weight, dict(made.steps[-1].named_parameters())["conv2.weight"]
    for i, factor in enumerate(factors):
        expected = (published.conv1.weight * torch.tensor(factor).view(1, 3, 1, 1)).sum(dim=1)
        assert torch.allclose(stem[:, i], expected, atol=1e-6)
    assert torch.equal(last, published.layer4[1].conv2.weight)


def test_weights_of_torchvision_that_cannot_be_had_are_named(
    registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **settings: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    made = encoder(registry, "torchvision:mobilenet_v3_small")
    with pytest.raises(
        InvalidData,
        match=rf"put https://\S+mobilenet_v3_small\S+\.pth into {tmp_path}/hub/checkpoints",
    ):
        made.load_pretrained("imagenet")
    with pytest.raises(InvalidChoice, match="it takes imagenet"):
        made.load_pretrained("cityscapes")


def test_timms_weights_come_from_the_hubs_cache(
    registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy of the error, followed: once the folder that it names is there, its weights are
    taken.
    """

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    made = encoder(registry, "timm:test_resnet", in_channels=2)
    with pytest.raises(InvalidData, match=r"copy the folder (\S+) from there") as refused:
        made.load_pretrained("imagenet")
    folder = Path(re.search(r"copy the folder (\S+)", str(refused.value))[1])
    snapshot = folder / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    published = timm.create_model("test_resnet")
    save_file(published.state_dict(), snapshot / "model.safetensors")
    made.load_pretrained("imagenet")
    found, wanted = made.body.state_dict(), published.state_dict()
    same = [name for name in found if name in wanted and found[name].shape == wanted[name].shape]
    assert (
        len(same) == len(found) - 1
    )  # all but the first convolution, which is fitted to two channels
    assert all(torch.equal(found[name], wanted[name]) for name in same)


def test_a_backbone_without_published_weights_says_so(registry) -> None:
    with torch.device("meta"):
        made = encoder(registry, "timm:coatnet_pico_rw_224")
        with pytest.raises(InvalidData, match="none are published"):
            made.load_pretrained("imagenet")
    with torch.device("meta"), pytest.raises(InvalidChoice, match=r"timm:resnet34\.tv_in1k"):
        made.load_pretrained("instagram")


def test_mix_transformer_sees_the_whole_image_from_the_first_stage(registry) -> None:
    torch.manual_seed(0)
    made = encoder(registry, "mit:b0").eval()
    image = torch.randn(1, 3, 64, 96, requires_grad=True)
    made(image)[0][0, 0, 0, 0].backward()  # one channel: the norm makes the sum of all a constant
    assert float(image.grad[..., -8:, -8:].abs().sum()) > 0


@pytest.mark.parametrize(
    ("name", "levels"),
    [("mit-b0-unet", [2, 3, 4]), ("resnet18-unet", [1, 2, 3, 4]), ("vgg16-unet", [1, 2, 3, 4])],
)
def test_levels_without_a_map_have_no_skip(name, levels) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=1, classes=2)
    steps = dict(zip((4, 3, 2, 1, 0), model.topology.steps, strict=True))
    assert sorted(level for level, step in steps.items() if step.skip is not None) == levels
    with torch.no_grad():
        assert model.eval()(torch.empty(1, 1, 64, 96, device="meta")).shape == (1, 2, 64, 96)


def test_how_far_efficientnet_is_from_the_one_in_segmentation_models_pytorch() -> None:
    """That one takes the stem's map (32 channels) at half size for the first stage's (16), and
    keeps a head unused.
    """
    with torch.device("meta"):
        found = cost(build_model("efficientnet-b0-unet", in_channels=3, classes=1), 3, (256, 256))
    wider, unused = (32 - 16) * 32 * 9, 320 * 1280 + 2 * 1280
    assert found["params"] + wider + unused == 6_251_469
    assert found["macs"] + wider * 128 * 128 == 2_957_822_464
