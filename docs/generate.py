"""Write the generated parts of the docs; with --check, say which are stale instead.

python docs/generate.py [--check]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "quick-cpu"
NOTE = "<!-- Generated: python docs/generate.py -->\n"


def commands() -> str:
    """Every command's help."""
    names = ["", "run", "plan", "list", "plugins", "show", "geometry", "doctor", "new-plugin"]
    return (
        "# Commands\n\n"
        + NOTE
        + "".join(f"\n```\n$ unet-bench {name}{' ' * bool(name)}--help\n{help_of(name)}```\n" for name in names)
    )


def help_of(name: str) -> str:
    """What `unet-bench NAME --help` prints."""
    command = [sys.executable, "-m", "unet_bench", *name.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines()) + "\n"


def parts() -> str:
    """All parts, axes and variants, with their sources."""
    from unet_bench.listing import listing

    text = "# Parts and variants\n\n" + NOTE
    text += "\n## Parts and axes\n\n| slot | name | what it is | plugin | source |\n|---|---|---|---|---|\n"
    for row in listing("parts", []):
        text += f"| {row['kind']} | `{row['name']}` | {row['summary']} | {row['plugin']} | {row['cite']} |\n"
    text += "\n## Variants\n\nWhat is not named is as in `unet`.\n\n"
    text += "| variant | choices | what it is | plugin | source |\n|---|---|---|---|---|\n"
    for row in listing("variants", []):
        choices = " ".join(f"`{choice}`" for choice in row["choices"].split())
        text += f"| `{row['name']}` | {choices} | {row['summary']} | {row['plugin']} | {row['cite']} |\n"
    return text


def columns() -> str:
    """The folder of a run and all columns."""
    from unet_bench.results.columns import markdown

    return markdown()


def readme() -> str:
    """The README with the table of the committed reference run between its marks."""
    from unet_bench.results.show import render
    from unet_bench.results.tables import read_results

    frame = read_results(ROOT / "results" / "reference" / REFERENCE)
    chosen = ["params", "macs", "latency_ratio", "peak_memory_mib", "train_peak_memory_mib", "dice", "iou"]
    table = str(render(frame, format="md", columns=["variant", *chosen]))
    before, start, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->")
    return before + start + table.strip() + "\n" + end + after


GENERATED: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands,
    "docs/parts.md": parts,
    "results/README.md": columns,
    "README.md": readme,
}


def main() -> None:
    """Write all, or check all."""
    stale = []
    for name, make in GENERATED.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text(encoding="utf-8").strip() == text.strip():
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
            print(f"written: {name}")
    if "--check" in sys.argv and stale:
        sys.exit(f"stale: {', '.join(stale)}; run python docs/generate.py")


if __name__ == "__main__":
    main()
