"""Options of one's own that need not be given each time: from the environment or a TOML file.

command line ▸ UNET_BENCH_… ▸ unet-bench.toml ▸ [tool.unet-bench] of pyproject.toml ▸ the preset's

The file is looked for in the working folder and those above it. A key is an option without its
dashes; in a table of a command's name it holds for that command alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from unet_bench.errors import InvalidSuite, unknown
from unet_bench.limits import one_line, read_toml

FILE: Final = "unet-bench.toml"
PROJECT: Final = "pyproject.toml"
PREFIX: Final = "UNET_BENCH_"
NO_OPTION: Final = ("UNET_BENCH_CACHE", "UNET_BENCH_BLOCK")  # variables that others read
NEAR: Final = 0.75  # how alike a variable's name and an option's are that it is a slip for
ASKED_EACH_TIME: Final = (
    *("help", "version", "model", "trust", "executor", "executor-option"),
    *("resume", "suite", "debug", "quiet"),
)
"""What is never a default; a file in a folder from elsewhere must not have code run."""
SAID_ELSEWHERE: Final = ("--resume", "--suite")  # what is measured: a run or a suite says it all
NOTHING: Final = "no option that can have a default"


@dataclass(frozen=True)
class Default:
    """A value, and where it was found."""

    value: Any
    origin: str


Command: TypeAlias = Any  # click's, which versions of typer bring under different names
Parameter: TypeAlias = Any
Defaults = Mapping[str, Mapping[str, Default]]  # by command and parameter


def defaults(
    names: Collection[str],
    commands: Callable[[], Mapping[str, Command]],
    folder: Path,
    environment: Mapping[str, str],
) -> Defaults:
    """Return the defaults that hold in a folder. Raises InvalidSuite, UnknownName.

    The `commands` of these names are made if there are defaults at all.
    """
    stated = [*_of_file(folder, names), *_of_variables(environment)]
    return _understood(stated, commands()) if stated else {}


def _understood(
    stated: Iterable[tuple[str, str, Any, str]], commands: Mapping[str, Command]
) -> Defaults:
    found: dict[str, dict[str, Default]] = {}
    for command, name, value, origin in stated:
        given = _key(name)
        takers = {
            of: parameter
            for of, parameter in _takers(commands, given)
            if command in ("", of) and given not in ASKED_EACH_TIME
        }
        if not takers:
            known = {key for of in commands for key in _keys(commands[of]) if command in ("", of)}
            which = f"unet-bench {command} --help" if command else "unet-bench run --help"
            what = f"option {one_line(name)!r}"
            if given in ASKED_EACH_TIME:
                raise InvalidSuite(f"{origin}: {what} is {NOTHING}: give it on the command line")
            known -= {*ASKED_EACH_TIME}
            is_variable = origin.startswith(PREFIX)
            if is_variable and not difflib.get_close_matches(given, known, cutoff=NEAR):
                continue  # somebody else's
            error = unknown("option", one_line(name), known, which)
            raise type(error)(f"{origin}: {error}")
        for of, parameter in takers.items():
            known_as = str(parameter.name)
            found.setdefault(of, {})[known_as] = Default(_plain(parameter, value, origin), origin)
    return found


def as_default_map(found: Defaults, arguments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what click takes; nothing where a run or a suite says what is measured."""
    if any(word.partition("=")[0] in SAID_ELSEWHERE for word in arguments):
        return {}
    return {
        command: {name: default.value for name, default in of.items()}
        for command, of in found.items()
    }


def taken(ctx: Any) -> str:
    """Return which options of a command were not given but are a default, and where that stands."""
    found = _of_command(ctx.find_root(), ctx.info_name)
    return _told({name: of for name, of in found.items() if _is_default(ctx, name)})


def to_take(parent: Any, command: str) -> str:
    """Return which options have a default, before a command is called."""
    return _told(_of_command(parent.find_root(), command)) if parent else ""


def _of_command(root: Any, command: str) -> Mapping[str, Default]:
    found: Defaults = root.obj or {}
    return found.get(command, {})


def _is_default(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _told(found: Mapping[str, Default]) -> str:
    return ", ".join(
        f"--{_key(name)} {_written(default.value)} ({default.origin})"
        for name, default in found.items()
    )


# ---- where they stand


def _of_file(folder: Path, commands: Collection[str]) -> Iterator[tuple[str, str, Any, str]]:
    """Yield command, option, value and file of what the nearest file has."""
    for path in (folder, *folder.parents):
        for file, tables in ((path / FILE, ()), (path / PROJECT, ("tool", "unet-bench"))):
            found = _table(file, tables)
            if found is None:
                continue
            for name, value in found.items():
                if isinstance(value, dict) and name in commands:
                    yield from ((name, key, inner, str(file)) for key, inner in value.items())
                else:
                    yield "", name, value, str(file)
            return


def _table(file: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return a table of a TOML file; None where there is none."""
    if not file.is_file():
        return None
    try:
        found: Any = read_toml(file)
    except (OSError, ValueError) as error:
        if names:  # somebody else's file: its own tools tell what is wrong with it
            return None
        raise InvalidSuite(f"{file}: {one_line(str(error))}: correct it, or remove it") from None
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _of_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, Any, str]]:
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in NO_OPTION:
            yield "", name.removeprefix(PREFIX).lower(), value, name


# ---- what they mean


def _takers(commands: Mapping[str, Command], key: str) -> Iterator[tuple[str, Parameter]]:
    """Yield the commands that have an option, and it."""
    for name, command in commands.items():
        if (parameter := _keys(command).get(key)) is not None:
            yield name, parameter


def _keys(command: Command) -> dict[str, Parameter]:
    """Return a command's options by their long names."""
    options = [one for one in command.params if one.param_type_name == "option"]
    return {_key(word): one for one in options for word in one.opts if word.startswith("--")}


def _key(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _plain(parameter: Parameter, value: Any, origin: str) -> Any:
    """Return a value as text, which typer converts as if it were given. Raises InvalidSuite."""
    several = value if isinstance(value, list) else [value]
    plain = all(isinstance(item, str | int | float) for item in several)
    if not plain or (isinstance(value, list) and not parameter.multiple):
        takes = "one value" + (", or several in a list" if parameter.multiple else "")
        raise InvalidSuite(
            f"{origin}: {_key(parameter.name)} = {_written(value)} is not valid: it takes {takes}"
        )
    texts = [_written(item) for item in several]
    return texts if parameter.multiple else texts[0]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    several = value if isinstance(value, list | tuple) else [value]
    return one_line(",".join(map(str, several)))
