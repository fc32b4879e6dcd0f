"""Other packages' networks: listed where they are absent, to the digit where they are present,
never pretrained.
"""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
import torch
from torch import Tensor, nn

from unet_bench import build_model
from unet_bench.cli.inspect import listing
from unet_bench.errors import InvalidChoice, UnknownName, Unsupported
from unet_bench.measure.cost import cost
from unet_bench.models.select import select
from unet_bench.networks.contracts import Outputs, main_output
from unet_bench.registry.registry import Registry

SMP, MONAI, NNUNET = "segmentation_models_pytorch", "monai", "dynamic_network_architectures"
PACKAGES = {"smp": SMP, "monai": MONAI, "nnunet": NNUNET}
EXAMPLES = ("smp:unet/resnet34", "monai:BasicUNet", "nnunet:PlainConvUNet")

# network, channels in, classes, size, parameters, MACs
GOLDEN = [
    ("smp:unet/resnet34", 3, 1, (256, 256), 24436369, 7813988352),
    ("smp:unetplusplus/resnet34", 3, 1, (256, 256), 26078609, 18383634432),
    ("smp:linknet/resnet34", 3, 1, (256, 256), 21771937, 5030019072),
    ("smp:pspnet/resnet34", 3, 1, (256, 256), 21437985, 2340102144),
    ("smp:pan/resnet34", 3, 1, (256, 256), 21475816, 7440358312),
    ("smp:deeplabv3plus/resnet34", 3, 1, (256, 256), 22437457, 7883980800),
    ("smp:upernet/resnet34", 3, 1, (256, 256), 29599681, 17970757632),
    ("smp:segformer/resnet34", 3, 1, (256, 256), 21876545, 6522142720),
    ("smp:unet/resnet50", 3, 1, (256, 256), 32521105, 10632560640),
    ("smp:unet/vgg16_bn", 3, 1, (256, 256), 23756689, 24734859264),
    ("smp:unet/efficientnet-b0", 3, 1, (256, 256), 6251469, 2957822464),
    ("smp:unet/mit_b0", 3, 1, (256, 256), 5549489, 2974613504),
    ("smp:unet/tu-convnext_tiny", 3, 1, (256, 256), 31928753, 8923299840),
    ("monai:UNet", 3, 1, (256, 256), 660281, 276037632),
    ("monai:UNet-spleen", 1, 2, (96, 96, 96), 4808917, 5119082496),
    ("monai:BasicUNet", 3, 1, (256, 256), 1979009, 4982833152),
    ("monai:BasicUNetPlusPlus", 3, 1, (256, 256), 2410756, 16313745408),
    ("monai:AttentionUnet", 3, 1, (256, 256), 1987705, 2664366080),
    ("monai:DynUNet", 3, 1, (256, 256), 20611713, 14252244992),
    ("monai:SegResNet", 3, 1, (256, 256), 395121, 983564288),
    ("monai:UNETR", 3, 1, (256, 256), 87727345, 26326597632),
    ("monai:SwinUNETR", 3, 1, (256, 256), 6302875, 4615997664),
    ("monai:FlexibleUNet/efficientnet-b0", 3, 1, (256, 256), 7060277, 2363410944),
    ("monai:FlexibleUNet/resnet34", 3, 1, (256, 256), 23653745, 7218397184),
    ("nnunet:PlainConvUNet", 3, 1, (256, 256), 33470886, 14797504512),
    ("nnunet:ResidualEncoderUNet", 3, 1, (256, 256), 105915878, 32371638272),
]
VOLUMES = (
    "BasicUNet",
    "BasicUNetPlusPlus",
    "UNet",
    "AttentionUnet",
    "DynUNet",
    "SegResNet",
    "UNETR",
    "SwinUNETR",
    "VNet",
)
DECODERS = (
    *("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet"),
    *("deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer"),
)


def made(network: str, channels: int, classes: int, size: tuple[int, ...]) -> nn.Module:
    """A peer on the meta device, or the test skipped where its package is not installed."""
    pytest.importorskip(PACKAGES[network.partition(":")[0]])
    if network in ("monai:UNETR", "monai:SwinUNETR"):
        pytest.importorskip("einops")
    with torch.device("meta"):
        return build_model(
            network, in_channels=channels, classes=classes, image_size=size, dims=len(size)
        )


@pytest.mark.parametrize(
    ("network", "channels", "classes", "size", "params", "macs"), GOLDEN, ids=lambda v: str(v)
)
def test_parameters_and_macs_to_the_digit(network, channels, classes, size, params, macs) -> None:
    found = cost(made(network, channels, classes, size), channels, size)
    assert (found["params"], found["macs"]) == (params, macs)


@pytest.mark.parametrize(
    ("network", "size"),
    [
        *((f"smp:{decoder}/resnet18", (128, 192)) for decoder in DECODERS),
        ("smp:dpt/tu-vit_tiny_patch16_224", (64, 96)),
        *((f"monai:{name}", (64, 96, 64)) for name in VOLUMES),
        ("monai:FlexibleUNet/efficientnet-b0", (64, 96)),
        ("nnunet:PlainConvUNet", (64, 96, 64)),
        ("nnunet:ResidualEncoderUNet", (128, 192)),
    ],
)
def test_logits_as_large_as_the_image_in_training_and_evaluation(
    network: str, size: tuple[int, ...]
) -> None:
    model = made(network, 1, 3, size)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    image = torch.empty(2, 1, *size, device="meta")
    assert main_output(model.train()(image)).shape == (2, 3, *size)
    logits = model.eval()(image)
    assert isinstance(logits, Tensor)
    assert logits.shape == (2, 3, *size)


@pytest.mark.parametrize(
    ("network", "error", "words"),
    [
        ("smp:unte/resnet34", UnknownName, "did you mean unet"),
        ("smp:unet/resnet35", UnknownName, "resnet34"),
        ("smp:unet/tu-resnet35", UnknownName, "tu-resnet34"),
        ("smp:unet", InvalidChoice, "smp:unet/resnet34"),
        ("smp:linknet/mit_b0", Unsupported, "another encoder"),
        ("monai:BasicUnet", UnknownName, "BasicUNet"),
        ("monai:FlexibleUNet", InvalidChoice, "monai:FlexibleUNet/resnet34"),
        ("monai:FlexibleUNet/resnet33", UnknownName, "resnet34"),
        ("monai:VNet", Unsupported, "divisible"),
        ("nnunet:Plain", UnknownName, "PlainConvUNet"),
    ],
)
def test_refuses_what_a_package_has_not_and_says_what_it_has(
    network: str, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        made(network, 3, 1, (64, 64))


def test_unetr_asks_for_the_image_size() -> None:
    pytest.importorskip(MONAI)
    with pytest.raises(Unsupported, match="image_size"):
        build_model("monai:UNETR", in_channels=3, classes=1)


def test_smp_is_for_images() -> None:
    with pytest.raises(Unsupported, match="for images alone"):
        made("smp:unet/resnet18", 3, 1, (32, 32, 32))


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the packages is installed, for all that Python can see."""
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("network", EXAMPLES)
def test_absent_networks_are_refused_with_what_brings_them(
    registry: Registry, network: str
) -> None:
    extra = network.partition(":")[0]
    with pytest.raises(Unsupported, match=rf"pip install 'unet-bench\[{extra}\]'"):
        select(registry, [network])


@pytest.mark.usefixtures("absent")
def test_absent_networks_are_listed_with_what_brings_them() -> None:
    told = {row["name"]: row["summary"] for row in listing("architectures", ())}
    for extra, package in PACKAGES.items():
        assert (
            f"needs {package}, which is not installed: pip install 'unet-bench[{extra}]'"
            in told[f"{extra}:*"]
        )


@pytest.mark.usefixtures("absent")
def test_runs_without_the_packages_are_as_if_nobody_knew_of_them(registry: Registry) -> None:
    peers = {
        variant.name for variant in registry.variants().values() if variant.provider == "peers"
    }
    assert peers
    assert not peers & {variant.name for variant in select(registry, ["all"])}
    with pytest.raises(Unsupported, match="pip install"):
        select(registry, ["tag:peer"])


def test_every_peer_by_name_is_what_its_family_calls_so(registry: Registry) -> None:
    peers = [variant for variant in registry.variants().values() if variant.provider == "peers"]
    assert [variant.tags for variant in peers] == [("peer",)] * len(peers)
    assert {variant.architecture for variant in peers} <= {network for network, *_ in GOLDEN}


def test_neither_torch_nor_a_package_is_imported_before_a_network_is_wanted() -> None:
    listed = ["torch", "timm", *PACKAGES.values()]
    code = (
        "import sys; from unet_bench.registry import plugins; plugins.load(); "
        f"print([m for m in {listed} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_smp_is_never_asked_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    fake = types.ModuleType(SMP)
    fake.MODEL_ARCHITECTURES_MAPPING = {"unet": object}
    fake.encoders = types.SimpleNamespace(get_encoder_names=lambda: ["resnet34"])
    fake.create_model = lambda *names, **given: asked.append((names, given)) or nn.Identity()
    monkeypatch.setitem(sys.modules, SMP, fake)
    monkeypatch.delitem(sys.modules, "unet_bench_peers.smp", raising=False)
    from unet_bench_peers.smp import family

    family("unet/resnet34")(in_channels=2, classes=5)
    assert asked == [
        (("unet", "resnet34"), {"encoder_weights": None, "in_channels": 2, "classes": 5})
    ]
    monkeypatch.delitem(sys.modules, "unet_bench_peers.smp")


class ManyHeads(nn.Module):
    """Returns 10, 20 and 30 times its input, or the first alone where its switch is off."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Identity()
        self.decoder.deep_supervision = True

    def forward(self, x: Tensor) -> list[Tensor] | Tensor:
        return [10 * x, 20 * x, 30 * x] if self.decoder.deep_supervision else 10 * x


def test_deep_supervision_becomes_outputs_in_training_and_a_tensor_in_evaluation() -> None:
    from unet_bench_peers.supervised import Supervised

    model, image = Supervised(ManyHeads(), switch="decoder", main=0), torch.ones(1, 1, 2, 2)
    trained = model.train()(image)
    assert isinstance(trained, Outputs)
    assert trained.main.unique().item() == 10
    assert [(weight, logits.unique().item()) for weight, logits in trained.aux] == [
        (0.5, 20),
        (0.25, 30),
    ]
    for module in model.eval().modules():  # what looks at sizes sets this and calls no method
        module.training = False
    assert isinstance(model(image), Tensor)
    assert not model.network.decoder.deep_supervision


def test_a_network_that_reads_numbers_off_tensors_is_made_on_the_cpu_and_moved() -> None:
    from unet_bench_peers.building import built

    def make() -> nn.Module:
        return nn.Linear(int(torch.ones(1).item()), 3)

    with torch.device("meta"):
        assert built(make).weight.device.type == "meta"
        assert built(lambda: nn.Linear(2, 3, device="cpu")).weight.device.type == "meta"
    assert built(make).weight.device.type == "cpu"
