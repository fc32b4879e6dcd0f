"""Networks of segmentation-models-pytorch: any of its decoders on any of its encoders, without
published weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
import timm
from torch import nn

from unet_bench.errors import InvalidChoice, unknown
from unet_bench_peers.building import MISUSE, built

TIMM = "tu-"  # what smp calls an encoder that it takes from timm by
LIST_DECODERS = (
    "python -c 'import segmentation_models_pytorch as smp; print(*smp.MODEL_ARCHITECTURES_MAPPING)'"
)
LIST_ENCODERS = (
    "python -c 'import segmentation_models_pytorch as smp; print(smp.encoders.get_encoder_names())'"
)
LIST_TIMM = "python -c 'import timm; print(timm.list_models())'"


def family(member: str) -> Callable[..., nn.Module]:
    """Build the factory for `DECODER/ENCODER`, such as `unet/resnet34`.

    Another is `fpn/tu-convnext_tiny`. Raises InvalidChoice for a member of another form,
    UnknownName for a decoder or an encoder that smp has not.
    """
    decoder, slash, encoder = member.partition("/")
    if not slash:
        raise InvalidChoice(
            f"smp:{member} names no encoder: write smp:DECODER/ENCODER, such as smp:unet/resnet34"
        )
    if decoder not in smp.MODEL_ARCHITECTURES_MAPPING:
        raise unknown("smp decoder", decoder, smp.MODEL_ARCHITECTURES_MAPPING, LIST_DECODERS)
    if encoder.startswith(TIMM):
        if not timm.is_model(encoder.removeprefix(TIMM)):
            raise unknown(
                "smp encoder", encoder, (TIMM + name for name in timm.list_models()), LIST_TIMM
            )
    elif encoder not in smp.encoders.get_encoder_names():
        raise unknown("smp encoder", encoder, smp.encoders.get_encoder_names(), LIST_ENCODERS)

    def make(
        *, in_channels: int, classes: int, dims: int = 2, image_size: Sequence[int] = ()
    ) -> nn.Module:
        """Return `(N classes H W)` logits of `(N C H W)` images.

        The encoder decides which sides it takes. Raises InvalidChoice.
        """
        sized = {"img_size": tuple(image_size)} if decoder == "dpt" and image_size else {}
        create = functools.partial(
            smp.create_model, decoder, encoder, encoder_weights=None, **sized
        )
        try:
            return built(functools.partial(create, in_channels=in_channels, classes=classes))
        except MISUSE as error:
            raise InvalidChoice(
                f"it cannot be built ({error}); {decoder} does not go with {encoder}: name another "
                "encoder"
            ) from error

    return make
