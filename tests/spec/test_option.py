"""An option is described once: a field makes the command option, the TOML key, the docs row."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT
from typer.testing import CliRunner

from unet_bench.cli.options import PanelledCommand, with_options
from unet_bench.errors import InvalidSuite, UnetBenchError, UnknownName
from unet_bench.execute.options import ExecutionOptions
from unet_bench.spec.cell import Setting
from unet_bench.spec.option import Bounds, option, options, require, to_argv, typed
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import Suite, from_dict, from_options


@dataclass(frozen=True, kw_only=True)
class Tea:
    """A specification of the test's own."""

    minutes: float = option(3.0, "How long it draws", panel="Tea", bounds=Bounds(above=0))
    leaves: tuple[str, ...] = option((), "Which", "-l", panel="Tea", choices=("green", "black"))
    cups: tuple[int, ...] = option((), "For how many", panel="Tea")
    milk: bool = option(True, "Whether with milk", panel="Tea")
    note: str = option("", "Of whoever made it")

    def __post_init__(self) -> None:
        require(self)


def tea_command() -> tuple[typer.Typer, list[dict[str, Any]]]:
    found = []

    @with_options(tea=options(Tea))
    def brew(tea: dict[str, Any]) -> None:
        found.append(tea)

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(cls=PanelledCommand)(brew)
    return app, found


def test_a_field_is_an_option_of_a_command_in_its_panel() -> None:
    app, found = tea_command()
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "Tea:\n  --minutes <float>" in shown
    assert "Which: green, black; several by commas." in shown
    assert "--note" not in shown
    words = ["--minutes", "4", "-l", "green,black", "--leaves", "green", "--no-milk"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert found == [{"minutes": 4.0, "leaves": ["green", "black", "green"], "milk": False}]


def test_a_field_is_a_key_of_toml_with_its_type() -> None:
    made = Tea(**typed(Tea, {"minutes": 4, "leaves": "green", "note": 7}, "key", "here"))
    assert made == Tea(minutes=4.0, leaves=("green",), note="7")
    for data, error, words in (
        ({"minute": 4}, UnknownName, "did you mean minutes"),
        ({"minutes": "4"}, InvalidSuite, "minutes='4' is not valid: it takes a number"),
        ({"cups": True}, InvalidSuite, "it takes a whole number, or several in a list"),
        ({"milk": 1}, InvalidSuite, "it takes true or false"),
        ({"minutes": [4]}, InvalidSuite, "it takes a number"),
        ({"cups": 2**63}, InvalidSuite, "at most 64 bits"),
        ({"note": "x" * 1001}, InvalidSuite, "at most 1000 characters"),
        ({"minutes": 0}, InvalidSuite, "minutes=0.0 is not valid: it must be above 0 and finite"),
        ({"minutes": float("nan")}, InvalidSuite, "above 0 and finite"),
        ({"leaves": ["gren"]}, UnknownName, "did you mean green"),
        ({"leaves": []}, None, ""),
    ):
        if error is None:
            Tea(**typed(Tea, data, "key", "here"))
            continue
        with pytest.raises(error, match=words):
            Tea(**typed(Tea, data, "key", "here"))


def test_a_field_is_a_row_of_the_docs() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(generate)  # type: ignore[union-attr]
    rows = generate.keys_table(Tea).splitlines()
    assert "| `minutes` | a number, above 0 | 3 | How long it draws. |" in rows
    assert "| `leaves` | green, black; or a list | | Which. |" in rows


def test_words_of_the_command_line_say_what_differs_from_the_defaults() -> None:
    assert to_argv(Tea()) == []
    made = Tea(minutes=4.0, leaves=("green", "black"), milk=False, note="none's")
    assert to_argv(made) == ["--minutes", "4", "--leaves", "green,black", "--no-milk"]


@pytest.mark.parametrize("of", [Suite, Recipe, ExecutionOptions, Setting])
def test_every_field_is_described_and_its_default_is_one_that_it_takes(of: type) -> None:
    described = options(of)
    assert set(of.__dataclass_fields__) - set(described) <= {"begun"}
    for one in described.values():
        assert one.help
        assert not one.help.endswith(".")
    of()


values = st.sampled_from(
    [
        {"variants": ["unet", "unet-add"], "seeds": [0, 3]},
        {"base": "unet", "vary": ["up=bilinear,transpose", "merge=add"], "floors": False},
        {"data": ["a folder,with a comma", "-x"], "limit_tmac": 0.0, "timeout_s": 1.5},
        {"precision": ["fp32", "bf16"], "batch": [2, 4], "examples": 0, "flips": True},
        {"models": ["a.b:C"], "interval": 0.01, "size": "64x64,32", "steps": 7},
        {"evaluation": "whole", "match": "macs", "preset": "full", "memory_limit": "8G"},
    ]
)


@given(st.lists(values, max_size=4))
def test_a_suite_is_made_again_by_its_words(several: list[dict[str, Any]]) -> None:
    found: list[dict[str, Any]] = []

    @with_options(suite=options(Suite))
    def command(suite: dict[str, Any]) -> None:
        found.append(suite)

    data = {name: value for one in several for name, value in one.items()}
    wanted = from_dict(data)
    app = typer.Typer(add_completion=False)
    app.command()(command)
    app(wanted.to_argv(), standalone_mode=False)
    assert from_options(found[0]) == wanted


@given(st.dictionaries(st.sampled_from(list(options(Recipe))), st.floats() | st.booleans()))
def test_any_number_is_taken_or_refused_by_an_error_of_ours(data: dict[str, Any]) -> None:
    try:
        Recipe(**typed(Recipe, data, "key", "here"))
    except UnetBenchError as error:
        assert len(str(error)) < 300
