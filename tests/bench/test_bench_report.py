"""What the report of a hundred networks costs: to write, to send, to open. Times are told, sizes
are asserted.
"""

from __future__ import annotations

import shutil
import time
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from support.reported import cells, stored, with_samples

from unet_bench.present.report import write_report

LEVELS = {
    "up": ["transpose", "bilinear", "nearest-conv", "bilinear-conv", "nearest"],
    "norm": ["batch", "group", "instance", "none", "layer"],
    "merge": ["concat", "add"],
    "skip": ["identity", "none"],
}
MOST_MB = 8


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a hundred networks with three seeds, its curves, shapes and examples."""
    grid = [
        dict(zip(LEVELS, values, strict=True)) for values in islice(product(*LEVELS.values()), 100)
    ]
    names = {
        "unet" if not n else "unet+" + "+".join(map("=".join, made.items())): made
        for n, made in enumerate(grid)
    }
    made = {name: {**choices, "decoder_norm": choices["norm"]} for name, choices in names.items()}
    return with_samples(stored(tmp_path_factory.mktemp("hundred"), cells(made, seeds=(0, 1, 2))))


def test_a_report_of_a_hundred_networks_is_small_enough_to_send(
    hundred: Path, benchmark: Any
) -> None:
    page = hundred.parent / "report.html"
    benchmark.pedantic(write_report, args=([hundred], page), rounds=3)
    benchmark.extra_info["MB"] = round(page.stat().st_size / 1e6, 1)
    print(f"\nreport: {benchmark.extra_info['MB']} MB")
    assert page.stat().st_size < MOST_MB * 1e6


def test_its_page_is_soon_of_use(hundred: Path, benchmark: Any) -> None:
    """From opening it until its table sorts, and until the last plot is drawn."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = write_report([hundred], hundred.parent / "report.html")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])

        def opened() -> None:
            tab = launched.new_page()
            start = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="domcontentloaded")
            tab.click("#results th[data-name=dice] button")
            benchmark.extra_info["table s"] = round(time.perf_counter() - start, 2)
            tab.wait_for_selector("html[data-ready]", state="attached")
            benchmark.extra_info["plots s"] = round(time.perf_counter() - start, 2)
            tab.close()

        benchmark.pedantic(opened, rounds=3)
        launched.close()
    print(f"\nreport: {benchmark.extra_info}")
