"""Recipes: in code, in TOML, from a plugin; refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import ROOT

from unet_bench.errors import InvalidSuite, UnknownName
from unet_bench.registry.plugins import load
from unet_bench.registry.registry import Registry
from unet_bench.spec.recipe import Recipe, find, from_dict, shipped


def test_every_shipped_recipe_is_registered_with_its_source() -> None:
    registry = load().checked()
    files = {file.stem for file in (ROOT / "unet_bench" / "spec" / "recipes").glob("*.toml")}
    entries = {entry.name: entry for entry in registry.entries("recipe")}
    assert set(entries) == files | {"default"}
    for name in files:
        recipe = find(registry, name)
        assert recipe.name == name
        assert recipe.summary
        assert recipe.source or name == "short"


def test_the_papers_recipe_is_the_papers() -> None:
    recipe = shipped("paper")
    assert (recipe.optimizer, recipe.momentum, recipe.batch) == ("sgd", 0.99, 1)
    assert (recipe.border_weight, recipe.border_sigma) == (10.0, 5.0)
    assert (recipe.elastic, recipe.elastic_grid, recipe.init, recipe.dice) == (10.0, 3, "he", 0.0)
    assert recipe.dropout > 0


def test_a_file_changes_a_base_and_is_named_by_what_it_does(
    tmp_path: Path, registry: Registry
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "nnunet"\nlr = 1\n')
    first = find(registry, str(file))
    assert (first.lr, first.optimizer, first.momentum) == (1.0, "sgd", 0.99)
    assert first.name.startswith("mine@")
    file.write_text('base = "nnunet"\nlr = 1\nsummary = "in other words"\n')
    assert find(registry, str(file)).name == first.name
    file.write_text('base = "nnunet"\nlr = 2\n')
    assert find(registry, str(file)).name != first.name


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lr = 'fast'", InvalidSuite, "it takes a number"),
        ("lr = 0", InvalidSuite, "lr=0.0 is not valid: it must be above 0"),
        ("lr = -1", InvalidSuite, "above 0"),
        ("lr = inf", InvalidSuite, "lr=inf is not valid: it must be above 0 and at most"),
        ("flip = 1", InvalidSuite, "it takes true or false"),
        ("evaluations = 0", InvalidSuite, "evaluations=0"),
        ("evaluations = true", InvalidSuite, "it takes a whole number"),
        ("looks = 3", InvalidSuite, "looks is called evaluations now"),
        ("momentum = 1.5", InvalidSuite, "from 0 to 1"),
        ("scale_low = 2.0", InvalidSuite, "at most scale_high"),
        ("cross_entropy = 0.0\ndice = 0.0", InvalidSuite, "no loss"),
        ("cross_entropy = 0.0\nborder_weight = 10.0", InvalidSuite, "cross-entropy"),
        ("learning_rate = 1.0", UnknownName, "unknown recipe key 'learning_rate'"),
        ('optimizer = "adamW"', UnknownName, "did you mean adam, adamw"),
        ('base = "nnunett"', UnknownName, "did you mean nnunet"),
        ("lr = ", InvalidSuite, "mine.toml"),
    ],
)
def test_a_wrong_recipe_is_refused(
    tmp_path: Path, registry: Registry, text: str, error: type, message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(error, match=message):
        find(registry, str(file))


def test_a_missing_file_and_an_unknown_name_say_so(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InvalidSuite, match="No such file"):
        find(registry, str(tmp_path / "none.toml"))
    with pytest.raises(UnknownName, match="unet-bench list recipes"):
        find(registry, "papper")


def test_code_and_data_make_the_same_recipe() -> None:
    assert from_dict({"lr": 1, "name": "x"}, Recipe()) == Recipe(name="x", lr=1.0)
