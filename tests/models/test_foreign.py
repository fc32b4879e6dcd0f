"""Anybody's network by `--model`: its arguments, its output, its size, and no published weights."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import foreign_nets

from unet_bench.errors import InvalidPart, InvalidSuite, Unsupported
from unet_bench.models.foreign import (
    WeightsRefused,
    build_foreign,
    foreign_variant,
    weights_refused,
)
from unet_bench.plan.examine import ExaminedNetwork, examine
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task

NETS = "support.foreign_nets"
CHECKPOINT = ", checkpoint=None)'"  # what to do, with the arguments that were stated
SIZE = (32, 32)


@pytest.fixture
def examined(registry: Registry) -> Callable[..., ExaminedNetwork]:
    def of(name: str, size: tuple[int, ...] = SIZE, channels: int = 1) -> ExaminedNetwork:
        task = Task(
            name="t",
            dataset_hash="0",
            classes=("a", "b"),
            in_channels=channels,
            scored=size,
            fit="crop",
        )
        return examine(registry, foreign_variant(f"{NETS}:{name}"), task)

    return of


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Plain", SIZE),
        ("Pretrained", SIZE),
        ("Sized", SIZE),
        ("Sized(img_size=32)", SIZE),
        ("In32s", SIZE),
        ("Volumes", (16, 16, 16)),
        ("Odd(colours=channels, kinds=classes)", SIZE),
        ("Odd(colours=1, kinds=2)", SIZE),
        ("Looking", SIZE),
        ("Loud", SIZE),
        ("InDict", SIZE),
        ("AsObject", SIZE),
        ("FinestLast", SIZE),
        ("WithFeatures", SIZE),
        ("DoingWithout", SIZE),
        ("Loading(how='torch', checkpoint=None)", SIZE),
    ],
)
def test_what_people_have_runs_as_it_is(examined, name: str, size: tuple[int, ...]) -> None:
    found = examined(name, size)
    assert (found.status, found.reason) == ("", "")
    assert found.input_window.output == size
    assert found.params


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("Only224", "unsupported", ["--size 224x224"]),
        ("Sized(img_size=256)", "unsupported", ["--size 256x256"]),
        ("Odd", "unsupported", ["channels or classes", f"'{NETS}:Odd(ARGUMENT=channels, "]),
        ("Alike", "error", ["a tuple of 2×32×32, 2×32×32, 2×32×32", "Outputs(main, aux)"]),
        ("Flat", "error", ["a Tensor of 32×32"]),
        ("Classifying", "error", ["2 numbers for an image", "a map of 2 classes"]),
        ("Exiting", "error", ["SystemExit: no configuration"]),
        ("Downloading", "unsupported", ["loads weights while it is built (by a download)"]),
        ("Disguising", "unsupported", ["(by torch.load)", "name a function"]),
        ("Loading(how='torch')", "unsupported", ["(by torch.load)", CHECKPOINT]),
        ("Loading(how='script')", "unsupported", ["(by torch.jit.load)", CHECKPOINT]),
        ("Loading(how='safetensors')", "unsupported", ["(by safetensors)", CHECKPOINT]),
        ("Loading(how='numpy')", "unsupported", ["(by numpy.load)", CHECKPOINT]),
        ("Loading(how='hub')", "unsupported", ["(by a download)", CHECKPOINT]),
        ("Loading(how='another')", "unsupported", ["(by load_state_dict)", CHECKPOINT]),
    ],
)
def test_what_cannot_run_says_what_to_do(examined, name: str, status: str, words) -> None:
    found = examined(name)
    assert found.status == status
    for word in words:
        assert word in found.reason


def test_a_size_that_it_cannot_be_built_for_is_told_by_one_that_it_takes(examined) -> None:
    found = examined("In32s", (40, 40))
    assert found.status == "unsupported"
    assert "--size 224x224" in found.reason


def test_published_weights_are_switched_off_and_initial_ones_are_not() -> None:
    model = build_foreign(f"{NETS}:Pretrained", 1, 2, SIZE)
    assert model.given == (None, False, None, None)


@pytest.mark.parametrize(
    ("name", "default", "given"),
    [
        *((name, True, False) for name in ("use_imagenet", "imagenet", "imagenet_pretrained")),
        *((name, True, False) for name in ("load_weights", "use_pretrained_weights", "in1k")),
        *((name, True, False) for name in ("from_imagenet", "useImageNet", "loadPretrained")),
        *((name, True, True) for name in ("init_weights", "imagenet_norm", "weight_norm", "load")),
        ("pretrain", 1, False),
        ("imagenet_weights", "v2", None),
        ("weights", (0.5, 0.5), (0.5, 0.5)),
    ],
)
def test_what_brings_published_weights_is_known_by_its_name(
    name: str, default: Any, given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_nets.py").write_text(
        "from torch import nn\n"
        f"def net(in_channels, num_classes, {name}={default!r}):\n"
        f"    net.given = {name}\n    return nn.Conv2d(in_channels, num_classes, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "named_nets", raising=False)
    build_foreign("named_nets:net", 1, 2, SIZE)
    assert sys.modules["named_nets"].net.given == given
    if given is False:
        with pytest.raises(InvalidSuite, match="from scratch"):
            build_foreign(f"named_nets:net({name}=True)", 1, 2, SIZE)


@pytest.mark.parametrize(
    "arguments", ["encoder_weights='imagenet'", "pretrained=True", "weights_backbone='DEFAULT'"]
)
def test_published_weights_that_are_asked_for_are_refused(arguments: str) -> None:
    with pytest.raises(InvalidSuite, match="from scratch"):
        build_foreign(f"{NETS}:Pretrained({arguments})", 1, 2, SIZE)
    build_foreign(f"{NETS}:Pretrained(pretrained=False)", 1, 2, SIZE)
    with pytest.raises(InvalidSuite, match="from scratch"):
        build_foreign(f"{NETS}:any_of(pretrained=True)", 1, 2, SIZE)
    with pytest.raises(InvalidPart, match="unexpected keyword argument 'weights'"):  # of classes
        build_foreign(f"{NETS}:any_of(weights=[0.5, 0.5])", 1, 2, SIZE)


def test_loading_is_allowed_again_afterwards(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pth")
    before = torch.load, torch.nn.Module.load_state_dict
    with weights_refused([]):
        bound_in_the_block = torch.load
        with pytest.raises(WeightsRefused, match=r"torch\.load"):
            torch.load(tmp_path / "weights.pth")
    assert (torch.load, torch.nn.Module.load_state_dict) == before
    assert bound_in_the_block(tmp_path / "weights.pth") == {"a": 1}


def test_a_module_that_loads_weights_while_it_is_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loaded_nets.py").write_text("import torch\nNET = torch.load('weights.pth')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Unsupported, match=r"while it is imported \(by torch\.load\)"):
        build_foreign("loaded_nets:Net", 1, 2, SIZE)


def test_the_largest_map_is_the_main_one_and_weights_keep_their_names() -> None:
    model = build_foreign(f"{NETS}:FinestLast", 1, 2, SIZE)
    assert model(torch.zeros(1, 1, *SIZE)).shape == (1, 2, *SIZE)
    assert copy.deepcopy(model)(torch.zeros(1, 1, *SIZE)).shape == (1, 2, *SIZE)
    assert list(model.state_dict()) == ["body.weight", "body.bias"]


def test_what_comes_back_in_training_only_is_judged_there() -> None:
    model = build_foreign(f"{NETS}:AlikeInTraining", 1, 2, SIZE)
    image = torch.zeros(1, 1, *SIZE)
    assert model.eval()(image).shape == (1, 2, *SIZE)
    with pytest.raises(InvalidPart, match="in training"):
        model.train()(image)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("needy", ["mystery", "needy(mystery=…)"]),
        ("needy(depth=4)", ["mystery", "needy(depth=4, mystery=…)"]),
        ("CONSTANT", ["3"]),
        ("Nothing", ["Nothing", "imported"]),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, words: list[str]) -> None:
    with pytest.raises(InvalidSuite) as refused:
        build_foreign(f"{NETS}:{name}", 1, 2, SIZE)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("text", ["import sys; sys.exit(2)", "1 / 0", "def"])
def test_a_file_that_cannot_be_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "broken_nets.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidSuite, match="broken_nets:Net: "):
        build_foreign("broken_nets:Net", 1, 2, SIZE)


@pytest.mark.parametrize(
    "text",
    [
        "nets",
        ":Net",
        "nets:",
        "nets:Net(",
        "nets:Net()()",
        "nets:Net.made()",
        "nets:Net(3)",
        "nets:Net(*[1])",
        "nets:Net(**{'a': 1})",
        "nets:Net(a=b)",
        "nets:Net(a=[b])",
        "nets:Net(a=f'{1}')",
        "nets:Net(a=print(1))",
        "nets:Net(a=1 if 1 else 2)",
        "nets:Net(a=1); import os",
        "nets:Net(a=" + "(" * 300 + ")" * 300 + ")",
    ],
)
def test_nothing_but_literals_is_taken(text: str) -> None:
    with pytest.raises(InvalidSuite, match="--model"):
        foreign_variant(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nets:Net", "nets:Net"),
        ("nets:Net()", "nets:Net"),
        ("nets:Net( a = 1,b=[-2, (3.5,)] )", "nets:Net(a=1, b=[-2, (3.5,)])"),
        ("nets:Net(a=1e999)", "nets:Net(a=1e309)"),
        ('a.b:Net(c={"d": None}, e=size)', "a.b:Net(c={'d': None}, e=size)"),
    ],
)
def test_a_text_has_one_spelling_which_is_the_variants_name(text: str, name: str) -> None:
    variant = foreign_variant(text)
    assert (variant.name, variant.architecture) == (name, name)
    assert foreign_variant(name) == variant


def test_a_reference_is_built_alike_on_either_side_of_json(examined) -> None:
    variant = foreign_variant(f"{NETS}:Sized(img_size=32)")
    assert type(variant).from_json(variant.to_json()).architecture == variant.architecture


@pytest.mark.parametrize(
    "names",
    [
        "in_channels num_classes",
        "input_channel num_classes",
        "n_channels n_classes",
        "in_chans num_classes",
        "in_ch out_ch",
        "input_channels nclass",
        "inChannels outChannels",
        "input_nc output_nc",
        "img_channels classes",
    ],
)
def test_usual_names_are_matched(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def factory(**given: int) -> torch.nn.Module:
        assert list(given.values()) == [1, 2]
        return torch.nn.Identity()

    factory.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names.split()
    )
    monkeypatch.setattr(foreign_nets, "factory", factory, raising=False)
    build_foreign(f"{NETS}:factory", 1, 2, SIZE)
