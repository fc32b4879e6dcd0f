"""Networks of other packages, as they are: segmentation-models-pytorch, MONAI,
dynamic-network-architectures.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

SMP = "Iakubovskii, Segmentation Models PyTorch, github.com/qubvel-org/segmentation_models.pytorch"
MONAI = "Cardoso et al. 2022, arXiv 2211.02701"
NNUNET = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z; dynamic-network-architectures"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register an open family for each package, and a few of their networks by name."""
    registry.architecture(
        "smp:*",
        "unet_bench_peers.smp:family",
        summary="segmentation-models-pytorch, DECODER/ENCODER such as smp:unet/resnet34; never "
        "with published weights",
        dims=(2,),
        cite=SMP,
        needs=("segmentation_models_pytorch", "pip install 'unet-bench[smp]'"),
    )
    registry.architecture(
        "monai:*",
        "unet_bench_peers.monai:family",
        summary="MONAI's networks by class name, such as monai:BasicUNet or "
        "monai:FlexibleUNet/resnet34",
        cite=MONAI,
        needs=("monai", "pip install 'unet-bench[monai]'"),
    )
    registry.architecture(
        "nnunet:*",
        "unet_bench_peers.nnunet:family",
        summary="nnU-Net's own networks by class name: nnunet:PlainConvUNet, "
        "nnunet:ResidualEncoderUNet",
        cite=NNUNET,
        needs=("dynamic_network_architectures", "pip install 'unet-bench[nnunet]'"),
    )
    for network, cite in (
        ("smp:unet/resnet34", SMP),
        ("smp:unetplusplus/resnet34", SMP),
        ("monai:BasicUNet", MONAI),
        ("monai:AttentionUnet", MONAI),
        ("monai:DynUNet", MONAI),
        ("nnunet:PlainConvUNet", NNUNET),
        ("nnunet:ResidualEncoderUNet", NNUNET),
    ):
        registry.variant(
            network.replace(":", "-").replace("/", "-").lower(),
            architecture=network,
            summary=f"{network} as its package has it",
            cite=cite,
            tags=("peer",),
        )
