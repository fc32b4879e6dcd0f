"""Runs made of rows, for tests of what reads them: rows, folders, samples, and names that mean
harm.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_bench.networks.choices import Choices
from unet_bench.store.log import Store
from unet_bench.store.tables import write_tables

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (
    SCRIPT,
    "=cmd|' /C calc'!A0",
    "n" * 300,
    "\u202egnirts-desrever\u202c",
    "quotes\"'`${alert(1)}{{7*7}}",
    "</script><img src=x onerror=alert(1)>",
    "%{x} <b>bold</b> <a href='javascript:alert(1)'>a</a>",
)
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "unet": {},
    "unet-bilinear": {"up": "bilinear"},
    "unet-add": {"merge": "add"},
    "unet-residual": {"encoder_block": "residual", "decoder_block": "residual"},
}
TASK = {
    "task": "cells",
    "dataset_hash": "d1",
    "scored_height": 32,
    "scored_width": 32,
    "fit": "crop",
}
HOW = {
    "device": "cpu",
    "precision": "fp32",
    "memory_format": "contiguous",
    "runtime": "eager",
    "threads": 1,
}
WHERE = {"device_name": "A CPU", "env_id": "e1", "torch": "2.14.1", "commit": "c0ffee"}
MANIFEST = {
    "started": "2030-01-02T03:04:05+00:00",
    "argv": ["unet-bench", "run", "-v", "unet,a name"],
    "suite": {"variants": ["unet"], "size": "32x32"},
    "preset": "quick",
    "environment": {"cpu": "A CPU", "python": "3.11", "packages": {"torch": "2.14.1"}},
    "plugins": [
        {
            "plugin": "classic",
            "distribution": "d",
            "version": "1",
            "module": "m",
            "source_hash": "abc",
        }
    ],
}

Row = dict[str, Any]


def cells(
    names: Mapping[str, Mapping[str, Any]] = NETWORKS, seeds: Sequence[int] = (0, 1), **values: Any
) -> Iterator[Row]:
    """Cost, speed, memory and accuracy of each variant; the later it stands, the slower and the
    better it is.
    """
    for i, (name, choices) in enumerate(names.items()):
        made = {
            **dict(Choices().items()),
            "decoder_block": "double-conv",
            "decoder_norm": "batch",
            **choices,
        }
        plain_choices = {
            k: "/".join(map(str, v)) if isinstance(v, tuple) else v for k, v in made.items()
        }
        shared = {
            "variant": name,
            "status": "ok",
            "quality": "clean",
            "baseline": "unet",
            "batch_requested": 4,
        }
        shared |= {**plain_choices, **TASK, **HOW, **WHERE, "batch_effective": 4, **values}
        ratio = 1 + 0.1 * i
        ends = {"latency_ratio_ci_low": ratio * 0.98, "latency_ratio_ci_high": ratio * 1.02}
        yield {
            **shared,
            "cell_id": f"cost-of-{i}",
            "probe": "cost",
            "seed": 0,
            "params": 10**6 + i,
            "macs": 10**9 + i,
        }
        yield {
            **shared,
            **ends,
            "cell_id": f"speed-of-{i}",
            "probe": "speed",
            "seed": 0,
            "latency_ratio": ratio,
        } | {
            **{
                "latency_ms": 10 * ratio,
                "latency_ci_low_ms": 9.9 * ratio,
                "latency_ci_high_ms": 10.1 * ratio,
            },
            "throughput_img_s": 400 / ratio,
        }
        memory = {
            "peak_memory_mib": 20.0 + i,
            "live_memory_mib": 20.0 + i,
            "predicted_memory_mib": 20.5 + i,
        }
        yield {**shared, **memory, "cell_id": f"memory-of-{i}", "probe": "memory", "seed": 0}
        for seed in seeds:
            dice = (
                0.7 + 0.25 * (1 - math.exp(-i / 9)) + 0.003 * random.Random(f"{i} {seed}").random()
            )
            classes = [
                {"class_index": n, "class_name": f"class {'AB'[n]}", "dice": dice, "pixels": 9}
                for n in (0, 1)
            ]
            scored = {
                "dice": dice,
                "dice_ci_low": dice - 0.01,
                "dice_ci_high": dice + 0.01,
                "per_class": classes,
            }
            yield {
                **shared,
                **scored,
                "cell_id": f"accuracy-of-{i}-{seed}",
                "probe": "accuracy",
                "seed": seed,
            }


def stored(
    folder: Path, rows: Sequence[Row] | Iterator[Row], run_id: str = "run-1", **manifest: Any
) -> Path:
    """A run's folder of these rows."""
    with Store.create(folder, {"run_id": run_id, **MANIFEST, **manifest}) as store:
        store.append(*rows)
        write_tables(store)
        return store.path


def with_samples(run: Path) -> Path:
    """Adds curves, shapes and examples of every cell."""
    rng, samples = np.random.default_rng(0), run / "samples"
    truth = (rng.random((3, 24, 32)) > 0.5).astype(np.uint8)
    truth[:, :2] = 255
    images = {f"image{i}": rng.integers(256, size=(24, 32, 3), dtype=np.uint8) for i in range(3)}
    np.savez_compressed(
        samples / "examples-x.npz",
        allow_pickle=False,
        **images,
        **{f"truth{i}": truth[i] for i in range(3)},
    )
    stage = {"name": "encoder 0", "level": 0, "channels": 8, "size": [32, 32], "skip": ""}
    for cell in (json.loads(line) for line in (run / "cells.jsonl").read_text().splitlines()):
        if cell["probe"] == "cost":
            shape = {"stages": [stage, {**stage, "name": "decoder <0>", "skip": "skip"}]}
            (samples / f"cost-{cell['cell_id']}.json").write_text(json.dumps(shape))
        if cell["probe"] == "accuracy":
            looks = [
                {"step": n, "seconds": n / 10, "val_dice": n / 10, "val_loss": 1.0}
                for n in (2, 4, 6)
            ]
            curve = {
                "losses": [1.0] * 6,
                "looks": looks,
                "seconds": 0.6,
                "examples": "examples-x.npz",
            }
            (samples / f"accuracy-{cell['cell_id']}.json").write_text(json.dumps(curve))
            made = {
                f"predicted{i}": (rng.random((24, 32)) > 0.4).astype(np.uint8) for i in range(3)
            }
            np.savez_compressed(
                samples / f"accuracy-{cell['cell_id']}.npz", allow_pickle=False, **made
            )
    return run
