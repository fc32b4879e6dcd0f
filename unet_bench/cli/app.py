"""The command line, assembled: every command in the order of `--help`, and what an error does.

Each command parses, calls one function and prints; nothing here decides anything about a
measurement. Options that a data class describes are made from it in `options.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from unet_bench.cli import answers, certify, data, defaults, inspect, measure, search, trained
from unet_bench.cli.options import PanelledCommand
from unet_bench.errors import UnetBenchError, is_disk_full
from unet_bench.present.stdout import encode_anything

COMMANDS = {
    "run": measure.run,
    "plan": measure.plan,
    "search": search.search,
    "list": inspect.list_,
    "plugins": inspect.plugins_,
    "show": answers.show,
    "compare": answers.compare,
    "effects": answers.effects,
    "summary": answers.summary,
    "rank": answers.rank,
    "recommend": answers.recommend,
    "curves": answers.curves,
    "predict": trained.predict,
    "export": trained.export,
    "quantize-report": trained.quantize_report,
    "selftest": measure.selftest,
    "certify": certify.certify,
    "report": answers.report,
    "geometry": inspect.geometry,
    "doctor": inspect.doctor,
    "new-plugin": inspect.new_plugin,
}
ASKING = {"--help", "--version", "-V"}
DATA_COMMANDS = {"check": data.data_check, "resolve": data.data_resolve, "save": data.data_save}


app = typer.Typer(
    name="unet-bench",
    help="Which U-Net to use, and what each choice in it is worth: speed, memory and accuracy, "
    "measured fairly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def print_version(wanted: bool) -> None:
    """Print the version, and end."""
    from importlib.metadata import version

    if wanted:
        typer.echo(f"unet-bench {version('unet-bench')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Say which U-Net to use, and what each choice in it is worth: speed, memory and accuracy."""


data_app = typer.Typer(help="Look at data before training on them.", no_args_is_help=True)
for group, commands in ((app, COMMANDS), (data_app, DATA_COMMANDS)):
    for name, command in commands.items():
        group.command(name, cls=PanelledCommand)(command)
app.add_typer(data_app, name="data")


def own_defaults() -> defaults.Defaults:
    """Return the options that the environment, or a file here or above, gives for all calls."""

    def commands() -> Any:
        made: Any = typer.main.get_command(app)
        return made.commands

    return defaults.defaults(COMMANDS, commands, Path.cwd(), os.environ)


def main() -> NoReturn:
    """Run the console script: what a user can mend is one message and exit code 2."""
    encode_anything()
    try:
        found = {} if ASKING & {*sys.argv} else own_defaults()
        default_map = defaults.as_default_map(found, sys.argv[1:])
        app(standalone_mode=True, default_map=default_map, obj=found)
    except UnetBenchError as error:
        if "--debug" in sys.argv:
            raise
        typer.secho(f"unet-bench: {error}", err=True, fg="red")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if not is_disk_full(error):
            raise
        sys.stdout = None  # or the rest would be tried again
        typer.secho(f"unet-bench: the answer cannot be printed: {error}; free space", err=True)
        sys.exit(2)
    sys.exit(0)
