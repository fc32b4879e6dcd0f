"""MONAI's own integration tests, with our network and our optimiser in place of theirs.

What MONAI publishes is one number per test, made with a seed. Its batches, its loss and the weights
that it begins from are taken as they are; the network is our twin, and each update is that of our
training step. So a number that agrees says that a network here learns what its original learns.
Facts: github.com/Project-MONAI/MONAI, tests/integration and tests/testing_data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from support.transplant import transplant
from torch import nn

from unet_bench.spec.recipe import Recipe
from unet_bench.train.step import optimiser
from unet_bench_zoo.unet_monai import UNetMonai

monai = pytest.importorskip("monai", reason='needs pip install "unet-bench[monai]"')


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    from monai.utils import set_determinism

    set_determinism(seed=0)
    yield
    set_determinism(seed=None)


def twin(dims: int, widths: tuple[int, ...], side: int) -> UNetMonai:
    """Our network with the weights that MONAI's begins from; random numbers go on from there."""
    from monai.networks.nets import UNet

    strides = (2,) * (len(widths) - 1)
    theirs = UNet(dims, 1, 1, widths, strides, num_res_units=2).double()
    state = torch.get_rng_state()
    ours = UNetMonai(
        in_channels=1,
        classes=1,
        dims=dims,
        base_width=widths[0],
        levels=len(strides),
        residual_units=2,
    ).double()
    transplant(theirs, ours, torch.randn(2, 1, *(side,) * dims, dtype=torch.float64))
    torch.set_rng_state(state)
    return ours.float()


def adam(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    recipe = Recipe(optimizer="adam", lr=rate, weight_decay=0.0)
    return optimiser(recipe, [*model.parameters()], foreach=None, fused=True)


def trained_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any) -> list[float]:
    """The losses of one pass over pairs of images and masks."""
    from monai.losses import DiceLoss

    loss_of, losses = DiceLoss(sigmoid=True), []
    model.train()
    for image, mask in batches:
        optimizer.zero_grad()
        loss = loss_of(model(image), mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Discs(torch.utils.data.Dataset[Any]):
    """Images `(1 96 96)` of discs in noise, cut from 128×128 ones, and their masks; drawn anew at
    each access.
    """

    def __init__(self, images: int) -> None:
        from monai import transforms

        self.images = images
        self.cut = transforms.Compose(
            [
                transforms.EnsureChannelFirst(channel_dim="no_channel"),
                transforms.ScaleIntensity(),
                transforms.RandSpatialCrop((96, 96), random_size=False),
                transforms.RandRotate90(),
            ]
        )

    def __getitem__(self, index: int) -> Any:
        from monai.data import create_test_image_2d

        drawn = create_test_image_2d(128, 128, noise_max=1, num_objs=4, num_seg_classes=1)
        seed = np.random.randint(2**31 - 1)
        return [self.cut.set_random_state(seed=seed)(array) for array in drawn]

    def __len__(self) -> int:
        return self.images


def test_determinism() -> None:
    """test_integration_determinism.py: 200 images, batches of 64, Adam at 0.01."""
    model = twin(2, (4, 8, 16, 32), 96)
    batches = torch.utils.data.DataLoader(Discs(200), batch_size=64, shuffle=True)
    losses = trained_epoch(model, adam(model, 1e-2), batches)
    assert len(losses) == 4
    assert np.mean(losses) == pytest.approx(0.536134, rel=1e-4)


EPOCHS, VOLUMES, SIDE, WINDOW = 6, 40, 128, 96


def volumes(folder: Path) -> list[dict[str, str]]:
    """Draw spheres in noise into NIfTI files; return the paths of images and masks."""
    from monai.data import create_test_image_3d

    files = []
    for index in range(VOLUMES):
        pair = create_test_image_3d(SIDE, SIDE, SIDE, num_seg_classes=1, channel_dim=-1)
        files.append({})
        for kind, array in zip(("img", "seg"), pair, strict=True):
            files[-1][kind] = str(folder / f"{kind}{index}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), files[-1][kind])
    return [*sorted(files, key=lambda pair: pair["img"])]


@pytest.mark.slow
def test_segmentation_of_volumes(tmp_path: Path) -> None:
    """test_integration_segmentation_3d.py: 20 volumes to train on, 20 to score; Adam at 0.0005."""
    from monai.data import DataLoader, Dataset
    from monai.inferers import sliding_window_inference
    from monai.metrics import DiceMetric
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        LoadImaged,
        RandCropByPosNegLabeld,
        RandRotate90d,
        ScaleIntensityd,
        Spacingd,
    )
    from monai.utils import set_determinism

    files, both = volumes(tmp_path), ["img", "seg"]
    set_determinism(seed=0)
    read = [
        LoadImaged(both),
        EnsureChannelFirstd(both),
        Spacingd(both, pixdim=[1.2, 0.8, 0.7], mode=["bilinear", "nearest"], dtype=np.float32),
        ScaleIntensityd("img"),
    ]
    cut = [
        RandCropByPosNegLabeld(
            both, label_key="seg", spatial_size=[WINDOW] * 3, pos=1, neg=1, num_samples=4
        ),
        RandRotate90d(both, prob=0.8, spatial_axes=[0, 2]),
    ]
    transform = Compose([*read, *cut]).set_random_state(1234)
    train = DataLoader(Dataset(files[:20], transform), batch_size=2, shuffle=True, num_workers=2)
    model = twin(3, (16, 32, 64, 128, 256), 32)
    optimizer = adam(model, 5e-4)
    for _ in range(EPOCHS):
        trained_epoch(model, optimizer, ((batch["img"], batch["seg"]) for batch in train))
    scored, dice = Dataset(files[-20:], Compose(read)), DiceMetric(include_background=True)
    model.eval()
    with torch.no_grad():
        for pair in scored:
            logits = sliding_window_inference(pair["img"][None], (WINDOW,) * 3, 4, model)
            dice(y_pred=[(logits[0] > 0).float()], y=[pair["seg"]])
    assert dice.aggregate().item() == pytest.approx(0.932, rel=0.01)
