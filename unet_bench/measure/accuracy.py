"""Dice and IoU on test images, of the state that was best on validation images."""

from __future__ import annotations

import json
import math
from typing import Any

from unet_bench.measure.bench import Bench
from unet_bench.train.loop import RECIPES, evaluate, tensors, train
from unet_bench.train.metrics import Scores, bootstrap_dice, scores


def probe(bench: Bench) -> dict[str, Any]:
    """Train, choose on validation, score once on test."""
    splits = tensors(bench)
    model = bench.network(training=True)
    trained = train(bench, model, RECIPES[bench.cell.protocol.recipe], splits)
    per_image = evaluate(bench, model, splits["test"])
    found = scores(per_image.sum(0))
    low, high = bootstrap_dice(per_image, bench.rng())
    if bench.samples is not None:
        bench.samples.write_text(json.dumps({"unit": "loss per step", "losses": trained.losses}), encoding="utf-8")
    return {
        "dice": found.mean_dice,
        "dice_ci_low": low,
        "dice_ci_high": high,
        "iou": found.mean_iou,
        "train_s": trained.seconds,
        "train_steps": trained.steps,
        "best_step": trained.best_step,
        "val_dice": trained.val_dice,
        "first_loss": trained.losses[0],
        "final_loss": trained.losses[-1],
        "data_s": trained.data_seconds,
        "per_class": per_class(found, bench.cell.task.classes),
    }


def per_class(found: Scores, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One record a class; a figure that does not exist is `None`."""

    def figure(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return [
        {
            "class_index": i,
            "class_name": name,
            "dice": figure(found.dice[i]),
            "iou": figure(found.iou[i]),
            "pixels": int(found.pixels[i]),
        }
        for i, name in enumerate(names)
    ]
