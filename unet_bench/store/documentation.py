"""The documentation of a run's folder, made from the table of columns.

`python -m unet_bench.store.documentation > results/README.md` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from unet_bench.store.columns import COLUMNS
from unet_bench.store.schema import CONDITIONS, QUALITIES, STATUSES, TABLES

_INTRO = """\
# A run's folder

<!-- Generated: python -m unet_bench.store.documentation > results/README.md -->

`unet-bench run` leaves a folder `results/<run_id>/`:

| file | holds |
|---|---|
| `run.json` | what was asked for and where it ran; written first |
| `cells.jsonl` | the truth: one line per attempt at a cell, only ever appended to |
| `cells.csv`, `results.csv`, `classes.csv` | tables made from it; open `results.csv` first |
| `tables.json` | length and hash of the log that they were made from, and their own hashes |
| `selftest.json`, `selftest.txt` | how far its timings can be trusted, once \
`unet-bench selftest` was run |
| `samples/` | raw block times; of trainings every loss, and what validation images said on the \
way; each network's shape; some test images (`--examples`), their truth and what each network made \
of them |
| `weights/` | trained networks, of each data set the best, with `--keep-weights` all: \
safetensors, and JSON that says what they are |
| `checkpoints/` | of trainings that were killed, from which `--resume` goes on |
| `logs/` | the workers' stderr |
| `.lock` | the id of the process that last wrote to the run |

```python
from unet_bench import read_results

frame = read_results("results/<run_id>")  # pandas, each column with the type given below
```

Commands that are given the folder read the log, so that its tables cannot be older than it. A csv
that you edit is your own: name it to have it read. One that is named and not edited is as good as
its folder.

A cell that failed is a row with a status and empty figures; an empty field always means "no value",
never zero. Rows with the same conditions may be compared: {conditions}.

Several replicates are joined into the mean of the processes, with a 95 % t interval; ratios are
joined on the logarithm; of several peaks the highest counts. Several seeds are joined into their
mean; where there are several folds, into the mean of the folds' means. Their interval is Student's
t below ten of them, and from ten on an expanded percentile bootstrap. Cells that failed are left
out, and named by the status.

A probe from a plugin adds columns of its own at the end.
"""


def markdown() -> str:
    """Return the documentation of a run's folder and of every column, as markdown."""
    listed = (
        (f"`{c.name}`", c.dtype, c.unit, ", ".join(c.tables), ", ".join(c.probes), c.meaning)
        for c in COLUMNS
    )
    parts = (
        _INTRO.format(conditions=", ".join(f"`{name}`" for name in CONDITIONS)),
        _section("Tables", ("table", "holds"), _coded(TABLES)),
        _section("Statuses", ("status", "meaning"), _coded(STATUSES)),
        _section("Qualities", ("quality", "meaning"), _coded(QUALITIES)),
        _section("Columns", ("column", "type", "unit", "tables", "probes", "meaning"), listed),
    )
    return "\n".join(parts)


def _coded(meanings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((f"`{name}`", meaning) for name, meaning in meanings.items())


def _section(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (" | ".join(row) for row in (header, ("---",) * len(header), *rows))
    return f"## {title}\n\n" + "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
