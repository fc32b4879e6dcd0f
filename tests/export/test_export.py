"""A network that leaves: its folder gives the same masks where neither torch nor we are."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unet_bench.errors import InvalidSuite, NotInstalled, StoreError, Unsupported
from unet_bench.export import export_network, folder
from unet_bench.geometry.sizes import find_input_window
from unet_bench.models.build import build
from unet_bench.models.select import select_one
from unet_bench.networks import as_onnx
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task
from unet_bench.train.trained import Network

# Looked for and not imported: that takes seconds, and most runs leave these tests out.
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason='needs pip install "unet-bench[onnx]"',
)

ALONE = """
import runpy, sys
for name in {absent!r}:
    sys.modules[name] = None  # importing it fails
sys.argv = ["predict.py", *sys.argv[2:]]
runpy.run_path({script!r}, run_name="__main__")
"""
ALL_ABSENT = ("torch", "unet_bench")
UNLIKE = (
    "unet", "unet-paper", "unet-valid-resize", "unet-add", "unet-attention-gate",
    "unet-nested-skips", "unet-deep-supervision", "unet-instance", "unet-group", "unet-bilinear",
    "unet-bicubic-conv", "unet-pixel-shuffle", "unet-blur-pool", "unet-haar", "unet-no-skip",
    "unet-convnext", "unet-cbam", "unet-aspp", "unet-transformer", "resnet34-unet", "segnet",
    "u2net-small", "unet3+", "unext", "swin-unet", "nnunet-plain", "unet-monai",
)  # fmt: skip


def network(
    registry: Registry, name: str, size: tuple[int, ...], channels: int = 1, **changes: Any
) -> Network:
    """A network with random weights and statistics, as if it had been trained."""
    torch.manual_seed(0)
    variant = select_one(registry, name)
    narrow = {"width_scale": 0.125} | ({"dims": 3} if len(size) == 3 else {})
    variant = variant.with_choices(**narrow)
    with torch.device("meta"):
        blueprint = build(registry, variant, channels, 3)
    window, _ = find_input_window(blueprint, channels, 3, size)
    model = build(registry, variant, channels, 3, window.input).eval()
    for statistic, values in model.named_buffers():
        if statistic.endswith("running_var"):
            values.uniform_(0.5, 2)
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b", "c"), in_channels=channels, scored=size,
        fit="crop",
    )  # fmt: skip
    made = Network(
        model=model,
        blueprint=blueprint,
        task=task,
        input_window=window,
        mean=np.linspace(90.0, 120.0, channels),
        std=np.linspace(40.0, 50.0, channels),
        image_type="uint8",
        seed=0,
        variant=name,
    )
    return replace(made, **changes)


def run_alone(exported: Path, *images: Path, absent: tuple[str, ...] = ALL_ABSENT) -> None:
    code = ALONE.format(script=str(exported / "predict.py"), absent=absent)
    arguments = ["--", *map(str, images)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "channels"), [("unet", 1), ("unet-paper", 3)], ids=["padded", "unpadded"]
)
def test_masks_are_those_of_the_network(
    registry: Registry, tmp_path: Path, name: str, channels: int
) -> None:
    made = network(registry, name, (32, 48), channels)
    done = export_network(made, tmp_path / "out")
    assert done.apart is not None
    assert done.apart < 1e-5
    rng = np.random.default_rng(0)
    for sides in ((32, 48), (75, 60), (20, 30)):  # a tile, several, and less than one
        image = rng.integers(0, 256, (*sides, channels)).astype(np.uint8)
        file = tmp_path / f"{sides[0]}.png"
        Image.fromarray(image if channels == 3 else image[..., 0]).save(file)
        run_alone(done.folder, file)
        mask = np.array(Image.open(file.with_suffix(".mask.png")))
        np.testing.assert_array_equal(mask, made.predict(image, overlap=0.5))
        assert len(np.unique(mask)) > 1


@pytest.mark.parametrize("name", ["unet", "unet-paper"], ids=["padded", "unpadded"])
@pytest.mark.parametrize("format", ["openvino", "torch-export"])
def test_every_format_gives_the_same_masks(
    registry: Registry, tmp_path: Path, format: str, name: str
) -> None:
    if format == "openvino":
        pytest.importorskip("openvino", reason='needs pip install "unet-bench[openvino]"')
    made = network(registry, name, (32, 48))
    done = export_network(made, tmp_path / "out", format)
    assert done.apart is not None
    assert done.apart < 1e-5
    image = np.random.default_rng(0).integers(0, 256, (75, 60, 1)).astype(np.uint8)
    Image.fromarray(image[..., 0]).save(tmp_path / "i.png")
    absent = ("unet_bench",) if format == "torch-export" else (*ALL_ABSENT, "onnxruntime")
    run_alone(done.folder, tmp_path / "i.png", absent=absent)
    mask = np.array(Image.open(tmp_path / "i.mask.png"))
    assert (mask == made.predict(image, overlap=0.5)).mean() > 0.999
    about = json.loads((done.folder / "model.json").read_text())
    assert about["needs"][0] == {"openvino": "openvino", "torch-export": "torch"}[format]
    assert (about["batch"], about["checked"]["difference"]) == ("any", done.apart)
    assert not (done.folder / "model.onnx").exists()


def test_what_cannot_be_quantised_is_told(registry: Registry, tmp_path: Path) -> None:
    made = network(registry, "unet", (32, 32))
    with pytest.raises(InvalidSuite, match="is for onnx, openvino, not for --format torch-export"):
        export_network(made, tmp_path / "out", "torch-export", "static-int8")
    with pytest.raises(InvalidSuite, match="give --quantize, too"):
        export_network(made, tmp_path / "out", in_float=["head"])


def test_a_network_that_cannot_be_followed_is_a_line(registry: Registry, tmp_path: Path) -> None:
    class Counting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x  # which of them depends on the data

    made = replace(network(registry, "unet", (32, 32)), model=Counting())
    for format in ("onnx", "torch-export"):
        with pytest.raises(Unsupported) as told:
            export_network(made, tmp_path / "out", format)
        assert "\\x1b" not in str(told.value)
        assert len(str(told.value)) < 400
    assert not list(tmp_path.iterdir())


def test_volumes_and_other_depths(registry: Registry, tmp_path: Path) -> None:
    made = network(
        registry,
        "unet",
        (16, 16, 16),
        image_type="float32",
        scale={"uint16": (0.0, 4095.0)},
        mean=np.array([0.4]),
        std=np.array([0.2]),
    )
    done = export_network(made, tmp_path / "out")
    stored = np.random.default_rng(1).integers(0, 4096, (20, 24, 16)).astype(np.uint16)
    np.save(tmp_path / "v.npy", stored)
    run_alone(done.folder, tmp_path / "v.npy")
    unit = (stored / 4095.0).astype(np.float32)[..., None]
    mask = np.load(tmp_path / "v.mask.npy")
    assert (mask == made.predict(unit, overlap=0.5)).mean() > 0.999


def test_images_that_were_resized_for_training_are_resized(
    registry: Registry, tmp_path: Path
) -> None:
    made = network(registry, "unet", (32, 32))
    made = replace(made, task=replace(made.task, fit="resize"))
    done = export_network(made, tmp_path / "out")
    image = np.random.default_rng(2).integers(0, 256, (50, 70, 1)).astype(np.uint8)
    Image.fromarray(image[..., 0]).save(tmp_path / "i.png")
    run_alone(done.folder, tmp_path / "i.png")
    mask = np.array(Image.open(tmp_path / "i.mask.png"))
    small = made.predict(np.asarray(made.fitted(image)), overlap=0.5)
    expected = np.array(Image.fromarray(small).resize((70, 50), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((40, 40, 3), np.uint8), "1 channels"),
        (np.zeros((40, 40), np.uint16), "uint8"),
    ],
    ids=["channels", "depth"],
)
def test_other_images_are_refused(
    registry: Registry, tmp_path: Path, array: np.ndarray, words: str
) -> None:
    done = export_network(network(registry, "unet", (32, 32)), tmp_path / "out")
    np.save(tmp_path / "i.npy", array)
    with pytest.raises(AssertionError, match=words):
        run_alone(done.folder, tmp_path / "i.npy")
    assert not (tmp_path / "i.mask.npy").exists()


def test_files_that_cannot_be_read_are_a_line(registry: Registry, tmp_path: Path) -> None:
    done = export_network(network(registry, "unet", (32, 32)), tmp_path / "out")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    for name in ("torn.png", "nowhere.png"):
        with pytest.raises(AssertionError, match="cannot be read") as told:
            run_alone(done.folder, tmp_path / name)
        assert "Traceback" not in str(told.value)


def test_volumes_beyond_the_scale_are_refused(registry: Registry, tmp_path: Path) -> None:
    made = network(
        registry, "unet", (16, 16, 16), image_type="float32", scale={"float32": (0.0, 1.0)}
    )
    done = export_network(made, tmp_path / "out")
    np.save(tmp_path / "v.npy", np.full((16, 16, 16), 700, np.float32))
    with pytest.raises(AssertionError, match="bring it there"):
        run_alone(done.folder, tmp_path / "v.npy")


def test_the_file_says_what_it_is(registry: Registry, tmp_path: Path) -> None:
    import onnx

    done = export_network(network(registry, "unet-paper", (32, 32)), tmp_path / "out")
    about = json.loads((done.folder / "model.json").read_text())
    assert [each["name"] for each in about["classes"]] == ["a", "b", "c"]
    assert about["input"]["size"][0] > about["output"]["size"][0] == 32
    model = onnx.load(done.folder / "model.onnx")
    kept = {entry.key: json.loads(entry.value) for entry in model.metadata_props}["unet_bench"]
    assert kept["input"] == about["input"]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param  # any


def test_nothing_is_left_of_what_did_not_go_well(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = network(registry, "unet", (32, 32))
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError, match="exists"):
        export_network(made, tmp_path / "taken")
    with monkeypatch.context() as patched:
        patched.setattr(folder, "difference", lambda *_: 0.5)
        with pytest.raises(Unsupported, match=r"0\.5 off"):
            export_network(made, tmp_path / "wrong")
    with monkeypatch.context() as patched:
        patched.setattr(folder, "difference", lambda *_: float("nan"))
        with pytest.raises(Unsupported, match="nan off"):
            export_network(made, tmp_path / "wrong")
    found = as_onnx.importlib.util.find_spec

    def without(absent: str) -> Any:
        return lambda name: None if name == absent else found(name)

    with monkeypatch.context() as patched:
        patched.setattr(as_onnx.importlib.util, "find_spec", without("onnxscript"))
        with pytest.raises(NotInstalled, match=r"pip install 'unet-bench\[onnx\]'"):
            export_network(made, tmp_path / "wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    with monkeypatch.context() as patched:
        patched.setattr(as_onnx.importlib.util, "find_spec", without("onnxruntime"))
        done = export_network(made, tmp_path / "unchecked")
    assert done.apart is None
    assert "onnxruntime" in done.unchecked


@pytest.mark.full
@pytest.mark.parametrize("name", UNLIKE)
def test_unlike_networks_agree(registry: Registry, tmp_path: Path, name: str) -> None:
    done = export_network(network(registry, name, (64, 64), 3), tmp_path / "out")
    assert done.apart is not None
    assert done.apart < 1e-4
