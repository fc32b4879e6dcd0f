"""Which runs a command line means: folders, the last one, and what a shell's `results/*` names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from unet_bench.errors import StoreError
from unet_bench.present.stdout import tell

RESULTS: Final = Path("results")  # where runs are made, if nothing else is said
LAST: Final = "last"
TABLES: Final = (".csv", ".json")


def find_run(name: str, out: Path) -> Path:
    """Return a run's folder: as given, below `out`, or the last one there. Raises StoreError."""
    from unet_bench.store.run_folder import MANIFEST

    if name == LAST:
        runs = sorted(out.glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime)
        if not runs:
            raise StoreError(f"no run in {out}: start one with `unet-bench run`")
        return runs[-1].parent
    here = (Path(name) / MANIFEST).exists() or not (out / name).exists()
    return Path(name) if here else out / name


def meant(path: Path | None) -> Path | None:
    """Return a run's folder; `last` is the one begun last below results/."""
    is_last = path is not None and str(path) == LAST and not path.exists()
    return find_run(LAST, RESULTS) if is_last else path


def all_meant(paths: list[Path]) -> list[Path]:
    """Return runs' folders and tables; what lies beside several of them is left out, and named."""
    found = [run for path in paths if (run := meant(path))]
    others = [path for path in found if not _may_be_run(path)]
    if not others or len(others) == len(found):
        return found
    tell(f"note: no runs, left out: {', '.join(map(str, others))}")
    return [path for path in found if path not in others]


def _may_be_run(path: Path) -> bool:
    from unet_bench.store.run_folder import MANIFEST

    if path.is_dir():
        return (path / MANIFEST).exists()
    return path.suffix in TABLES or not path.exists()  # what is not there is told by who reads it


Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or last.", callback=meant)
]
Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...", help="Runs' folders, or results.csv, or last.", callback=all_meant
    ),
]
