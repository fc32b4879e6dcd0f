"""The report as a web page in a real browser: Debian's `chromium`, else these tests skip."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.reported import HOSTILE, NETWORKS, SCRIPT, cells, stored, with_samples

from unet_bench.present.groups import anchor
from unet_bench.present.report import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_samples(stored(tmp_path_factory.mktemp("usual"), cells()))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if browser is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visit:
    """A page opened in a browser, and everything that it should not have done."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.wrong: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on(
            "console",
            lambda said: (
                self.wrong.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._asked)
        self.page.on("request", self._requested)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def _asked(self, dialog: Any) -> None:
        self.wrong.append("a dialog")
        dialog.dismiss()

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(request.url)

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def js(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def visit(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A run of usual and of hostile names."""
    folder = tmp_path_factory.mktemp("visit")
    names = {**NETWORKS, **{name: {"act": "silu"} for name in HOSTILE}}
    run = with_samples(stored(folder, cells(names)))
    opened = Visit(
        chromium, write_report([run], folder / "r.html"), viewport={"width": 1200, "height": 900}
    )
    yield opened
    opened.page.close()


NAMES = "#results tbody tr:not(.setting):not([hidden]) th .variant-name"


def test_a_browser_has_nothing_to_complain_of(visit: Visit) -> None:
    assert visit.wrong == []
    assert (
        visit.js(
            "document.querySelectorAll('main img[src=x], main b, main a[href^=javascript]').length"
        )
        == 0
    )
    assert visit.js("document.querySelectorAll('.canvas a, .canvas b').length") == 0
    assert SCRIPT in visit.texts(NAMES)


def test_the_table_sorts_both_ways_and_says_so(visit: Visit) -> None:
    head = visit.page.locator("#results th[data-name=latency_ratio]")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    slowest = visit.texts(NAMES)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert visit.texts(NAMES) == slowest[::-1]
    assert visit.texts(NAMES)[0] == "unet"


def test_the_filter_leaves_what_it_says(visit: Visit) -> None:
    visit.page.fill("#filter", "bilin")
    assert visit.texts(NAMES) == ["unet-bilinear"]
    assert visit.texts("#count") == ["1 of 11 rows"]
    visit.page.fill("#filter", "bilin OK unet")
    assert visit.texts(NAMES) == ["unet-bilinear"]
    visit.page.fill("#filter", "no such name")
    assert visit.texts("#count") == ["no row matches"]
    assert visit.page.locator("#none").is_visible()
    visit.page.fill("#filter", "")
    assert len(visit.texts(NAMES)) == 11


def test_columns_are_picked(visit: Visit) -> None:
    head = visit.page.locator("#results th[data-name=predicted_memory_mib]")
    assert not head.is_visible()
    visit.page.locator(".picker summary").click()
    visit.page.locator(".picker label", has_text="predicted_memory_mib").click()
    assert head.is_visible()
    visit.page.keyboard.press("Escape")
    assert not visit.page.locator(".picker fieldset").is_visible()
    assert visit.js("document.activeElement.matches('.picker summary')")


def test_another_baseline_divides_and_going_back_restores(visit: Visit) -> None:
    def ratio() -> str:
        row = visit.page.locator('#results tr[data-variant="unet-add"]')
        place = visit.js(
            "[...document.querySelectorAll('#results th')].findIndex(h => h.dataset.name == "
            "'latency_ms')"
        )
        return str(row.locator(":scope > *").nth(place).inner_text())

    before = ratio()
    visit.page.select_option("#baseline", "unet-bilinear")
    assert ratio() == "1.09× ±0.031"  # of the ratios 1.2 and 1.1, 2 % each
    assert "divided by those of unet-bilinear" in visit.texts("#switched")[0]
    heads = visit.texts("#results thead th")
    assert "latency ÷ unet-bilinear" in heads
    assert "Δ Dice to unet (measured baseline)" in heads
    assert (
        visit.js("document.querySelector('#results tr.chosen').dataset.variant") == "unet-bilinear"
    )
    copied = copied_by(visit)
    assert '"latency_ms ÷ unet-bilinear"' in copied
    assert '"dice_difference_ci_high","dice_verdict"' in copied
    assert "not separable" in copied or "better" in copied
    visit.page.select_option("#baseline", "unet")
    assert ratio() == "1.20× ±0.024"  # as it was measured
    visit.page.select_option("#baseline", index=0)
    assert "latency ms" in visit.texts("#results thead th")
    assert ratio() == before == "12.0 ±0.2"


def copied_by(visit: Visit) -> str:
    visit.js(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return "
        "Promise.resolve(); }"
    )
    visit.page.click("#csv")
    return str(visit.js("window.copied"))


def test_what_is_copied_holds_no_formula(visit: Visit) -> None:
    copied = copied_by(visit)
    assert "\"'=cmd|' /C calc'!A0\"" in copied
    assert copied.count("\n") == 12  # a heading and eleven rows
    assert '"latency_ratio","latency_ratio_ci_low"' in copied


def test_plots_are_drawn_respond_and_lead_to_a_variant(visit: Visit) -> None:
    canvas = visit.page.locator(".plot[data-plot=pareto] .canvas")
    assert visit.js("document.querySelectorAll('.canvas[data-drawn]').length") == len(
        visit.page.locator(".plot").all()
    )
    visit.page.select_option(".plot[data-plot=pareto] [data-pick=label]", "parameters")
    assert "parameters" in canvas.locator(".xtitle").text_content()
    visit.page.select_option(
        ".plot[data-plot=pareto] [data-pick=label]", "latency relative to the baseline"
    )
    canvas.scroll_into_view_if_needed()
    # The baseline, by its place on the axes.
    point = """(() => { const c = document.querySelector('.plot[data-plot=pareto] .canvas');
        const l = c._fullLayout;
        const t = c.data.find((t) => t.name === 'baseline'), r = c.getBoundingClientRect();
        return [
            r.x + l._size.l + l.xaxis.d2p(t.x[0]), r.y + l._size.t + l.yaxis.d2p(t.y[0])]; })()"""
    x, y = visit.js(point)
    visit.page.mouse.move(x, y)
    visit.page.wait_for_selector(".hoverlayer .hovertext")
    assert "unet" in visit.page.locator(".hoverlayer .hovertext").first.text_content()
    visit.page.mouse.click(x, y)
    visit.page.wait_for_selector(f"#{anchor('unet')}[open]")
    focused = f"document.activeElement.parentElement.id == '{anchor('unet')}'"
    visit.page.wait_for_function(focused)
    visit.js(
        f"document.getElementById('{anchor('unet')}').open = false; document.activeElement.blur()"
    )
    canvas.scroll_into_view_if_needed()
    visit.page.mouse.move(*visit.js(point))
    visit.page.wait_for_selector(".hoverlayer .hovertext")
    visit.page.mouse.click(*visit.js(point))  # where one has been before
    visit.page.wait_for_function(focused)
    assert visit.wrong == []


def test_labels_of_thirty_networks_do_not_overlap(chromium: Any, tmp_path: Path) -> None:
    names = {"unet": {}, **{f"a-rather-long-name-{n}": {"base_width": n} for n in range(1, 30)}}
    page = write_report([stored(tmp_path, cells(names, seeds=(0,)))], tmp_path / "r.html")
    opened = Visit(chromium, page, viewport={"width": 1000, "height": 800})
    boxes = opened.js(
        """[...document.querySelectorAll('.plot[data-plot=pareto] .annotation-text')]
        .map((text) => text.getBoundingClientRect())
        .map((r) => [r.left, r.top, r.right, r.bottom])"""
    )
    assert len(boxes) > 8
    for i, a in enumerate(boxes):
        assert not any(
            a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i]
        )
    opened.page.close()


def luminance(colour: str) -> float:
    parts = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme: str, visit: Visit) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    for selector in (
        "h1",
        ".overline",
        "#results td",
        "#results thead button",
        "main a",
        "figcaption",
        ".canvas text",
    ):
        kind = "fill" if "canvas" in selector else "color"
        ink = visit.js(f"getComputedStyle(document.querySelector('{selector}')).{kind}")
        paper = visit.js("getComputedStyle(document.body).backgroundColor")
        low, high = sorted((luminance(ink), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (selector, ink, paper)


def test_the_theme_is_switched_by_hand(visit: Visit) -> None:
    visit.page.emulate_media(color_scheme="light")
    light = visit.js("getComputedStyle(document.body).backgroundColor")
    visit.page.click("#theme")
    assert visit.js("getComputedStyle(document.body).backgroundColor") != light
    visit.page.click("#theme")
    assert visit.js("getComputedStyle(document.body).backgroundColor") == light


def test_the_keyboard_reaches_the_answer_and_sees_where_it_is(visit: Visit) -> None:
    visit.js("scrollTo(0, 0); document.activeElement.blur(); getSelection().removeAllRanges()")
    visit.page.locator(".skip").focus()
    assert visit.page.locator(".skip").bounding_box()["x"] >= 0
    visit.page.keyboard.press("Tab")
    assert visit.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_tables_only(width: int, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.js("document.querySelectorAll('details:not(.picker)').forEach((d) => { d.open = true; })")
    assert visit.js("document.documentElement.scrollWidth") <= width
    first = visit.page.locator("#results tbody tr:not(.setting) th").first
    visit.js("document.querySelector('#results').parentElement.scrollLeft = 300")
    assert first.bounding_box()["x"] >= 0


def test_a_finger_scrolls_past_plots(chromium: Any, usual: Path, tmp_path: Path) -> None:
    page = write_report([usual], tmp_path / "r.html")
    opened = Visit(
        chromium, page, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    drag = "getComputedStyle(document.querySelector('.canvas .nsewdrag')).touchAction"
    assert opened.js(drag).startswith("pan-y")
    assert opened.js("document.querySelector('.canvas')._fullLayout.dragmode") is False
    opened.page.close()


def test_plots_far_away_wait_until_they_are_near(
    chromium: Any, usual: Path, tmp_path: Path
) -> None:
    opened = chromium.new_page(viewport={"width": 1000, "height": 60})
    opened.add_init_script(
        "window.requestIdleCallback = () => 0"
    )  # a browser that always has something to do
    opened.goto(write_report([usual], tmp_path / "r.html").as_uri())
    head = opened.locator("#results th[data-name=dice]")
    head.locator("button").dispatch_event("click")  # which does not scroll there
    assert (
        head.get_attribute("aria-sort") == "ascending"
    )  # from descending, as the rows are from the start
    opened.wait_for_timeout(300)
    drawn = "document.querySelector('[data-plot={}] .canvas').dataset.drawn"
    assert not opened.evaluate(drawn.format("effects"))
    opened.locator("#effects").scroll_into_view_if_needed()
    opened.wait_for_selector("[data-plot=effects] .canvas[data-drawn]")
    assert not opened.evaluate(drawn.format("curves"))
    opened.close()


def test_without_scripts_text_and_tables_remain(chromium: Any, usual: Path, tmp_path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(write_report([usual], tmp_path / "r.html").as_uri())
    assert page.locator("#results tbody tr:not(.setting)").count() == 4
    assert page.locator("noscript p").is_visible()
    assert not page.locator("#filter").is_visible()
    assert not page.locator(".canvas, [data-copy], .plot .controls").first.is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_stands_in_the_way_of_a_keyboard_or_a_screen_reader(
    chromium: Any, usual: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    """The rules of axe-core, https://github.com/dequelabs/axe-core, none of them broken."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    page = write_report([usual], tmp_path / "report.html")
    visit = Visit(
        chromium,
        page,
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
        bypass_csp=True,  # or axe-core itself could not be added
    )
    visit.js(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    broken = visit.js("axe.run()")["violations"]
    assert [(rule["id"], rule["nodes"][0]["target"]) for rule in broken] == []
