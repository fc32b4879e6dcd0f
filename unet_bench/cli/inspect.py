"""What `list`, `plugins`, `geometry` and `doctor` say. Only a network's page and the last two
import torch.
"""

from __future__ import annotations

import fnmatch
import importlib.resources
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from unet_bench.cli.options import AsJson, Chosen, pick, with_options
from unet_bench.errors import UnetBenchError, unknown
from unet_bench.networks.choices import AXES, FIELDS, SLOTS, Choices
from unet_bench.present.stdout import echo
from unet_bench.spec.presets import PRESETS
from unet_bench.spec.suite import Suite, parse_size

if TYPE_CHECKING:
    from unet_bench.host.survey import DeviceFacts
    from unet_bench.registry.plugins import Loaded

BLOCK = pick(Suite, "block")


def load(block: Sequence[str]) -> Loaded:
    """Return the plugins but those blocked. To find them is slow, and `--help` needs none."""
    from unet_bench.registry import plugins

    return plugins.load(block)


def listing(what: str, block: Sequence[str]) -> list[dict[str, Any]]:
    """Return one record for each thing of a kind."""
    if what == "presets":
        return [{"name": p.name, "summary": p.summary} for p in PRESETS.values()]
    if what == "suites":
        files = importlib.resources.files("unet_bench.spec.suites").iterdir()
        names = sorted(file.name for file in files if file.name.endswith(".toml"))
        return [
            {"name": name.removesuffix(".toml"), "summary": suite_summary(name)} for name in names
        ]
    registry = load(block).registry
    if what == "variants":
        return [
            variant_row(variant, registry.absent(variant))
            for variant in registry.variants().values()
        ]
    kinds = SLOTS if what == "parts" else (what.removesuffix("s"),)
    rows = [
        {"kind": e.kind, "name": e.name, "summary": said(e.summary, e.absent)}
        | {"plugin": e.provider.plugin, "cite": e.cite}
        for kind in kinds
        for e in registry.entries(kind)
    ]
    if what == "parts":
        rows += [
            {"kind": "axis", "name": axis, "summary": axis_summary(axis), "plugin": "", "cite": ""}
            for axis in AXES
        ]
    return rows


def said(summary: str, absent: str) -> str:
    """Return a summary, with what is missing for it."""
    return f"{summary} ({absent})" if absent else summary


def suite_summary(name: str) -> str:
    """Return the comment that a shipped suite begins with."""
    text = (importlib.resources.files("unet_bench.spec.suites") / name).read_text(encoding="utf-8")
    return text.splitlines()[0].removeprefix("# ")


def axis_summary(name: str) -> str:
    """Return what an axis means, the values it takes and its default."""
    facts = FIELDS[name]
    values = f"; one of {', '.join(facts.metadata['values'])}" if facts.metadata["values"] else ""
    return f"{facts.metadata['help']}{values}; default {Choices().text()[name]}"


def variant_row(variant: Any, absent: str) -> dict[str, Any]:
    """Return a variant with what makes it differ from the baseline."""
    default = Choices()
    changed = {
        name: text for name, text in variant.choices.text().items() if text != default.text()[name]
    }
    if variant.architecture:
        changed = {"architecture": variant.architecture}
    return {
        "name": variant.name,
        "summary": said(variant.summary, absent),
        "choices": " ".join(f"{name}={text}" for name, text in changed.items()),
        "tags": ",".join(variant.tags),
        "plugin": variant.provider,
        "cite": variant.cite,
    }


def plugin_rows(block: Sequence[str]) -> list[dict[str, Any]]:
    """Return one record a plugin."""
    return [
        {
            "plugin": p.provider.plugin,
            "distribution": f"{p.provider.distribution} {p.provider.version}".strip(),
            "module": p.module,
            "status": p.status,
            "registered": p.registered,
            "reason": p.reason,
        }
        for p in load(block).plugins
    ]


def print_report(report: Mapping[str, Any], as_json: bool) -> None:
    """Print a report's text, or all of it as JSON."""
    echo(json.dumps(report, indent=2) if as_json else report["text"])


def print_listing(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print records as a table, or as JSON, which has the citations too."""
    if as_json:
        echo(json.dumps(rows, indent=2))
        return
    from rich.markup import escape
    from rich.table import Table

    from unet_bench.present.progress import console

    table = Table(box=None, pad_edge=False)
    shown = [name for name in rows[0] if name != "cite"] if rows else []
    for name in shown:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in shown))
    console().print(table)


def network_page(name: str, size: str, block: Sequence[str]) -> dict[str, Any]:
    """Return one network's page: its facts, and the same as text and SVG."""
    from unet_bench.present.network_page import as_svg, as_text, detail

    page = detail(load(block).checked(), name, parse_size(size) if size else ())
    return {**asdict(page), "text": as_text(page), "svg": as_svg(page)}


def geometry_report(name: str, size: str, block: Sequence[str]) -> dict[str, Any]:
    """Return output, offset, skips and legal sizes of a variant at an input size.

    It has 1 channel and 2 classes.
    """
    import torch

    from unet_bench.geometry.forward import trace
    from unet_bench.geometry.shapes import format_size
    from unet_bench.geometry.sizes import explain_size
    from unet_bench.models.build import build
    from unet_bench.models.select import select_one

    registry = load(block).checked()
    variant = select_one(registry, name)
    wanted = parse_size(size)
    with torch.device("meta"):
        model = build(registry, variant, 1, 2)
    advice = explain_size(model, 1, wanted)
    try:
        found = trace(model, 1, wanted)
    except UnetBenchError as error:
        raise type(error)(f"{error}; {advice}") from error
    lines = [
        f"{name}: {format_size(found.input)} in, {format_size(found.output)} out, "
        f"offset {format_size(found.offset)}"
    ]
    for skip in found.skips:
        sizes = f"skip {format_size(skip.size)}, up {format_size(skip.up_size)}"
        is_cut = any(skip.low + skip.high)
        cut = f"cut by {format_size(skip.low)} before and {format_size(skip.high)} after"
        apart = any(skip.misalignment)
        shift = f", misaligned by {format_size(skip.misalignment)}" if apart else ""
        lines.append(f"  level {skip.level}: {sizes}: {cut if is_cut else 'as it is'}{shift}")
    lines.append(f"  {advice}")
    return {**asdict(found), "legal": found.legal, "advice": advice, "text": "\n".join(lines)}


def doctor_report(block: Sequence[str]) -> dict[str, Any]:
    """Return versions, devices, plugins, and where things are."""
    import unet_bench
    from unet_bench.host.environment import environment
    from unet_bench.host.survey import survey

    found = survey()
    facts = environment(found.names())
    rows = plugin_rows(block)
    where = str(Path(unet_bench.__file__).parent)
    lines = [f"unet-bench {unet_bench.__version__} in {where}"]
    lines += [f"python {facts['python']} on {facts['system']} {facts['kernel']} {facts['machine']}"]
    lines += [f"cpu: {facts['cpu']}, {facts['cores']} cores"]
    lines += [gpu_line(gpu) for gpu in found.accelerators] or ["gpu: none that torch can use"]
    lines += (
        [f"gpu driver: {facts['driver_version']}, cuda {facts['cuda']}, cudnn {facts['cudnn']}"]
        if facts["gpus"]
        else []
    )
    lines += [f"! {problem}" for problem in found.problems()]
    lines += [
        f"{name}: {version or 'not installed'}" for name, version in facts["packages"].items()
    ]
    lines += [
        f"plugin {r['plugin']} ({r['distribution']}): {r['status']} {r['reason']}".rstrip()
        for r in rows
    ]
    lines += [f"environment id: {facts['env_id']}", f"results go to: {Path('results').resolve()}"]
    devices = [asdict(gpu) for gpu in found.accelerators]
    about = {"devices": devices, "problems": found.problems(), "plugins": rows, "folder": where}
    return {**facts, **about, "text": "\n".join(lines)}


def gpu_line(gpu: DeviceFacts) -> str:
    """Return an accelerator, in a line."""
    words = [
        gpu.name,
        f"compute capability {gpu.capability}" if gpu.capability else "",
        "/".join(gpu.precisions),
    ]
    return f"{gpu.device}: {', '.join(filter(None, words))}"


# ---- commands


class Listed(StrEnum):
    """What `list` knows."""

    variants = "variants"
    parts = "parts"
    architectures = "architectures"
    datasets = "datasets"
    probes = "probes"
    runtimes = "runtimes"
    executors = "executors"
    presets = "presets"
    suites = "suites"
    recipes = "recipes"
    readers = "readers"


TOLD: Final[Mapping[Listed, str]] = {
    Listed.variants: "whole networks by name, for --variants",
    Listed.parts: "what fills each slot, and axes with their values, for --vary",
    Listed.architectures: "networks that are not made of slots",
    Listed.datasets: "data that come along, for --data",
    Listed.probes: "what can be measured, for --probes",
    Listed.runtimes: "what can run a network, for --runtime",
    Listed.executors: "where cells can run, for --executor",
    Listed.presets: "how much is measured, for --preset",
    Listed.suites: "what to measure, ready made, for --suite",
    Listed.recipes: "how networks are trained, for --recipe",
    Listed.readers: "formats of data, for --data KIND:PATH",
}


def kinds(block: Sequence[str]) -> list[dict[str, Any]]:
    """Return a record for each kind of things that `list` knows."""
    command = "unet-bench list"
    return [
        {"command": f"{command} {kind}", "number": len(listing(kind.value, block)), "what": told}
        for kind, told in TOLD.items()
    ]


def matching(
    kind: Listed, rows: list[dict[str, Any]], patterns: Sequence[str], block: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows that names and globs choose. Raises UnknownName for one that chooses none."""
    if kind is Listed.variants:
        from unet_bench.models.select import select

        chosen = {variant.name for variant in select(load(block).registry, patterns)}
        return [row for row in rows if row["name"] in chosen]
    found = []
    for pattern in patterns:
        some = [row for row in rows if fnmatch.fnmatchcase(row["name"], pattern)]
        if not some:
            names = [row["name"] for row in rows]
            raise unknown(kind.removesuffix("s"), pattern, names, f"unet-bench list {kind}")
        found += [row for row in some if row not in found]
    return found


@with_options(chosen=BLOCK)
def list_(
    chosen: Chosen,
    what: Annotated[
        Listed | None, typer.Argument(help="What to list; what there is, if left out.")
    ] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(help="Only these: names, globs such as 'unet-*'; of variants tag:up, too."),
    ] = None,
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
    as_json: AsJson = False,
) -> None:
    """List what there is, with who provides it.

    Imports neither torch nor timm, except for a network's page.
    """
    if detail is not None:
        if what not in (Listed.architectures, Listed.variants):
            raise typer.BadParameter("it is for architectures and variants", param_hint="--detail")
        page = network_page(detail, size, chosen.get("block", ()))
        if svg is not None:
            try:
                svg.write_text(page["svg"], encoding="utf-8")
            except OSError as error:
                raise typer.BadParameter(
                    f"{svg} cannot be written ({error})", param_hint="--svg"
                ) from error
        print_report(page, as_json)
        return
    if size or svg:
        raise typer.BadParameter("name a network by --detail", param_hint="--size, --svg")
    block = chosen.get("block", ())
    rows = kinds(block) if what is None else listing(what.value, block)
    if what and patterns:
        rows = matching(what, rows, patterns, block)
    print_listing(rows, as_json)


@with_options(chosen=BLOCK)
def plugins_(chosen: Chosen, as_json: AsJson = False) -> None:
    """List the installed plugins: ok, blocked or failed, and why."""
    rows = plugin_rows(chosen.get("block", ()))
    print_listing(rows, as_json)


@with_options(chosen=BLOCK)
def geometry(
    chosen: Chosen,
    variant: Annotated[str, typer.Argument(help="A variant's name, such as unet-paper.")],
    size: Annotated[str, typer.Option("--size", help="Input pixels, HEIGHTxWIDTH.")] = "572x572",
    as_json: AsJson = False,
) -> None:
    """Show what a network does to an input size: output, offset, crops per skip, legal sizes."""
    report = geometry_report(variant, size, chosen.get("block", ()))
    print_report(report, as_json)


@with_options(chosen=BLOCK)
def doctor(chosen: Chosen, as_json: AsJson = False) -> None:
    """Show versions, devices, plugins, and where things are."""
    report = doctor_report(chosen.get("block", ()))
    print_report(report, as_json)


def new_plugin(
    name: Annotated[str, typer.Argument(help="The plugin's name, such as sharp-up.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where its folder is made.")] = Path("."),
) -> None:
    """Write a plugin package with an up-sampling part and a test, which passes as it is."""
    from unet_bench.registry.scaffold import write_plugin

    folder = write_plugin(name, out)
    installed, tested = shlex.quote(f"{folder}[test]"), shlex.quote(str(folder))
    echo(f"written: {folder}\nnext: pip install -e {installed} && pytest {tested}")
