"""What to run: from options, a TOML file, or both; presets fill in what is left open.

A suite is checked whole: what is made of its fields is in `option.py`.
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
from unet_bench.limits import LINE, MOST_WORDS, one_line, read_toml, shown
from unet_bench.models.match import MATCHED
from unet_bench.networks.variants import BASELINE
from unet_bench.spec.cell import MOST_OVERLAP, SCORED, Setting
from unet_bench.spec.option import (
    DATA,
    FROM_ONE,
    MEASURING,
    NOT_NEGATIVE,
    POSITIVE,
    RUN_HELP,
    SAVING,
    TRAINING,
    WHAT,
    WHERE,
    Bounds,
    as_in,
    option,
    options,
    require,
    to_argv,
    typed,
)
from unet_bench.spec.presets import PRESETS

SETTING_AXES: Final = {
    name: axis.choices for name, axis in options(Setting).items() if axis.choices or axis.listed
}
"""The axes of a setting that take names, and the names; runtimes are the registry's."""
BUDGETS: Final = {"steps": "steps", "epochs": "epochs", "images": "images", "train_s": "s"}
"""What limits a training, and the unit."""
UNITS: Final = {"": 1.0, "K": 2**-10, "M": 1.0, "G": 2**10, "T": 2**20}
"""MiB; a bare number is in MiB."""
RENAMED: Final = {"mode": "runtime"}  # keys that older suites have
OPEN: Final = (None, (), "")  # values that leave a field to the preset
MOST_EXAMPLES: Final = 100
MOST_SIDE: Final = 2**20  # pixels
MOST_CLASSES: Final = 255  # the mask value 255 is that of ignored pixels
LEAST_SPACING: Final = 0.001  # mm
MOST_SPACING: Final = 1000.0
ORIENTATIONS: Final = ("stored", "canonical")
FITS: Final = ("crop", "resize")
AS_SCORED: Final = "scored"  # a training window of the scored size
MOST_RUNGS: Final = 6
LONGER: Final = 3  # times as many steps as in the rung before
FEWEST_RACING: Final = 2  # networks that a rung is worth while for
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str, called: str = "size") -> tuple[int, ...]:
    """Return the sides that a text says, of a comma list the first. Raises InvalidSuite.

    `128` is a square, `128x96` height × width, `32x64x64` depth × height × width of volumes.
    """
    first, *rest = text.split(",")
    for more in rest:
        parse_size(more, called)
    sides = first.lower().replace("×", "x").split("x")
    numbers = [int(side[:20]) if side.strip().isdecimal() else 0 for side in sides]
    if len(sides) > 3 or not all(0 < number <= MOST_SIDE for number in numbers):
        raise InvalidSuite(
            f"{called} {shown(first)} is not valid: write HEIGHTxWIDTH in pixels, such as 128x128, "
            f"or of volumes DEPTHxHEIGHTxWIDTH, such as 32x32x32, each at most {MOST_SIDE}"
        )
    return tuple(numbers if len(numbers) > 1 else 2 * numbers)


def parse_window(text: str) -> tuple[int, ...]:
    """Return the sides of a training window; none for `scored`. Raises InvalidSuite."""
    if text == AS_SCORED:
        return ()
    if "," in text:
        raise InvalidSuite(
            f"window {shown(text)} is not valid: give one size, such as 64x64, or {AS_SCORED}"
        )
    return parse_size(text, "window")


def parse_spacing(text: str) -> tuple[float, ...]:
    """Return the sides of a voxel in mm, depth × height × width. Raises InvalidSuite."""
    sides = text.lower().replace("×", "x").split("x")
    try:
        numbers = tuple(float(side) for side in sides)
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(LEAST_SPACING <= side <= MOST_SPACING for side in numbers):
        raise InvalidSuite(
            f"spacing {shown(text)} is not valid: write DEPTHxHEIGHTxWIDTH in mm, such as 1x1x1 or "
            f"2.5x0.8x0.8, each from {LEAST_SPACING:g} to {MOST_SPACING:g}"
        )
    return numbers


def parse_memory(text: str) -> float:
    """Return `8G`, `8GiB`, `512M` or a bare number of MiB, in MiB. Raises InvalidSuite."""
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    try:
        value = float(found[1]) * UNITS[found[2].upper()] if found else 0.0
    except ValueError:  # several points
        value = 0.0
    if not 0 < value < math.inf:
        raise InvalidSuite(
            f"memory_limit {shown(text)} is not valid: write a size such as 8G or 512M"
        )
    return value


def parse_duration(text: str, called: str = "time limit") -> float:
    """Return `9m`, `1h30m`, `90s`, `90` in seconds. Raises InvalidSuite."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        either = ", or none" if called == "time limit" else ""
        raise InvalidSuite(f"{called} {shown(text)} is not valid: write 9m, 1h30m, 540s{either}")
    seconds = sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
    if not 0 < seconds < math.inf:
        raise InvalidSuite(f"{called} {shown(text)} must be above 0")
    return seconds


def parse_budget(text: str) -> float:
    """Return the seconds of `--budget`. Raises InvalidSuite."""
    return parse_duration(text, "budget")


def require_rungs(rungs: tuple[int, ...]) -> None:
    """Raise InvalidSuite for rungs that do not rise, or of which there are too many."""
    if len(rungs) > MOST_RUNGS or list(rungs) != sorted(set(rungs)):
        raise InvalidSuite(
            f"rungs={','.join(map(str, rungs[:10]))} are not valid: give at most {MOST_RUNGS} "
            "numbers of steps, each larger than the one before, such as 30,90,270"
        )


def require_classes(classes: tuple[str, ...]) -> None:
    """Raise InvalidSuite for a number of classes that masks cannot have."""
    if len(classes) != 1 or not classes[0].isdecimal():
        return
    if not 2 <= int(classes[0][:20]) <= MOST_CLASSES:
        raise InvalidSuite(
            f"classes={shown(classes[0])} must be from 2 to {MOST_CLASSES}; the background counts"
        )


def require_folds(folds: str) -> None:
    """Raise InvalidSuite for a text that is too long to begin files' names."""
    if len(folds) > LINE:
        raise InvalidSuite(f"folds={shown(folds)} must be a number, or the prefix of files' names")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The lists of variants, tasks and probes to run. What is `None` or empty, the preset decides.

    Raises UnknownName, InvalidSuite for a value it does not take.
    """

    variants: tuple[str, ...] = option(
        (), "Names, globs, tag:NAME, unet+up=bilinear, or all", "-v", panel=WHAT
    )
    base: str = option("", "The variant whose choices --vary changes", panel=WHAT)
    vary: tuple[str, ...] = option(
        (), "SLOT=PART,PART or AXIS=VALUE,VALUE: all combinations", panel=WHAT, by_commas=False
    )
    models: tuple[str, ...] = option(
        (),
        "Anybody's network, package.module:Class or '…:Class(depth=4)'",
        "--model",
        panel=WHAT,
        by_commas=False,
    )
    baseline: str = option(BASELINE, "The variant every other is compared with", panel=WHAT)
    probes: tuple[str, ...] = option(
        (),
        "What to measure: cost, speed, memory, accuracy, training, energy, batch",
        "-p",
        panel=WHAT,
    )
    preset: str = option(
        "",
        "Values for what is left open",
        panel=WHAT,
        choices=PRESETS,
        listed="unet-bench list presets",
        note="quick on a CPU and gpu-quick on a GPU if left out",
    )
    width_scale: float | None = option(None, "Factor on every width", panel=WHAT, bounds=POSITIVE)
    match: str = option(
        "",
        "Scale each variant's widths until the baseline's cost is met",
        panel=WHAT,
        choices=MATCHED,
    )
    block: tuple[str, ...] = option((), "Leave a plugin out, by name", panel=WHAT)

    data: tuple[str, ...] = option(
        ("cells",),
        "A data set's name, a folder or file, or KIND:PATH",
        "-d",
        panel=DATA,
        by_commas=False,
    )
    data_help: str = option("", "Where to get the data that the suite needs")
    folds: str = option(
        "",
        "Cross-validation: how many, or the prefix of a folder's split files",
        panel=DATA,
        check=require_folds,
    )
    classes: tuple[str, ...] = option(
        (),
        "A folder's classes: a number, names, or binary: all but 0 is one class",
        panel=DATA,
        check=require_classes,
    )
    max_megapixels: float | None = option(
        None,
        "Read pictures of up to this many million pixels",
        panel=DATA,
        bounds=POSITIVE,
        note="89 if left out",
    )
    orientation: str = option(
        "stored",
        "How volumes lie: as stored, or all RAS",
        panel=DATA,
        choices=ORIENTATIONS,
        note="canonical: height, width and depth grow to the right, front and top",
    )
    spacing: str = option(
        "",
        "Resample volumes to voxels of DEPTHxHEIGHTxWIDTH mm",
        panel=DATA,
        check=parse_spacing,
        note="for example 1x1x1",
    )
    fit: str = option(
        "crop",
        "How images are brought to the scored size",
        panel=DATA,
        choices=FITS,
        note="crop keeps their scale, and larger ones are tiled",
    )
    size: str = option(
        "",
        "Scored pixels, HEIGHTxWIDTH, or DEPTHxHEIGHTxWIDTH",
        panel=DATA,
        note="several by commas",
        check=parse_size,
    )

    recipe: str = option("", "How to train: a name, or a TOML file", panel=TRAINING)
    window: str = option(
        "",
        "Scored pixels of a training window, HEIGHTxWIDTH",
        panel=TRAINING,
        note="at most --size, in which test images are predicted; scored: just that",
        check=parse_window,
    )
    steps: int | None = option(
        None, "Train every variant for this many steps", panel=TRAINING, bounds=FROM_ONE
    )
    epochs: int | None = option(
        None, "Or for this many passes over the images", panel=TRAINING, bounds=FROM_ONE
    )
    images: int | None = option(None, "Or for this many images", panel=TRAINING, bounds=FROM_ONE)
    train_s: float | None = option(
        None, "Or for this many seconds", panel=TRAINING, bounds=POSITIVE
    )
    race: bool = option(
        False,
        "Train in rungs, each longer than the one before; who is clearly behind stops",
        panel=TRAINING,
    )
    rungs: tuple[int, ...] = option(
        (),
        "Steps of a race's rungs, such as 30,90,270",
        panel=TRAINING,
        bounds=FROM_ONE,
        note="if left out, a third of --steps, --steps, and three times as many",
        check=require_rungs,
    )
    time_budget: str = option(
        "",
        "Have an answer within this time, such as 10m: a race that is cut to fit",
        "--budget",
        panel=TRAINING,
        check=parse_budget,
    )
    pretrained: tuple[str, ...] = as_in(Setting, "pretrained", ("none",))
    seeds: tuple[int, ...] = option(
        (), "Seeds of trainings, such as 0,1,2", panel=TRAINING, bounds=Bounds(least=0, below=2**32)
    )
    evaluation: str = option(
        "tiled", "How test images are predicted", panel=TRAINING, choices=("tiled", "whole")
    )
    overlap: float = option(
        0.0,
        "Part of a tile's side that neighbours share",
        panel=TRAINING,
        bounds=Bounds(least=0, most=MOST_OVERLAP),
        note="for example 0.5",
    )
    eval_images: int | None = option(
        None,
        "Score at most so many test images, and validation images",
        panel=TRAINING,
        bounds=Bounds(least=0, below=2**31),
        note="drawn at random; a large image counts as the tiles it takes; 0 is all",
    )
    flips: bool = option(False, "Predict flipped test images, too, and average", panel=TRAINING)
    score: str = option(
        "test",
        "Which images networks are scored on",
        panel=TRAINING,
        choices=SCORED,
        note="validation spares the test images while one still chooses",
    )
    floors: bool = option(True, "Score trivial baselines, which need no training", panel=TRAINING)

    precision: tuple[str, ...] = as_in(Setting, "precision", ("fp32",))
    memory_format: tuple[str, ...] = as_in(Setting, "memory_format", ("contiguous",))
    runtime: tuple[str, ...] = as_in(Setting, "runtime", (Setting.runtime,))
    quantize: tuple[str, ...] = as_in(Setting, "quantize", (Setting.quantize,))
    batch_norm: tuple[str, ...] = as_in(Setting, "batch_norm", ("kept",))
    algorithms: tuple[str, ...] = as_in(Setting, "algorithms", ("fastest",))
    threads: tuple[int, ...] = as_in(Setting, "threads", ())
    batch: tuple[int, ...] = as_in(Setting, "batch", ())
    memory: str = option(
        "",
        "Peak memory: measured, or predicted where that is exact to the byte",
        panel=MEASURING,
        choices=("measured", "predicted"),
        note="predicted by preset quick, unless --probes names the probes",
    )
    shrink_batch: bool = option(
        False, "Where a batch does not fit, halve it until it does", panel=MEASURING
    )
    replicates: int | None = option(
        None, "Fresh processes for each timing", panel=MEASURING, bounds=FROM_ONE
    )
    speed_s: float | None = option(
        None, "Seconds of timed blocks for each timing", panel=MEASURING, bounds=POSITIVE
    )
    interval: float | None = option(
        None,
        "Stop timing when the ratio is known to this share",
        panel=MEASURING,
        bounds=Bounds(above=0, below=1),
        note="for example 0.01",
    )

    device: str = as_in(Setting, "device", "auto")
    limit_tmac: float | None = option(
        None,
        "Skip cells predicted to cost more tera-MACs",
        "--limit",
        panel=WHERE,
        bounds=NOT_NEGATIVE,
        note="0 is no limit",
    )
    memory_limit: str = option(
        "",
        "Skip what is predicted to need more memory: 8G, 512M",
        panel=WHERE,
        check=parse_memory,
    )
    timeout_s: float = option(
        3600.0, "End a cell that takes longer, in s", "--timeout", panel=WHERE, bounds=POSITIVE
    )

    keep_weights: bool = option(
        False,
        "Keep every trained network for `predict`, not only each data set's best",
        panel=SAVING,
    )
    examples: int = option(
        3,
        "How many test images' predictions to keep, for `report`",
        panel=SAVING,
        bounds=Bounds(least=0, most=MOST_EXAMPLES),
        note="0 is none",
    )
    checkpoint_s: float = option(
        60.0,
        "Seconds between a training's checkpoints",
        panel=SAVING,
        bounds=NOT_NEGATIVE,
        note="0 is none",
    )

    def __post_init__(self) -> None:
        require(self)
        if self.vary and not self.base:
            raise InvalidSuite("--vary needs --base NAME: the variant whose choices are varied")
        if not self.data:
            where = one_line(self.data_help, MOST_WORDS)
            raise InvalidSuite(f"no data set: give one by --data. {where}".strip())
        if len(given := self._budgets()) > 1:
            raise InvalidSuite(f"{' and '.join(given)} are both budgets of a training: give one")
        if self.races and given and (self.rungs or given != ["steps"]):
            raise InvalidSuite(
                f"a race's rungs are numbers of steps: leave out {given[0]}"
                f"{', or rungs' if given == ['steps'] else ''}"
            )
        if self.overlap and self.evaluation == "whole":
            raise InvalidSuite(
                "overlap is of tiles, and evaluation=whole has none: leave one of them out"
            )

    def _budgets(self) -> list[str]:
        return [name for name in BUDGETS if getattr(self, name) is not None]

    @property
    def races(self) -> bool:
        """Whether trainings are raced."""
        return bool(self.race or self.rungs or self.time_budget)

    def resolved(self, on_gpu: bool) -> Suite:
        """Return the suite with every open field filled in from its preset."""
        preset = PRESETS[self.preset or ("gpu-quick" if on_gpu else "quick")]
        values = dict(preset.values)
        if self.races and len(values["seeds"]) < 2:
            values["seeds"] = (0, 1)
        if self._budgets() or self.rungs:
            del values["steps"]
        if self.probes:  # whoever asks for a probe by name has it run
            values["memory"] = "measured"
        if not (self.base or self.models or self.variants):
            values["variants"] = ("all",)
            if preset.suite:
                shipped = read(preset.suite)
                values["variants"] = tuple(shipped["variants"])
                values |= typed(Suite, shipped.get(preset.name, {}), "suite key", RUN_HELP)
        filled = {name: value for name, value in values.items() if getattr(self, name) in OPEN}
        suite = dataclasses.replace(self, preset=preset.name, **filled)
        if suite._window and all(suite.window_of(size) != suite._window for size in suite.sizes()):
            if self.window:
                raise InvalidSuite(
                    f"window {self.window} does not lie within the scored size {suite.size}: "
                    "give as many sides, none longer"
                )
            suite = dataclasses.replace(suite, window=AS_SCORED)
        return suite._with_rungs() if suite.races else suite

    def _with_rungs(self) -> Suite:
        """Return a resolved suite whose race has rungs. Raises InvalidSuite."""
        if len(self.seeds) < 2:
            raise InvalidSuite(
                "a race needs two seeds or more, to see how far two trainings of a network lie "
                "apart: --seeds 0,1"
            )
        steps = self.steps or 1
        rungs = self.rungs or tuple(dict.fromkeys((max(1, steps // LONGER), steps, steps * LONGER)))
        return dataclasses.replace(self, race=True, rungs=rungs, steps=None)

    @property
    def _window(self) -> tuple[int, ...]:
        return parse_window(self.window) if self.window else ()

    def window_of(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the scored pixels of a training window for images scored at a size.

        That is the size itself where the suite's window does not lie within it.
        """
        window = self._window
        fits = len(window) == len(size) and all(w <= s for w, s in zip(window, size, strict=True))
        return window if fits else size

    @property
    def budget(self) -> str:
        """How long is trained, in words; empty where the preset decides."""
        if self.rungs:
            return f"{', '.join(map(str, self.rungs))} steps"
        for name in self._budgets():
            value, unit = getattr(self, name), BUDGETS[name]
            return f"{value:g} {unit}" if unit == "s" else f"{value} {unit}"
        return ""

    def sizes(self) -> list[tuple[int, ...]]:
        """Return the scored sizes, `(H, W)` of images and `(D, H, W)` of volumes."""
        return list(dict.fromkeys(parse_size(text) for text in self.size.split(",")))

    def scaled_down(self) -> str:
        """Return what a resolved suite made smaller than the real thing, and how to get that.

        Empty where it did not.
        """
        if self.width_scale == 1:
            return ""
        # Volumes have no size of their own in a preset.
        flat = any(len(size) == 2 for size in self.sizes())
        real = Suite(width_scale=1.0, size="256x256" if flat else "", steps=2000, seeds=(0, 1, 2))
        preset = "--preset standard, or " if flat else ""
        whose = f" of the baseline, whose {self.match} the others meet" if self.match else ""
        return (
            f"scaled down by preset {self.preset}: widths × {self.width_scale:g}{whose}, "
            f"{self.size} scored, {self.budget} of training, {len(self.seeds)} seed(s); "
            "backbones, other packages' networks and --model stay as wide as they are; "
            f"the real thing: {preset}{' '.join(real.to_argv())}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as it stands in TOML and in run.json."""
        return dataclasses.asdict(self)

    def to_argv(self) -> list[str]:
        """Return the words that give `run` this suite; what is as by default is left out."""
        return to_argv(self)


def from_options(options: Mapping[str, Any], file: str | None = None) -> Suite:
    """Return a suite from a TOML file or a shipped name; options replace what that says.

    A table in the file with the name of a preset holds what differs under that preset. Raises
    InvalidSuite, UnknownName.
    """
    chosen = {name: value for name, value in options.items() if value not in (*OPEN, [])}
    fields = read(file) if file else {}
    preset = chosen.get("preset") or fields.get("preset", "")
    if not isinstance(preset, str):
        raise InvalidSuite(f"suite {file}: preset={shown(preset)} is not valid: it takes a name")
    of_presets = {name: fields.pop(name, {}) for name in PRESETS}
    for changes in (of_presets.get(preset, {}), chosen):
        if not isinstance(changes, Mapping):
            raise InvalidSuite(
                f"suite {file}: {preset} is a preset's name: it must be a table, [{preset}]"
            )
        if any(name in changes for name in BUDGETS):
            fields = {name: value for name, value in fields.items() if name not in BUDGETS}
        fields = fields | dict(changes)
    return from_dict(fields)


def from_dict(data: Mapping[str, Any]) -> Suite:
    """Return a suite from plain data.

    Raises UnknownName for a key it does not know, InvalidSuite for a wrong type.
    """
    named = {RENAMED.get(name, name): value for name, value in data.items()}
    return Suite(**typed(Suite, named, "suite key", RUN_HELP))


def read(name: str) -> dict[str, Any]:
    """Return the TOML of a suite: a file, or one that ships. Raises InvalidSuite, UnknownName."""
    files = importlib.resources.files("unet_bench.spec.suites").iterdir()
    shipped = {file.name[:-5]: file for file in files if file.name.endswith(".toml")}
    path = Path(name)
    try:
        if path.suffix == ".toml" or os.path.isfile(path):
            return read_toml(path)
        if name in shipped:
            return tomllib.loads(shipped[name].read_text(encoding="utf-8"))
    # Bytes that are no text, text that is no TOML, numbers without an end.
    except (OSError, ValueError) as error:
        raise InvalidSuite(f"suite {one_line(name)}: {one_line(str(error))}") from error
    raise unknown("suite", one_line(name), shipped, "unet-bench list suites")
