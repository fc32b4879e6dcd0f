"""A small 3-D U-Net on the hippocampus of the Medical Segmentation Decathlon (Task04).

Published: Dice of head and body 0.8687 and 0.8482 after 39 epochs by a U-Net of five levels, 16
wide, on volumes resized to 32x48x32, cross-entropy and Dice; medians 0.891 and 0.857 by one of 16
to 128 channels, cross-entropy, Adam at 0.001, on whole volumes. nnU-Net's mean is 0.90, MONAI's
DynUNet about 0.89.

Here four levels, 16 to 128 wide, the same resized volumes, and 12 epochs in batches of two, for
two cores and ten minutes; our own split, 182 volumes to train on, 52 to score. So it has to come
within 0.03 of the first.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import DATA_SETS, needs_data_set

from unet_bench import pipeline, read_results

PUBLISHED = {"anterior": 0.8687, "posterior": 0.8482}
NETWORK = "unet+base_width=16+depth=3+up=bilinear"


@pytest.mark.slow
@needs_data_set("msd_hippocampus")
def test_head_and_body(tmp_path: Path) -> None:
    frame = pipeline.run(
        [NETWORK],
        baseline=NETWORK,
        out=tmp_path,
        data=[str(DATA_SETS / "msd_hippocampus")],
        size="32x48x32",
        fit="resize",
        window="scored",
        eval_images=0,
        width_scale=1.0,
        batch=[2],
        epochs=12,
        recipe="default",
        seeds=[0],
        limit_tmac=0,
        probes=["accuracy"],
        floors=False,
    )
    classes = read_results(Path(frame.attrs["path"]), "classes").set_index("class_name")
    for name, dice in PUBLISHED.items():
        assert classes.loc[name, "dice_per_image"] == pytest.approx(dice, abs=0.03)
