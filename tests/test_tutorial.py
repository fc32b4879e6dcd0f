"""The tutorial: its commands, one after another, as a newcomer gives them, at a tiny size."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.paths import ROOT

TINY = """
[run]
variants = ["unet", "unet-shallow"]
seeds = [0, 1]
size = "32x32"
window = "32x32"
width-scale = 0.0625
steps = 3
speed-s = 0.1
eval-images = 6
"""


@pytest.mark.slow
def test_every_command_does_what_the_page_says(unet_bench, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, re.S)
        for line in block.splitlines()
    ]
    assert len(lines) > 6
    (tmp_path / "unet-bench.toml").write_text(TINY)
    best = ""
    for line in lines:
        program, *words = line.split()
        assert program == "unet-bench"
        done = unet_bench(*(best if word == "VARIANT" else word for word in words))
        # Under limits nothing may fit: that is an answer, too.
        assert done.returncode == 0 or words[0] == "recommend", f"{line}: {done.stderr}"
        if words[0] == "run":
            [run] = (tmp_path / "results").iterdir()
            kept = json.loads(next((run / "weights").glob("*.json")).read_text())
            best = kept["variant"]["name"]
    images = [file.name for file in (tmp_path / "my-images" / "test" / "images").iterdir()]
    assert sorted(file.name for file in (tmp_path / "predictions").glob("*.png")) == sorted(images)
    assert len(list((tmp_path / "predictions" / "overlay").iterdir())) == len(images)
    assert (tmp_path / "report.html").is_file()
