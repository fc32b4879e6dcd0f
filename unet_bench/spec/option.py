"""One option, described once: its field says what it takes, what it is for and how it is written.

From that description are made the check of its value, the TOML key, the option of the commands, its
row in the docs, and the words that ask for it again.

Fields of plain data classes with a description in their metadata: a refusal then says value, rule
and remedy in our own words, which attrs and pydantic would have to be taught. Importing either
would add a fifth to the time that `--help` takes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Final

from unet_bench.errors import InvalidSuite, UnknownName, unknown
from unet_bench.limits import MOST_NUMBER, MOST_WORDS, one_line, shown

# The panels of `--help`. An option of none of them is no option of a command.
WHAT: Final = "What to measure"
DATA: Final = "Data"
TRAINING: Final = "Training"
MEASURING: Final = "Measuring"
WHERE: Final = "Where it runs"
SAVING: Final = "Saving"
RUN_HELP: Final = "unet-bench run --help"
TAKES: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Bounds:
    """The numbers that an option takes. Infinity and NaN are never among them."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, number: float) -> bool:
        """Return whether a number lies within."""
        return (
            math.isfinite(number)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    @property
    def is_open(self) -> bool:
        """Whether there is no largest number."""
        return self.most is None and self.below is None

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"from {self.least:,} to {self.most:,}"
        ends = {
            "at least": self.least,
            "above": self.above,
            "at most": self.most,
            "below": self.below,
        }
        words = [f"{end} {number:,}" for end, number in ends.items() if number is not None]
        return " and ".join(words)


POSITIVE: Final = Bounds(above=0)
NOT_NEGATIVE: Final = Bounds(least=0)
FROM_ONE: Final = Bounds(least=1)
SHARE: Final = Bounds(least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class Option:
    """The description of an option. Name, kind and whether it is many come from its field."""

    help: str
    panel: str = ""
    flags: tuple[str, ...] = ()  # short ones, or a long one in place of the field's name
    choices: tuple[str, ...] = ()
    listed: str = ""  # where to look the choices up, if elsewhere than all others
    bounds: Bounds | None = None
    note: str = ""  # what to know of the value, such as what 0 means
    by_commas: bool = True  # several values in one text; else the option is given again
    check: Callable[[Any], object] | None = None  # raises InvalidSuite
    parse: Callable[[Any], Any] | None = None  # the value of what stands on the command line
    default: Any = None
    name: str = ""
    kind: type = str
    many: bool = False

    @property
    def all_flags(self) -> tuple[str, ...]:
        """What it is called on the command line, the long name first."""
        named = any(flag.startswith("--") for flag in self.flags)
        return self.flags if named else (f"--{self.name.replace('_', '-')}", *self.flags)

    @property
    def text(self) -> str:
        """What it is for and what it takes, as `--help` and the docs say it."""
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        notes = [self.note] if self.note else []
        if self.many:
            notes.append("several by commas" if self.by_commas else "again for more")
        return "; ".join([self.help + choices, *notes]) + "."

    def require(self, value: Any, listed: str = RUN_HELP) -> None:
        """Raise UnknownName or InvalidSuite for a value of the right type that it does not take."""
        if value == self.default:
            return
        if self.many and self.choices and not value:
            raise InvalidSuite(f"{self.name} is empty: a suite needs at least one value of it")
        for item in value if self.many else [value]:
            if self.choices and item not in self.choices:
                raise unknown(self.name, one_line(item), self.choices, self.listed or listed)
            if self.bounds and not self.bounds.hold(item):
                finite = " and finite" if self.kind is float and self.bounds.is_open else ""
                note = f"; {self.note}" if self.note else ""
                raise self._invalid(item, f"it must be {self.bounds}{finite}{note}")
        if self.check:
            self.check(value)

    def typed(self, value: Any) -> Any:
        """Return a value from TOML, JSON or Python as the field's type. Raises InvalidSuite."""
        if value is None and self.default is None:
            return None
        given = isinstance(value, (list, tuple))
        items = list(value) if given else [value]
        if any(isinstance(item, int) and abs(item) > MOST_NUMBER for item in items):
            raise self._invalid(value, "a number has at most 64 bits")
        if any(isinstance(item, str) and len(item) > MOST_WORDS for item in items):
            raise self._invalid(value, f"a text has at most {MOST_WORDS} characters")
        converted = [self._converted(item) for item in items]
        if None in converted or (given and not self.many):
            several = ", or several in a list" if self.many else ""
            raise self._invalid(value, f"it takes {TAKES[self.kind]}{several}")
        return tuple(dict.fromkeys(converted)) if self.many else converted[0]

    def _converted(self, item: Any) -> Any:
        """Return one item as the field's kind; None where it is of another."""
        is_bool = isinstance(item, bool)
        if isinstance(item, int) and not is_bool and self.kind in (str, float):
            return self.kind(item)
        return item if isinstance(item, self.kind) and is_bool == (self.kind is bool) else None

    def from_text(self, given: Any) -> Any:
        """Return the value of an argument on the command line. Raises InvalidSuite."""
        if self.many:
            given = split(",".join(given)) if self.by_commas else list(given)
            if not given:
                raise InvalidSuite(f"{self.all_flags[0]} is empty: give a value, or leave it out")
            if self.kind is int:
                given = [self._whole_number(item) for item in given]
        return self.parse(given) if self.parse else given

    def _whole_number(self, text: str) -> int:
        if not text.isdecimal():
            what = f"{self.all_flags[0]} {shown(text)}"
            raise InvalidSuite(f"{what} is no whole number: write numbers by commas, such as 1,2")
        return int(text)

    def words(self, value: Any) -> list[str]:
        """Return the words of the command line that give it this value."""
        flag = self.all_flags[0]
        if self.kind is bool:
            return [flag if value else f"--no-{flag.removeprefix('--')}"]
        texts = [_written(item) for item in value] if self.many else [_written(value)]
        if self.many and self.by_commas:
            texts = [",".join(texts)]
        pairs = [[f"{flag}={text}"] if text.startswith("-") else [flag, text] for text in texts]
        return [word for pair in pairs for word in pair]

    def _invalid(self, value: Any, rule: str) -> InvalidSuite:
        return InvalidSuite(f"{self.name}={shown(value)} is not valid: {rule}")


def option(
    default: Any,
    help: str,
    *flags: str,
    panel: str = "",
    choices: Iterable[str] = (),
    listed: str = "",
    bounds: Bounds | None = None,
    note: str = "",
    by_commas: bool = True,
    check: Callable[[Any], object] | None = None,
    parse: Callable[[Any], Any] | None = None,
) -> Any:
    """Return a field of a data class with the description of its option; see `Option`."""
    described = Option(
        help=help,
        panel=panel,
        flags=flags,
        choices=tuple(choices),
        listed=listed,
        bounds=bounds,
        note=note,
        by_commas=by_commas,
        check=check,
        parse=parse,
        default=default,
    )
    return _field(described)


def as_in(other: type, name: str, default: Any) -> Any:
    """Return a field described as that of another class, with a default of its own."""
    return _field(replace(options(other)[name], default=default))


def _field(described: Option) -> Any:
    metadata = {"option": described}
    if isinstance(described.default, dict):
        return dataclasses.field(default_factory=described.default.copy, metadata=metadata)
    return dataclasses.field(default=described.default, metadata=metadata)


@functools.cache
def options(of: type) -> Mapping[str, Option]:
    """Return the options that a data class describes, by the names of its fields."""
    hints = typing.get_type_hints(of)
    found = {}
    for field in dataclasses.fields(of):
        if "option" in field.metadata:
            hint = hints[field.name]
            kinds = [kind for kind in typing.get_args(hint) if kind not in (NoneType, Ellipsis)]
            found[field.name] = replace(
                field.metadata["option"],
                name=field.name,
                kind=kinds[0] if kinds else hint,
                many=typing.get_origin(hint) in (tuple, Mapping),
            )
    return found


def require(holder: Any, listed: str = RUN_HELP) -> None:
    """Raise UnknownName, InvalidSuite for a field of a data class with a value it does not take."""
    for name, described in options(holder.__class__).items():
        described.require(getattr(holder, name), listed)


def typed(of: type, data: Mapping[str, Any], key: str, listed: str) -> dict[str, Any]:
    """Return plain data as the fields of a data class.

    A message calls a name in the data a `key`, and says where all of them are `listed`. Raises
    UnknownName for a key, InvalidSuite for a wrong type.
    """
    known = options(of)
    for name in data:
        if name not in known:
            raise unknown(key, one_line(name), known, listed)
    return {name: known[name].typed(value) for name, value in data.items()}


def to_argv(holder: Any) -> list[str]:
    """Return the words of the command line that give a data class's options their values."""
    found = []
    for name, described in options(holder.__class__).items():
        value = getattr(holder, name)
        if described.panel and value != described.default:
            found += described.words(value)
    return found


@contextmanager
def named(what: str) -> Iterator[None]:
    """Begin the message of a refusal within by what is refused."""
    try:
        yield
    except (InvalidSuite, UnknownName) as error:
        raise type(error)(f"{what}: {error}") from None


def split(text: str) -> list[str]:
    """Return the items of a comma list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _written(value: Any) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
