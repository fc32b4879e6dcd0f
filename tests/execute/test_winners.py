"""Trained networks on disk: the best of each data set, or all where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unet_bench import pipeline, run
from unet_bench.errors import UnknownName
from unet_bench.execute.winners import Winners, is_trained
from unet_bench.spec.suite import from_dict
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.train.trained import load_network

TINY = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.0625,
    "batch": 1,
    "steps": 2,
    "threads": 1,
    "probes": ["accuracy"],
    "seeds": [0, 1],
}
NAMES = ["unet", "unet-add", "unet-no-skip"]


def kept(path: Path) -> set[str]:
    return {file.stem.removeprefix("accuracy-") for file in RunFolder(path).weights.iterdir()}


def test_the_best_is_kept_with_all_its_seeds_and_predicts(tmp_path: Path) -> None:
    found = run(NAMES, out=tmp_path, **TINY)
    path = Path(found.attrs["path"])
    networks = found[~found["trivial"]].set_index("variant")
    best = str(networks["dice"].idxmax())
    assert len(kept(path)) == 2
    for seed in (0, 1):
        network = load_network(path, best, seed=seed)
        assert network.predict(np.zeros((40, 50, 1), np.uint8)).shape == (40, 50)
    other = next(name for name in NAMES if name != best)
    with pytest.raises(UnknownName, match=rf"there are: {best}; .* all with --keep-weights"):
        load_network(path, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"keep_weights": True}, 6),
        ({"keep_weights": True, "rungs": [1, 2], "steps": None}, 6),
        ({"rungs": [1, 2], "steps": None}, 2),
        ({"probes": ["cost"]}, 0),
    ],
)
def test_how_many_are_kept(tmp_path: Path, options: dict[str, Any], count: int) -> None:
    path = Path(run(NAMES, out=tmp_path, **{**TINY, **options}).attrs["path"])
    assert (len(kept(path)) if RunFolder(path).weights.exists() else 0) == count


@pytest.mark.parametrize("last", [0, 2])
def test_cells_may_end_in_any_order(tmp_path: Path, last: int) -> None:
    """As they do side by side: the best has its last training after the other's."""
    with pipeline.plan(from_dict({**TINY, "variants": ["unet", "unet-add"]})) as plan:
        trained = [p for p in plan.planned if is_trained(p)]
        folder = RunFolder(tmp_path)
        winners = Winners(plan, folder)
        folder.weights.mkdir()
        order = [p for n, p in enumerate(trained) if n != last] + [trained[last]]
        for planned in order:
            stem = cell_stem("accuracy", planned.cell.id)
            for ending in (".json", ".safetensors"):
                (folder.weights / f"{stem}{ending}").write_text("")
            winners.note(planned, {"status": "ok", "dice": 0.9 if planned in trained[:2] else 0.5})
        assert kept(tmp_path) == {planned.cell.id for planned in trained[:2]}
