"""A network's page: figures, differences, the picture as text and SVG."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unet_bench.cli.app import app
from unet_bench.errors import InvalidSize, UnknownName
from unet_bench.geometry.stages import halvings
from unet_bench.present.network_page import as_svg, as_text, detail
from unet_bench.registry.registry import Registry

SVG = "{http://www.w3.org/2000/svg}"


def test_the_papers_network_has_the_papers_sizes(registry: Registry) -> None:
    page = detail(registry, "unet-paper", (572, 572), in_channels=1)
    text = as_text(page)
    assert (page.params, page.macs) == (31030658, 150428424448)
    for words in (
        "31,030,658",
        "1 × 572×572 in, 2 × 388×388 out",
        "1024 × 28×28",
        "skip of 64×64 to 56×56",
    ):
        assert words in text
    assert ("padding", "valid", "default zeros") in page.differs


def test_a_level_is_an_indent_and_a_row_of_the_picture(registry: Registry) -> None:
    page = detail(registry, "unet+base_width=4", (64, 64))
    assert [stage.level for stage in page.stages] == [0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0]
    root = ET.fromstring(as_svg(page))
    boxes = root.findall(f"{SVG}rect")
    assert len({box.get("y") for box in boxes}) == 5
    assert [box.find(f"{SVG}title").text for box in boxes] == [stage.name for stage in page.stages]  # type: ignore[union-attr]
    assert len([path for path in root.findall(f"{SVG}path") if path.get("stroke-dasharray")]) == 4


def test_levels_without_a_skip_have_no_arrow(registry: Registry) -> None:
    page = detail(registry, "unet+skip_levels=1/3", (64, 64))
    assert [stage.name for stage in page.stages if stage.skip] == ["decoder 3", "decoder 1"]


def test_a_whole_architecture_has_its_modules_and_its_own_words(registry: Registry) -> None:
    page = detail(registry, "segnet")
    assert page.stages[1].size == (256, 256)
    assert max(stage.level for stage in page.stages) == 5
    assert page.differs == ()
    assert "logits" in page.about


def test_a_size_that_does_not_fit_is_moved_to_one_that_does_unless_it_was_asked_for(
    registry: Registry,
) -> None:
    assert detail(registry, "unet-paper").geometry.input == (268, 268)
    for size, words in (((64, 64), "nearest: 188"), ((64, 64, 64), "2 sides")):
        with pytest.raises(InvalidSize, match=words):
            detail(registry, "unet-paper", size)
    with pytest.raises(UnknownName, match="unet-paper"):
        detail(registry, "unet-papr")


def test_what_plugins_say_is_escaped(registry: Registry) -> None:
    page = replace(detail(registry, "unet", (64, 64)), name="<script>")
    assert "<script>" not in as_svg(page)


def test_tokens_count_as_pixels() -> None:
    assert halvings((64, 64), (16, 16)) == halvings((64, 64), (256,)) == 2


def test_on_the_command_line(tmp_path: Path) -> None:
    page = ["list", "architectures", "--detail", "segnet", "--size", "64x64"]
    done = CliRunner().invoke(app, [*page, "--svg", str(tmp_path / "s.svg")])
    assert "3 × 64×64" in done.stdout
    assert ET.parse(tmp_path / "s.svg")
    assert json.loads(CliRunner().invoke(app, [*page, "--json"]).stdout)["macs"] > 0
    nowhere = [*page, "--svg", str(tmp_path / "no" / "s.svg")]
    for wrong in (
        ["list", "parts", "--detail", "segnet"],
        ["list", "variants", "--size", "64x64"],
        nowhere,
    ):
        assert CliRunner().invoke(app, wrong).exit_code == 2
