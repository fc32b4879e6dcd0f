"""What to run: from options, a TOML file, or both; presets fill in what is left open. Validated
whole.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unet_bench.errors import InvalidSuite, unknown
from unet_bench.limits import LINE, MOST_NUMBER, MOST_WORDS, one_line, read_toml, shown
from unet_bench.models.match import MATCHED
from unet_bench.networks.variants import BASELINE
from unet_bench.spec.cell import MOST_OVERLAP

# The workload axes with a fixed set of values; a suite may ask for several of each.
AXES: Final = {
    "precision": ("fp32", "tf32", "fp16", "bf16"),
    "memory_format": ("contiguous", "channels_last"),
    "mode": ("eager", "compile", "cudagraphs"),
    "batch_norm": ("kept", "folded"),
    "algorithms": ("fastest", "deterministic"),
    "pretrained": ("none", "imagenet"),
}
BUDGETS: Final = {
    "steps": "steps",
    "epochs": "epochs",
    "images": "images",
    "train_s": "s",
}  # and their units
FIRST_LOOK: Final = ("cost", "speed", "memory", "accuracy")
UNITS: Final = {
    "": 1.0,
    "K": 2**-10,
    "M": 1.0,
    "G": 2**10,
    "T": 2**20,
}  # MiB; a bare number is in MiB
MOST_THREADS: Final = 1024
MOST_IMAGES: Final = 2**20
MOST_EXAMPLES: Final = 100
MOST_SIDE: Final = 2**20  # pixels
MOST_CLASSES: Final = 255  # the mask value 255 is that of ignored pixels
FITS: Final = ("crop", "resize")
EVALUATIONS: Final = ("tiled", "whole")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Defaults that belong together."""

    name: str
    summary: str
    sizes: tuple[tuple[int, ...], ...]
    width_scale: float
    batch: int
    steps: int
    recipe: str
    seeds: tuple[int, ...]
    replicates: int
    speed_s: float
    interval: float
    probes: tuple[str, ...]
    limit_tmac: float  # a cell predicted to cost more tera-MACs is skipped, on whatever machine
    suite: str = (
        ""  # the shipped suite whose variants are run where none are named; empty: all variants
    )
    time_limit_s: float = math.inf  # a run ends by then, unless it is given another limit

    def variants(self) -> tuple[str, ...]:
        """The variants that are run where none are named."""
        return tuple(read(self.suite)["variants"]) if self.suite else ("all",)


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset(
            name="quick",
            summary="a first look in minutes on two CPU cores: a quarter of the width, 128² scored, one seed",
            sizes=((128, 128),),
            width_scale=0.25,
            batch=4,
            steps=40,
            recipe="short",
            seeds=(0,),
            replicates=1,
            speed_s=2.0,
            interval=0.02,
            probes=FIRST_LOOK,
            limit_tmac=4.0,
        ),
        Preset(
            name="gpu-quick",
            summary="a first look on a GPU, 45 minutes at most: the tour's variants, widths as defined, 256² scored",
            sizes=((256, 256),),
            width_scale=1.0,
            batch=8,
            steps=300,
            recipe="short",
            seeds=(0,),
            replicates=1,
            speed_s=2.5,
            interval=0.02,
            probes=FIRST_LOOK,
            limit_tmac=4_000.0,
            suite="tour",
            time_limit_s=45 * 60.0,
        ),
        Preset(
            name="standard",
            summary="for a GPU and hours: widths as defined, 256² scored, three seeds, three processes per timing",
            sizes=((256, 256),),
            width_scale=1.0,
            batch=8,
            steps=2000,
            recipe="default",
            seeds=(0, 1, 2),
            replicates=3,
            speed_s=10.0,
            interval=0.01,
            probes=(*FIRST_LOOK, "training"),
            limit_tmac=20_000.0,
        ),
        Preset(
            name="full",
            summary="standard, and the paper's size too: 388² scored (572² into the unpadded network)",
            sizes=((256, 256), (388, 388)),
            width_scale=1.0,
            batch=8,
            steps=5000,
            recipe="default",
            seeds=(0, 1, 2),
            replicates=3,
            speed_s=10.0,
            interval=0.01,
            probes=(*FIRST_LOOK, "training", "batch"),
            limit_tmac=200_000.0,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The lists of variants, tasks and probes to run. What is `None` or empty, the preset decides."""

    variants: tuple[str, ...] = ()
    base: str = ""
    vary: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baseline: str = BASELINE
    data: tuple[str, ...] = ("brain",)
    data_help: str = ""  # where to get the data that a suite leaves to be given
    folds: str = ""  # cross-validation: how many, or the prefix of a folder's split files
    classes: tuple[str, ...] = ()  # names, or one number
    fit: str = "crop"
    probes: tuple[str, ...] = ()
    preset: str = ""  # empty: quick on a CPU, gpu-quick on a GPU
    device: str = "auto"
    precision: tuple[str, ...] = ("fp32",)
    memory_format: tuple[str, ...] = ("contiguous",)
    mode: tuple[str, ...] = ("eager",)
    batch_norm: tuple[str, ...] = ("kept",)
    algorithms: tuple[str, ...] = ("fastest",)
    pretrained: tuple[str, ...] = ("none",)
    threads: tuple[int, ...] = ()
    size: str = ""
    batch: tuple[int, ...] = ()
    shrink_batch: bool = False  # where the batch does not fit, halve it until it does
    width_scale: float | None = None
    match: str = ""  # what all widths are scaled to meet of the baseline's: params, macs; empty: all are as wide
    recipe: str = ""  # a name, or a TOML file
    steps: int | None = None  # the budget of a training: one of these four
    epochs: int | None = None
    images: int | None = None
    train_s: float | None = None
    evaluation: str = "tiled"
    overlap: float = 0.0
    flips: bool = False
    floors: bool = True  # score trivial baselines beside the variants
    keep_weights: bool = False
    examples: int = 3  # test images whose predictions are kept to be looked at
    checkpoint_s: float = 60.0
    seeds: tuple[int, ...] = ()
    replicates: int | None = None
    speed_s: float | None = None
    interval: float | None = None
    limit_tmac: float | None = None
    memory_limit: str = ""  # such as 8G: what is predicted to need more is skipped
    timeout_s: float = 3600.0
    block: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._one_of("preset", ("", *PRESETS), "unet-bench list presets")
        self._one_of("fit", FITS, "unet-bench run --help")
        self._one_of("evaluation", EVALUATIONS, "unet-bench run --help")
        self._one_of("match", ("", *MATCHED), "unet-bench run --help")
        for name, allowed in AXES.items():
            for value in getattr(self, name):
                if value not in allowed:
                    raise unknown(name, value, allowed, "unet-bench run --help")
        for name in ("batch", "steps", "epochs", "images", "replicates", "threads"):
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else [given]:
                if value is not None and value < 1:
                    raise InvalidSuite(f"{name}={value} is too small: it must be at least 1")
        if max(self.batch, default=0) > MOST_IMAGES:
            raise InvalidSuite(f"batch={max(self.batch)} is more than {MOST_IMAGES} images")
        if self.interval is not None and not 0 < self.interval < 1:
            raise InvalidSuite(
                f"interval={self.interval} must be a share between 0 and 1, such as 0.01"
            )
        if self.limit_tmac is not None and not 0 <= self.limit_tmac < math.inf:
            raise InvalidSuite(
                f"limit_tmac={self.limit_tmac} must be at least 0, and finite; 0 is no limit"
            )
        for name in ("width_scale", "speed_s", "train_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidSuite(f"{name}={value} must be above 0, and finite")
        if len(given := [name for name in BUDGETS if getattr(self, name) is not None]) > 1:
            raise InvalidSuite(f"{' and '.join(given)} are both budgets of a training: give one")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise InvalidSuite(
                f"overlap={self.overlap} must be from 0 to {MOST_OVERLAP}: a part of a tile's side"
            )
        if self.overlap and self.evaluation == "whole":
            raise InvalidSuite(
                "overlap is of tiles, and evaluation=whole has none: leave one of them out"
            )
        if not 0 <= self.examples <= MOST_EXAMPLES:
            raise InvalidSuite(
                f"examples={self.examples} must be from 0, for none, to {MOST_EXAMPLES}"
            )
        if not 0 <= self.checkpoint_s < math.inf:
            raise InvalidSuite(
                f"checkpoint_s={self.checkpoint_s} must be at least 0, and finite; 0 is no checkpoint"
            )
        if any(not 0 <= seed < 2**32 for seed in self.seeds):
            raise InvalidSuite(f"seeds={self.seeds}: a seed must be at least 0 and below 2^32")
        if max(self.threads, default=0) > MOST_THREADS:
            raise InvalidSuite(
                f"threads={max(self.threads)} is more than {MOST_THREADS}; this machine has {os.cpu_count()} cores"
            )
        count = self.classes[0] if len(self.classes) == 1 and self.classes[0].isdecimal() else "2"
        if not 2 <= int(count[:20]) <= MOST_CLASSES:
            raise InvalidSuite(
                f"classes={shown(count)} is too few or too many: from 2, as the background counts, to {MOST_CLASSES}"
            )
        if len(self.folds) > LINE:
            raise InvalidSuite(
                f"folds={shown(self.folds)} must be a number, or the prefix of files' names"
            )
        if self.vary and not self.base:
            raise InvalidSuite("--vary needs --base NAME: the variant whose choices are varied")
        if not self.data:
            raise InvalidSuite(
                f"no data set: give one by --data. {one_line(self.data_help, MOST_WORDS)}".strip()
            )
        if not all(getattr(self, name) for name in AXES):
            raise InvalidSuite(f"a suite needs at least one value of each of {', '.join(AXES)}")
        if self.size:
            parse_size(self.size)
        if self.memory_limit:
            parse_memory(self.memory_limit)

    def _one_of(self, name: str, allowed: tuple[str, ...], command: str) -> None:
        if getattr(self, name) not in allowed:
            raise unknown(name, getattr(self, name), (value for value in allowed if value), command)

    def resolved(self, on_gpu: bool) -> Suite:
        """The suite with every open field filled in from its preset."""
        preset = PRESETS[self.preset or ("gpu-quick" if on_gpu else "quick")]
        open_fields = {
            name: getattr(preset, name)
            for name in ("width_scale", "replicates", "speed_s", "interval", "limit_tmac")
            if getattr(self, name) is None
        }
        if all(getattr(self, name) is None for name in BUDGETS):
            open_fields["steps"] = preset.steps
        open_fields["recipe"] = self.recipe or preset.recipe
        open_fields |= {
            name: getattr(preset, name) for name in ("probes", "seeds") if not getattr(self, name)
        }
        open_fields["batch"] = self.batch or (preset.batch,)
        size = self.size or ",".join("x".join(map(str, size)) for size in preset.sizes)
        variants = self.variants or (() if self.base or self.models else preset.variants())
        return dataclasses.replace(
            self, preset=preset.name, variants=variants, size=size, **open_fields
        )

    @property
    def budget(self) -> str:
        """How long is trained, in words; empty where the preset decides."""
        given = ((getattr(self, name), unit) for name, unit in BUDGETS.items())
        return next(
            (
                f"{value:g} {unit}" if unit == "s" else f"{value} {unit}"
                for value, unit in given
                if value
            ),
            "",
        )

    def sizes(self) -> list[tuple[int, ...]]:
        """The scored sizes, `(H, W)` of images and `(D, H, W)` of volumes."""
        return list(dict.fromkeys(parse_size(text) for text in self.size.split(",")))

    def scaled_down(self) -> str:
        """What a resolved suite made smaller than the real thing, and how to get that; empty when
        it did not.
        """
        if self.width_scale == 1:
            return ""
        flat = any(
            len(size) == 2 for size in self.sizes()
        )  # volumes have no size of their own in a preset
        real, size = ("--preset standard, or ", "--size 256x256 ") if flat else ("", "")
        whose = f" of the baseline, whose {self.match} the others meet" if self.match else ""
        return (
            f"scaled down by preset {self.preset}: widths × {self.width_scale:g}{whose}, {self.size} scored, "
            f"{self.budget} of training, {len(self.seeds)} seed(s); "
            "backbones, other packages' networks and --model stay as wide as they are; "
            f"the real thing: {real}--width-scale 1 {size}--steps 2000 --seeds 0,1,2"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in TOML and in run.json."""
        return dataclasses.asdict(self)


def parse_size(text: str) -> tuple[int, ...]:
    """`128`, `128x96` (height × width), `32x64x64` (depth first: of volumes), or a comma list of
    which the first is returned. Raises InvalidSuite.
    """
    first, *rest = text.split(",")
    for more in rest:
        parse_size(more)
    sides = first.lower().replace("×", "x").split("x")
    if len(sides) > 3 or not all(
        side.strip().isdecimal() and 0 < int(side[:20]) <= MOST_SIDE for side in sides
    ):
        raise InvalidSuite(
            f"size {shown(first)} is not valid: write HEIGHTxWIDTH in pixels, such as 128x128, or of volumes "
            f"DEPTHxHEIGHTxWIDTH, such as 32x32x32, each at most {MOST_SIDE}"
        )
    return tuple(map(int, sides if len(sides) > 1 else 2 * sides))


def parse_memory(text: str) -> float:
    """`8G`, `8GiB`, `512M` or a bare number of MiB, in MiB. Raises InvalidSuite."""
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    try:
        if not found or not 0 < (value := float(found[1]) * UNITS[found[2].upper()]) < math.inf:
            raise ValueError
    except ValueError:
        raise InvalidSuite(
            f"memory_limit {shown(text)} is not valid: write a size such as 8G or 512M"
        ) from None
    return value


def from_options(options: Mapping[str, Any], file: str | None = None) -> Suite:
    """A suite from a TOML file or shipped name, with options laid over it. Raises InvalidSuite,
    UnknownName.

    A table in the file that is called as a preset holds what differs under that preset.
    """
    given = {name: value for name, value in options.items() if value not in (None, (), [], "")}
    stated = read(file) if file else {}
    if not isinstance(stated.get("preset", ""), str):
        raise InvalidSuite(
            f"suite {file}: preset={shown(stated['preset'])} is not valid: it takes a name"
        )
    of_preset = {preset: stated.pop(preset, {}) for preset in PRESETS}
    for changes in (of_preset.get(given.get("preset") or stated.get("preset", ""), {}), given):
        if not isinstance(changes, Mapping):
            raise InvalidSuite(
                f"suite {file}: what is called as a preset must be a table, such as [quick]"
            )
        replaced = BUDGETS if any(name in changes for name in BUDGETS) else ()
        stated = {name: value for name, value in stated.items() if name not in replaced} | dict(
            changes
        )
    return from_dict(stated)


def from_dict(data: Mapping[str, Any]) -> Suite:
    """A suite from plain data. Raises UnknownName for a key it does not know, InvalidSuite for a
    wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(Suite)}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in fields:
            raise unknown("suite key", one_line(name), fields, "unet-bench run --help")
        values[name] = _typed(name, value, str(fields[name].type))
    return Suite(**values)


def _typed(name: str, value: Any, declared: str) -> Any:
    if value is None and "None" in declared:
        return None
    held = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(item, int) and abs(item) > MOST_NUMBER for item in held):
        raise InvalidSuite(f"{name}={shown(value)} is not valid: a number has at most 64 bits")
    if any(isinstance(item, str) and len(item) > MOST_WORDS for item in held):
        raise InvalidSuite(
            f"{name}={shown(value)} is not valid: a text has at most {MOST_WORDS} characters"
        )
    if declared.startswith("tuple"):
        wanted: type = int if "int" in declared else str
        items = [str(item) if wanted is str and isinstance(item, int) else item for item in held]
        valid = all(isinstance(item, wanted) and not isinstance(item, bool) for item in items)
        value = tuple(dict.fromkeys(items)) if valid else value
    elif declared == "bool":
        valid = isinstance(value, bool)
    elif declared.startswith("float"):
        valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif declared.startswith("int"):
        valid = isinstance(value, int) and not isinstance(value, bool)
    else:
        value = (
            str(value)
            if name in ("size", "memory_limit", "folds") and isinstance(value, int)
            else value
        )
        valid = isinstance(value, str)
    if not valid:
        raise InvalidSuite(
            f"{name}={shown(value)} is not valid: it takes {declared.replace(' | None', '')}"
        )
    return value


def read(name: str) -> dict[str, Any]:
    """The TOML of a suite: a file, or the name of one that ships. Raises InvalidSuite, UnknownName."""
    shipped = {
        p.name.removesuffix(".toml"): p
        for p in importlib.resources.files("unet_bench.spec.suites").iterdir()
    }
    path = Path(name)
    try:
        if path.suffix == ".toml" or os.path.isfile(path):
            return read_toml(path)
        if name in shipped:
            return tomllib.loads(shipped[name].read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
    ) as error:  # bytes that are no text, text that is no TOML, numbers without an end
        raise InvalidSuite(f"suite {one_line(name)}: {one_line(str(error))}") from error
    raise unknown(
        "suite",
        one_line(name),
        [n for n in shipped if not n.startswith("_")],
        "unet-bench list suites",
    )
