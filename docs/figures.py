"""The pictures of the docs, from a run's folder, by the same roads as `unet-bench report`.

python docs/figures.py results/reference/first-cpu
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from unet_bench.present.draw_matplotlib import save
from unet_bench.present.groups import groups_of
from unet_bench.present.report.figures import accuracy
from unet_bench.store.runs import read_runs
from unet_bench.store.schema import BY_NAME

DOCS = Path(__file__).parent
SIZE = ViewportSize(width=1120, height=860)


def main(run: Path) -> None:
    """Draw Dice against latency as SVG, and the first screen of the run's report.html as PNG."""
    [group] = groups_of(read_runs([run]).results)
    save(accuracy(group, BY_NAME["latency_ratio"]), DOCS / "first-cpu.svg")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.5, color_scheme="light")
        page.goto((run / "report.html").resolve().as_uri())
        page.wait_for_timeout(3000)
        page.screenshot(path=DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
