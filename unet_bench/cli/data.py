"""Commands about data: how they are read, and what they can tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from unet_bench.cli.answers import answer
from unet_bench.cli.inspect import load
from unet_bench.cli.options import (
    AsJson,
    Chosen,
    Format,
    Formatted,
    Quiet,
    pick,
    with_options,
)
from unet_bench.cli.runs import RESULTS
from unet_bench.errors import command_line
from unet_bench.execute.options import ExecutionOptions
from unet_bench.present.stdout import echo, tell
from unet_bench.spec.suite import Suite, parse_size, parse_spacing

PILOT: Final = ("unet", "unet-shallow", "unet-add")  # unlike, and none is slow
PILOT_SEEDS: Final = (0, 1, 2)


@with_options(chosen=pick(Suite, "classes", "max_megapixels", "orientation", "spacing", "block"))
def data_check(
    chosen: Chosen,
    name: Annotated[
        str, typer.Argument(metavar="DATA", help="As --data takes it: a name, a path or KIND:PATH.")
    ],
    as_json: AsJson = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 if the data may be misread, too.")
    ] = False,
) -> None:
    """Report how files are read: values, classes and their shares, sizes, what is left out, leaks.

    Exit 1 if an image is in two splits, or under --strict if there is a doubt; 2 if the data cannot
    be used.
    """
    from unet_bench.data.check import check
    from unet_bench.data.sources import open_dataset
    from unet_bench.plan.tasks import class_names

    wanted = class_names(tuple(chosen.get("classes", ())))
    registry = load(chosen.get("block", ())).checked()
    spacing = chosen.get("spacing")
    dataset = open_dataset(
        registry,
        name,
        classes=wanted,
        max_megapixels=chosen.get("max_megapixels"),
        orientation=chosen.get("orientation") or "stored",
        spacing=parse_spacing(spacing) if spacing else (),
    )
    report = check(dataset)
    echo(json.dumps(report.to_dict(), indent=2) if as_json else report.text())
    raise typer.Exit(1 if report.leaks or (strict and report.doubts) else 0)


@with_options(
    chosen=pick(
        Suite,
        *("preset", "variants", "seeds", "size", "fit", "window", "steps", "recipe", "width_scale"),
        *("classes", "max_megapixels", "orientation", "spacing", "eval_images", "device"),
    ),
    execution_options=pick(ExecutionOptions, "devices", "jobs"),
)
def data_resolve(
    chosen: Chosen,
    execution_options: Chosen,
    name: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="As --data takes it; or a run's folder, which trains nothing."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the pilot's folder is made.")
    ] = RESULTS,
    format: Formatted = Format.table,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how small a difference in Dice some images can show, by how many seeds.

    A pilot trains three networks with three seeds, a few minutes on a CPU.
    """
    from unet_bench import pipeline
    from unet_bench.analysis.resolution import resolutions
    from unet_bench.execute.signals import terminable
    from unet_bench.present.progress import Watcher
    from unet_bench.present.resolution import resolution_document
    from unet_bench.store.run_folder import RunFolder
    from unet_bench.store.tables import read_results

    folder = Path(name)
    if not RunFolder(folder).manifest.is_file():
        wanted = {"variants": PILOT, "seeds": PILOT_SEEDS, **chosen}
        with Watcher() as progress, terminable():
            frame = pipeline.run(
                wanted.pop("variants"),
                data=[name],
                probes=["accuracy"],
                out=out,
                progress=progress,
                execution=ExecutionOptions(**execution_options),
                **wanted,
            )
        folder = Path(frame.attrs["path"])
    answer(resolution_document(resolutions(read_results(folder, "cells"))), format, as_json)


@with_options(chosen=pick(Suite, "size", "classes", "max_megapixels"))
def data_save(
    chosen: Chosen,
    name: Annotated[
        str, typer.Argument(metavar="DATA", help="As --data takes it, such as cells or brain.")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    quiet: Quiet = False,
) -> None:
    """Write a data set as a folder of images and masks: an example of how yours may lie.

    It holds a folder for each split, and dataset.json, which says what values of masks mean.
    """
    from unet_bench.data.sources import open_dataset
    from unet_bench.data.write_folder import write_folder
    from unet_bench.plan.tasks import class_names

    size = chosen.get("size")
    dataset = open_dataset(
        load(()).checked(),
        name,
        size=parse_size(size) if size else None,
        classes=class_names(tuple(chosen.get("classes", ()))),
        max_megapixels=chosen.get("max_megapixels"),
    )
    echo(f"written: {write_folder(dataset, folder)}")
    tell(f"look: {command_line('data', 'check', folder)}")
