"""Commands that measure, foresee what measuring takes, or audit it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from unet_bench.cli.options import AsJson, Chosen, Debug, Quiet, Trust, pick, with_options
from unet_bench.cli.runs import find_run, meant
from unet_bench.errors import InvalidSuite, StoreError, command_line
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.signals import terminable
from unet_bench.present.stdout import echo, tell
from unet_bench.spec.cell import Setting
from unet_bench.spec.option import SAVING, WHAT, WHERE, options
from unet_bench.spec.presets import PRESETS
from unet_bench.spec.suite import Suite, from_options
from unet_bench.text_format import is_doubt

if TYPE_CHECKING:
    from unet_bench.execute.driver import Finished
    from unet_bench.plan.cells import Plan, Planned

HARMLESS: Final = {"ok", "unsupported", "skipped"}  # statuses of a run that went well
TIME_IS_UP: Final = 75  # an exit code: cells are left (EX_TEMPFAIL of sysexits.h)
LONG_S: Final = 1800  # a run from which a race of that many networks would save something
MANY: Final = 8

SuiteFile = Annotated[
    str | None,
    typer.Option(
        "--suite", help="A suite in TOML: a file, or a shipped name.", rich_help_panel=WHAT
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", help="Where the run's folder is made.", rich_help_panel=SAVING),
]


@with_options(suite_options=options(Suite), execution_options=options(ExecutionOptions))
def run(
    suite_options: Chosen,
    execution_options: Chosen,
    suite: SuiteFile = None,
    out: Out = Path("results"),
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", help="Go on with a run: its folder, or last.", rich_help_panel=WHERE
        ),
    ] = None,
    trust: Trust = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure variants and save tables.

    Without options: a first look in ten minutes on two cores, or a tour on a GPU.
    """
    from unet_bench import pipeline
    from unet_bench.present.progress import Watcher
    from unet_bench.store.log import read_manifest, resume_command
    from unet_bench.store.trust import code_named_by, require_trust

    folder = find_run(resume, out) if resume else None
    refuse_contradictions(folder, suite, suite_options, execution_options)
    if folder:
        named = code_named_by(read_manifest(folder), executor="executor" not in execution_options)
        require_trust(folder, named, trust)
    execution = execution_of(folder, execution_options)
    chosen = pipeline.suite_of_run(folder) if folder else from_options(suite_options, suite)
    recipe = pipeline.recipe_of_run(folder) if folder else None
    progress = Watcher()
    try:
        with (
            progress,
            pipeline.plan(chosen, recipe, execution, watch=progress.examined) as prepared,
        ):
            if "time_limit_s" not in execution_options and not prepared.suite.time_budget:
                limit = PRESETS[prepared.suite.preset].time_limit_s
                execution = replace(execution, time_limit_s=limit)
            execution = pipeline.within_budget(prepared.suite, execution)
            for note in (*prepared.notes, *time_notes(prepared, execution)):
                progress.waiting(f"note: {note}")
            import unet_bench.store.tables  # noqa: F401 (whole, before signals raise anywhere)

            with terminable():
                done = pipeline.execute(prepared, out, progress, folder, execution)
        if not done.left or "time_limit_s" not in execution_options:
            show_end(done.path, prepared)
    except KeyboardInterrupt as end:
        kept = "nothing was measured yet"
        if progress.path:
            kept = f"what was finished is kept. Go on with: {resume_command(progress.path)}"
        end.add_note(kept)
        raise
    except StoreError as error:
        if progress.path is None:  # nothing was run: refused before starting
            raise
        typer.secho(f"unet-bench: {error}", err=True, fg="red")
        raise typer.Exit(1) from error
    raise typer.Exit(end_code(done, limited="time_limit_s" in execution_options))


def refuse_contradictions(
    folder: Path | None, suite: str | None, suite_options: Chosen, execution_options: Chosen
) -> None:
    """Raise InvalidSuite for a new run's options with --resume, or the other way round."""
    if folder and (suite or suite_options):
        known = options(Suite)
        flags = ["--suite"] if suite else []
        flags += [known[name].all_flags[0] for name in suite_options]
        raise InvalidSuite(
            f"--resume goes on with the run's own suite: leave out {', '.join(flags)}"
        )
    if not folder and (execution_options.get("rerun") or execution_options.get("keep_failures")):
        raise InvalidSuite(
            "--rerun and --keep-failures go with --resume: a new run measures everything anyhow"
        )


def execution_of(folder: Path | None, execution_options: Chosen) -> ExecutionOptions:
    """Return how cells are run; a resumed run has its own executor again, if no other is named."""
    from unet_bench import pipeline

    if not folder or "executor" in execution_options:
        return ExecutionOptions(**execution_options)
    stored = pipeline.executor_of_run(folder)
    before = {
        "executor": str(stored.get("name", "local")),
        "devices": tuple(stored.get("devices", ())),
    }
    merged = {**stored.get("options", {}), **execution_options.get("options", {})}
    return ExecutionOptions(**{**before, **execution_options, "options": merged})


def time_notes(plan: Plan, execution: ExecutionOptions) -> Iterable[str]:
    """Yield what to know where a run will be cut short or is long, and what else could be done."""
    from unet_bench.present.progress import span

    foreseen_s = plan.foreseen_s
    trained = {p.names for p in plan.planned if p.probe.scores and not p.cell.variant.trivial}
    if not plan.suite.rungs and foreseen_s > LONG_S and len(trained) >= MANY:
        yield (
            f"for an answer sooner than in {span(foreseen_s)}: --budget 15m trains all "
            f"{len(trained)} networks for a short time, and the best of them longer"
        )
    if foreseen_s > execution.time_limit_s:
        more = "--time-limit allows more (none: no limit)"
        if plan.suite.time_budget:
            more = "a larger --budget allows more"
        yield (
            f"all cells would take about {span(foreseen_s)}, and the run ends after "
            f"{span(execution.time_limit_s)} and names what is left; {more}"
        )


def end_code(done: Finished, limited: bool) -> int:
    """Return a run's exit code, having said which cells there was no time for."""
    from unet_bench.store.log import resume_command

    if done.left:
        tell(
            f"the time limit is reached, {len(done.left)} cells are left "
            f"({name_cells(done.left)}). Go on with: {resume_command(done.path)}"
        )
        if limited:
            return TIME_IS_UP
    if done.refused:
        why = command_line("show", done.path, "--columns", "variant,error")
        tell(f"none of the chosen variants can run here; see why: {why}")
        return 1
    return 0 if done.statuses <= HARMLESS else 1


def name_cells(left: Iterable[Planned]) -> str:
    """Return the cells that there was no time for: each probe with its variants."""
    by_probe: dict[str, list[str]] = {}
    for planned in left:
        by_probe.setdefault(planned.cell.probe, []).append(planned.names[0])
    parts = [f"{probe} of {', '.join(dict.fromkeys(by_probe[probe]))}" for probe in by_probe]
    return "; ".join(parts)


def show_end(path: Path, plan: Plan) -> None:
    """Print a run's table, what to use by it, where it is, and what to know of it."""
    from unet_bench.analysis.recommend import recommend
    from unet_bench.present.progress import console
    from unet_bench.present.recommend import answers
    from unet_bench.present.table import results_document
    from unet_bench.store.runs import read_runs

    screen, runs = console(), read_runs([path])
    screen.print(results_document(runs.results, known=runs.columns).rendered())
    notes = list(answers(recommend(runs)))
    commands = {"again": "show", "why": "recommend", "as a page": "report"}
    notes.append(f"results: {path}/results.csv")
    notes += [f"{word}: {command_line(name, path)}" for word, name in commands.items()]
    notes.append(plan.suite.scaled_down())
    notes += [note for note in plan.notes if is_doubt(note)]
    screen.print("\n".join(filter(None, notes)), markup=False, highlight=False, soft_wrap=True)


@with_options(chosen=options(Suite))
def plan(
    chosen: Chosen,
    suite: SuiteFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the cells that `run` would measure and what each will cost.

    Runs nothing. What it finds of networks is kept for the next time, in your cache folder.
    """
    from unet_bench import pipeline
    from unet_bench.present.progress import examining, plan_table, plan_text

    wanted = from_options(chosen, suite)
    with examining() as watch, pipeline.plan(wanted, dry_run=True, watch=watch) as prepared:
        if as_json:
            echo(json.dumps(plan_table(prepared.planned), indent=2))
        else:
            plan_text(prepared)
            tell("".join(f"note: {note}\n" for note in prepared.notes), end="")


@with_options(chosen=pick(Suite, *options(Setting), "size", "width_scale", "speed_s"))
def selftest(
    chosen: Chosen,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run's folder, or last: audit under its settings.",
            callback=meant,
        ),
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
            "--fail-above", min=0, help="Exit 1 if not repeatable within this many percent."
        ),
    ] = None,
    out: Out = Path("results"),
    variant: Annotated[
        str | None, typer.Option("--variant", help="What is timed against itself; unet by default.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Audit our own timing: is identical code called identical, and is what is slower found?

    Each pair is timed for 10 s at most, unless --speed-s says otherwise.
    """
    from unet_bench import selftest as audited
    from unet_bench.present.audit import report_text

    try:
        done = audited.selftest(path, quick=quick, pairs=pairs, variant=variant, out=out, **chosen)
    except KeyboardInterrupt as end:
        end.add_note("there is no pair to judge yet")
        raise
    echo(report_text(done.report), end="")
    early = "stopped early; " if done.stopped else ""
    tell(f"{early}written: {done.path}/selftest.txt and selftest.json")
    raise typer.Exit(done.exit_code(fail_above))
