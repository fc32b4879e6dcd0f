"""The log of a run: `run.json`, written first, and `cells.jsonl`, to which rows are appended.

A kill at any moment loses at most the row being written. Tables are made from the rows in
`tables.py`.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from unet_bench.errors import InvalidSuite, StoreError, command_line
from unet_bench.host.locks import Held, hold
from unet_bench.limits import MOST_TEXT
from unet_bench.spec.cell import AS_TRAINED
from unet_bench.store.manifest import require_manifest
from unet_bench.store.run_folder import (
    LOGS,
    MANIFEST,
    SAMPLES,
    RunFolder,
    in_plain_words,
    write_text,
)
from unet_bench.store.schema import SCHEMA_VERSION, fault
from unet_bench.store.trust import code_named_by

Row = dict[str, Any]


class Attempt(NamedTuple):
    """What deciding whether to go on with a cell takes of its last row."""

    status: str
    quality: str | None
    key: str | None
    number: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Attempt:
        """Return a row's attempt."""
        return cls(row["status"], row.get("quality"), row.get("key"), int(row.get("attempt") or 0))


CHUNK: Final = 1 << 16  # bytes
MOST_LINE: Final = 1 << 24  # bytes of a row: 16 MiB
FOLDERS: Final = (SAMPLES, LOGS)  # that every run has


def with_runtime(row: Row) -> Row:
    """Return a row of schema 1, where the runtime was called mode, as one of schema 2."""
    if "mode" not in row:
        return row
    return {"runtime": row["mode"], "quantize": AS_TRAINED} | {
        name: value for name, value in row.items() if name != "mode"
    }


# Turns a row of the schema version it is filed under into one of the next.
MIGRATIONS: Final[dict[int, Callable[[Row], Row]]] = {1: with_runtime}


class Store:
    """A run's folder, held by this process until `close`. Make one with `create` or `open`.

    Every method raises StoreError when the disk says no; rows appended before that are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = RunFolder(path)
        self.manifest = read_manifest(path)
        with in_plain_words("open", path):
            self._lock = _hold(self.folder.lock)
            for name in FOLDERS:  # a kill may have come before they were made
                (path / name).mkdir(exist_ok=True)
            self._cells = FileIO(self.folder.cells, "ab")
            self._cells.truncate(_whole_lines(self.folder.cells))

    @classmethod
    def create(cls, out: Path, manifest: Mapping[str, Any]) -> Self:
        """Make a new folder `out/<run_id>`, named after the manifest's `run_id`.

        Raises StoreError if it exists.
        """
        path = out / _plain_name(manifest["run_id"])
        with in_plain_words("create", path):
            out.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            try:
                whole = {"schema_version": SCHEMA_VERSION, **manifest}
                write_text(RunFolder(path).manifest, _json(whole, indent=2) + "\n")
            except BaseException:
                with suppress(OSError):
                    path.rmdir()
                raise
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of a run that is to go on.

        Raises StoreError if there is none or another process holds it.
        """
        return cls(path)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return str(self.manifest["run_id"])

    def append(self, *rows: Mapping[str, Any]) -> dict[str, Attempt]:
        """Add rows in one piece, wait until they are on disk, and count them in `attempts`.

        NaN and infinity become null.
        """
        whole = [{"schema_version": SCHEMA_VERSION, "run_id": self.run_id, **row} for row in rows]
        lines = b"".join(_json(row).encode() + b"\n" for row in whole)
        with in_plain_words(
            "append to",
            self.folder.cells,
            f"what was finished is kept: `{resume_command(self.path)}`",
        ):
            end = os.fstat(self._cells.fileno()).st_size
            try:
                _write_at_once(self._cells, lines)
            except OSError:
                self._cells.truncate(end)  # or the next row would be joined to half of this one
                raise
        return {
            row["cell_id"]: Attempt.of(row) for row in rows if "cell_id" in row and "status" in row
        }

    def attempts(self) -> dict[str, Attempt]:
        """Return the last attempt at each cell, by `cell_id`."""
        return {row["cell_id"]: Attempt.of(row) for row in iterate_rows(self.path)}

    def close(self) -> None:
        """Let another process have the folder."""
        self._cells.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the `run.json` of the run's folder `path`.

    Raises StoreError if there is none or it is newer than this code.
    """
    file = RunFolder(path).manifest
    if not file.is_file():
        raise StoreError(
            f"{path} is not the folder of a run: it has no {MANIFEST}; give one of results/*"
        )
    with in_plain_words("read", file), file.open("rb") as content:
        manifest = _parse(content.read(MOST_TEXT), str(file))
    try:
        require_manifest(manifest)
    except (ValueError, InvalidSuite) as error:
        raise StoreError(
            f"{file} is not what unet-bench writes: {error}; mend it, or start a new run"
        ) from error
    return {name: value for name, value in manifest.items() if value is not None}


def manifest_of(path: Path) -> dict[str, Any]:
    """Return the `run.json` of a run's folder, or of the folder that a run's csv lies in.

    Empty without one, and for pytest-benchmark's JSON. Raises StoreError as `read_manifest` does.
    """
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".json" or not RunFolder(folder).manifest.is_file():
        return {}
    return read_manifest(folder)


def iterate_rows(path: Path) -> Iterator[Row]:
    """Yield every row of the run's folder `path`, migrated to this schema; holds no lock.

    A last line that a kill tore off is left out. Raises StoreError for any other broken line, and
    for newer rows.
    """
    file = RunFolder(path).cells
    if not file.is_file():
        return
    with in_plain_words("read", file), file.open("rb") as log:
        lines = iter(lambda: log.readline(MOST_LINE), b"")
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            if line.endswith(b"\n"):
                yield checked(migrate(_parse(line[:-1], where)), where)
            elif len(line) == MOST_LINE:
                most = f"{MOST_LINE >> 20} MiB"
                raise StoreError(f"{where} is longer than {most}, the most of a row; delete it")


def latest(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the last attempt at each cell, by `cell_id`, without holding the others."""
    return {row["cell_id"]: row for row in rows}


def migrate(row: Row) -> Row:
    """Return the row as this version of unet-bench would have written it."""
    while row["schema_version"] < SCHEMA_VERSION:
        version = row["schema_version"]
        row = {**MIGRATIONS[version](row), "schema_version": version + 1}
    return row


def resume_command(path: Path) -> str:
    """Return what to type to go on with the run in `path`, which is this user's own."""
    trust: tuple[str, ...] = ()
    with suppress(StoreError):
        trust = ("--trust",) if code_named_by(read_manifest(path)) else ()
    return command_line("run", "--resume", path, *trust)


def _hold(path: Path) -> FileIO:
    try:
        return hold(path)
    except Held as error:
        raise StoreError(
            f"{path.parent} is in use by process {error.holder or 'that just started'}: "
            "one process writes to a run at a time; wait for it to end, or start another run"
        ) from error


def _whole_lines(path: Path) -> int:
    """Return the bytes up to the end of the last whole line, found from behind."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - CHUNK)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                return start + found + 1
            end = start
    return 0


def _write_at_once(file: FileIO, line: bytes) -> None:
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, "only a part could be written")
    os.fsync(file.fileno())


def _plain_name(run_id: str) -> str:
    if run_id != Path(run_id).name or run_id in ("", "..") or "\\" in run_id:
        raise StoreError(
            f"run_id {run_id!r} cannot name a folder: it must be a plain name, without slashes"
        )
    return run_id


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(_storable(value), indent=indent, allow_nan=False)


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    raise StoreError(
        f"{value!r} of type {type(value).__name__} cannot be stored: "
        "give numbers, text, None and lists"
    )


def _parse(text: bytes, where: str) -> Row:
    try:
        row = json.loads(text)
        version = row["schema_version"]
        newer = version > SCHEMA_VERSION
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ValueError("no version of ours")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"{where}: {text[:60]!r} is not what unet-bench writes; mend or delete it"
        ) from error
    if newer:
        raise StoreError(
            f"{where}: schema {version} is newer than {SCHEMA_VERSION}, the newest known; "
            "update unet-bench"
        )
    return row  # type: ignore[no-any-return]


def checked(row: Row, where: str) -> Row:
    """Return a row. Raises StoreError if it names no cell, or holds a value of a wrong type."""
    named = all(
        isinstance(row.get(name), str) for name in ("cell_id", "variant", "probe", "status")
    )
    if wrong := fault(row) if named else "it does not name a cell":
        raise StoreError(f"{where} is not what unet-bench writes: {wrong}; mend or delete it")
    return row
