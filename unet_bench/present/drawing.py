"""A network's shape as a picture: what its maps are, and boxes and arrows of them. Imports no
torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from unet_bench.geometry.shapes import Stage

UNIT, GAP, DROP, TOP = 26, 30, 74, 40  # pixels: a box's width, between boxes, between levels, above
ENCODER, DECODER, OTHER = "#4c78a8", "#f58518", "#72b7b2"
_ARROW: Final = '<path d="M{} {}L{} {}" stroke="#999" fill="none" marker-end="url(#{})"{}/>'


def draw(name: str, stages: Sequence[Stage], tip: str = "tip") -> str:
    """Return the stages as SVG: boxes to the right as they are made, downward by level.

    Skips are arrows.

    `tip` is the id of the arrows' tip, to be told apart where several pictures stand in one page.
    """
    at = [(20 + i * (UNIT + GAP), TOP + DROP * stage.level) for i, stage in enumerate(stages)]
    width = 40 + len(stages) * (UNIT + GAP)
    height = TOP + DROP * (1 + max((stage.level for stage in stages), default=0))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="9" fill="#777" text-anchor="middle">',
        f'<defs><marker id="{tip}" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto">'
        '<path d="M0 0L6 3L0 6z" fill="#999"/></marker></defs>',
        f"<title>{escape(name)}</title>",
    ]
    for (x, y), (to_x, to_y) in itertools.pairwise(at):
        parts.append(_ARROW.format(x + UNIT, y + 15, to_x, to_y + 15, tip, ""))
    encoders = {
        stage.level: x for stage, (x, _) in zip(stages, at, strict=True) if "encoder" in stage.name
    }
    for stage, (x, y) in zip(stages, at, strict=True):
        is_encoder = stage.name.startswith("encoder")
        colour = ENCODER if is_encoder else DECODER if "decoder" in stage.name else OTHER
        box = f'<rect x="{x}" y="{y}" width="{UNIT}" height="30" rx="3" fill="{colour}">'
        parts.append(f"{box}<title>{escape(stage.name)}</title></rect>")
        parts.append(f'<text x="{x + UNIT / 2}" y="{y - 4}">{stage.channels}</text>')
        size = "×".join(map(str, stage.size))
        parts.append(f'<text x="{x + UNIT / 2}" y="{y + 41}" font-size="8">{size}</text>')
        if stage.skip and stage.level in encoders:
            start, dashed = encoders[stage.level] + UNIT, ' stroke-dasharray="4 3"'
            parts.append(_ARROW.format(start, y + 8, x, y + 8, tip, dashed))
    return "\n".join([*parts, "</svg>", ""])
