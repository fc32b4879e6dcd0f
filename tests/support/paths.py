"""Where the tests' files are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ROOT / "tests" / "data" / "files"  # small and free: their README names source and licence
# Whole public data sets, which few have: `docs/accuracy.md` says where they come from.
DATA_SETS = Path(os.environ.get("UNET_BENCH_TEST_DATA") or ROOT / "no-data-sets")


def needs_data_set(name: str) -> pytest.MarkDecorator:
    """Return a marker that skips a test where `DATA_SETS` has no folder of this name."""
    reason = f"needs the data set {name}: name the folder it lies in by UNET_BENCH_TEST_DATA"
    return pytest.mark.skipif(not (DATA_SETS / name).exists(), reason=reason)
