"""Options of commands: those that a data class describes, and those that several commands share."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from unet_bench.cli.defaults import taken, to_take
from unet_bench.execute.signals import exit_code, stoppable
from unet_bench.present.stdout import be_quiet, reserved, tell
from unet_bench.spec.option import Option, options

Chosen = dict[str, Any]
"""The options of a data class that the command line chooses, by the names of their fields."""


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    md = "md"
    json = "json"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]

LIMITS: Final = "Limits"  # a panel of --help


def _limit(name: str, help: str) -> Any:
    return typer.Option(f"--max-{name}", help=help, rich_help_panel=LIMITS)


MaxLatency = Annotated[float | None, _limit("latency-ms", "Time of one forward pass, ms.")]
MaxMemory = Annotated[float | None, _limit("memory-mib", "Peak of inference, MiB.")]
MaxTrainMemory = Annotated[
    float | None, _limit("train-memory-mib", "Peak of a training step, MiB.")
]
MaxParams = Annotated[float | None, _limit("params-m", "Parameters, millions.")]
MaxGmacs = Annotated[float | None, _limit("gmacs", "MACs of one image, 10⁹.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print the answer and errors alone: no notes, no progress.",
        callback=be_quiet,
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that the run's folder names, since you know it.")
]
Formatted = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
Corrected = Annotated[
    bool,
    typer.Option(
        "--correction/--no-correction",
        help="Verdicts for all variants of a table together, or for each by itself.",
    ),
]


class PanelledCommand(TyperCommand):
    """A command with `--help` by panels, which can be stopped and alone prints to stdout."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Read the words of a command; a refusal says which of them were defaults."""
        words = to_take(parent, info_name)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            if words and hasattr(error, "message"):
                error.message = f"{error.message} Defaults are: {words}."
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; where a signal ends it, that is one line and an exit code.

        The line has the exception's notes. What plugins print meanwhile goes to stderr.
        """
        if words := taken(ctx):
            tell(f"note: not given, but a default: {words}")
        try:
            with reserved(), stoppable():
                return super().invoke(ctx)
        except KeyboardInterrupt as end:
            tell("; ".join(["stopped", *getattr(end, "__notes__", ())]), always=True)
            raise typer.Exit(exit_code(end)) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, in the order in which they first occur."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None) or kind
            if record := parameter.get_help_record(ctx):
                panels.setdefault(panel, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def pick(of: type, *names: str) -> Mapping[str, Option]:
    """Return some of the options that a data class describes."""
    return {name: options(of)[name] for name in names}


def with_options(**groups: Mapping[str, Option]) -> Callable[[Callable[..., None]], Any]:
    """Give a command these options.

    Its function gets those that the user gave, in one mapping for each group.
    """
    described = {name: one for group in groups.values() for name, one in group.items() if one.panel}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = typing.get_type_hints(function, include_extras=True)
        own = {name: hint for name, hint in own.items() if name not in (*groups, "return")}
        defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
        hints = {name: _hint(one) for name, one in described.items()} | own

        @functools.wraps(function)
        def command(**values: Any) -> None:
            chosen: Chosen = {}
            for name, one in described.items():
                value = values.pop(name)
                if value is not None and value != []:
                    chosen[name] = one.from_text(value)
            for name, group in groups.items():
                values[name] = {name: chosen[name] for name in group if name in chosen}
            function(**values)

        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=defaults.get(name),
                    annotation=hint,
                )
                for name, hint in hints.items()
            ]
        )
        command.__annotations__ = hints
        return command

    return decorate


def _hint(option: Option) -> Any:
    """Return the type hint from which typer makes the option."""
    flags = list(option.all_flags)
    if option.kind is bool:
        flags[0] += f"/--no-{flags[0].removeprefix('--')}"
    kind: Any = list[str] if option.many else str if option.parse else option.kind
    several = ",..." if option.many and option.by_commas else ""
    metavar = None if option.kind is bool else f"<{option.kind.__name__}{several}>"
    wanted = typer.Option(*flags, help=option.text, rich_help_panel=option.panel, metavar=metavar)
    return Annotated[kind | None, wanted]
