"""Every path in a run's folder: no other module spells these names.

    run.json            what was asked for, written first
    cells.jsonl         every attempt at every cell: the truth
    cells.csv, …        tables made of it
    tables.json         which log they were made of
    inbox/STEM.json     rows of workers that are not in cells.jsonl yet
    logs/STEM.log       what workers printed
    samples/STEM.json   raw values of a probe, with STEM.npz for pictures
    checkpoints/STEM/   the state of a training that has not ended
    weights/STEM.*      trained networks
    environments/       the machines that cells ran on, where those are not the driver's
    selftest.*          the verdict of a self-test

`STEM` names a cell: `cell_stem`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unet_bench.errors import StoreError
from unet_bench.host.files import atomic_write

MANIFEST: Final = "run.json"
LOGS: Final = "logs"
SAMPLES: Final = "samples"
WEIGHTS: Final = "weights"
ENVIRONMENTS: Final = "environments"
SELFTEST: Final = "selftest.json"

_REMEDIES: Final[Mapping[int | None, str]] = {
    errno.EEXIST: "choose another name, or go on with that run",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EACCES: "make it writable, and close what has it open",
    errno.EPERM: "make it writable, and close what has it open",
    errno.EROFS: "choose a folder that can be written to",
}


def cell_stem(probe: str, cell_id: str) -> str:
    """Return the name that a cell's files share."""
    return f"{probe}-{cell_id}"


@dataclass(frozen=True)
class RunFolder:
    """The paths in the folder of a run; nothing is read or made."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What was asked for, and of which environment."""
        return self.path / MANIFEST

    @property
    def cells(self) -> Path:
        """The rows, one line an attempt."""
        return self.path / "cells.jsonl"

    @property
    def lock(self) -> Path:
        """The file that the one process which writes to the run holds."""
        return self.path / ".lock"

    @property
    def inbox(self) -> Path:
        """The folder where workers put their rows."""
        return self.path / "inbox"

    @property
    def logs(self) -> Path:
        """The folder of what workers printed."""
        return self.path / LOGS

    @property
    def samples(self) -> Path:
        """The folder of raw values."""
        return self.path / SAMPLES

    @property
    def weights(self) -> Path:
        """The folder of trained networks."""
        return self.path / WEIGHTS

    @property
    def selftest(self) -> Path:
        """The verdict of a self-test; its text is beside it."""
        return self.path / SELFTEST

    def table(self, name: str) -> Path:
        """Return the csv of a table: `cells`, `results` or `classes`."""
        return self.path / f"{name}.csv"

    @property
    def origin(self) -> Path:
        """Which log the tables were made of, and what they were then."""
        return self.path / "tables.json"

    def result_of(self, stem: str) -> Path:
        """Return where a worker puts a cell's row."""
        return self.inbox / f"{stem}.json"

    def log_of(self, stem: str) -> Path:
        """Return the log of a cell's worker."""
        return self.logs / f"{stem}.log"

    def samples_of(self, stem: str) -> Path:
        """Return the raw values of a cell; arrays have the same name and `.npz`."""
        return self.samples / f"{stem}.json"

    def checkpoint_of(self, stem: str) -> Path:
        """Return the folder with the state of a cell's training."""
        return self.path / "checkpoints" / stem

    def weights_of(self, stem: str) -> Path:
        """Return the weights of a trained network; what else it takes to use them is beside it."""
        return self.weights / f"{stem}.safetensors"

    def remove_weights(self, stem: str) -> None:
        """Remove a trained network, if it is there; a disk that refuses keeps it."""
        weights = self.weights_of(stem)
        for file in (weights.with_suffix(".json"), weights):
            with suppress(OSError):
                file.unlink(missing_ok=True)

    def environment(self, env_id: str) -> Path:
        """Return the description of a machine that cells ran on."""
        return self.path / ENVIRONMENTS / f"{env_id}.json"


def write_text(path: Path, text: str) -> None:
    """Replace the file's content as a whole; it is on disk when this returns. Raises StoreError."""
    with in_plain_words("write", path), atomic_write(path, durable=True) as draft:
        # A file name that is not UTF-8 may stand in an error's text: better escaped than no table.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


@contextmanager
def in_plain_words(action: str, path: Path, comfort: str = "") -> Iterator[None]:
    """Turn an error of the disk into one line: what could not be done, why, and the remedy."""
    try:
        yield
    except OSError as error:
        advice = "; ".join(filter(None, (_REMEDIES.get(error.errno), comfort)))
        ending = f"; {advice}" if advice else ""
        raise StoreError(f"cannot {action} {path}: {error.strerror}{ending}") from error
