"""The command that finds a network for one's own images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from unet_bench.cli.answers import answer
from unet_bench.cli.measure import Out
from unet_bench.cli.options import (
    AsJson,
    Chosen,
    Debug,
    Format,
    Formatted,
    MaxGmacs,
    MaxLatency,
    MaxMemory,
    MaxParams,
    MaxTrainMemory,
    Quiet,
    pick,
    with_options,
)
from unet_bench.errors import InvalidSuite, StoreError, command_line
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.signals import terminable
from unet_bench.networks.variants import BASELINE
from unet_bench.spec.option import WHAT, WHERE
from unet_bench.spec.suite import Suite

LAST: Final = "last"


@with_options(
    chosen=pick(
        Suite,
        *("preset", "width_scale", "data", "classes", "max_megapixels", "orientation", "spacing"),
        *("fit", "size", "recipe", "window", "eval_images", "precision", "threads", "batch"),
        *("device", "timeout_s"),
    ),
    execution_options=pick(ExecutionOptions, "executor", "devices", "jobs", "options"),
)
def search(
    chosen: Chosen,
    execution_options: Chosen,
    budget: Annotated[
        str, typer.Option("--budget", help="The time for all of it: 30m, 1h.", rich_help_panel=WHAT)
    ] = "30m",
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            help="What to choose among: SLOT=PART,PART (again for more), or a TOML file; "
            "13 choices if left out.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            "--base",
            help="What alternatives are laid over, and compared with.",
            rich_help_panel=WHAT,
        ),
    ] = BASELINE,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of what is drawn.", rich_help_panel=WHAT)
    ] = 0,
    max_latency_ms: MaxLatency = None,
    max_memory_mib: MaxMemory = None,
    max_train_memory_mib: MaxTrainMemory = None,
    max_params_m: MaxParams = None,
    max_gmacs: MaxGmacs = None,
    out: Out = Path("results"),
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", help="Go on with a search: its folder, or last.", rich_help_panel=WHERE
        ),
    ] = None,
    format: Formatted = Format.table,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find a U-Net for your images within a time, and say how sure it is.

    Two rounds of short trainings choose by validation images; the best are trained again with
    fresh seeds and scored once on test images.
    """
    from unet_bench import searching
    from unet_bench.present.progress import Watcher

    folder = find_search(resume, out) if resume else None
    if folder and (chosen or space):
        raise InvalidSuite(
            "--resume goes on with what the search was asked for: leave out data, settings and "
            "--space"
        )
    fields: dict[str, Any] = {
        **chosen,
        "max_latency_ms": max_latency_ms,
        "max_memory_mib": max_memory_mib,
        "max_train_memory_mib": max_train_memory_mib,
        "max_params_m": max_params_m,
        "max_gmacs": max_gmacs,
    }
    progress = Watcher()
    try:
        with progress, terminable():
            found = searching.search(
                fields.pop("data", ("cells",)),
                budget=budget,
                space=space or (),
                base=base,
                seed=seed,
                out=out,
                resume=folder,
                progress=progress,
                execution=ExecutionOptions(**execution_options),
                **fields,
            )
    except KeyboardInterrupt as end:
        if progress.path:
            begun = progress.path.parent.parent
            end.add_note(f"go on with: {command_line('search', '--resume', begun)}")
        raise
    answer(found.document(), format, as_json)
    raise typer.Exit(0 if found.best else 1)


def find_search(name: str, out: Path) -> Path:
    """Return a search's folder: as given, or the last one below `out`. Raises StoreError."""
    from unet_bench.searching.rounds import REQUEST

    if name != LAST:
        return Path(name)
    searches = sorted(out.glob(f"*/{REQUEST}"), key=lambda file: file.stat().st_mtime)
    if not searches:
        raise StoreError(f"no search in {out}: start one with `unet-bench search`")
    return searches[-1].parent
