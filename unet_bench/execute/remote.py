"""Jobs on hosts that share no files with the driver: what a job reads and writes travels as data.

On the remote host `run_remote` runs a job in a temporary folder and returns its row and its files;
on the driver's host `receive` puts both into the run's folder.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Final

from unet_bench.errors import StoreError
from unet_bench.execute.jobs import Ended, Executor, Job, Result, Started, now
from unet_bench.host.files import atomic_write
from unet_bench.host.locks import own_folder
from unet_bench.host.survey import VISIBILITY
from unet_bench.store.log import resume_command
from unet_bench.store.run_folder import ENVIRONMENTS, LOGS, SAMPLES, WEIGHTS, RunFolder

# Folders of a run that a job writes in. A checkpoint stays: no other host would find it.
SENT_BACK: Final = (LOGS, SAMPLES, WEIGHTS, ENVIRONMENTS)
Files = Mapping[str, bytes]  # by their path in the run's folder


def run_remote(
    job: Job,
    executor: AbstractContextManager[Executor],
    read_data: Callable[[], bytes] | None = None,
) -> tuple[Result, Files]:
    """Run a job on this host by `executor`; return its row and the files it wrote.

    `executor` is such as `Local()`. `read_data` returns the content of `job.data`, which lies on
    the driver's host. Whatever is wrong with this host's disk is an `error`: no reason to stop on
    all others.
    """
    with own_folder() as path:
        folder = RunFolder(path)
        for name in SENT_BACK:
            (path / name).mkdir()
        folder.inbox.mkdir()
        # A fork server keeps the environment it began with; this process may be shown other GPUs.
        shown = {name: os.environ[name] for name in VISIBILITY if name in os.environ}
        here = job.at(folder=str(path), data=None, remote=True, environ={**job.environ, **shown})
        result: Result = {"host": socket.gethostname(), "started": now()}
        try:
            if read_data:
                here = here.at(data=str(path / "data.npz"))
                (path / "data.npz").write_bytes(read_data())
            with executor as local:
                for event in local.run([here]):
                    if isinstance(event, Started):
                        result["started"] = now()
                    elif isinstance(event, Ended):
                        result |= event.result
        except (OSError, StoreError) as error:
            words = f"{path} of {socket.gethostname()} cannot be used: {error}"
            result |= {"status": "error", "error": words}
        return result, read_files(path)


def read_files(folder: Path) -> Files:
    """Return the files that are to go back to the driver, without empty ones."""
    found = {}
    for name in SENT_BACK:
        for file in (folder / name).rglob("*"):
            if file.is_file() and (content := file.read_bytes()):
                found[file.relative_to(folder).as_posix()] = content
    return found


def receive(job: Job, result: Result, files: Files) -> Result:
    """Put what a remote host sent into the run's folder, so that a killed run finds it again.

    Returns the row: an `error` for files that belong into no run. Raises StoreError.
    """
    try:
        write_files(Path(job.folder), files)
    except ValueError as error:
        result = {"status": "error", "error": f"ValueError: {error}"}
    except OSError as error:
        raise StoreError(f"cannot write what a node sent into {job.folder}: {error}") from error
    try:
        job.write_result(result)
    except OSError as error:
        raise StoreError(
            f"cannot write a row into {job.folder}: {error}; `{resume_command(Path(job.folder))}`"
        ) from error
    return result


def write_files(folder: Path, files: Files) -> None:
    """Write files below the folder, each whole or not at all.

    Raises OSError, and ValueError for a path that leads out of the folders of a run.
    """
    for name, content in files.items():
        path = PurePosixPath(name)
        below = path.parts[:1] in [(part,) for part in SENT_BACK] and ".." not in path.parts
        if not below or "\\" in name or ":" in name:
            raise ValueError(f"a node sent a file that is none of a run's: {name!r}")
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as draft:
            draft.write_bytes(content)
