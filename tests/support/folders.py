"""Small folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def folder(path: Path, masks: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for i in range(8):
        image = rng.integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(image).save(path / "images" / f"{i}.png")
        if i < masks:
            Image.fromarray((image > 127).astype(np.uint8) * 255).save(path / "masks" / f"{i}.png")
    return path
