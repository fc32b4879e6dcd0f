"""How networks are trained, as data: a `Recipe` in code, or the same in TOML. How long is the
suite's business.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unet_bench.errors import InvalidSuite, unknown
from unet_bench.limits import MOST_NUMBER, MOST_WORDS, one_line, read_toml, shown

if TYPE_CHECKING:
    from unet_bench.registry.registry import Registry

WORDS: Final = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "poly", "constant"),
    "class_weights": ("none", "median-frequency"),
    "init": ("default", "he"),
    "select": ("best", "last"),
}
MOST: Final = 1e9  # of any number: what is drawn from a range that overflows would fail in the middle of a run
MOST_GRID: Final = (
    64  # a grid of displacements is drawn for every item, in three dimensions of volumes
)
NOT_MEASURED: Final = ("summary", "source")  # what may change without changing a result


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train. The defaults are the recipe `default`. Raises InvalidSuite for a value it
    does not take.
    """

    name: str = "default"
    summary: str = ""
    source: str = ""

    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9  # of sgd
    nesterov: bool = False
    schedule: str = "cosine"
    power: float = 0.9  # of poly
    warm_up: float = 0.1  # part of the budget over which the learning rate rises
    clip: float = 1.0  # gradient norm; 0: none
    amp: bool = True  # mixed precision where the device is CUDA and the setting fp32
    batch: int = 0  # images a step, where the suite leaves that open; 0: the preset's

    cross_entropy: float = 1.0  # weights of the terms of the loss
    dice: float = 1.0
    class_weights: str = "none"  # of the cross-entropy
    border_weight: float = (
        0.0  # w0 of the weight map that parts touching objects (Ronneberger et al. 2015, eq. 2)
    )
    border_sigma: float = 5.0  # px
    deep_supervision: bool = True  # where a variant has auxiliary heads

    init: str = "default"
    dropout: float = 0.0  # behind the coarsest map, where a variant has a bottleneck

    foreground: float = 0.0  # part of the windows that are laid around a foreground pixel
    flip: bool = True  # along both axes
    rotate: float = 0.0  # degrees at most, either way
    scale_low: float = 1.0
    scale_high: float = 1.0
    elastic: float = 0.0  # px, standard deviation of the displacements on a coarse grid
    elastic_grid: int = 3  # displacements along each side of the image
    brightness: float = (
        0.0  # at most that many standard deviations of the training images, either way
    )
    contrast: float = 0.0  # at most that part, either way

    evaluations: int = 10  # times that the validation images are looked at
    select: str = "best"  # which weights are tested: the best on validation, or the last

    def __post_init__(self) -> None:
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                raise unknown(
                    f"{name} of recipe {self.name}",
                    getattr(self, name),
                    allowed,
                    "docs/accuracy.md",
                )
        numbers = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.type in ("float", "int")
        }
        for name, value in numbers.items():
            if not 0 <= value <= MOST:
                raise self._invalid(name, f"it must be at least 0, finite, and at most {MOST:g}")
        for name in ("warm_up", "momentum", "foreground", "dropout", "contrast"):
            if not numbers[name] <= 1:
                raise self._invalid(name, "it is a part, from 0 to 1")
        if self.lr == 0:
            raise self._invalid("lr", "it must be above 0")
        if not 0 < self.scale_low <= self.scale_high:
            raise self._invalid("scale_low", "it must be above 0 and at most scale_high")
        if self.evaluations < 1:
            raise self._invalid("evaluations", "it is too small: it must be at least 1")
        if not 2 <= self.elastic_grid <= MOST_GRID:
            raise self._invalid("elastic_grid", f"it must be from 2 to {MOST_GRID}")
        if self.cross_entropy + self.dice == 0:
            raise self._invalid("cross_entropy", "it and dice are both 0: there would be no loss")
        if self.border_weight and not (self.cross_entropy and self.border_sigma):
            raise self._invalid(
                "border_weight",
                "it weights the cross-entropy: that and border_sigma must be above 0",
            )

    def _invalid(self, name: str, rule: str) -> InvalidSuite:
        return InvalidSuite(
            f"recipe {self.name}: {name}={getattr(self, name)} is not valid: {rule}"
        )

    @property
    def warps(self) -> bool:
        """Whether images are rotated, scaled or bent."""
        return bool(self.rotate or self.elastic) or (self.scale_low, self.scale_high) != (1.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def from_dict(data: Mapping[str, Any], base: Recipe) -> Recipe:
    """`base` with the values of `data` in place of its own. Raises InvalidSuite, UnknownName for a
    key.
    """
    fields = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    kinds = {"float": (int, float), "int": (int,), "str": (str,), "bool": (bool,)}
    called = shown(data.get("name", base.name))
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "looks":
            raise InvalidSuite(f"recipe {called}: looks is called evaluations now: rename it")
        if name not in fields:
            raise unknown("recipe key", one_line(name), fields, "docs/accuracy.md")
        kind = fields[name]
        if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise InvalidSuite(
                f"recipe {called}: {name}={shown(value)} is not valid: it takes {kind}"
            )
        if isinstance(value, str) and len(value) > MOST_WORDS:
            raise InvalidSuite(
                f"recipe {called}: {name} is too long: a text has at most {MOST_WORDS} characters"
            )
        if isinstance(value, int) and abs(value) > MOST_NUMBER:
            raise InvalidSuite(
                f"recipe {called}: {name}={shown(value)} is not valid: a number has at most 64 bits"
            )
        values[name] = float(value) if kind == "float" else value
    return dataclasses.replace(base, **values)


def shipped(name: str) -> Recipe:
    """A recipe that ships as TOML with the package: what it leaves out is as in `default`."""
    text = (importlib.resources.files("unet_bench.spec.recipes") / f"{name}.toml").read_text(
        encoding="utf-8"
    )
    return from_dict({**tomllib.loads(text), "name": name}, Recipe())


def find(registry: Registry, name: str) -> Recipe:
    """A registered recipe, or a TOML file, whose `base` names the recipe it changes (`default` if
    it names none).

    A file's recipe is called by its stem and a hash of its content, so that another content is
    another recipe. Raises UnknownName, InvalidSuite.
    """
    path = Path(name)
    if path.suffix != ".toml":
        found = registry.find("recipe", name).load()()
        if not isinstance(found, Recipe):
            raise InvalidSuite(
                f"recipe {name!r} is a {type(found).__name__}: its factory must return a Recipe"
            )
        return dataclasses.replace(found, name=name)
    try:
        data = read_toml(path)
    except (
        OSError,
        ValueError,
    ) as error:  # bytes that are no text, text that is no TOML, numbers without an end
        raise InvalidSuite(f"recipe {one_line(name)}: {one_line(str(error))}") from error
    base = data.pop("base", "default")
    if not isinstance(base, str) or len(base) > MOST_WORDS:
        raise InvalidSuite(
            f"recipe {one_line(name)}: base={shown(base)} is not valid: it takes a recipe's name"
        )
    base = find(registry, registered(base, path))
    made = from_dict({**data, "name": path.stem}, base)
    return dataclasses.replace(made, name=f"{path.stem}@{content_hash(made)}")


def registered(base: str, path: Path) -> str:
    """A name that is no file's: a recipe in a file changes one that has a name. Raises
    InvalidSuite.
    """
    if base.endswith(".toml"):
        raise InvalidSuite(
            f"recipe {path}: base={base!r} is a file; name a registered recipe (unet-bench list recipes)"
        )
    return base


def content_hash(recipe: Recipe) -> str:
    """6 hex digits over what a recipe does."""
    content = {
        name: value
        for name, value in recipe.to_dict().items()
        if name not in ("name", *NOT_MEASURED)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
