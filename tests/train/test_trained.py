"""The winner is usable: kept weights, masks for one's own images, trainings that are killed and go
on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.fuzzing import LONGEST, edits_of

from unet_bench import load_model, pipeline, read_results
from unet_bench.data import brain
from unet_bench.data.dataset import Sample
from unet_bench.errors import InvalidSuite, StoreError, UnknownName
from unet_bench.train.metrics import Accumulator
from unet_bench.train.trained import _about, facts, load_network

pytestmark = pytest.mark.slow  # most read a run that trains four networks
TINY = {
    "data": ["brain"],
    "size": "64x64",
    "width_scale": 0.0625,
    "batch": [2],
    "threads": [1],
    "probes": ["accuracy"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds whose networks were kept."""
    out = tmp_path_factory.mktemp("run")
    frame = pipeline.run(
        ["unet", "unet-paper"],
        out=out,
        steps=4,
        seeds=[0, 1],
        keep_weights=True,
        overlap=0.5,
        **TINY,
    )
    return Path(frame.attrs["path"])


def test_a_kept_network_scores_as_the_run_said(run: Path) -> None:
    cells = read_results(run, "cells")
    for name in ("unet", "unet-paper"):
        mine = cells[(cells["variant"] == name) & (cells["seed"] == 1)].iloc[0]
        network = load_network(run, name, seed=1)
        accumulator = Accumulator(brain.CLASSES, outlines=False)
        for sample in brain.load().test:
            accumulator.add(network.predict(sample.image, overlap=0.5), sample.mask)
        assert accumulator.figures()["dice"] == pytest.approx(float(mine["dice"]), abs=1e-6)


def test_the_best_seed_by_validation_is_taken(run: Path) -> None:
    cells = read_results(run, "cells")
    mine = cells[cells["variant"] == "unet"]
    best = mine.loc[mine["val_dice"].astype(float).idxmax(), "seed"]
    assert load_network(run, "unet").seed == best


def test_what_training_images_are_like_is_kept(run: Path) -> None:
    usual = load_network(run, "unet").usual
    assert usual
    assert not [*usual.differences(brain.load().train[0].image)]
    assert [*usual.differences(brain.load().train[0].image // 9)]


def test_load_model_is_the_module(run: Path) -> None:
    model = load_model(run, "unet")
    assert not model.training
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 4, 64, 64)


def test_what_was_not_kept_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="there are: unet, unet-paper"):
        load_model(run, "unett")
    with pytest.raises(UnknownName, match="no network of seed 7; there are: 0, 1"):
        load_model(run, "unet", seed=7)
    with pytest.raises(StoreError, match="train one, by --probes accuracy"):
        load_model(tmp_path, "unet")


def image(name: str, folder: Path, array: np.ndarray) -> str:
    Image.fromarray(array).save(folder / name)
    return str(folder / name)


def test_masks_for_ones_own_images(run: Path, unet_bench, tmp_path: Path) -> None:
    sample: Sample = brain.load().test[3]
    small = sample.image[:50, :70, 0]
    wide = (sample.image[..., 0].astype(np.uint16)) * 257
    files = [
        image("plain.png", tmp_path, sample.image[..., 0]),
        image("small.png", tmp_path, small),
        image("deep.png", tmp_path, wide),
    ]
    done = unet_bench("predict", str(run), "unet", *files, "--out", "masks", "--white", "65535")
    assert done.returncode == 0, done.stderr
    masks = {
        name: np.array(Image.open(tmp_path / "masks" / f"{name}.png"))
        for name in ("plain", "small", "deep")
    }
    assert masks["plain"].shape == (112, 128)
    assert masks["small"].shape == (50, 70)
    assert masks["plain"].max() < 4
    assert np.array_equal(masks["plain"], masks["deep"])
    network = load_network(run, "unet")
    assert np.array_equal(masks["plain"], network.predict(sample.image, overlap=0.5))


def test_images_that_cannot_be_used_are_all_named_and_nothing_is_written(
    run: Path, unet_bench, tmp_path: Path
) -> None:
    colour = image("colour.png", tmp_path, np.zeros((70, 70, 3), np.uint8))
    (tmp_path / "torn.png").write_bytes(b"no image")
    done = unet_bench("predict", str(run), "unet", colour, "torn.png", "none.png")
    assert done.returncode == 2
    for name in ("colour.png: 3 channels", "torn.png", "none.png: no such file"):
        assert name in done.stderr
    assert not (tmp_path / "predictions").exists()
    assert (
        "overlap=2.0 is not valid: it must be from 0 to 0.9"
        in unet_bench("predict", str(run), "unet", colour, "--overlap", "2").stderr
    )


def test_masks_never_replace_images(run: Path, unet_bench, tmp_path: Path) -> None:
    file = Path(image("mine.png", tmp_path, brain.load().test[0].image[..., 0]))
    before = file.read_bytes()
    done = unet_bench("predict", str(run), "unet", str(file), "--out", ".")
    assert (done.returncode, file.read_bytes()) == (2, before)
    assert "would replace" in done.stderr


def test_networks_of_two_data_sets_are_told_apart(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "two")
    for file in (tmp_path / "two" / "weights").glob("*.json"):
        about = json.loads(file.read_text())
        if about["seed"] == 1:
            about["task"]["name"] = "other"
            file.write_text(json.dumps(about))
    with pytest.raises(InvalidSuite, match="several values of data"):
        load_network(tmp_path / "two", "unet")
    assert load_network(tmp_path / "two", "unet", data="other").seed == 1
    with pytest.raises(UnknownName, match="there are: brain, other"):
        load_network(tmp_path / "two", "unet", data="cells")


@pytest.mark.slow
def test_a_killed_run_goes_on_inside_its_training(tmp_path: Path, unet_bench) -> None:
    """SIGKILL for parent and worker alike, in the middle of a training; the end is that of an
    unbroken run.
    """
    arguments = (
        "run -v unet -p accuracy --steps 40 --size 64x64 --width-scale 0.125 -b 2 --threads 1 "
        "--no-floors"
    )
    command = [*arguments.split(), "--keep-weights", "--out"]
    assert unet_bench(*command, "whole").returncode == 0
    broken = subprocess.Popen(
        [sys.executable, "-m", "unet_bench", *command, "broken", "--checkpoint-s", "0.001"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while (
        not (found := [*tmp_path.glob("broken/*/checkpoints/*/state.safetensors")])
        and time.monotonic() < end
    ):
        time.sleep(0.02)
    os.killpg(broken.pid, signal.SIGKILL)
    broken.wait()
    assert found
    assert unet_bench("run", "--resume", "last", "--out", "broken").returncode == 0
    rows = [
        read_results(next(tmp_path.glob(f"{name}/*/")), "cells").iloc[-1]
        for name in ("whole", "broken")
    ]
    assert 0 < rows[1]["resumed_step"] < 40
    assert rows[0]["dice"] == rows[1]["dice"]
    kept = [
        next(tmp_path.glob(f"{name}/*/weights/*.safetensors")).read_bytes()
        for name in ("whole", "broken")
    ]
    assert kept[0] == kept[1]
    assert not [*tmp_path.glob("broken/*/checkpoints/*")]


@pytest.mark.slow  # four trainings, one of a backbone
def test_pretrained_weights_are_an_axis_that_the_row_shows(tmp_path: Path) -> None:
    """Where they cannot be had, or there are none, that is a row too, and never silently another
    network.
    """
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    before = {name: os.environ.get(name) for name in offline}
    os.environ |= offline
    try:
        variants = ["unet", "mobilenetv3-unet"]
        pretrained = ["none", "imagenet"]
        frame = pipeline.run(
            variants, out=tmp_path, steps=2, pretrained=pretrained, floors=False, **TINY
        )
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    status = {
        (row["variant"], row["pretrained"]): row["accuracy_status"] for _, row in frame.iterrows()
    }
    assert status == {
        ("unet", "none"): "ok",
        ("unet", "imagenet"): "unsupported",
        ("mobilenetv3-unet", "none"): "ok",
        ("mobilenetv3-unet", "imagenet"): "error",
    }
    errors = frame[frame["pretrained"] == "imagenet"].set_index("variant")["error"]
    assert "no published weights" in errors["unet"]
    assert "could not be fetched" in errors["mobilenetv3-unet"]


def test_pretrained_weights_reach_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    from unet_bench import build_model
    from unet_bench.models.build import published_weights
    from unet_bench_timm.encoder import TimmEncoder

    create = timm.create_model

    def offline(name: str, *, pretrained: bool = False, **options: object) -> torch.nn.Module:
        model = create(name, pretrained=False, **options)
        if pretrained:
            torch.nn.init.constant_(model.conv_stem.weight, 0.5)
        return model

    monkeypatch.setattr("timm.create_model", offline)
    model = build_model("mobilenetv3-unet", in_channels=1)
    load = published_weights(model)
    assert load
    load("imagenet")
    assert isinstance(model.encoder, TimmEncoder)
    assert bool((model.encoder.body.conv_stem.weight == 0.5).all())
    assert published_weights(build_model("unet")) is None


def test_the_json_beside_the_weights_says_what_they_are(run: Path) -> None:
    about = [json.loads(file.read_text()) for file in (run / "weights").glob("*.json")]
    assert {(a["variant"]["name"], a["seed"]) for a in about} == {
        (name, seed) for name in ("unet", "unet-paper") for seed in (0, 1)
    }
    assert all(len(a["mean"]) == 1 and a["task"]["classes"] == list(brain.CLASSES) for a in about)


def test_every_field_beside_the_weights_is_right_or_refused(run: Path, tmp_path: Path) -> None:
    [whole, *_] = (json.loads(file.read_text()) for file in (run / "weights").glob("*.json"))
    file = tmp_path / "about.json"
    for where, edited in edits_of(whole):
        file.write_text(json.dumps(edited))
        try:
            hash(tuple(facts(_about(file)).values()))
        except StoreError as error:
            assert len(str(error)) < LONGEST, where
