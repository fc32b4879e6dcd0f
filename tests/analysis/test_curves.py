"""Curves of training: read from a run, the time to a target, and pictures."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from unet_bench.analysis.curves import read_curves, time_to
from unet_bench.errors import InvalidSuite, StoreError, UnknownName
from unet_bench.present.curves import curves_document, plot, sparkline, times_document
from unet_bench.store.log import Store
from unet_bench.store.tables import write_tables

LOOKS = [
    {"step": 2, "seconds": 1.0, "val_dice": 0.5, "val_loss": 0.9},
    {"step": 4, "seconds": 2.0, "val_dice": 0.8, "val_loss": 0.7},
]
CURVE = {
    "unit": "loss per step",
    "losses": [4.0, 2.0, 1.0, 3.0, 0.5],
    "looks": LOOKS,
    "seconds": 2.5,
}


def trained(*dice: float | None, pace: float = 1.0) -> dict[str, Any]:
    """A curve with a look at each second times `pace`, ten steps apart."""
    looks = [
        {"step": 10 * n, "seconds": n * pace, "val_dice": of_look, "val_loss": None}
        for n, of_look in enumerate(dice, start=1)
    ]
    return {"losses": [1.0] * 10 * len(dice), "looks": looks, "seconds": pace * len(dice)}


class Run:
    """Cells of a run and what they left under samples/."""

    def __init__(self, out: Path) -> None:
        self.out, self.rows, self.samples = out, list[dict[str, Any]](), dict[str, str]()

    def add(self, curve: dict[str, Any] | str | None, variant: str = "unet", **values: Any) -> Run:
        row = {
            "schema_version": 1,
            "run_id": "r1",
            "cell_id": f"c{len(self.rows)}",
            "variant": variant,
            "task": "brain",
        }
        self.rows.append({**row, "probe": "accuracy", "status": "ok", "seed": 0, **values})
        if curve is not None:
            text = curve if isinstance(curve, str) else json.dumps(curve)
            self.samples[f"accuracy-{self.rows[-1]['cell_id']}.json"] = text
        return self

    @property
    def path(self) -> Path:
        with Store.create(self.out, {"run_id": "r1", "preset": "quick"}) as store:
            for row in self.rows:
                store.append(row)
            write_tables(store)
        for name, text in self.samples.items():
            (store.path / "samples").mkdir(exist_ok=True)
            (store.path / "samples" / name).write_text(text)
        return store.path

    def curves(self) -> pd.DataFrame:
        return read_curves(self.path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def plain(frame: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """The rows' values of these columns, None where there is none."""
    chosen = frame[list(names)].astype(object)
    return [tuple(row) for row in chosen.where(chosen.notna(), None).itertuples(index=False)]


def shown(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=120, legacy_windows=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- reading


def test_a_row_a_look_and_one_for_the_end(run: Run) -> None:
    frame = run.add(CURVE, seed=3, fold="0/5").curves()
    assert plain(frame, "step", "seconds", "val_dice", "val_loss", "loss") == [
        (2, 1.0, 0.5, 0.9, 3.0),
        (4, 2.0, 0.8, 0.7, 2.0),
        (5, 2.5, None, None, 0.5),
    ]
    assert plain(frame, "variant", "task", "seed", "fold", "status")[0] == (
        "unet",
        "brain",
        3,
        "0/5",
        "ok",
    )
    assert list(frame) == [
        *("variant", "task", "seed", "fold", "status"),
        *("step", "seconds", "val_dice", "val_loss", "loss"),
    ]


def test_a_look_at_the_last_step_is_the_end(run: Run) -> None:
    assert list(run.add({**CURVE, "losses": CURVE["losses"][:4]}).curves()["step"]) == [2, 4]


def test_old_files_with_losses_alone_have_a_row_a_step(run: Run) -> None:
    frame = run.add({"unit": "loss per step", "losses": [3.0, 2.0, 1.0]}).curves()
    assert plain(frame, "step", "loss", "seconds", "val_dice") == [
        (1, 3.0, None, None),
        (2, 2.0, None, None),
        (3, 1.0, None, None),
    ]


def test_training_without_looks_has_its_total_time_at_the_end(run: Run) -> None:
    assert plain(run.add({**CURVE, "looks": []}).curves(), "step", "seconds")[-2:] == [
        (4, None),
        (5, 2.5),
    ]


def test_what_diverged_is_there_with_its_status(run: Run) -> None:
    diverged = {**CURVE, "losses": [4.0, 2.0, None], "looks": LOOKS[:1], "diverged": 3}
    run.add(diverged, status="nonfinite").add(None, seed=1, status="nonfinite")
    assert plain(run.curves(), "seed", "status", "step", "loss") == [
        (0, "nonfinite", 2, 3.0),
        (0, "nonfinite", 3, None),
        (1, "nonfinite", None, None),
    ]


def test_only_training_has_curves(run: Run) -> None:
    run.add(None, probe="speed").add(None, variant="floor-otsu").add(CURVE)
    assert list(run.curves()["variant"]) == ["unet"] * 3


def test_a_variant_of_equal_choices_has_the_same_curve(run: Run) -> None:
    run.add(CURVE).add(None, variant="twin", cell_id="c0-abc123", same_as="unet")
    assert plain(run.curves(), "variant", "val_dice")[3:5] == [("twin", 0.5), ("twin", 0.8)]


def test_conditions_that_differ_are_told_apart(run: Run) -> None:
    frame = (
        run.add(CURVE, recipe="default", dataset_hash="a")
        .add(CURVE, recipe="paper", dataset_hash="b")
        .curves()
    )
    assert plain(frame, "recipe", "step")[::3] == [("default", 2), ("paper", 2)]
    assert "dataset_hash" not in frame
    assert len(time_to(frame, 0.8)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting"),
        ("[]", r"\[\] is no JSON object"),
        ('{"looks": []}', "losses is missing: it must be a list"),
        ('{"losses": ["a"]}', "losses holds 'a': it must hold numbers only"),
        ('{"losses": [1], "looks": 3}', "looks is 3: it must be a list"),
        ('{"losses": [1], "looks": [{}]}', "step is missing: it must be a whole number"),
        ('{"losses": [1], "looks": [{"step": 1, "val_dice": "x"}]}', "val_dice is 'x': it must"),
        ('{"losses": [1], "seconds": []}', r"seconds is \[\]: it must be a number"),
    ],
)
def test_a_broken_file_is_named(run: Run, text: str, words: str) -> None:
    run.add(text)
    with pytest.raises(
        StoreError, match=rf"accuracy-c0\.json holds no curve: {words}.*; delete it"
    ):
        run.curves()


def test_no_run_and_no_training_are_told_apart(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results at"):
        read_curves(tmp_path / "absent")
    frame = run.add(None, probe="speed").curves()
    assert frame.empty
    assert time_to(frame, 0.5).empty
    assert curves_document(frame).rendered("json") == "[]\n"


# ---- time to a target


def test_the_first_look_that_reached_it_counts(run: Run) -> None:
    for seed, pace in enumerate((1.0, 2.0, 4.0)):
        run.add(trained(0.3, 0.8, 0.7, 0.9, pace=pace), seed=seed)
    [row] = time_to(run.curves(), 0.8).to_dict("records")
    assert (row["variant"], row["task"], row["target"], row["reached"], row["runs"]) == (
        "unet",
        "brain",
        0.8,
        3,
        3,
    )
    assert row["seconds"] == pytest.approx(4.0), "the geometric mean of 2, 4 and 8"
    factor = math.exp(4.302652729911275 * math.log(2) / 3**0.5)
    assert row["seconds_ci_low"] == pytest.approx(4 / factor, rel=1e-3)
    assert row["seconds_ci_high"] == pytest.approx(4 * factor, rel=1e-3)
    assert (row["steps"], row["steps_ci_low"]) == (pytest.approx(20), pytest.approx(20))


@pytest.mark.parametrize(
    ("curves", "reached"),
    [
        ([trained(0.9)], 1),
        ([trained(0.9), trained(0.9), trained(0.7)], 2),
        ([trained(0.9), trained(0.9), None], 2),
        ([{"losses": [1.0]}, {"losses": [1.0]}], 0),
    ],
)
def test_without_an_interval_there_is_no_mean(run: Run, curves: list[Any], reached: int) -> None:
    for seed, curve in enumerate(curves):
        run.add(curve, seed=seed, status="ok" if curve else "nonfinite")
    [row] = time_to(run.curves(), 0.8).to_dict("records")
    assert (row["reached"], row["runs"]) == (reached, len(curves))
    assert all(
        pd.isna(row[name]) for name in ("seconds", "seconds_ci_low", "steps", "steps_ci_high")
    )


def test_folds_are_the_units_of_the_interval(run: Run) -> None:
    for n in range(6):
        run.add(trained(0.9, pace=2.0 ** (n % 2)), seed=n // 2, fold=f"{n % 2}/2")
    [row] = time_to(run.curves(), 0.8).to_dict("records")
    assert row["seconds_ci_high"] / row["seconds"] == pytest.approx(
        math.exp(12.7062 * math.log(2) / 2), rel=1e-3
    )


@pytest.mark.parametrize("target", [0.0, -1.0, 1.1, math.nan])
def test_a_target_that_no_dice_can_be_is_refused(run: Run, target: float) -> None:
    with pytest.raises(InvalidSuite, match=r"target .*: Dice is above 0 and at most 1"):
        time_to(run.add(CURVE).curves(), target)


# ---- text


def test_tables_tell_cells_and_times(run: Run) -> None:
    for seed in range(2):
        run.add(trained(0.3, 0.8, 0.7), seed=seed)
    run.add(trained(0.1), variant="slow", status="nonfinite")
    curves = run.curves()
    text = shown(curves_document(curves).rendered())
    assert "unet 0 30 3.00 1.00 0.800 ▃▇▆" in " ".join(text.split())
    assert "slow: nonfinite" in text
    times = " ".join(shown(times_document(time_to(curves, 0.8)).rendered()).split())
    assert "unet 0.800 2 of 2 2 (2 to 2) 20 (20 to 20)" in times
    assert "slow 0.800 0 of 1 – –" in times


@pytest.mark.parametrize("document", [curves_document, lambda f: times_document(time_to(f, 0.8))])
def test_other_formats(run: Run, document: Callable[..., Any]) -> None:
    frame = run.add(CURVE).curves()
    assert json.loads(document(frame).rendered("json"))[0]["variant"] == "unet"
    assert document(frame).rendered("csv").startswith("variant,task,")
    rows = [row for row in document(frame).rendered("md").splitlines() if row.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    with pytest.raises(UnknownName, match="unknown format"):
        document(frame).rendered("xml")


def test_a_sparkline_keeps_both_ends() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.4]) == "▄"
    assert sparkline([]) == ""
    long = sparkline([n / 999 for n in range(1000)])
    assert (len(long), long[0], long[-1]) == (24, "▁", "█")


# ---- pictures


def test_a_plot_is_drawn(run: Run, tmp_path: Path) -> None:
    for seed in range(2):
        run.add(trained(0.3, 0.8 + 0.1 * seed), seed=seed)
        run.add(trained(0.2, 0.6), variant="slow", seed=seed, task="camvid")
    curves = run.curves()
    plot(curves, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    assert "<svg" in text
    for comment in ("unet", "slow", "brain", "camvid", "seconds of training"):
        assert f"<!-- {comment} -->" in text
    with pytest.raises(StoreError, match=r"curves\.xyz cannot be written"):
        plot(curves, tmp_path / "curves.xyz")
    with pytest.raises(StoreError, match="cannot be written"):
        plot(curves, tmp_path / "absent" / "curves.png")


def test_a_line_is_the_mean_of_each_look(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    looks = [
        {**look, "step": look["step"] + 1, "seconds": 3 * look["seconds"], "val_dice": 0.6}
        for look in LOOKS
    ]
    run.add(CURVE).add({**CURVE, "looks": looks}, seed=1).add({**CURVE, "looks": LOOKS[:1]}, seed=2)
    drawn: list[Any] = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    plot(run.curves(), tmp_path / "x.png")
    [line] = drawn[0].axes[0].lines
    assert line.get_xydata().tolist() == [
        pytest.approx([5 / 3, 1.6 / 3]),
        pytest.approx([4.0, 0.7]),
    ]


def test_nothing_to_plot_is_said_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no curve to plot"):
        plot(run.add({"losses": [1.0]}).curves(), tmp_path / "x.png")
