"""The suites that ship: each can be run whole, quickly, and by somebody who has the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.paths import ROOT

from unet_bench import read_results
from unet_bench.data import cells
from unet_bench.errors import InvalidSuite
from unet_bench.pipeline import with_recipe
from unet_bench.plan.variants import choose_variants
from unet_bench.registry.registry import Registry
from unet_bench.spec.suite import Suite, from_options

SUITES = sorted(file.stem for file in (ROOT / "unet_bench" / "spec" / "suites").glob("*.toml"))
PUBLISHED = ("camvid", "dsb2018", "isbi2012-5fold")
NEED_DATA = (*PUBLISHED, "study", "study-batch", "study-pretrained")


def asked(name: str, **options: object) -> Suite:
    needs_data = {"data": ["brain"]} if name in NEED_DATA else {}
    return from_options({**needs_data, **options}, name)


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("preset", ["quick", "standard"])
def test_every_suite_comes_to_variants_and_a_recipe(
    registry: Registry, name: str, preset: str
) -> None:
    recipe, suite = with_recipe(asked(name, preset=preset), registry, on_gpu=False)
    assert choose_variants(suite, registry).requested
    assert suite.budget
    assert recipe.name == suite.recipe


@pytest.mark.parametrize("name", NEED_DATA)
def test_without_data_a_suite_says_where_to_get_them(name: str) -> None:
    with pytest.raises(InvalidSuite, match="give one by --data") as caught:
        from_options({}, name)
    assert "https://" in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_quick_is_smaller_in_every_way(name: str) -> None:
    whole, quick = asked(name), asked(name, preset="quick")
    assert (whole.width_scale, whole.budget != quick.budget) == (1.0, True)
    assert 0 < (quick.steps or 0) <= 500
    assert len(quick.seeds) == 1
    assert min(quick.sizes()) < min(whole.sizes())


def test_a_budget_given_replaces_the_suites() -> None:
    assert asked("camvid", preset="standard").budget == "300 epochs"
    assert asked("camvid", preset="standard", steps=7).budget == "7 steps"
    assert asked("camvid", preset="quick", train_s=9.5).budget == "9.5 s"


@pytest.mark.slow
def test_the_quick_suite_on_drawn_cells_beats_the_trivial_baseline(
    unet_bench, tmp_path: Path
) -> None:
    """The ISBI suite as a user runs it, on a folder: cells from membranes, as there, over folds."""
    for folder in ("images", "masks"):
        (tmp_path / "drawn" / folder).mkdir(parents=True)
    for sample in cells.load(size=(64, 64)).samples[:18]:
        Image.fromarray(sample.image[..., 0]).save(
            tmp_path / "drawn" / "images" / f"{sample.name}.png"
        )
        Image.fromarray((sample.mask == 2).astype("uint8")).save(
            tmp_path / "drawn" / "masks" / f"{sample.name}.png"
        )
    arguments = (
        "run --suite isbi2012-5fold --preset quick --data drawn --folds 3 --classes "
        "cell,membrane -p accuracy --size 64x64 --width-scale 0.125 --threads 1"
    )
    done = unet_bench(*arguments.split(), "--out", "out")
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "out").glob("*/"))
    frame = read_results(run).set_index("variant")
    assert frame.loc["unet-valid", "seeds"] == 1
    assert frame.loc["floor-otsu", "dice_pairs"] == 3
    assert float(frame.loc["unet-valid", "dice"]) > float(frame.loc["floor-otsu", "dice"])
    assert float(frame.loc["unet-valid", "rand_f1"]) > float(frame.loc["floor-otsu", "rand_f1"])
    shown = unet_bench("summary", str(run))
    assert "floor-otsu" in shown.stdout
