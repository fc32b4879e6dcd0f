"""Write the generated parts of the docs; with --check, say which are stale instead.

python docs/generate.py [--check]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "quick-cpu"
FIRST = "first-cpu"  # what the README's first command made
MEMORY = "memory-cpu"
SELFTEST = "selftest-cpu"
BENCH = "bench-cpu"
ENGINES = "runtimes-cpu"
SUITES = {"isbi2012-5fold": "dice", "camvid": "iou_all_classes", "dsb2018": "dice"}
NOTE = "<!-- Generated: python docs/generate.py -->\n"
DEFAULTS = """
**Defaults of your own.** What you would give each time can stand in `unet-bench.toml`, or in
`[tool.unet-bench]` of `pyproject.toml`, in this folder or one above it; the nearest file counts:

```toml
device = "cuda:0"          # for every command that has --device, but those of data
[run]
seeds = [0, 1, 2]          # for run alone
```

A variable counts more than a file (`UNET_BENCH_DEVICE=cpu`), and what is given on the command line
counts most. A command says which defaults it took. With `--suite` and `--resume` none holds: a
suite and a run say all themselves. `--quiet` leaves notes and progress out.
"""


def commands() -> str:
    """Return every command with its options by panels, and the keys of a suite's TOML."""
    import typer

    from unet_bench.cli.app import app
    from unet_bench.spec.suite import Suite

    text = "# Commands\n\n" + NOTE + DEFAULTS
    for name, command in commands_of(typer.main.get_command(app)):
        text += f"\n## unet-bench {name}\n\n{' '.join(command.help.split())}\n"
        panels: dict[str, str] = {}
        for option in command.params:
            words = [f"`{word}`" for word in option.opts + option.secondary_opts if word[0] == "-"]
            called = ", ".join(words) or f"`{option.name.upper()}`"
            panel = getattr(option, "rich_help_panel", None) or "option"
            row = f"| {called} | {getattr(option, 'help', None) or ''} |\n"
            panels[panel] = panels.get(panel, "") + row
        for panel, rows in panels.items():
            text += f"\n| {panel} | what it does |\n|---|---|\n{rows}"
    text += "\n## Keys of a suite\n\nIn TOML, and the arguments of `unet_bench.run`. What has no "
    return text + "default is decided by the preset.\n\n" + keys_table(Suite)


def keys_table(of: type) -> str:
    """Return a table of a data class's options, as its keys in TOML."""
    from unet_bench.spec.option import TAKES, options

    text = "| key | takes | default | what it does |\n|---|---|---|---|\n"
    panel = ""
    for name, option in options(of).items():
        if option.panel not in ("", panel):
            panel = option.panel
            text += f"| **{panel}** | | | |\n"
        bounds = f", {option.bounds}" if option.bounds else ""
        takes = ", ".join(option.choices) or f"{TAKES[option.kind]}{bounds}"
        takes += "; or a list" if option.many else ""
        what = f"{option.help}; {option.note}." if option.note else f"{option.help}."
        written = default_of(option)
        text += f"| `{name}` | {takes} |{f' {written} ' if written else ' '}| {what} |\n"
    return text


def default_of(option: Any) -> str:
    """Return an option's default as it stands in the docs; empty where it has none."""
    if isinstance(option.default, tuple):
        return ", ".join(map(str, option.default))
    if isinstance(option.default, bool):
        return str(option.default).lower()
    return "" if option.default is None else str(option.default).removesuffix(".0")


def commands_of(group, before: str = ""):
    """Yield every command of a group and of the groups in it, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield before + name, command


def parts() -> str:
    """Return all parts, axes and variants, with their sources."""
    from unet_bench.cli.inspect import listing

    text = "# Parts and variants\n\n" + NOTE
    text += "\n## Parts and axes\n\n"
    text += "| slot | name | what it is | plugin | source |\n|---|---|---|---|---|\n"
    for row in listing("parts", []):
        text += f"| {row['kind']} | `{row['name']}` | {row['summary']} "
        text += f"| {row['plugin']} | {row['cite']} |\n"
    text += "\n## Variants\n\nWhat is not named is as in `unet`.\n\n"
    text += "| variant | choices | what it is | plugin | source |\n|---|---|---|---|---|\n"
    for row in listing("variants", []):
        choices = " ".join(f"`{choice}`" for choice in row["choices"].split())
        text += f"| `{row['name']}` | {choices} | {row['summary']} "
        text += f"| {row['plugin']} | {row['cite']} |\n"
    return text


def columns() -> str:
    """Return the description of a run's folder and of all columns."""
    from unet_bench.store.documentation import markdown

    return markdown()


def readme() -> str:
    """Return the README with a recommendation from the run of its first command, and its table."""
    from unet_bench import recommend
    from unet_bench.present.table import results_document
    from unet_bench.store.tables import read_results

    run = f"results/reference/{FIRST}"
    table = str(results_document(read_results(run)).rendered("md"))
    text = between((ROOT / "README.md").read_text(encoding="utf-8"), "table", table.strip() + "\n")
    said = str(recommend(run, max_latency_ms=75, max_memory_mib=30))
    command = "$ unet-bench recommend RUN --max-latency-ms 75 --max-memory-mib 30"
    head = f"```\n{command}\n\n{said.partition(HINTS)[0].rstrip()}\n```\n"
    return between(text, "recommendation", f"\n{head}\n")


HINTS = "\nΔ to best"  # what follows a recommendation's table: how to read it, what to measure next


def measuring() -> str:
    """Return the page on measuring, with its generated tables.

    These are the table of predicted and measured memory and the self-test's report.
    """
    from unet_bench.store.tables import read_results

    text = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    frame = read_results(ROOT / "results" / "reference" / MEMORY).sort_values("variant")
    table = (
        "| variant | predicted | live | process | predicted, training | live | process |\n|---|"
        + "---:|" * 6
        + "\n"
    )
    for _, row in frame.iterrows():
        names = [
            f"{prefix}{name}_memory_mib" for prefix in ("", "train_") for name in ("live", "rss")
        ]
        live, rss, train_live, train_rss = (row[name] for name in names)
        figures = (
            row["predicted_memory_mib"],
            live,
            rss,
            row["predicted_train_memory_mib"],
            train_live,
            train_rss,
        )
        table += (
            f"| {row['variant']} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |\n"
        )
    for prefix, of in (("", "inference"), ("train_", "training")):
        process = frame[f"{prefix}rss_memory_mib"].astype(float)
        predicted = frame[f"predicted_{prefix}memory_mib"].astype(float)
        more, part = process - predicted, predicted / process
        table += (
            f"\nFor {of} the process took {more.median():.0f} MiB more than predicted "
            f"(median; {more.min():.0f} to {more.max():.0f}): the prediction was "
            f"{part.median():.0%} of it ({part.min():.0%} to {part.max():.0%}).\n"
        )
    row = frame.iloc[0]
    table += (
        f"\nMiB; {row['task']} scored {row['scored_height']}×{row['scored_width']}, "
        f"batch {row['batch_requested']}, width × {row['width_scale']:g}, {row['precision']}, "
        f"{row['device_name']}, torch {row['torch']}.\n"
    )
    report = (
        (ROOT / "results" / "reference" / SELFTEST / "selftest.txt")
        .read_text(encoding="utf-8")
        .rstrip()
    )
    text = between(text, "memory", f"\n{table}\n")
    text = between(text, "peers", f"\n{peers()}\n")
    return between(text, "selftest", f"\n```\n{report}\n```\n\n")


def gpu() -> str:
    """Return the page on certifying, with what was certified so far."""
    from unet_bench.analysis.certificate import from_json

    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "results" / "reference").glob("*-gpu/certificate.json"))
    if not files:
        return between(page, "certificates", "\nNone yet.\n\n")
    table = "| when | verdict | versions | evidence |\n|---|---|---|---|\n"
    for file in files:
        found = from_json(json.loads(file.read_text(encoding="utf-8")))
        versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
        evidence = f"[{file.parent.name}](../results/reference/{file.parent.name}/certificate.md)"
        table += f"| {found.made[:10]} | {found.sentence()} | {versions} | {evidence} |\n"
    return between(page, "certificates", f"\n{table}\n")


def notebooks() -> str:
    """Return the page on notebooks, with the output of its cells."""
    import pandas as pd

    import unet_bench

    known = {
        name: getattr(unet_bench, name)
        for name in ("effects", "rank", "read_results", "recommend", "show")
    }
    known["run"] = f"results/reference/{REFERENCE}"
    shown = "\n"
    with pd.option_context("display.width", 120, "display.max_columns", 20):
        for cell in CELLS:
            output = str(eval(cell, known)).rstrip()
            shown += f"```python\n{cell}\n```\n\n```\n{output}\n```\n\n"
    return between((ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8"), "outputs", shown)


CELLS = (
    "recommend(run, max_latency_ms=40)",
    """rank(run).table.query("pareto")[
    ["variant", "dice", "latency_ratio", "peak_memory_mib", "front_probability"]
]""",
    """effects(run).table.query("slot == 'up' and figure == 'latency_ratio'")[
    ["alternative", "reference", "change", "ci_low", "ci_high", "contexts"]
]""",
    'read_results(run).nlargest(3, "dice")'
    '[["variant", "dice", "dice_ci_low", "dice_ci_high", "params"]]',
    'show(run, columns=["latency_ratio", "dice"], sort="latency_ratio")',
)


def accuracy() -> str:
    """Return the page on accuracy, with a recipe's keys and the suites' quick runs."""
    from unet_bench.spec.recipe import Recipe
    from unet_bench.store.tables import read_results

    table = "| suite, quick | variant | column | it | best without training | minutes |\n"
    table += "|---|---|---|---:|---|---:|\n"
    for suite, column in SUITES.items():
        run = ROOT / "results" / "reference" / f"{suite}-quick"
        frame = read_results(run).set_index("variant")
        minutes = float(read_results(run, "cells")["wall_s"].sum()) / 60
        trivial = frame.loc[frame["trivial"], column].sort_values()
        untrained = f"{trivial.iloc[-1]:.3f}, `{trivial.index[-1]}`"
        for name, row in frame[~frame["trivial"]].iterrows():
            table += f"| `{suite}` | {name} | `{column}` | {row[column]:.3f} "
            table += f"| {untrained} | {minutes:.1f} |\n"
    table += f"\nTwo cores of {row['device_name']}, torch {row['torch']}; "
    table += "the runs lie under `results/reference/`.\n"
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    page = between(page, "recipe", f"\n{keys_table(Recipe)}\n")
    return between(page, "suites", f"\n{table}\n")


def answers() -> str:
    """Return the page of answers, from the study's runs."""
    sys.path.insert(0, str(ROOT / "docs"))
    from answers import page, read_questions, read_study

    text = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    questions = read_questions(ROOT / "docs" / "claims.toml")
    for mark, new in page(read_study(), questions).items():
        text = between(text, mark, new)
    return text


def deploy() -> str:
    """Return the page on networks to ship, with each engine's time and Dice."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    return between(text, "engines", f"\n{engines(ROOT / 'results' / 'reference' / ENGINES)}\n")


def engines(run: Path) -> str:
    """Return the table of a run of the suite `runtimes`: what engines change of each network."""
    from statistics import geometric_mean

    import pandas as pd

    from unet_bench.analysis.runtimes import LOSS
    from unet_bench.store.schema import INTERVALS
    from unet_bench.store.tables import read_results

    if not run.is_dir():
        return "Not measured yet.\n"
    frame = read_results(run)

    def of(row: Any, name: str) -> list[float] | None:
        found = [row[name], *(row[end] for end in INTERVALS[name])]
        return None if found[0] is pd.NA else found

    rows = frame[~frame["trivial"]].set_index(["variant", "runtime", "quantize"]).sort_index()
    ways = [(e, how) for e in ("onnxruntime", "openvino") for how in ("none", "static-int8")]
    heads = [engine + ("" if how == "none" else ", int8") for engine, how in ways]
    changed = [f"Δ Dice: {head}" for head in heads[1::2]]
    table = f"| network | Dice | {' | '.join([*heads, *changed])} |\n"
    table += "|---|" + "---:|" * 7 + "\n"
    ratios: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    changes: list[float] = []
    for name in dict.fromkeys(frame.loc[~frame["trivial"], "variant"]):
        cells = [f"{rows.loc[(name, 'eager', 'none'), 'dice']:.3f}"]
        for way in ways:
            ratio = of(rows.loc[(name, *way)], "eager_ratio")
            cells.append("–" if ratio is None else "{:.2f} ({:.2f} to {:.2f})".format(*ratio))
            ratios[way] += [] if ratio is None else [ratio[0]]
        for way in ways[1::2]:
            change = of(rows.loc[(name, *way)], "dice_change")
            cells.append("–" if change is None else "{:+.4f} ({:+.4f} to {:+.4f})".format(*change))
            changes += [] if change is None else [change[0]]
        table += f"| `{name}` | {' | '.join(cells)} |\n"
    means = [f"{geometric_mean(ratios[way]):.2f}" for way in ways]
    table += f"| geometric mean | | {' | '.join(means)} | | |\n\n"
    lost = sum(change < -LOSS for change in changes)
    device, torch = frame["device_name"].iloc[0], frame["torch"].iloc[0]
    return table + (
        f"Times are shares of the same network's in eager torch, in turn, one thread, batch 4; "
        f"{lost} of {len(changes)} networks in eight bits lose more than {LOSS:g} Dice. {device}, "
        f"torch {torch}; `unet-bench run --suite runtimes`, in `results/reference/{ENGINES}`.\n"
    )


def networks() -> dict[str, str]:
    """Return a page and a picture for each network, and the list of them.

    Networks are those that are more than one change of the baseline.
    """
    from unet_bench.present.network_page import as_markdown, as_svg, detail
    from unet_bench.registry.plugins import load

    registry = load().checked()
    index = (
        "# Networks\n\n"
        + NOTE
        + "\nAs `unet-bench list architectures --detail NAME` shows them, 3 channels in "
    )
    index += (
        "and 2 classes out. [How they compare with their references](parity.md), to the digit.\n\n"
    )
    index += (
        "| network | parameters | MACs | at | what it is | source |\n|---|---:|---:|---|---|---|\n"
    )
    pages = {}
    for name, variant in registry.variants().items():
        if "one-axis" in variant.tags or "peer" in variant.tags:
            continue
        page = detail(registry, name)
        pages[f"docs/networks/{name}.md"] = NOTE + "\n" + as_markdown(page, f"{name}.svg")
        pages[f"docs/networks/{name}.svg"] = as_svg(page)
        size = "×".join(map(str, page.geometry.input))
        index += f"| [{name}](networks/{name}.md) | {page.params:,} | {page.macs:,} "
        index += f"| {size} | {page.summary} "
        index += f"| {page.cite} |\n"
    return {"docs/networks.md": index, **pages}


def parity() -> str:
    """Return our parameters and MACs beside those of reference implementations."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.golden import ours, read_golden

    from unet_bench.registry.plugins import load

    registry = load().checked()
    table = "| network | in → out | input | parameters, reference | ours − it "
    table += "| MACs, reference | ours − it | reference |\n"
    table += "|---|---|---|---:|---:|---:|---:|---|\n"
    for golden in read_golden():
        found = ours(registry, golden)
        macs, apart = (
            ("", "")
            if golden.macs is None
            else (f"{golden.macs:,}", f"{found['macs'] - golden.macs:,}")
        )
        size = "×".join(map(str, golden.size))
        table += f"| `{golden.variant}` | {golden.in_channels} → {golden.classes} "
        table += f"| {size} | {golden.params:,} "
        table += f"| {found['params'] - golden.params:,} | {macs} | {apart} | {golden.source} |\n"
    return between(
        (ROOT / "docs" / "parity.md").read_text(encoding="utf-8"), "parity", f"\n{table}\n"
    )


def peers() -> str:
    """Return the table of our networks beside other packages', at equal MACs.

    The figures are from a file of `nox -s bench`.
    """
    found = json.loads(
        (ROOT / "results" / "reference" / BENCH / "benchmark.json").read_text(encoding="utf-8")
    )
    table = "| theirs | theirs ÷ ours, time | at our best setting "
    table += "| peak MiB, theirs | ours | GMACs, theirs | ours |\n"
    table += "|---|" + "---:|" * 6 + "\n"
    for context in found["benchmarks"]:
        extra = context["extra_info"]
        if "peak_mib" not in extra:
            continue
        name = context["name"].partition("[")[2].rstrip("]")
        (ratio, low, high), best = (
            extra["theirs / ours"],
            extra["theirs / ours at our best setting"][0],
        )
        (ours, theirs), (macs, their_macs) = extra["peak_mib"], extra["macs"]
        table += f"| {name} | {ratio:.3f} ({low:.3f} to {high:.3f}) | {best:.2f} "
        table += f"| {theirs:.1f} | {ours:.1f} "
        table += f"| {their_macs / 1e9:.3f} | {macs / 1e9:.3f} |\n"
    return table


def between(text: str, mark: str, new: str) -> str:
    """Return the text with the part between two marks replaced."""
    before, start, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- end of {mark} -->")
    return before + start + new + end + after


GENERATED: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands,
    "docs/parts.md": parts,
    "docs/measuring.md": measuring,
    "docs/accuracy.md": accuracy,
    "docs/answers.md": answers,
    "docs/deploy.md": deploy,
    "docs/gpu.md": gpu,
    "docs/notebooks.md": notebooks,
    "docs/parity.md": parity,
    "results/README.md": columns,
    "README.md": readme,
}


def main() -> None:
    """Write all, or check all."""
    os.chdir(ROOT)
    stale = []
    texts = {name: make() for name, make in GENERATED.items()} | networks()
    for old in sorted((ROOT / "docs" / "networks").glob("*")):
        if old.relative_to(ROOT).as_posix() not in texts:
            stale.append(old.name)
            if "--check" not in sys.argv:
                old.unlink()
                print(f"removed: {old.name}")
    for name, text in texts.items():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8").strip() == text.strip():
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
            print(f"written: {name}")
    if "--check" in sys.argv and stale:
        sys.exit(f"stale: {', '.join(stale)}; run python docs/generate.py")


if __name__ == "__main__":
    main()
