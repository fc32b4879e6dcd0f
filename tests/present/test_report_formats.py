"""The report as markdown, LaTeX and figures; and the answers as a notebook shows them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.reported import HOSTILE, NETWORKS, cells, stored, with_samples

import unet_bench
from unet_bench.present.groups import groups_of
from unet_bench.present.latex import plain
from unet_bench.present.report import write_report
from unet_bench.present.report.figures import accuracy, cost_of, effect_figures
from unet_bench.store.runs import read_runs

CROWD = {f"unet-variant-{n}": {"base_width": 8 + n} for n in range(40)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_samples(stored(tmp_path_factory.mktemp("run"), cells()))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {
        name: {} for name in ("unet", *HOSTILE, "two\nlines | and a cell", r"a--b_$%#{}~^\x ½ 模型")
    }
    return stored(tmp_path_factory.mktemp("hostile"), cells(names))


# ---- markdown


def test_markdown_has_the_answer_the_tables_and_the_command(run: Path, tmp_path: Path) -> None:
    text = write_report([run], tmp_path / "r.md", format="md").read_text()
    heads = re.findall("^## (.*)$", text, re.MULTILINE)
    assert heads == ["Which network", "Results", "What each choice is worth", "Ranks"]
    assert "use unet-residual" in text
    assert "unet-bench run -v 'unet,a name'" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_hostile_names_are_text_in_markdown(hostile: Path, tmp_path: Path) -> None:
    text = write_report([hostile], tmp_path / "r.md", format="md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<[a-z/]", prose)
    for block in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


# ---- LaTeX


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("50 % & more_$#{}", r"50 \% \& more\_\$\#\{\}"),
        ("a--b---", "a-{}-b-{}-{}-"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("±0.1 × 2 ≈ –", r"$\pm$0.1 $\times$ 2 $\approx$ --"),
        ("é 模 \u202e", "é ? ?"),
        ("two\nlines", "two lines"),
        ("[x]", "{[}x{]}"),
    ],
)
def test_latex_prints_what_is_written(text: str, printed: str) -> None:
    assert plain(text) == printed


def test_a_latex_table_per_group_with_the_best_in_bold(run: Path, tmp_path: Path) -> None:
    text = write_report([run], tmp_path / "r.tex", format="latex").read_text()
    assert text.count(r"\begin{tabular}{l") == 1
    assert text.count(r"\midrule") == 1
    [best] = [line for line in text.splitlines() if line.startswith("unet-residual &")]
    assert r"\textbf{0.7" in best
    assert "unet (baseline)" in text


@pytest.mark.slow
@pytest.mark.parametrize("crowd", [0, 60])
def test_latex_compiles_and_fits_the_page(hostile: Path, crowd: int, tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-base)")
    names = {"unet": {}, "[x]": {}, **{f"unet-variant-{n}": {} for n in range(crowd)}}
    runs = [stored(tmp_path, cells(names), "run-2"), *[hostile] * (not crowd)]
    write_report(runs, tmp_path / "r.tex", format="latex")
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx,longtable}"
    (tmp_path / "all.tex").write_text(
        rf"\documentclass{{article}}{packages}\begin{{document}}\input{{r}}\end{{document}}"
    )
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "all.tex",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace"
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert crowd == 0 or "Overfull" not in done.stdout  # names of 300 characters may stand out
    assert "Float too large" not in done.stdout


# ---- figures


@pytest.mark.slow
def test_figures_are_svg_and_png_and_the_same_each_time(run: Path, tmp_path: Path) -> None:
    folders = [write_report([run], tmp_path / name, format="figures") for name in "ab"]
    names = {file.name for file in folders[0].iterdir()}
    assert names == {
        f"{name}.{suffix}"
        for name in ("accuracy", "memory", "effects", "curves")
        for suffix in ("svg", "png")
    }
    for name in names:
        one, other = (folder / name for folder in folders)
        if name.endswith("svg"):
            ElementTree.parse(one)
        else:
            assert min(Image.open(one).size) > 300
        if not name.startswith("curves"):
            assert one.read_bytes() == other.read_bytes(), name


def test_labels_of_many_networks_do_not_overlap(tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    [group] = groups_of(read_runs([stored(tmp_path, cells({"unet": {}, **CROWD}))]).results)
    cost = cost_of(group)
    assert cost is not None
    drawing = accuracy(group, cost)
    FigureCanvasAgg(drawing).draw()
    boxes = {text.get_text(): Text.get_window_extent(text) for text in drawing.axes[0].texts}
    assert "unet" in boxes
    assert len(boxes) > 5  # all stand on the front here, and some find a place
    shown = list(boxes.values())
    assert not any(a.overlaps(b) for i, a in enumerate(shown) for b in shown[:i])


def test_a_forest_has_every_alternative_and_a_scale_on_which_half_is_as_far_as_double(
    run: Path,
) -> None:
    [drawing] = effect_figures(unet_bench.effects(run).table)
    labels = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert [label for label in labels if ":" not in label] == ["residual", "bilinear", "add"]
    assert [axes.get_xscale() for axes in drawing.axes] == ["log", "log", "log", "linear"]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_are_drawn(hostile: Path, tmp_path: Path) -> None:
    folder = write_report([hostile], tmp_path / "figures", format="figures")
    for file in folder.glob("*.svg"):
        assert not [e for e in ElementTree.parse(file).iter() if e.tag.endswith("script")]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["md", "latex", "figures"])
@pytest.mark.parametrize(
    "rows",
    [
        cells({"unet": {}}),
        ({**row, "status": "error", "error": "it broke"} for row in cells()),
        (row for row in cells() if row["probe"] == "cost"),
        (row for row in cells() if row["variant"] != "unet"),
    ],
    ids=["one variant", "failures", "cost alone", "no baseline"],
)
def test_poor_runs_make_reports(rows: object, format: str, tmp_path: Path) -> None:
    run = stored(tmp_path, list(rows))  # type: ignore[call-overload]
    assert write_report([run], tmp_path / "out", format=format).exists()


# ---- notebooks


def test_answers_show_as_markdown_and_as_text(run: Path) -> None:
    for answer in (
        unet_bench.show(run),
        unet_bench.effects([run]),
        unet_bench.rank(read_runs([run])),
        unet_bench.recommend(run, max_latency_ms=11.5),
    ):
        assert "| --- |" in answer._repr_markdown_()
        assert "cpu · fp32" in str(answer)
        assert "\x1b" not in str(answer)
        assert len(answer.table)


def test_a_recommendation_keeps_to_the_budget(run: Path) -> None:
    [found] = unet_bench.recommend(run, max_latency_ms=11.5)
    assert found.best is not None
    assert found.best.variant == list(NETWORKS)[1]
    with pytest.raises(TypeError, match="max_latency"):
        unet_bench.recommend(run, max_latency=3)


def test_answers_import_no_torch(run: Path) -> None:
    code = (
        "import sys, unet_bench as u\n"
        f"[str(f({str(run)!r})) for f in (u.show, u.effects, u.rank, u.recommend)]\n"
        "print(sorted({'torch', 'matplotlib', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
