"""What `unet-bench show` prints."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from unet_bench.errors import StoreError, UnknownName
from unet_bench.present.table import results_document
from unet_bench.store.runs import read_runs
from unet_bench.store.tables import csv_text, results_frame

LONG = (
    "unet+up=pixel-shuffle+skip=attention+encoder=timm:tf_efficientnetv2_s.in21k_ft_in1k"
    "+width_scale=0.25"
)


def cells(
    variant: str, dice: float = 0.9, latency: float = 10.0, **values: Any
) -> list[dict[str, Any]]:
    """A variant that every probe measured."""
    row = {
        "schema_version": 1,
        "run_id": "20250101-quick",
        "variant": variant,
        "status": "ok",
        "seed": 0,
        "task": "brain",
        "scored_height": 128,
        "scored_width": 128,
        "device": "cpu",
        "device_name": "AMD EPYC",
        "width_scale": 0.25,
        "baseline": "unet",
        **values,
    }
    figures: dict[str, dict[str, Any]] = {
        "cost": {"params": 1_940_000, "macs": 3_400_000_000},
        "speed": {
            "latency_ms": latency,
            "latency_ci_low_ms": latency * 0.9,
            "latency_ci_high_ms": latency * 1.1,
            "latency_ratio": latency / 10,
            "latency_ratio_ci_low": latency / 10 - 0.02,
            "latency_ratio_ci_high": latency / 10 + 0.02,
            "throughput_img_s": 1000 / latency,
        },
        "memory": {"peak_memory_mib": 123.4, "train_peak_memory_mib": 2345.6},
        "accuracy": {"dice": dice, "iou": dice - 0.1},
    }
    ok = row["status"] == "ok"
    return [
        {
            **row,
            "cell_id": f"{variant} {probe} {row['task']}",
            "probe": probe,
            **(own if ok else {}),
        }
        for probe, own in figures.items()
    ]


def failing(
    variant: str, error: str = "CUDA out of memory\nTraceback", **values: Any
) -> list[dict[str, Any]]:
    return cells(variant, **{"status": "oom", "error": error, **values})


def frame_of(*variants: list[dict[str, Any]]) -> pd.DataFrame:
    return results_frame([row for rows in variants for row in rows], {"preset": "quick"})


def printed(frame: pd.DataFrame, width: int = 110, **options: Any) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
    )
    console.print(results_document(frame, **options).rendered())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plain(*args: Any, **options: Any) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", printed(*args, **options))


def bold(text: str, figure: str) -> bool:
    return re.search(rf"\x1b\[1m *{re.escape(figure)}\x1b", text) is not None


def order(text: str, *words: str) -> bool:
    places = [text.index(word) for word in words]
    return places == sorted(places)


@pytest.fixture
def frame() -> pd.DataFrame:
    return frame_of(
        cells("unet"), cells("slow-twin", latency=20.0), cells("better", dice=0.95), failing("huge")
    )


# ---- the table


def test_table_shows_the_figures_in_their_units(frame: pd.DataFrame) -> None:
    [line] = [line for line in plain(frame).splitlines() if line.startswith("unet *")]
    assert " ".join(line.split()) == "unet * 1.94 3.40 10.0 ±0.6 1.00 100 123 2346 0.900 0.800"


def test_table_is_sorted_by_dice_then_latency_and_failures_come_last(frame: pd.DataFrame) -> None:
    assert order(plain(frame), "better", "unet *", "slow-twin", "huge")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("latency_ms", ("better", "slow-twin", "huge")),
        ("dice", ("better", "slow-twin", "huge")),
        ("throughput_img_s", ("unet *", "slow-twin", "huge")),
        ("variant", ("better", "slow-twin", "unet *", "huge")),
    ],
)
def test_sort_puts_the_best_first(
    frame: pd.DataFrame, sort: str, expected: tuple[str, ...]
) -> None:
    assert order(plain(frame, sort=sort), *expected)


def test_failures_are_told_with_status_and_first_line(frame: pd.DataFrame) -> None:
    text = plain(frame)
    assert "huge: oom: CUDA out of memory\n" in re.sub(" +\n", "\n", text)
    assert "Traceback" not in text


def test_partly_failed_rows_show_what_they_have() -> None:
    partly = cells("partly")
    partly[3] = {
        **partly[3],
        "status": "nonfinite",
        "error": "loss is NaN",
        "dice": None,
        "iou": None,
    }
    text = plain(frame_of(cells("unet"), partly))
    assert "partly: accuracy nonfinite: loss is NaN" in text
    assert re.search(r"partly +1\.94 .* – +–", text)


def test_quality_is_told_when_not_clean() -> None:
    text = plain(frame_of(cells("unet", quality="clean"), cells("noisy", quality="contaminated")))
    assert "noisy: contaminated" in text
    assert "clean" not in text


def test_best_figures_are_bold(frame: pd.DataFrame) -> None:
    text = printed(frame)
    assert bold(text, "0.950")
    assert not bold(text, "0.900")
    assert not bold(text, "3.40"), "equal figures are not best"


def test_a_row_that_failed_in_part_is_not_best() -> None:
    partly = cells("partly", dice=0.95, latency=5.0)
    partly[3] = {**partly[3], "status": "nonfinite"}
    text = printed(frame_of(cells("unet"), cells("slow", latency=20.0), partly))
    assert bold(text, "10.0 ±0.6")
    assert not bold(text, "5.00 ±0.50")


def test_scores_have_three_decimals() -> None:
    assert "0.046" in plain(frame_of(cells("unet", dice=0.04567)))


def test_caption_says_what_was_run(frame: pd.DataFrame) -> None:
    text = plain(frame)
    assert (
        "run 20250101-quick · on AMD EPYC · preset quick · width_scale 0.25 · 1 of 4 rows not ok"
        in text
    )
    assert "brain · scored 128×128 · cpu" in text


def test_each_task_is_a_section() -> None:
    text = plain(frame_of(cells("unet"), cells("unet", task="camvid", device="cuda")))
    assert order(text, "brain · scored 128×128 · cpu", "unet *", "camvid · scored 128×128 · cuda")
    assert text.count("unet *") == 2


def test_columns_nobody_measured_are_left_out() -> None:
    text = plain(frame_of([row for row in cells("unet") if row["probe"] == "cost"]))
    assert "GMACs" in text
    assert "Dice" not in text


@pytest.mark.parametrize("width", [100, 120])
def test_long_names_leave_the_figures_whole(width: int) -> None:
    text = plain(
        frame_of(cells("unet"), cells(LONG, latency=23.6), failing(LONG + "+x")),
        width,
    )
    assert max(map(len, text.splitlines())) <= width
    for figure in ("1.94", "10.0 ±", "2.36 ±0.02", "2346", "0.900", "0.800"):
        assert figure in text


@pytest.mark.parametrize("name", ["a[red]b", "[bold]x[/bold]", "[/]", "x[link=y]"])
def test_names_are_not_taken_for_markup(name: str) -> None:
    assert name in plain(frame_of(cells("unet"), failing(name, error=f"bad {name}")))


def test_chosen_columns_are_shown(frame: pd.DataFrame) -> None:
    text = plain(frame, columns=["variant", "width_scale", "pareto", "params"])
    assert re.search(r"^variant +width_scale +pareto +params$", text, re.MULTILINE)
    assert re.search(r"better +0\.250 +True +1940000", text)


def test_no_rows_is_no_error() -> None:
    assert "0 of 0 rows not ok" in plain(frame_of())
    assert "0 of 0 rows not ok" in str(results_document(frame_of()).rendered("md"))
    assert results_document(frame_of()).rendered("json") == "[]\n"


def test_unknown_columns_and_formats_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(UnknownName, match="unknown column 'latency'; did you mean latency_ms"):
        results_document(frame, sort="latency").rendered()
    with pytest.raises(UnknownName, match="unknown column 'xyzzy'"):
        results_document(frame, columns=["xyzzy"]).rendered("json")
    with pytest.raises(UnknownName, match="unknown format 'markdown'"):
        results_document(frame).rendered("markdown")


# ---- differences to the baseline, and trivial baselines


def seeded(variant: str, *dice: float, **values: Any) -> list[dict[str, Any]]:
    """A variant measured with several seeds."""
    return [
        {**row, "seed": seed, "cell_id": f"{row['cell_id']} {seed}"}
        for seed, of_seed in enumerate(dice)
        for row in cells(variant, of_seed, **values)
    ]


def test_differences_to_the_baseline_come_with_interval_and_verdict() -> None:
    frame = frame_of(
        seeded("unet", 0.90, 0.91, 0.92),
        seeded("good", 0.95, 0.96, 0.972),
        seeded("bad", 0.80, 0.81, 0.822),
        seeded("near", 0.90, 0.92, 0.91),
    )
    lines = {line.split()[0]: line for line in plain(frame, 140).splitlines() if line.strip()}
    assert "+0.051 ±0.003 better" in lines["good"]
    assert "-0.099 ±0.003 worse" in lines["bad"]
    assert "0.000 ±0.025 ≈" in lines["near"]
    assert re.search(r"0\.910 ±0\.025 +– +", lines["unet"])
    text = str(results_document(frame).rendered("md"))
    assert "Δ Dice" in text
    assert "**+" not in text, "the best difference needs no other mark than its verdict"


def test_a_single_pair_adds_no_column(frame: pd.DataFrame) -> None:
    assert frame["dice_difference"].notna().any()
    assert "Δ" not in plain(frame)
    assert "0.0500" in plain(frame, columns=["dice_difference"])


def test_trivial_baselines_come_last_and_are_never_best() -> None:
    floor = [row for row in cells("floor-otsu", dice=0.97) if row["probe"] == "accuracy"]
    frame = frame_of(floor, cells("unet", dice=0.8), cells("good", dice=0.9), failing("huge"))
    text = printed(frame)
    assert bold(text, "0.900")
    assert not bold(text, "0.970")
    as_good = [{**row, "dice": 0.9} for row in floor]
    beside = frame_of(as_good, cells("unet", dice=0.8), cells("good", dice=0.9))
    assert str(results_document(beside).rendered("md")).count("**0.900**") == 1
    assert re.search(r"\x1b\[2;3mfloor-otsu", text), "dim and italic"
    assert order(plain(frame), "good", "unet *", "huge", "floor-otsu")
    assert order(plain(frame, sort="dice"), "good", "unet *", "huge", "floor-otsu")


def test_title_names_only_unusual_conditions() -> None:
    usual = {
        "recipe": "default",
        "budget": "400 steps",
        "evaluation": "tiled",
        "pretrained": "none",
    }
    unusual = {
        **usual,
        "evaluation": "whole",
        "pretrained": "imagenet",
        "task": "camvid",
        "algorithms": "deterministic",
    }
    text = plain(frame_of(cells("unet", **usual), cells("unet", **unusual)))
    assert "brain · default · 400 steps · scored 128×128 · cpu\n" in text
    assert (
        "camvid · default · 400 steps · pretrained imagenet · whole · scored 128×128 · cpu · "
        "deterministic" in text
    )


# ---- the other formats


def test_markdown_is_a_valid_table() -> None:
    text = str(
        results_document(
            frame_of(cells("unet"), cells("a|b*c"), failing("x", error="a | b\nsecond")),
        ).rendered("md")
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {13}
    assert rows[1].replace("|", "").replace("-", "").replace(":", "").strip() == ""
    assert "| unet (baseline) |" in text
    assert r"a\|b\*c" in text
    assert r"oom: a \| b |" in text


def test_markdown_marks_the_best(frame: pd.DataFrame) -> None:
    assert "**0.950**" in str(results_document(frame).rendered("md"))


def test_json_is_records_with_nulls(frame: pd.DataFrame) -> None:
    records = json.loads(str(results_document(frame).rendered("json")))
    assert [record["variant"] for record in records] == ["better", "unet", "slow-twin", "huge"]
    assert records[-1]["dice"] is None
    assert (records[0]["params"], records[0]["latency_ms"], records[0]["pareto"]) == (
        1_940_000,
        10.0,
        True,
    )
    assert set(records[0]) == set(frame)


def test_csv_is_everything_sorted(frame: pd.DataFrame) -> None:
    lines = str(results_document(frame).rendered("csv")).splitlines()
    assert lines[0] == ",".join(map(str, frame))
    assert str(results_document(frame, columns=["variant", "dice"]).rendered("csv")).split() == [
        "variant,dice",
        "better,0.95",
        "unet,0.9",
        "slow-twin,0.9",
        "huge,",
    ]


# ---- several runs


def test_several_runs_stand_apart_with_their_environments(tmp_path: Path) -> None:
    """The same variant on two machines: two sections in the order given, nothing averaged."""
    files = []
    for run, device, latency in [("b-run", "GPU one", 10.0), ("a-run", "GPU two", 90.0)]:
        files.append(tmp_path / f"{run}.csv")
        files[-1].write_text(
            csv_text(frame_of(cells("unet", latency=latency, run_id=run, device_name=device)))
        )
    text = plain(read_runs(files).results, width=200)
    assert order(text, "run b-run · on GPU one", "10.0", "run a-run · on GPU two", "90.0")
    assert "50.0" not in text
    assert "on GPU one" not in plain(read_runs(files[:1]).results, width=200).splitlines()[0]
    with pytest.raises(StoreError, match="both run b-run: give each run once"):
        read_runs([files[0], files[0]])


def test_a_table_that_names_no_run_is_called_after_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("variant,task,latency_ms\nunet,brain,1.5\n")
    assert list(read_runs([tmp_path / "mine.csv"]).results["run_id"]) == ["mine"]
    with pytest.raises(StoreError, match="no runs"):
        read_runs([])


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb", "a\x1b]0;title\x07b", "a\u202eb", "a\nb", "a\x00\u200fb"]
)
def test_names_steer_no_terminal(name: str) -> None:
    frame = frame_of(cells(name, task=name))
    for text in (plain(frame), str(results_document(frame).rendered("md"))):
        assert not set(text.replace("\n", "")) & set("\x1b\x07\x00\u202e\u200f")


def test_what_was_not_narrowed_as_the_baseline_was_is_marked() -> None:
    narrow: dict[str, Any] = {"width_scale": 0.25}
    text = plain(frame_of(cells("unet", **narrow), cells("backbone", width_scale=1.0)))
    assert order(text, "backbone †", "†: as wide as published")
    full = plain(frame_of(cells("unet", width_scale=1.0), cells("backbone", width_scale=1.0)))
    assert "†" not in full
