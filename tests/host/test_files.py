"""A file is put in its place whole, or what was there stays."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unet_bench.host.files import atomic_write
from unet_bench.store.run_folder import write_text


@pytest.mark.parametrize("durable", [False, True])
def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "mask.nii.gz"
    file.write_text("old")
    with atomic_write(file, durable=durable) as draft:
        assert draft.name.endswith("mask.nii.gz")
        assert draft.name.startswith(".")
        draft.write_text("new")
        assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["mask.nii.gz"]
    assert file.read_text() == "new"


def test_a_block_that_raises_leaves_what_was_there_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("old")

    def write() -> None:
        with atomic_write(file) as draft:
            draft.write_text("ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
    assert file.read_text() == "old"


def test_where_nothing_can_be_written_the_first_error_is_told(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "x.json"
    with pytest.raises(FileNotFoundError, match=r"\.x\.json"), atomic_write(absent) as draft:
        draft.write_text("new")


def test_what_a_killed_process_left_is_hidden_and_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    code = (
        "import os, sys; from pathlib import Path; from unet_bench.host.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half of it'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert not file.exists()
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".")
    with atomic_write(file) as draft:
        draft.write_text("whole")
    assert file.read_text() == "whole"


def test_two_writers_of_one_file_have_drafts_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    with atomic_write(file) as one, atomic_write(file) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert os.listdir(tmp_path) == ["x.json"]


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    pages = [f"{n}" * 100_000 for n in range(8)]

    def write(page: str) -> None:
        for _ in range(20):
            write_text(file, page)
            assert file.read_text() in pages

    with ThreadPoolExecutor(len(pages)) as threads:
        list(threads.map(write, pages))
    assert os.listdir(tmp_path) == ["report.html"]
