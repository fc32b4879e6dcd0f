"""How networks are trained, as data: a `Recipe` in code, or the same in TOML.

How long they are trained is the suite's business.
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

from unet_bench.errors import InvalidSuite
from unet_bench.limits import MOST_WORDS, one_line, read_toml, shown
from unet_bench.spec.option import SHARE, Bounds, named, option, require, typed

if TYPE_CHECKING:
    from unet_bench.registry.registry import Registry

MOST: Final = 10**9  # of any number: ranges beyond it overflow in the middle of a run
MOST_GRID: Final = 64  # displacements a side; of volumes their number is the cube
AMOUNT: Final = Bounds(least=0, most=MOST)
NOT_MEASURED: Final = ("summary", "source")  # what may change without changing a result
LISTED: Final = "docs/accuracy.md"
# The groups in which docs/accuracy.md lists the fields.
OPTIMISER: Final = "optimiser"
LOSS: Final = "loss"
SAMPLING: Final = "sampling"
AUGMENTATION: Final = "augmentation"
EVALUATIONS: Final = "evaluations"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train. The defaults are the recipe `default`.

    Raises UnknownName, InvalidSuite for a value it does not take.
    """

    name: str = option("default", "what it is called")
    summary: str = option("", "what it is, in a line")
    source: str = option("", "where it comes from")

    optimizer: str = option(
        "adamw",
        "of adam, weight decay is L2 in the gradient",
        panel=OPTIMISER,
        choices=("adamw", "adam", "sgd"),
    )
    lr: float = option(
        2e-3, "the learning rate", panel=OPTIMISER, bounds=Bounds(above=0, most=MOST)
    )
    weight_decay: float = option(1e-4, "of all weights", panel=OPTIMISER, bounds=AMOUNT)
    momentum: float = option(0.9, "of `sgd`", panel=OPTIMISER, bounds=SHARE)
    nesterov: bool = option(False, "Nesterov's momentum, of `sgd`", panel=OPTIMISER)
    schedule: str = option(
        "cosine",
        "of the learning rate; the first two fall to 0 at the end of the budget",
        panel=OPTIMISER,
        choices=("cosine", "poly", "constant"),
    )
    power: float = option(0.9, "of `poly`", panel=OPTIMISER, bounds=AMOUNT)
    warm_up: float = option(
        0.1, "part of the budget over which the learning rate rises", panel=OPTIMISER, bounds=SHARE
    )
    clip: float = option(
        1.0, "largest norm of the gradient", panel=OPTIMISER, bounds=AMOUNT, note="0: any"
    )
    amp: bool = option(
        True,
        "mixed precision and channels last, on a GPU (bf16, or fp16 where that is emulated), "
        "where `--precision` is fp32",
        panel=OPTIMISER,
    )
    batch: int = option(
        0,
        "images a step, where neither suite nor option says",
        panel=OPTIMISER,
        bounds=AMOUNT,
        note="0: the preset's",
    )
    init: str = option(
        "default",
        "the parts' own, or He et al. 2015, normal, biases 0",
        panel=OPTIMISER,
        choices=("default", "he"),
    )
    dropout: float = option(
        0.0,
        "behind the coarsest map, where a variant has a bottleneck",
        panel=OPTIMISER,
        bounds=SHARE,
    )

    cross_entropy: float = option(1.0, "weight of the term", panel=LOSS, bounds=AMOUNT)
    dice: float = option(1.0, "weight of the term", panel=LOSS, bounds=AMOUNT)
    class_weights: str = option(
        "none",
        "of the cross-entropy; the second: Eigen and Fergus 2015",
        panel=LOSS,
        choices=("none", "median-frequency"),
    )
    border_weight: float = option(
        0.0,
        "w₀ of the weight map that parts touching objects: Ronneberger et al. 2015, eq. 2",
        panel=LOSS,
        bounds=AMOUNT,
    )
    border_sigma: float = option(5.0, "σ of that map, px", panel=LOSS, bounds=AMOUNT)
    deep_supervision: bool = option(
        True, "a loss at auxiliary heads too, where a variant has them", panel=LOSS
    )

    foreground: float = option(
        0.0,
        "part of the windows that are laid around a foreground pixel",
        panel=SAMPLING,
        bounds=SHARE,
    )

    flip: bool = option(True, "along each axis, each in half of the windows", panel=AUGMENTATION)
    rotate: float = option(
        0.0,
        "degrees at most, either way; volumes turn in the plane of most equal spacing",
        panel=AUGMENTATION,
        bounds=AMOUNT,
    )
    scale_low: float = option(
        1.0,
        "the least factor; above 1 enlarges",
        panel=AUGMENTATION,
        bounds=Bounds(above=0, most=MOST),
    )
    scale_high: float = option(1.0, "the largest factor", panel=AUGMENTATION, bounds=AMOUNT)
    elastic: float = option(
        0.0,
        "standard deviation of the displacements on a coarse grid, px",
        panel=AUGMENTATION,
        bounds=AMOUNT,
    )
    elastic_grid: int = option(
        3,
        "displacements along each side of the image",
        panel=AUGMENTATION,
        bounds=Bounds(least=2, most=MOST_GRID),
    )
    brightness: float = option(
        0.0,
        "added: at most so many standard deviations of the training images, either way",
        panel=AUGMENTATION,
        bounds=AMOUNT,
    )
    contrast: float = option(
        0.0,
        "at most that part, either way, about the training images' mean",
        panel=AUGMENTATION,
        bounds=SHARE,
    )

    evaluations: int = option(
        10,
        "how often the validation images are predicted, evenly over the budget",
        panel=EVALUATIONS,
        bounds=Bounds(least=1, most=MOST),
    )
    select: str = option(
        "best",
        "the weights that are tested: of the evaluation with the best Dice, or the last",
        panel=EVALUATIONS,
        choices=("best", "last"),
    )

    def __post_init__(self) -> None:
        with named(f"recipe {self.name}"):
            require(self, LISTED)
        if self.scale_low > self.scale_high:
            raise self._invalid("scale_low", "it must be at most scale_high")
        if self.cross_entropy + self.dice == 0:
            raise self._invalid("cross_entropy", "it and dice are both 0: there would be no loss")
        if self.border_weight and not (self.cross_entropy and self.border_sigma):
            raise self._invalid(
                "border_weight",
                "it weights the cross-entropy: that and border_sigma must be above 0",
            )

    def _invalid(self, name: str, rule: str) -> InvalidSuite:
        value = getattr(self, name)
        return InvalidSuite(f"recipe {self.name}: {name}={value} is not valid: {rule}")

    @property
    def warps(self) -> bool:
        """Whether images are rotated, scaled or bent."""
        return bool(self.rotate or self.elastic) or (self.scale_low, self.scale_high) != (1.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def from_dict(data: Mapping[str, Any], base: Recipe) -> Recipe:
    """Return `base` with its values replaced by those of `data`.

    Raises InvalidSuite, UnknownName for a key.
    """
    with named(f"recipe {shown(data.get('name', base.name))}"):
        if "looks" in data:
            raise InvalidSuite("looks is called evaluations now: rename it")
        values = typed(Recipe, data, "recipe key", LISTED)
    return dataclasses.replace(base, **values)


def shipped(name: str) -> Recipe:
    """Return a recipe that ships with the package.

    Values that its TOML leaves out are those of `default`.
    """
    file = importlib.resources.files("unet_bench.spec.recipes") / f"{name}.toml"
    return from_dict({**tomllib.loads(file.read_text(encoding="utf-8")), "name": name}, Recipe())


def find(registry: Registry, name: str) -> Recipe:
    """Return a registered recipe, or that of a TOML file. Raises UnknownName, InvalidSuite.

    A file's `base` names the recipe that it changes, `default` if left out. The file's recipe is
    called by its stem and a hash of its content, so that another content is another recipe.
    """
    path = Path(name)
    if path.suffix != ".toml":
        found = registry.find("recipe", name).load()()
        if not isinstance(found, Recipe):
            kind = type(found).__name__
            raise InvalidSuite(f"recipe {name!r} is a {kind}: its factory must return a Recipe")
        return dataclasses.replace(found, name=name)
    with named(f"recipe {one_line(name)}"):
        try:
            data = read_toml(path)
        # Bytes that are no text, text that is no TOML, numbers without an end.
        except (OSError, ValueError) as error:
            raise InvalidSuite(one_line(str(error))) from error
        base = data.pop("base", "default")
        if not isinstance(base, str) or len(base) > MOST_WORDS:
            raise InvalidSuite(f"base={shown(base)} is not valid: it takes a recipe's name")
        if base.endswith(".toml"):
            raise InvalidSuite(
                f"base={base!r} is a file; name a registered recipe (unet-bench list recipes)"
            )
    made = from_dict({**data, "name": path.stem}, find(registry, base))
    return dataclasses.replace(made, name=f"{path.stem}@{content_hash(made)}")


def content_hash(recipe: Recipe) -> str:
    """Return 6 hex digits over what a recipe does."""
    content = recipe.to_dict()
    for name in ("name", *NOT_MEASURED):
        del content[name]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
