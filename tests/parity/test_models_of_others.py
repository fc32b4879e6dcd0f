"""Networks of other packages by `--model`, as people name them: measured, or refused with a reason.

Never with published weights, which several of them begin from by default.
"""

from __future__ import annotations

import pytest
from support import foreign_nets
from torch import nn

from unet_bench.errors import InvalidSuite, Unsupported
from unet_bench.models.foreign import build_foreign, foreign_variant
from unet_bench.plan.examine import ExaminedNetwork, examine
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task

SMP, MONAI = "segmentation_models_pytorch", "monai.networks.nets"
TORCHVISION = "torchvision.models.segmentation"
IMAGES, VOLUMES = (64, 64), (32, 64, 64)
STAGES = "channels=(8, 16, 32), strides=(2, 2)"


def examined(
    registry: Registry, reference: str, size: tuple[int, ...], channels: int = 3
) -> ExaminedNetwork:
    pytest.importorskip(reference.partition(".")[0].partition(":")[0])
    task = Task(
        name="t",
        dataset_hash="0",
        classes=("a", "b"),
        in_channels=channels,
        scored=size,
        fit="crop",
    )
    return examine(registry, foreign_variant(reference), task)


@pytest.mark.parametrize(
    ("reference", "size"),
    [
        (f"{SMP}:Unet", IMAGES),
        (f"{SMP}:Unet(encoder_name='tu-resnet18')", IMAGES),
        (f"{SMP}:UnetPlusPlus", IMAGES),
        (f"{SMP}:Segformer", IMAGES),
        (f"{SMP}:DeepLabV3Plus", IMAGES),
        (f"{SMP}:create_model(arch='fpn')", IMAGES),
        (f"{MONAI}:UNet({STAGES})", IMAGES),
        (f"{MONAI}:UNet({STAGES})", VOLUMES),
        (f"{MONAI}:AttentionUnet({STAGES})", IMAGES),
        (f"{MONAI}:SwinUNETR", IMAGES),
        (f"{MONAI}:SwinUNETR", VOLUMES),
        (f"{MONAI}:UNETR", IMAGES),
        (f"{MONAI}:SegResNet", IMAGES),
        (f"{MONAI}:BasicUNetPlusPlus", IMAGES),
        (f"{MONAI}:FlexibleUNet(backbone='resnet18')", IMAGES),
        (f"{TORCHVISION}:deeplabv3_resnet50", IMAGES),
        (f"{TORCHVISION}:fcn_resnet50(aux_loss=True)", IMAGES),
        (f"{TORCHVISION}:lraspp_mobilenet_v3_large", IMAGES),
    ],
)
def test_it_is_measured_as_it_is(registry: Registry, reference: str, size: tuple[int, ...]) -> None:
    found = examined(registry, reference, size)
    assert (found.status, found.reason) == ("", "")
    assert found.input_window
    assert found.input_window.output == size


@pytest.mark.parametrize(
    ("reference", "channels", "status", "words"),
    [
        (f"{SMP}:DPT", 3, "unsupported", "--size 224x224"),
        (f"{SMP}:Unet(encoder_depth=4)", 3, "error", "decoder_channels"),
        (f"{SMP}:from_pretrained", 3, "unsupported", "(by a download)"),
        (f"{MONAI}:BasicUNetPlusPlus(deep_supervision=True)", 3, "error", "a list of"),
        (f"{TORCHVISION}:deeplabv3_resnet50", 1, "unsupported", "to mean its channels"),
        ("timm:create_model(model_name='resnet18')", 3, "error", "how images are classified"),
        ("timm:create_model(model_name='hf-hub:a/b')", 3, "unsupported", "(by a download)"),
    ],
)
def test_what_cannot_be_measured_says_why(
    registry: Registry, reference: str, channels: int, status: str, words: str
) -> None:
    if reference.endswith("from_pretrained"):
        reference += "(pretrained_model_name_or_path='unet-bench/none-such')"
    found = examined(registry, reference, IMAGES, channels)
    assert found.status == status
    assert words in found.reason


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (f"{MONAI}:UNet", "UNet(channels=…, strides=…)"),
        (f"{SMP}:Unet(encoder_weights='imagenet')", "encoder_weights brings published weights"),
        (f"{MONAI}:FlexibleUNet(backbone='resnet18', pretrained=True)", "published weights"),
    ],
)
def test_what_must_be_asked_otherwise_is_refused(reference: str, words: str) -> None:
    pytest.importorskip(reference.partition(".")[0].partition(":")[0])
    with pytest.raises(InvalidSuite) as refused:
        build_foreign(reference, 3, 2, IMAGES)
    assert words in str(refused.value)


def test_weights_within_a_function_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    smp = pytest.importorskip(SMP)

    def with_defaults(in_channels: int, classes: int) -> nn.Module:
        model: nn.Module = smp.Unet("resnet18", in_channels=in_channels, classes=classes)
        return model

    monkeypatch.setattr(foreign_nets, "with_defaults", with_defaults, raising=False)
    with pytest.raises(Unsupported, match=r"\((by a download|by safetensors)\)"):
        build_foreign("support.foreign_nets:with_defaults", 3, 2, IMAGES)
