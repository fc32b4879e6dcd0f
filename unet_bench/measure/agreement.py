"""Whether a runtime computes what eager torch does: the same network on the same test images."""

from __future__ import annotations

from typing import Final

import torch

from unet_bench.context import MeasurementContext
from unet_bench.errors import WrongOutput
from unet_bench.measure.outputs import compared
from unet_bench.measure.ready import Runnable
from unet_bench.measure.real_images import batches
from unet_bench.spec.cell import AS_TRAINED

IMAGES: Final = 8  # at least
MOST_APART: Final = 1e-3  # of the largest score: of numbers as they were trained, in fp32


def agreement(context: MeasurementContext, run: Runnable, eager: Runnable) -> dict[str, float]:
    """Return, as columns, how far a network's outputs are from eager torch's on test images.

    Raises WrongOutput where they differ by more than rounding, and nothing was rounded on purpose.
    """
    found, expected = [], []
    with torch.inference_mode(), context.precision():
        for images in batches(context, "test", IMAGES):
            batch = images.to(run.images)
            found.append(run.on(batch).float().clone())
            expected.append(eager.on(batch).float())
    alike = compared(torch.cat(found), torch.cat(expected))
    difference, setting = alike["output_difference"], context.cell.setting
    is_exact = (setting.precision, setting.quantize) == ("fp32", AS_TRAINED)
    if is_exact and not difference <= MOST_APART:
        raise WrongOutput(
            f"runtime {setting.runtime} returns scores that are {difference:.2g} of the largest "
            f"off eager torch's, more than {MOST_APART:g}: its figures would be another network's"
        )
    return {"eager_difference": difference, "eager_agreement": alike["class_agreement"]}
