"""The commands: parse, call one function, print. Nothing here decides anything about a measurement."""

from __future__ import annotations

import functools
import inspect
import json
import math
import sys
import time
import typing
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from unet_bench.errors import InvalidSuite, StoreError, UnetBenchError, unknown
from unet_bench.spec.suite import AXES, PRESETS

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned
    from unet_bench.spec.suite import Suite

app = typer.Typer(
    name="unet-bench",
    help="Which U-Net to use, and what each choice in it is worth: speed, memory and accuracy, measured fairly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Many = list[str] | None
Block = Annotated[
    Many, typer.Option("--block", help="Leave a plugin out, by name. Again for more.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
# Every option of a suite, shared by `run` and `plan`.
SUITE_OPTIONS: dict[str, Any] = {
    "variants": Annotated[
        Many,
        typer.Option(
            "--variants", "-v", help="Names, globs, tag:NAME, unet+up=bilinear, or all; by commas."
        ),
    ],
    "base": Annotated[
        str | None, typer.Option("--base", help="The variant whose choices --vary changes.")
    ],
    "vary": Annotated[
        Many, typer.Option("--vary", help="SLOT=PART,PART or AXIS=VALUE,VALUE. Again for a grid.")
    ],
    "model": Annotated[
        Many, typer.Option("--model", help="Anybody's module, package.module:Class.")
    ],
    "suite": Annotated[
        str | None, typer.Option("--suite", help="A suite in TOML: a file, or a shipped name.")
    ],
    "data": Annotated[
        Many,
        typer.Option(
            "--data",
            "-d",
            help="A data set's name, a folder or file, or KIND:PATH. Again for more.",
        ),
    ],
    "folds": Annotated[
        str | None,
        typer.Option(
            "--folds", help="Cross-validation: how many, or the prefix of a folder's split files."
        ),
    ],
    "classes": Annotated[
        str | None,
        typer.Option("--classes", help="A folder's classes: a number, or names by commas."),
    ],
    "fit": Annotated[
        str | None, typer.Option("--fit", help="crop (scale kept, larger images tiled) or resize.")
    ],
    "probes": Annotated[
        str | None,
        typer.Option(
            "--probes",
            "-p",
            help="cost, speed, memory, accuracy, training, energy, batch; by commas.",
        ),
    ],
    "preset": Annotated[
        str | None,
        typer.Option(
            "--preset", help="quick (default on a CPU), gpu-quick (on a GPU), standard, full."
        ),
    ],
    "device": Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, xpu, mps.")
    ],
    "precision": Annotated[
        str | None, typer.Option("--precision", help="fp32, tf32, fp16, bf16; several by commas.")
    ],
    "memory_format": Annotated[
        str | None,
        typer.Option("--memory-format", help="contiguous, channels_last; several by commas."),
    ],
    "mode": Annotated[
        str | None, typer.Option("--mode", help="eager, compile, cudagraphs; several by commas.")
    ],
    "batch_norm": Annotated[
        str | None,
        typer.Option(
            "--batch-norm", help="kept, or folded into convolutions for inference; by commas."
        ),
    ],
    "algorithms": Annotated[
        str | None,
        typer.Option("--algorithms", help="torch's: fastest, deterministic; several by commas."),
    ],
    "pretrained": Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            help="Weights that training begins from: none, imagenet; several by commas.",
        ),
    ],
    "size": Annotated[
        str | None,
        typer.Option(
            "--size", help="Scored pixels, HEIGHTxWIDTH, or DEPTHxHEIGHTxWIDTH; several by commas."
        ),
    ],
    "batch": Annotated[
        str | None, typer.Option("--batch", "-b", help="Images a step; several by commas.")
    ],
    "shrink_batch": Annotated[
        bool | None,
        typer.Option("--shrink-batch", help="Where a batch does not fit, halve it until it does."),
    ],
    "width_scale": Annotated[
        float | None, typer.Option("--width-scale", help="Factor on every width.")
    ],
    "match": Annotated[
        str | None,
        typer.Option(
            "--match",
            help="Scale each variant's widths until the baseline's cost is met: params, macs.",
        ),
    ],
    "recipe": Annotated[
        str | None, typer.Option("--recipe", help="How to train: a name, or a TOML file.")
    ],
    "steps": Annotated[
        int | None, typer.Option("--steps", help="Train for so many steps, every variant alike.")
    ],
    "epochs": Annotated[
        int | None, typer.Option("--epochs", help="Or for so many passes over the images.")
    ],
    "images": Annotated[int | None, typer.Option("--images", help="Or for so many images.")],
    "train_s": Annotated[float | None, typer.Option("--train-s", help="Or for so many seconds.")],
    "evaluation": Annotated[
        str | None, typer.Option("--evaluation", help="Test images tiled (default) or whole.")
    ],
    "overlap": Annotated[
        float | None,
        typer.Option("--overlap", help="Part of a tile's side that neighbours share: 0.5."),
    ],
    "flips": Annotated[
        bool | None, typer.Option("--flips", help="Predict flipped test images, too, and average.")
    ],
    "floors": Annotated[
        bool | None,
        typer.Option(
            "--floors/--no-floors", help="Rows of what needs no training, beside accuracy."
        ),
    ],
    "keep_weights": Annotated[
        bool | None,
        typer.Option("--keep-weights", help="Keep every trained network, for `predict`."),
    ],
    "examples": Annotated[
        int | None,
        typer.Option(
            "--examples", help="Test images whose predictions are kept, for `report`; 0: none."
        ),
    ],
    "checkpoint_s": Annotated[
        float | None,
        typer.Option("--checkpoint-s", help="Seconds between a training's checkpoints; 0: none."),
    ],
    "seeds": Annotated[str | None, typer.Option("--seeds", help="Seeds by commas, such as 0,1,2.")],
    "replicates": Annotated[
        int | None, typer.Option("--replicates", help="Fresh processes for each timing.")
    ],
    "speed_s": Annotated[
        float | None, typer.Option("--speed-s", help="Seconds of timed blocks for each timing.")
    ],
    "interval": Annotated[
        float | None,
        typer.Option("--interval", help="Stop timing when the ratio is known to this share: 0.01."),
    ],
    "limit_tmac": Annotated[
        float | None,
        typer.Option("--limit", help="Skip cells predicted to cost more tera-MACs; 0: none."),
    ],
    "memory_limit": Annotated[
        str | None,
        typer.Option("--memory-limit", help="Skip what is predicted to need more: 8G, 512M."),
    ],
    "timeout_s": Annotated[
        float | None, typer.Option("--timeout", help="End a cell that takes longer, in s.")
    ],
    "threads": Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads of one operator; several by commas."),
    ],
    "baseline": Annotated[
        str | None, typer.Option("--baseline", help="The variant every other is compared with.")
    ],
    "block": Block,
}
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


class Listed(StrEnum):
    """What `list` knows."""

    variants = "variants"
    parts = "parts"
    architectures = "architectures"
    datasets = "datasets"
    probes = "probes"
    executors = "executors"
    presets = "presets"
    suites = "suites"
    recipes = "recipes"
    readers = "readers"


class Format(StrEnum):
    """How `show` and `compare` print."""

    table = "table"
    csv = "csv"
    md = "md"
    json = "json"


class By(StrEnum):
    """What `compare` takes a speed from."""

    ratio = "ratio"
    latency = "latency"


def main() -> NoReturn:
    """The console script: errors that a user can cause are one message and exit code 2."""
    try:
        app(standalone_mode=True)
    except UnetBenchError as error:
        if "--debug" in sys.argv:
            raise
        typer.secho(f"unet-bench: {error}", err=True, fg="red")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)


HARMLESS = {"ok", "unsupported", "skipped"}  # statuses of a run that went well
NUMBER_LISTS = ("seeds", "batch", "threads")
WORD_LISTS = ("variants", "block", "probes", "classes", *AXES)


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """Options as the fields of a suite: comma lists taken apart, absent ones left out."""
    options: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == []:
            continue
        if name in NUMBER_LISTS + WORD_LISTS:
            items = [
                item
                for text in ([value] if isinstance(value, str) else value)
                for item in split(text)
            ]
            value = [whole_number(name, item) for item in items] if name in NUMBER_LISTS else items
        options["models" if name == "model" else name] = value
    return options


def split(text: str) -> list[str]:
    """A comma list's items."""
    return [item.strip() for item in text.split(",") if item.strip()]


def whole_number(name: str, text: str) -> int:
    """Raises BadParameter, which typer shows with exit code 2."""
    if not text.isdecimal():
        raise typer.BadParameter(
            f"{text!r} is no whole number; write numbers by commas", param_hint=f"--{name}"
        )
    return int(text)


def with_suite_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of a suite; the function gets them together, as `given`."""
    own = typing.get_type_hints(function, include_extras=True)
    own = {name: hint for name, hint in own.items() if name not in ("given", "return")}
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}

    @functools.wraps(function)
    def command(**values: Any) -> None:
        given = {name: values.pop(name) for name in SUITE_OPTIONS}
        function(given=given, **values)

    hints = {**SUITE_OPTIONS, **own}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=hint
            )
            for name, hint in hints.items()
        ]
    )
    command.__annotations__ = hints
    return command


TIME_IS_UP = 75  # an exit code: cells are left, the run is to go on (EX_TEMPFAIL of sysexits.h)


@app.command()
@with_suite_options
def run(
    given: dict[str, Any],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the run's folder is made.")
    ] = Path("results"),
    resume: Annotated[
        str | None, typer.Option("--resume", help="Go on with a run: its folder, or last.")
    ] = None,
    rerun: Annotated[
        str | None,
        typer.Option(
            "--rerun", help="With --resume: again what is contaminated, throttled, …; by commas."
        ),
    ] = None,
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="With --resume: do not try again what failed.")
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            help="End in good order before so long is over: 9m, 1h30m, none. Exit 75.",
        ),
    ] = None,
    retries: Annotated[
        str | None,
        typer.Option(
            "--retries",
            help="Further attempts at what failed: 1, or killed=2,timeout=1; killed=1 if open.",
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor", help="Where cells run: local (default), ray, slurm; a run's own again."
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices", help="Of these devices alone, by commas: cuda:0,cuda:2. All, if open."
        ),
    ] = None,
    executor_option: Annotated[
        Many,
        typer.Option(
            "--executor-option",
            metavar="NAME=VALUE",
            help="For the executor: partition=gpu. Again for more.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure variants and save tables. Without options: all variants on real brain MRI, the preset
    for this device.
    """
    from unet_bench import pipeline
    from unet_bench.execute.options import (
        RETRIES,
        ExecutionOptions,
        parse_options,
        parse_retries,
        parse_time_limit,
    )
    from unet_bench.execute.signals import Terminated, terminable
    from unet_bench.present.progress import watcher

    started = time.monotonic()
    folder = resumable(resume, out) if resume else None
    if folder and (extra := [option_of(name) for name, value in given.items() if value]):
        raise InvalidSuite(
            f"--resume goes on with the run's own suite: leave out {', '.join(extra)}"
        )
    if (rerun or keep_failures) and not folder:
        raise InvalidSuite(
            "--rerun and --keep-failures go with --resume: a new run measures everything anyhow"
        )
    limit = parse_time_limit(time_limit) if time_limit else None
    own = pipeline.executor_of_run(folder) if folder and executor is None else {}
    execution = ExecutionOptions(
        executor=executor or str(own.get("name", "local")),
        devices=tuple(split(devices or "")) or tuple(own.get("devices", ())),
        options={**own.get("options", {}), **parse_options(executor_option or [])},
        retries=parse_retries(retries) if retries else RETRIES,
        until=math.inf if limit is None else started + limit,
        rerun=qualities(rerun) if rerun else (),
        keep_failures=keep_failures,
    )
    wanted = pipeline.resumed(folder) if folder else suite_of(given)
    recipe = pipeline.recipe_of(folder) if folder else None
    with terminable(), watcher() as progress:
        try:
            with pipeline.plan(wanted, recipe, execution) as made:
                for note in made.notes:
                    progress.waiting(f"note: {note}")
                if limit is None:
                    execution = replace(
                        execution, until=started + PRESETS[made.suite.preset].time_limit_s
                    )
                if started + foreseen_s(made) > execution.until:
                    progress.waiting(f"note: {time_is_short(made, execution.until - started)}")
                done = pipeline.execute(made, out, progress, folder, execution)
            if limit is None or not done.left:
                show_end(done.path, made.suite)
        except KeyboardInterrupt as end:
            how = f"what was finished is kept. Go on with: unet-bench run --resume {progress.path}"
            typer.echo(f"stopped; {how if progress.path else 'nothing was measured yet'}", err=True)
            raise typer.Exit(128 + end.number if isinstance(end, Terminated) else 130) from None
        except StoreError as error:
            if progress.path is None:  # nothing was run: refused before starting
                raise
            typer.secho(f"unet-bench: {error}", err=True, fg="red")
            raise typer.Exit(1) from error
    if done.left:
        typer.echo(
            f"the time limit is reached, {len(done.left)} cells are left ({left_out(done.left)}). "
            f"Go on with: unet-bench run --resume {done.path}",
            err=True,
        )
        if limit is not None:
            raise typer.Exit(TIME_IS_UP)
    raise typer.Exit(0 if done.statuses <= HARMLESS else 1)


def foreseen_s(made: Plan) -> float:
    """How many seconds all cells of a plan take, as foreseen."""
    return sum(planned.seconds for planned in made.planned if not planned.status)


def time_is_short(made: Plan, limit_s: float) -> str:
    """What to know where a run will be cut short, and how to have all of it."""
    from unet_bench.present.progress import span

    return (
        f"all cells would take about {span(foreseen_s(made))}, and the run ends after {span(limit_s)}: what is left "
        "then is named; --time-limit allows more, and none is no limit"
    )


def left_out(left: Iterable[Planned]) -> str:
    """The cells that there was no time for: each probe with its variants."""
    by_probe: dict[str, list[str]] = {}
    for planned in left:
        by_probe.setdefault(planned.cell.probe, []).append(planned.names[0])
    return "; ".join(
        f"{probe} of {', '.join(dict.fromkeys(names))}" for probe, names in by_probe.items()
    )


def option_of(name: str) -> str:
    """What a field of a suite is called on the command line."""
    option = typing.get_args(SUITE_OPTIONS[name])[
        1
    ]  # typer keeps the first of its words as `default`
    return str(option.default).partition("/")[0]


def qualities(text: str) -> tuple[str, ...]:
    """The qualities of a comma list. Raises UnknownName."""
    from unet_bench.store.schema import QUALITIES

    for name in split(text):
        if name not in QUALITIES:
            raise unknown("quality", name, QUALITIES, "python -m unet_bench.store.documentation")
    return tuple(split(text))


def suite_of(given: dict[str, Any]) -> Suite:
    """The suite that options and a TOML file make."""
    from unet_bench.spec.suite import from_options

    file = given.pop("suite")
    return from_options(options_of(given), file)


def resumable(name: str, out: Path) -> Path:
    """The folder of a run: as given, below `out`, or the last one there. Raises StoreError."""
    from unet_bench.store.run_folder import MANIFEST

    if name == "last":
        runs = sorted(out.glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime)
        if not runs:
            raise StoreError(f"no run in {out}: start one with `unet-bench run`")
        return runs[-1].parent
    return (
        Path(name) if (Path(name) / MANIFEST).exists() or not (out / name).exists() else out / name
    )


def show_end(path: Path, suite: Suite) -> None:
    """The table at the end of a run, where it is, and what was scaled down."""
    from unet_bench.present.progress import console
    from unet_bench.present.table import render
    from unet_bench.store.runs import read_runs

    screen, runs = console(), read_runs([path])
    screen.print(render(runs.results, known=runs.columns))
    notes = [f"results: {path}/results.csv", f"again: unet-bench show {path}", suite.scaled_down()]
    screen.print("\n".join(filter(None, notes)), markup=False, highlight=False, soft_wrap=True)


@app.command()
@with_suite_options
def plan(given: dict[str, Any], as_json: AsJson = False, debug: Debug = False) -> None:
    """Print the cells that `run` would measure and what each will cost. Runs nothing, writes
    nothing.
    """
    from unet_bench import pipeline
    from unet_bench.present.progress import plan_table, plan_text

    with pipeline.plan(suite_of(given), only=True) as made:
        if as_json:
            typer.echo(json.dumps(plan_table(made.planned), indent=2))
        else:
            plan_text(made)
            typer.echo("".join(f"note: {note}\n" for note in made.notes), nl=False, err=True)


@app.command("list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    detail: Annotated[
        str | None,
        typer.Option(
            "--detail", metavar="NAME", help="One network's page: its shape, cost, differences."
        ),
    ] = None,
    size: Annotated[
        str, typer.Option("--size", help="The input that the page shows, such as 256x256.")
    ] = "",
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Draw the page's network into this file.")
    ] = None,
    block: Block = None,
    as_json: AsJson = False,
) -> None:
    """List what there is, with who provides it. Imports neither torch nor timm, but for a network's
    page.
    """
    from unet_bench.cli.inspect import listing, network_page, print_listing

    if detail is not None:
        if what not in (Listed.architectures, Listed.variants):
            raise typer.BadParameter("it is for architectures and variants", param_hint="--detail")
        page = network_page(detail, size, split(",".join(block or [])))
        if svg is not None:
            try:
                svg.write_text(page["svg"], encoding="utf-8")
            except OSError as error:
                raise typer.BadParameter(
                    f"{svg} cannot be written ({error})", param_hint="--svg"
                ) from error
        typer.echo(json.dumps(page, indent=2) if as_json else page["text"])
        return
    if size or svg:
        raise typer.BadParameter("name a network by --detail", param_hint="--size, --svg")
    rows = listing(what.value, split(",".join(block or [])))
    typer.echo(json.dumps(rows, indent=2)) if as_json else print_listing(rows)


@app.command("plugins")
def plugins_(block: Block = None, as_json: AsJson = False) -> None:
    """List the installed plugins: ok, blocked or failed, and why."""
    from unet_bench.cli.inspect import plugin_rows, print_listing

    rows = plugin_rows(split(",".join(block or [])))
    typer.echo(json.dumps(rows, indent=2)) if as_json else print_listing(rows)


@app.command()
def show(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Runs' folders, results.csv, or JSON of pytest-benchmark."
        ),
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    sort: Annotated[str | None, typer.Option("--sort", help="A column of the results.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Columns to show, by commas.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the table of a run, relative to the baseline, best figures in bold; several runs one
    below another.
    """
    from unet_bench.present.progress import console
    from unet_bench.present.table import render
    from unet_bench.store.runs import read_runs

    wanted = Format.json if as_json else format
    runs = read_runs(paths)
    shown = render(
        runs.results,
        format=wanted.value,
        sort=sort,
        columns=split(columns) if columns else None,
        known=runs.columns,
    )
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)


@app.command()
def compare(
    before: Annotated[
        Path, typer.Argument(metavar="A", help="Before: a run's folder, a results.csv, or JSON.")
    ],
    after: Annotated[
        Path, typer.Argument(metavar="B", help="After, likewise; JSON is pytest-benchmark's.")
    ],
    margin: Annotated[
        float, typer.Option("--margin", help="Change of speed or memory that does not matter, %.")
    ] = 2.0,
    accuracy_margin: Annotated[
        float, typer.Option("--accuracy-margin", help="Difference in Dice that does not matter.")
    ] = 0.01,
    by: Annotated[
        By, typer.Option("--by", help="Speed by the ratio to the baseline, or by absolute latency.")
    ] = By.ratio,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="Exit 1 at any of: slower, more, worse, ambiguous, missing; by commas.",
        ),
    ] = None,
    across_environments: Annotated[
        bool,
        typer.Option("--across-environments", help="Compare even unlike machines or software."),
    ] = False,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, A before and B after: faster, slower, the same within the margin, or not to
    be told.
    """
    from unet_bench.analysis.compare import compare_runs
    from unet_bench.present.compare import render
    from unet_bench.present.progress import console

    report = compare_runs(
        before,
        after,
        margin=margin / 100,
        accuracy_margin=accuracy_margin,
        by=by.value,
        across_environments=across_environments,
    )
    if fail_on is not None and not split(fail_on):
        raise InvalidSuite(
            "--fail-on is empty: name verdicts such as slower,missing, or leave it out"
        )
    failing = report.failing(split(fail_on or ""))
    shown = render(report, format=(Format.json if as_json else format).value)
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)
    raise typer.Exit(1 if failing else 0)


@app.command()
def effects(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs' folders, or results.csv.")
    ],
    reference: Annotated[
        Many,
        typer.Option(
            "--reference",
            help="SLOT=PART or AXIS=VALUE in place of the baseline's. Again for more.",
        ),
    ] = None,
    slot: Annotated[
        str | None, typer.Option("--slot", help="Only of these slots and axes, by commas.")
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure", help="Only of these columns, such as latency_ratio,dice; by commas."
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """What each choice is worth: its effect over the contexts in which nothing else changed, with
    intervals.
    """
    from unet_bench.analysis import effects as of_choices
    from unet_bench.present.effects import render_effects
    from unet_bench.present.progress import console
    from unet_bench.store.runs import read_runs

    found = of_choices.effects(
        read_runs(paths),
        references=of_choices.parse_references(reference or []),
        slots=split(slot or ""),
        figures=split(figure or ""),
    )
    shown = render_effects(found, format=(Format.json if as_json else format).value)
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)


@app.command()
def summary(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its cells.csv.")],
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """Each variant's accuracy over all data sets, folds and seeds, paired with the baseline's."""
    from unet_bench.analysis.summary import summary
    from unet_bench.present.progress import console
    from unet_bench.present.summary import render_summary
    from unet_bench.store.tables import read_results

    shown = render_summary(
        summary(read_results(path, "cells")), format=(Format.json if as_json else format).value
    )
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)


@app.command()
def rank(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Runs' folders, or results.csv; or any csv with --score."
        ),
    ],
    u_score: Annotated[
        bool, typer.Option("--u-score", help="U-Bench's trade-off figure, too.")
    ] = False,
    variant: Annotated[
        str | None, typer.Option("--variant", help="Of any csv: the column that names the network.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Of any csv: the column that names the data set.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", help="Of any csv: the column to rank by, repeats averaged."),
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Of any csv: the least score is the best.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Draw the critical-difference diagram into this file, .svg or .png."
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """The Pareto front with probabilities, and average ranks over data sets: Friedman's and
    Nemenyi's tests.
    """
    from unet_bench.analysis import rank as ranked
    from unet_bench.present.progress import console
    from unet_bench.present.rank import render_rank
    from unet_bench.present.rank_diagram import draw_critical_differences
    from unet_bench.store.runs import read_runs

    columns = [name for name in (variant, data, score) if name]
    if columns or lower_is_better:
        if len(columns) < 3 or len(paths) > 1 or u_score:
            raise InvalidSuite(
                "a csv of any kind is ranked alone, by --variant, --data and --score together"
            )
        found = ranked.rank_table(
            ranked.read_scores(paths[0], *columns), lower_is_better=lower_is_better
        )
    else:
        found = ranked.rank(read_runs(paths), u_score=u_score)
    if plot is not None:
        draw_critical_differences(found.drawn, plot)
        typer.echo(f"written: {plot}", err=True)
    shown = render_rank(found, format=(Format.json if as_json else format).value)
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)


@app.command()
def recommend(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs' folders, or results.csv.")
    ],
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", help="Of one forward pass, ms.")
    ] = None,
    max_memory_mib: Annotated[
        float | None, typer.Option("--max-memory-mib", help="Peak of inference, MiB.")
    ] = None,
    max_train_memory_mib: Annotated[
        float | None, typer.Option("--max-train-memory-mib", help="Peak of a training step, MiB.")
    ] = None,
    max_params_m: Annotated[
        float | None, typer.Option("--max-params-m", help="Parameters, millions.")
    ] = None,
    max_gmacs: Annotated[
        float | None, typer.Option("--max-gmacs", help="MACs of one image, 10⁹.")
    ] = None,
    min_dice: Annotated[float | None, typer.Option("--min-dice", help="Dice, 0 to 1.")] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """The best network under a budget, what is as good, and what to measure to be sure. Exit 1 if
    nothing fits.
    """
    from unet_bench.analysis import recommend as recommended
    from unet_bench.analysis.budget import Budget
    from unet_bench.present.progress import console
    from unet_bench.present.recommend import render_recommendations
    from unet_bench.store.runs import read_runs

    budget = Budget(
        max_latency_ms=max_latency_ms,
        max_memory_mib=max_memory_mib,
        max_train_memory_mib=max_train_memory_mib,
        max_params_m=max_params_m,
        max_gmacs=max_gmacs,
        min_dice=min_dice,
    )
    found = recommended.recommend(read_runs(paths), budget)
    shown = render_recommendations(found, format=(Format.json if as_json else format).value)
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)
    raise typer.Exit(0 if any(one.best for one in found) else 1)


@app.command()
def curves(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    target: Annotated[
        float | None,
        typer.Option("--target", help="A validation Dice: how long each variant took to reach it."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw them into this file, .png or .svg.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """Training curves: validation Dice and loss against steps and seconds."""
    from unet_bench.analysis import curves as curves_of
    from unet_bench.present import curves as shown_as
    from unet_bench.present.progress import console

    found = curves_of.read_curves(path)
    if plot is not None:
        shown_as.plot(found, plot)
        typer.echo(f"written: {plot}", err=True)
    wanted = (Format.json if as_json else format).value
    if target is not None:
        shown = shown_as.render_times(curves_of.time_to(found, target), format=wanted)
    elif plot is None:
        shown = shown_as.render_curves(found, format=wanted)
    else:
        return
    typer.echo(shown) if isinstance(shown, str) else console().print(shown)


@app.command()
def predict(
    path: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run with --keep-weights.")
    ],
    variant: Annotated[str, typer.Argument(help="The variant, as the run's table calls it.")],
    images: Annotated[
        list[Path], typer.Argument(help="Image files; NIfTI for a network of volumes.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the masks go, as PNG or NIfTI.")
    ] = Path("predictions"),
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Of several data sets, the one of this name.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of several trainings, this seed's.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option("--fold", help="Of several folds, this one: 0/5.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, xpu, mps.")
    ] = "auto",
    evaluation: Annotated[str, typer.Option("--evaluation", help="tiled or whole.")] = "tiled",
    overlap: Annotated[
        float, typer.Option("--overlap", help="Part of a tile's side that neighbours share.")
    ] = 0.5,
    flips: Annotated[
        bool, typer.Option("--flips", help="Predict flipped images, too, and average.")
    ] = False,
) -> None:
    """Write masks for your own images with a network that a run trained: class ids, as PNG or
    NIfTI.
    """
    from unet_bench.predict import predict_files

    written = predict_files(
        path,
        variant,
        images,
        out,
        data=data,
        seed=seed,
        fold=fold,
        device=device,
        evaluation=evaluation,
        overlap=overlap,
        flips=flips,
    )
    for mask in written:
        typer.echo(mask)


data_commands = typer.Typer(help="Look at data before training on them.", no_args_is_help=True)
app.add_typer(data_commands, name="data")


@data_commands.command("check")
def data_check(
    name: Annotated[
        str, typer.Argument(metavar="DATA", help="As --data takes it: a name, a path or KIND:PATH.")
    ],
    classes: Annotated[
        str | None, typer.Option("--classes", help="Classes: a number, or names by commas.")
    ] = None,
    block: Block = None,
    as_json: AsJson = False,
) -> None:
    """Report sizes, classes and their shares, offenders, and images that are in two splits. Exit 1
    if there are any.
    """
    from unet_bench.data.check import check
    from unet_bench.data.sources import open_dataset
    from unet_bench.pipeline import class_names
    from unet_bench.registry.plugins import load

    wanted = class_names(tuple(split(classes or "")))
    report = check(
        open_dataset(load(split(",".join(block or []))).checked(), name, size=None, classes=wanted)
    )
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.text())
    raise typer.Exit(1 if report.leaks else 0)


@app.command()
def selftest(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run's folder: audit under its settings."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: 20 short pairs of a small input.")
    ] = False,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="Pairs of identical code; 59 by default.")
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            "--fail-above", min=0, help="Exit 1 if not repeatable within so many percent."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the run's folder is made.")
    ] = Path("results"),
    variant: Annotated[
        str | None, typer.Option("--variant", help="What is timed against itself; unet by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, xpu, mps.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads of one operator.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", "-b", min=1, help="Images a step.")
    ] = None,
    size: Annotated[str | None, typer.Option("--size", help="Scored pixels, HEIGHTxWIDTH.")] = None,
    width_scale: Annotated[
        float | None, typer.Option("--width-scale", help="Factor on every width.")
    ] = None,
    speed_s: Annotated[
        float | None, typer.Option("--speed-s", help="Seconds of each pair at most; 10 by default.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Audit our own timing: is identical code called identical, and is what is slower found?"""
    from unet_bench import selftest as audited

    workload = {
        "device": device,
        "threads": threads,
        "batch": batch,
        "size": size,
        "width_scale": width_scale,
    }
    options: dict[str, Any] = {**workload, "speed_s": speed_s}
    try:
        done = audited.selftest(path, quick=quick, pairs=pairs, variant=variant, out=out, **options)
    except KeyboardInterrupt:
        typer.echo("stopped before there was a pair to judge", err=True)
        raise typer.Exit(130) from None
    typer.echo(done.report.text(), nl=False)
    typer.echo(
        f"{'stopped early; ' * done.stopped}written: {done.path}/selftest.txt and selftest.json",
        err=True,
    )
    raise typer.Exit(done.exit_code(fail_above))


class Written(StrEnum):
    """What `report` writes."""

    html = "html"
    md = "md"
    latex = "latex"
    figures = "figures"


@app.command()
def report(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs' folders, or a results.csv.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file, of figures the folder; report.html and the like."
        ),
    ] = None,
    format: Annotated[
        Written,
        typer.Option("--format", "-f", help="html, md, latex (tables), figures (PNG and SVG)."),
    ] = Written.html,
) -> None:
    """Write a report: one web page that works offline; or markdown, LaTeX tables, figures for a
    paper.
    """
    from unet_bench.present.report import NAMES, write_report

    typer.echo(
        f"written: {write_report(paths, out or Path(NAMES[format.value]), format=format.value)}"
    )


@app.command()
def geometry(
    variant: Annotated[str, typer.Argument(help="A variant's name, such as unet-paper.")],
    size: Annotated[str, typer.Option("--size", help="Input pixels, HEIGHTxWIDTH.")] = "572x572",
    block: Block = None,
    as_json: AsJson = False,
) -> None:
    """What a network makes of an input size: output, offset, crops per skip, legal sizes."""
    from unet_bench.cli.inspect import geometry_report

    report = geometry_report(variant, size, split(",".join(block or [])))
    typer.echo(json.dumps(report, indent=2) if as_json else report["text"])


@app.command()
def doctor(block: Block = None, as_json: AsJson = False) -> None:
    """Versions, devices, plugins, and where things are."""
    from unet_bench.cli.inspect import doctor_report

    report = doctor_report(split(",".join(block or [])))
    typer.echo(json.dumps(report, indent=2) if as_json else report["text"])


@app.command("new-plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(help="The plugin's name, such as sharp-up.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where its folder is made.")] = Path("."),
) -> None:
    """Write a plugin package with an up-sampling part and a test; what it writes passes as it is."""
    from unet_bench.registry.scaffold import write_plugin

    folder = write_plugin(name, out)
    typer.echo(f"written: {folder}\nnext: pip install -e {folder}[test] && pytest {folder}")


if __name__ == "__main__":
    main()
