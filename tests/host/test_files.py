"""A file is put in its place whole, or what was there stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unet_bench.host.files import atomic_write


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_a_block_that_ends_well_replaces_the_file(
    tmp_path: Path, shared: bool, durable: bool
) -> None:
    file = tmp_path / "mask.nii.gz"
    file.write_text("old")
    with atomic_write(file, shared=shared, durable=durable) as draft:
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


def test_what_a_killed_process_left_is_overwritten_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    code = (
        "import os, sys; from pathlib import Path; from unet_bench.host.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half of it'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert not file.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(file) as draft:
        draft.write_text("whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_two_writers_of_one_file_have_drafts_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    with atomic_write(file, shared=True) as one, atomic_write(file, shared=True) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert os.listdir(tmp_path) == ["x.json"]
