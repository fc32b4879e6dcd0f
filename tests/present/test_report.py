"""The report as a web page: what it says, and what it withstands."""

from __future__ import annotations

import base64
import gzip
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reported import HOSTILE, NETWORKS, SCRIPT, cells, stored, with_samples
from typer.testing import CliRunner

from unet_bench.cli.app import app
from unet_bench.errors import StoreError, UnknownName
from unet_bench.present import draw_plotly
from unet_bench.present.draw_plotly import plain
from unet_bench.present.groups import anchor, groups_of, seen
from unet_bench.present.plots import front, pareto
from unet_bench.present.report import write_report
from unet_bench.present.report.table import table
from unet_bench.store.runs import read_runs


class Page(HTMLParser):
    """A page taken apart: its text, its tags, the JSON of its plots."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source, self.words, self.tags = source, "", []  # type: str, str, list[tuple[str, dict[str, str | None]]]
        self._within: list[str] = []
        self.data: dict[str, Any] = {}
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._within.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.words += data
        elif self._within[-1].startswith("data-"):
            self.data[self._within[-1]] = json.loads(gzip.decompress(base64.b64decode(data)))


def page_of(*paths: Path, out: Path) -> Page:
    return Page(write_report(paths, out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_samples(stored(tmp_path_factory.mktemp("usual"), cells()))


@pytest.fixture(scope="module")
def report(usual: Path) -> Page:
    return page_of(usual, out=usual.parent / "report.html")


# ---- what it says


def test_the_answer_comes_first_with_what_was_run_and_where(report: Page) -> None:
    main = report.words[report.words.index("Skip to the answer") :]
    assert "Best: unet-residual on cells" in main
    for words in (
        "4 networks on cells, 32×32 scored",
        "preset quick",
        "A CPU",
        "2030-01-02 03:04:05 UTC",
        "c0ffee",
    ):
        assert main.index(words) < main.index("Results")
    assert "All 4 measured rows are clean" in main
    assert "`" not in main.split("Results")[0]


def test_every_section_is_there_and_all_plots_have_their_views(report: Page) -> None:
    ids = [attrs["id"] for tag, attrs in report.tags if tag == "section" and "id" in attrs]
    assert ids[0] == "answer"
    assert ids[-1] == "provenance"
    assert {"pareto", "effects", "ranks", "memory", "training", "examples", "variants"} < set(ids)
    assert {"data-pareto", "data-effects", "data-memory", "data-curves"} <= set(report.data)
    labels = [view["label"] for view in report.data["data-pareto"]]
    assert labels[0] == "latency relative to the baseline"
    assert "parameters" in labels


def test_ids_are_unique_and_links_lead_somewhere(report: Page) -> None:
    ids = [attrs["id"] for _, attrs in report.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {str(attrs["href"]) for tag, attrs in report.tags if tag == "a"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith("#") for link in links)


def test_nothing_is_fetched_from_anywhere(report: Page) -> None:
    for tag, attrs in report.tags:
        assert tag not in ("link", "iframe", "object", "embed")
        assert not (attrs.get("src") or "data:").startswith(("http", "//", "file"))
    policy = next(attrs["content"] for tag, attrs in report.tags if attrs.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")


def test_the_table_shows_figures_with_intervals_and_keeps_them_in_full(report: Page) -> None:
    cell = next(attrs for tag, attrs in report.tags if tag == "td" and attrs.get("data-v") == "1.3")
    assert (cell["data-l"], cell["data-h"]) == ("1.274", "1.326")
    assert "1.30 ±0.03" in report.words


def test_many_rows_leave_out_what_is_not_usually_shown(
    usual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = read_runs([usual]).results
    assert any(field.column.name == "live_memory_mib" for field in table(groups_of(frame)).fields)
    monkeypatch.setattr("unet_bench.present.report.table.MOST_CELLS", 30)
    few = table(groups_of(frame))
    assert few.left_out > 0
    assert all(field.is_shown for field in few.fields)


def test_examples_have_a_picture_of_each_kind_and_say_what_they_show(report: Page) -> None:
    alts = [str(attrs["alt"]) for tag, attrs in report.tags if tag == "img"]
    assert len(alts) == 3 * (2 + 2 * 2)  # the best, and the baseline, which is the worst
    assert any(
        re.fullmatch(r"errors of unet on test image 1: \d+\.\d % of pixels right", alt)
        for alt in alts
    )
    assert "not scored" in report.words
    assert all(str(a["src"]).startswith("data:image/") for t, a in report.tags if t == "img")


def test_pixels_that_are_not_scored_are_no_errors(tmp_path: Path) -> None:
    run = with_samples(stored(tmp_path, cells({"unet": {}})))
    truth = np.load(run / "samples" / "examples-x.npz")
    right = {f"predicted{i}": truth[f"truth{i}"] % 255 for i in range(3)}
    np.savez_compressed(
        run / "samples" / "accuracy-accuracy-of-0-0.npz", allow_pickle=False, **right
    )
    alts = [
        str(attrs["alt"])
        for tag, attrs in page_of(run, out=tmp_path / "r.html").tags
        if tag == "img"
    ]
    assert "errors of unet on test image 2: 100.0 % of pixels right" in alts


def test_a_variant_has_its_differences_its_shape_and_its_figures(report: Page) -> None:
    section = report.source[report.source.index(f'id="{anchor("unet-bilinear")}"') :]
    assert re.search(r"up</th><td><bdi>bilinear</bdi></td><td><bdi>transpose", section)
    assert "decoder &lt;0&gt;" in section
    assert f'id="tip-{anchor("unet-bilinear")}"' in section


def test_a_reader_can_repeat_the_run(report: Page) -> None:
    assert "unet-bench run -v 'unet,a name'" in report.words
    assert "abc" in report.words


def test_all_but_those_beaten_at_lower_cost_are_on_the_front() -> None:
    rows = [
        {"n": n, "params": p, "dice": d}
        for n, p, d in (("a", 1, 0.5), ("b", 2, 0.4), ("c", 2, 0.7), ("d", 3, 0.7))
    ]
    assert [row["n"] for row in front(rows, "params")] == ["a", "c"]


def test_effects_are_drawn_in_per_cent_below_what_they_are_against(report: Page) -> None:
    views = {view["label"]: view for view in report.data["data-effects"]}
    latency = views["latency"]
    assert [text for text in latency["layout"]["yaxis"]["ticktext"] if "<b>" not in text] == [
        "residual",
        "bilinear",
        "add",
    ]
    assert sorted(round(x) for trace in latency["data"] for x in trace["x"] if x is not None) == [
        10,
        20,
        30,
    ]
    assert max(x for trace in views["Dice"]["data"] for x in trace["x"] if x is not None) < 0.1
    names = [series["name"] for series in latency["data"]]
    assert names == ["better", "worse", "not separable"]
    assert all(trace["x"] for trace in latency["data"])
    assert "against transpose" in [note["text"] for note in latency["layout"]["annotations"]]


def test_several_data_sets_are_ranked_with_the_critical_difference(tmp_path: Path) -> None:
    tasks = [
        row | {"cell_id": f"{t}-{row['cell_id']}"}
        for t in "abcdef"
        for row in cells(task=t, dataset_hash=t)
    ]
    page = page_of(stored(tmp_path, tasks), out=tmp_path / "r.html")
    [view] = page.data["data-ranks"]
    assert view["data"][0]["x"] == [1, 2, 3, 4]
    assert view["data"][1]["name"].startswith("critical difference")
    assert page.words.count("Best: unet-residual on all 6 tasks") == 2


def test_runs_stay_apart(tmp_path: Path) -> None:
    one = stored(tmp_path / "a", cells(), "first")
    two = stored(tmp_path / "b", cells(env_id="e2", device_name="B CPU"), "second")
    page = page_of(one, two, out=tmp_path / "r.html")
    assert "2 environments" in page.words
    assert {view["group"] for view in page.data["data-pareto"]} == {
        "cells · first",
        "cells · second",
    }
    points = page.data["data-pareto"][0]["data"]
    assert sum(len(trace["x"]) for trace in points if trace["mode"] == "markers") == len(NETWORKS)


def test_a_halved_batch_is_another_setting(tmp_path: Path) -> None:
    rows = [
        row | ({"batch_effective": 2} if row["variant"] == "unet-add" else {}) for row in cells()
    ]
    groups = groups_of(read_runs([stored(tmp_path, rows)]).results)
    assert sorted(len(group.rows) for group in groups) == [1, 3]
    assert any("run at batch 2" in group.title for group in groups)


def test_pareto_views_hold_intervals_as_distances(usual: Path) -> None:
    shown = draw_plotly.view(pareto(groups_of(read_runs([usual]).results))[0])
    best = next(
        trace for trace in shown.data if trace.get("name") == "on the front of these two axes"
    )
    x, up = best["x"][-1], best["error_x"]["array"][-1]
    assert math.isclose(up, 0.02 * x)
    assert "encoder_block: residual" in best["text"][-1]


def test_no_network_is_called_best_that_does_not_beat_a_trivial_baseline(tmp_path: Path) -> None:
    floors = {"floor-majority": 0.0, "floor-otsu": 0.95}
    rows = [*cells(), *cells({name: {} for name in floors})]
    for i, row in enumerate(rows):
        row["cell_id"] = f"{row['cell_id']}-{i}"
        if row["variant"] in floors and row["probe"] == "accuracy":
            row |= {"dice": floors[row["variant"]], "dice_ci_low": None, "dice_ci_high": None}
    rows = [row for row in rows if row["variant"] not in floors or row["probe"] == "accuracy"]
    run = with_samples(stored(tmp_path, rows))
    page = page_of(run, out=tmp_path / "r.html")
    assert "No network beats floor-otsu (0.950) on cells" in page.words
    assert "Best: " not in page.words
    for view in (page.data["data-pareto"][0], page.data["data-curves"][0]):
        drawn = [shape["y0"] for shape in view["layout"]["shapes"]]
        assert 0.95 in drawn
        assert drawn == view["layout"]["yaxis"]["autorangeoptions"]["include"]
    assert page.data["data-pareto"][0]["layout"]["yaxis"]["autorangeoptions"]["include"] == [0.95]


def test_the_baseline_is_not_set_against_itself(tmp_path: Path) -> None:
    page = page_of(stored(tmp_path, cells({"unet": {}})), out=tmp_path / "r.html")
    assert "Best: unet on cells" in page.words
    assert "× latency of unet" not in page.words


def test_counts_are_drawn_in_millions_and_the_memory_error_is_said(report: Page) -> None:
    views = {view["label"]: view for view in report.data["data-pareto"]}
    assert views["parameters"]["layout"]["xaxis"]["title"]["text"] == "parameters, M"
    assert all(0.9 < x < 1.1 for trace in views["parameters"]["data"] for x in trace["x"])
    assert "4 of 4 networks are on the front of these two axes" in views["parameters"]["note"]
    assert (
        "the median error is 2.3 %, the worst 2.5 % (unet)" in report.data["data-memory"][0]["note"]
    )
    assert "the worst 2.5 % (unet)" in report.words


def test_fronts_say_in_what_they_are(tmp_path: Path) -> None:
    rows = [row for row in cells() if row["probe"] != "memory"]
    assert (
        "The front of Dice and latency together"
        in page_of(stored(tmp_path, rows), out=tmp_path / "r.html").words
    )


# ---- what it withstands


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = {name: {"act": "silu"} for name in ("unet", *HOSTILE)}
    run = with_samples(stored(tmp_path, cells(names, task=SCRIPT)))
    page = page_of(run, out=tmp_path / "r.html")
    assert SCRIPT not in page.source
    assert not [attrs for tag, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert all(str(a.get("src", "data:")).startswith("data:") for t, a in page.tags if t == "img")
    for name in HOSTILE:
        assert seen(name) in page.words
    assert "\u202e" not in page.words
    assert "javascript:" not in "".join(str(a.get("href")) for t, a in page.tags if t == "a")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_plots_carry_no_markup_and_no_turned_text(name: str) -> None:
    shown = plain(name)
    assert "<" not in shown
    assert "\u202e" not in shown
    assert len(shown) < 160


def test_equal_looking_names_have_sections_of_their_own() -> None:
    names = (*HOSTILE, "a b", "a-b", "A-B", "", "é", "ü")
    assert len({anchor(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"v-[a-z0-9-]+", anchor(name)) for name in names)


def test_a_run_that_only_failed_says_so(tmp_path: Path) -> None:
    failed = {"status": "oom", "error": "CUDA out of memory <b>", "log": "logs/x.txt"}
    rows = [
        {k: v for k, v in row.items() if k != "batch_effective"} | failed
        for row in cells(seeds=(0,))
    ]
    page = page_of(stored(tmp_path, rows), out=tmp_path / "r.html")
    assert "16 of 16 measurements oom" in page.words
    assert "There is nothing to set against Dice here" in page.words
    assert "CUDA out of memory <b> (log: logs/x.txt)" in page.words
    assert not any(attrs.get("id") == "plotly" for _, attrs in page.tags)


@pytest.mark.parametrize("probes", [{"cost"}, {"speed"}, {"accuracy"}, {"cost", "memory"}])
def test_whatever_was_measured_makes_a_page(probes: set[str], tmp_path: Path) -> None:
    rows = [row for row in cells(seeds=(0,)) if row["probe"] in probes]
    assert "Variants" in page_of(stored(tmp_path, rows), out=tmp_path / "r.html").words


def test_one_variant_a_missing_baseline_and_an_empty_run_make_pages(tmp_path: Path) -> None:
    alone = stored(tmp_path / "a", cells({"unet-add": {"merge": "add"}}))
    assert "Best: unet-add" in page_of(alone, out=tmp_path / "a.html").words
    assert (
        "nothing was measured" in page_of(stored(tmp_path / "b", []), out=tmp_path / "b.html").words
    )


def test_figures_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    rows = [
        row | dict.fromkeys(("latency_ms", "dice", "predicted_memory_mib"), math.nan)
        for row in cells()
    ]
    page = page_of(stored(tmp_path, rows), out=tmp_path / "r.html")
    assert "NaN" not in json.dumps(page.data)
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)


def test_ok_without_a_figure_is_no_success(tmp_path: Path) -> None:
    timed = ("latency_ms", "latency_ratio", "throughput_img_s")
    rows = [
        row | (dict.fromkeys(timed, math.nan) if row["probe"] == "speed" else {}) for row in cells()
    ]
    words = page_of(stored(tmp_path, rows), out=tmp_path / "r.html").words
    assert "4 of 20 measurements ok, but without a figure: unet speed" in words
    assert "Nothing failed" not in words


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    rows = [{**row, "quality": None} for row in cells({"unet-add": {}})]
    words = page_of(stored(tmp_path, rows), out=tmp_path / "r.html").words
    assert "Ratios are to unet, which is not in this run" in words
    assert "no row states its quality" in words
    assert "are clean" not in words
    assert "the run's folder keeps none in samples" in words


def test_nothing_is_empty_where_no_setting_or_task_is_stated(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text(
        "variant,baseline,dice,params\na,a,0.5,1000000\nb,a,0.7,2000000\n"
    )
    page = page_of(tmp_path / "bare.csv", out=tmp_path / "r.html")
    assert "Best: b\n" in page.words
    assert "no setting is stated" in page.words


@pytest.mark.parametrize("name", ["a\u200bb", "\u200b", "\u2800", "a\u202eb"])
def test_what_has_no_shape_is_shown_by_its_code(name: str) -> None:
    assert seen(name).isascii()
    assert f"\\u{ord(max(name)):04x}" in plain(name)


def test_a_table_on_its_own_is_a_run_of_unknown_origin(usual: Path, tmp_path: Path) -> None:
    page = page_of(Path(shutil.copy(usual / "results.csv", tmp_path)), out=tmp_path / "r.html")
    assert "A table on its own" in page.words
    assert "No curves: they are in the folder" in page.words
    assert "unet-bench selftest" not in page.words
    assert "--resume" not in page.words


def test_bad_quality_is_counted_and_explained(tmp_path: Path) -> None:
    bad = {"quality": "contaminated", "evidence": "others used 50 %", "latency_ms": None}
    rows = [
        row | (bad if row["probe"] == "speed" and row["variant"] != "unet" else {})
        for row in cells()
    ]
    words = page_of(stored(tmp_path, rows), out=tmp_path / "r.html").words
    assert "3 of 4 rows contaminated: other work ran on the machine" in words
    assert "contaminated: speed: others used 50 %" in words


@pytest.mark.slow
def test_a_self_audit_is_told_and_a_damaged_one_too(tmp_path: Path) -> None:
    run = stored(tmp_path, cells())
    audit = {"pairs": 59, "repeatable_within_percent": 2.0, "false_alarms": {"hits": 3, "of": 59}}
    (run / "selftest.json").write_text(json.dumps(audit))
    assert "✓ good:Self-audit: identical code" in page_of(run, out=tmp_path / "r.html").words
    assert "repeatable within 2 %; 3 of 59 pairs" in page_of(run, out=tmp_path / "r.html").words
    (run / "selftest.json").write_text(json.dumps({**audit, "false_alarms": {"hits": 9, "of": 59}}))
    assert "! problem:Self-audit: identical code" in page_of(run, out=tmp_path / "r.html").words
    (run / "selftest.json").write_text("{")
    assert "selftest.json of run-1 cannot be read" in page_of(run, out=tmp_path / "r.html").words


def test_damaged_pictures_and_shapes_are_told(tmp_path: Path) -> None:
    run = with_samples(stored(tmp_path, cells()))
    (run / "samples" / "examples-x.npz").write_bytes(b"no archive")
    for file in (run / "samples").glob("cost-*.json"):
        file.write_text('{"stages": [{"name": 1}]}')
    page = page_of(run, out=tmp_path / "r.html")
    assert "cannot be read" in page.words
    assert "Its shape in cost-" in page.words
    assert "<svg" not in page.source


def test_damaged_curves_are_told(tmp_path: Path) -> None:
    run = with_samples(stored(tmp_path, cells()))
    (run / "samples" / "accuracy-accuracy-of-0-0.json").write_text("{")
    page = page_of(run, out=tmp_path / "r.html")
    assert "accuracy-accuracy-of-0-0.json holds no curve" in page.words
    assert "data-curves" not in page.data
    assert "Best: unet-residual" in page.words


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.folder,)


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    run = with_samples(stored(tmp_path, cells()))
    np.savez(
        run / "samples" / "examples-x.npz",
        image0=np.array([Trap(tmp_path / "sprung")], dtype=object),
    )
    assert "cannot be read" in page_of(run, out=tmp_path / "r.html").words
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_run_or_no_format_is_refused(tmp_path: Path, usual: Path) -> None:
    with pytest.raises(StoreError, match="no results"):
        write_report([tmp_path / "nothing"], tmp_path / "r.html")
    with pytest.raises(UnknownName, match="pdf"):
        write_report([usual], tmp_path / "r.pdf", format="pdf")
    with pytest.raises(StoreError, match="cannot write"):
        write_report([usual], tmp_path / "missing" / "r.html")


def test_the_command_writes_where_it_is_told(usual: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(usual), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 0
    assert str(tmp_path / "page.html") in done.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("format", ["html", "figures"])
def test_a_report_takes_the_place_of_no_device(format: str, tmp_path: Path) -> None:
    """Replacing a file by rename would do just that, where the user may."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="a report would take its place"):
        write_report([stored(tmp_path, cells())], tmp_path / "pipe", format=format)
    assert (tmp_path / "pipe").is_fifo()
