"""The commands: parse, call one function, print. Nothing here decides anything about a measurement."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from unet_bench.errors import UnetBenchError

app = typer.Typer(
    name="unet-bench",
    help="Which U-Net to use, and what each choice in it is worth: speed, memory and accuracy, measured fairly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Many = list[str] | None
Block = Annotated[Many, typer.Option("--block", help="Leave a plugin out, by name. Again for more.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
Variants = Annotated[
    Many, typer.Option("--variants", "-v", help="Names, globs, tag:NAME, unet+up=bilinear, or all; by commas.")
]
Base = Annotated[str | None, typer.Option("--base", help="The variant whose choices --vary changes.")]
Vary = Annotated[Many, typer.Option("--vary", help="SLOT=PART,PART or AXIS=VALUE,VALUE. Again for a grid.")]
Model = Annotated[Many, typer.Option("--model", help="Anybody's module, package.module:Class.")]
SuiteFile = Annotated[str | None, typer.Option("--suite", help="A suite in TOML: a file, or a shipped name.")]
Data = Annotated[Many, typer.Option("--data", "-d", help="A data set's name, or a folder with images/ and masks/.")]
Classes = Annotated[str | None, typer.Option("--classes", help="A folder's classes: a number, or names by commas.")]
Fit = Annotated[str | None, typer.Option("--fit", help="crop (scale kept, larger images tiled) or resize.")]
Probes = Annotated[str | None, typer.Option("--probes", "-p", help="cost, speed, memory, accuracy; by commas.")]
Preset_ = Annotated[str | None, typer.Option("--preset", help="quick (default on a CPU), standard (on a GPU), full.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str | None, typer.Option("--precision", help="fp32, tf32, fp16, bf16.")]
Size = Annotated[str | None, typer.Option("--size", help="Scored pixels, HEIGHTxWIDTH; several by commas.")]
Batch = Annotated[int | None, typer.Option("--batch", "-b", help="Images a step.")]
Width = Annotated[float | None, typer.Option("--width-scale", help="Factor on every width.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Training steps, the same for every variant.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds by commas, such as 0,1,2.")]
Replicates = Annotated[int | None, typer.Option("--replicates", help="Fresh processes for each timing.")]
Speed = Annotated[float | None, typer.Option("--speed-s", help="Seconds of timed blocks for each timing.")]
Limit = Annotated[float | None, typer.Option("--limit", help="Skip cells predicted to take longer, in s; 0: none.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="End a cell that takes longer, in s.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads of one operator.")]
Baseline = Annotated[str | None, typer.Option("--baseline", help="The variant every other is compared with.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


class Listed(StrEnum):
    """What `list` knows."""

    variants = "variants"
    parts = "parts"
    architectures = "architectures"
    datasets = "datasets"
    probes = "probes"
    presets = "presets"
    suites = "suites"


class Format(StrEnum):
    """How `show` prints."""

    table = "table"
    csv = "csv"
    md = "md"
    json = "json"


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


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """Options as the fields of a suite: comma lists taken apart, absent ones left out."""
    lists = {name: given.pop(name) for name in ("variants", "vary", "data", "block") if name in given}
    lists["models"] = given.pop("model", None)
    texts = {name: given.pop(name) for name in ("probes", "classes", "seeds") if name in given}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, values in lists.items():
        if values:
            whole = name in ("vary", "data", "models")
            options[name] = [item for value in values for item in ([value] if whole else split(value))]
    for name, text in texts.items():
        if text:
            options[name] = [whole_number(name, item) if name == "seeds" else item for item in split(text)]
    return options


def split(text: str) -> list[str]:
    """A comma list's items."""
    return [item.strip() for item in text.split(",") if item.strip()]


def whole_number(name: str, text: str) -> int:
    """Raises BadParameter, which typer shows with exit code 2."""
    if not text.isdigit():
        raise typer.BadParameter(f"{text!r} is no whole number", param_hint=f"--{name}")
    return int(text)


@app.command()
def run(
    variants: Variants = None,
    base: Base = None,
    vary: Vary = None,
    model: Model = None,
    suite: SuiteFile = None,
    data: Data = None,
    classes: Classes = None,
    fit: Fit = None,
    probes: Probes = None,
    preset: Preset_ = None,
    device: Device = None,
    precision: Precision = None,
    size: Size = None,
    batch: Batch = None,
    width_scale: Width = None,
    steps: Steps = None,
    seeds: Seeds = None,
    replicates: Replicates = None,
    speed_s: Speed = None,
    limit_s: Limit = None,
    timeout_s: Timeout = None,
    threads: Threads = None,
    baseline: Baseline = None,
    block: Block = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the run's folder is made.")] = Path("results"),
    resume: Annotated[str | None, typer.Option("--resume", help="Go on with a run: its folder, or last.")] = None,
    debug: Debug = False,
) -> None:
    """Measure variants and save tables. Without options: all variants on real brain MRI, the preset for this device."""
    from unet_bench import pipeline
    from unet_bench.progress import watcher

    given = {k: v for k, v in locals().items() if k not in ("out", "resume", "debug", "suite", "pipeline", "watcher")}
    folder = resumable(resume, out) if resume else None
    wanted = pipeline.resumed(folder) if folder else suite_of(given, suite)
    with pipeline.plan(wanted) as made, watcher() as progress:
        try:
            path, rows = pipeline.execute(made, out, progress, folder)
        except KeyboardInterrupt:
            typer.echo(f"stopped; what was finished is kept. Go on with: unet-bench run --resume {progress.path}", err=True)
            raise typer.Exit(130) from None
    show_end(path)
    failed = [row for row in rows if row["status"] not in ("ok", "unsupported", "skipped")]
    raise typer.Exit(1 if failed else 0)


def suite_of(given: dict[str, Any], file: str | None) -> Any:
    """The suite that options and a TOML file make."""
    from unet_bench.suite import from_options

    return from_options(options_of(given), file)


def resumable(name: str, out: Path) -> Path:
    """The folder of a run: as given, below `out`, or the last one there. Raises StoreError."""
    from unet_bench.errors import StoreError

    if name == "last":
        runs = sorted(out.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
        if not runs:
            raise StoreError(f"no run in {out}: start one with `unet-bench run`")
        return runs[-1].parent
    return Path(name) if (Path(name) / "run.json").exists() or not (out / name).exists() else out / name


def show_end(path: Path) -> None:
    """The table at the end of a run, and where it is."""
    from rich.console import Console

    from unet_bench.results.show import render
    from unet_bench.results.tables import read_results

    console = Console()
    console.print(render(read_results(path)))
    console.print(f"results: {path}/results.csv    again: unet-bench show {path}", markup=False, highlight=False)


@app.command()
def plan(
    variants: Variants = None,
    base: Base = None,
    vary: Vary = None,
    model: Model = None,
    suite: SuiteFile = None,
    data: Data = None,
    classes: Classes = None,
    fit: Fit = None,
    probes: Probes = None,
    preset: Preset_ = None,
    device: Device = None,
    precision: Precision = None,
    size: Size = None,
    batch: Batch = None,
    width_scale: Width = None,
    steps: Steps = None,
    seeds: Seeds = None,
    replicates: Replicates = None,
    speed_s: Speed = None,
    limit_s: Limit = None,
    timeout_s: Timeout = None,
    threads: Threads = None,
    baseline: Baseline = None,
    block: Block = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print the cells that `run` would measure and what each will cost. Runs nothing, writes nothing."""
    from unet_bench import pipeline
    from unet_bench.progress import plan_table, plan_text

    left_out = ("as_json", "debug", "suite", "pipeline", "plan_table", "plan_text")
    given = {k: v for k, v in locals().items() if k not in left_out}
    with pipeline.plan(suite_of(given, suite)) as made:
        if as_json:
            typer.echo(json.dumps(plan_table(made.planned), indent=2))
        else:
            plan_text(made)


@app.command("list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    block: Block = None,
    as_json: AsJson = False,
) -> None:
    """List what there is, with who provides it. Imports neither torch nor timm."""
    from unet_bench.listing import listing, print_listing

    rows = listing(what.value, split(",".join(block or [])))
    typer.echo(json.dumps(rows, indent=2)) if as_json else print_listing(rows)


@app.command("plugins")
def plugins_(block: Block = None, as_json: AsJson = False) -> None:
    """List the installed plugins: ok, blocked or failed, and why."""
    from unet_bench.listing import plugin_rows, print_listing

    rows = plugin_rows(split(",".join(block or [])))
    typer.echo(json.dumps(rows, indent=2)) if as_json else print_listing(rows)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a results.csv.")],
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.table,
    sort: Annotated[str | None, typer.Option("--sort", help="A column of the results.")] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Columns to show, by commas.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's table, relative to the baseline, best figures in bold."""
    from rich.console import Console

    from unet_bench.results.show import render
    from unet_bench.results.tables import read_results

    wanted = "json" if as_json else format.value
    shown = render(read_results(path), format=wanted, sort=sort, columns=split(columns) if columns else None)
    typer.echo(shown) if isinstance(shown, str) else Console().print(shown)


@app.command()
def geometry(
    variant: Annotated[str, typer.Argument(help="A variant's name, such as unet-paper.")],
    size: Annotated[str, typer.Option("--size", help="Input pixels, HEIGHTxWIDTH.")] = "572x572",
    block: Block = None,
    as_json: AsJson = False,
) -> None:
    """What a network makes of an input size: output, offset, crops per skip, legal sizes."""
    from unet_bench.listing import geometry_report

    report = geometry_report(variant, size, split(",".join(block or [])))
    typer.echo(json.dumps(report, indent=2) if as_json else report["text"])


@app.command()
def doctor(block: Block = None, as_json: AsJson = False) -> None:
    """Versions, devices, plugins, and where things are."""
    from unet_bench.listing import doctor_report

    report = doctor_report(split(",".join(block or [])))
    typer.echo(json.dumps(report, indent=2) if as_json else report["text"])


@app.command("new-plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(help="The plugin's name, such as sharp-up.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where its folder is made.")] = Path("."),
) -> None:
    """Write a plugin package with an up-sampling part and a test; what it writes passes as it is."""
    from unet_bench.scaffold import write_plugin

    folder = write_plugin(name, out)
    typer.echo(f"written: {folder}\nnext: pip install -e {folder}[test] && pytest {folder}")


if __name__ == "__main__":
    main()
