"""How small a difference some images can show, in words and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from unet_bench.analysis.resolution import SEEDS, Resolution
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text
from unet_bench.present.document import Document
from unet_bench.text_format import counted, named, printable

LEGEND = (
    "smallest difference in Dice of two networks that is found in four of five cases, at 95 % "
    "confidence, both trained with so many equal seeds; more networks in one table need more"
)


def resolution_document(found: Sequence[Resolution]) -> Document:
    """Return what data sets can tell apart as a document."""
    blocks: list[Block] = []
    for one in found:
        blocks += [
            Heading(printable(one.task)),
            Notes(tuple(sentences(one)), is_lead=True),
            Table(
                ("seeds", "smallest difference"),
                tuple(Line(str(n), (Cell(f"{one.smallest(n):.3f}"),)) for n in SEEDS),
            ),
        ]
    rows = [
        {
            "task": one.task,
            "train_images": one.train_images,
            "test_images": one.test_images,
            "sd_of_difference": one.sd,
            "other_images": one.other_images,
            "seeds": seeds,
            "smallest_difference": one.smallest(seeds),
        }
        for one in found
        for seeds in SEEDS
    ]
    data = pd.DataFrame(rows)
    content = data.astype(object).where(data.notna(), None).to_dict("records")
    return Document("data resolve", (*blocks, Text(LEGEND, "quiet")), data, content)


def sentences(one: Resolution) -> Iterator[str]:
    """Yield what a person should know before comparing networks on these images."""
    usual = SEEDS[1]
    yield (
        f"with {usual} seeds a difference of {one.smallest(usual):.3f} Dice can be found, with "
        f"{SEEDS[-2]} seeds {one.smallest(SEEDS[-2]):.3f}; what is smaller will look like chance"
    )
    if one.other_images is None:
        yield (
            f"{counted(one.test_images, 'test image')}, or groups of them, are too few to say how "
            "other images would differ: five at least, or --folds"
        )
    else:
        yield (
            f"other test images of the kind would move a Dice by up to {one.other_images:.3f} "
            f"({one.test_images} scored): no number of seeds helps against that, more images do"
        )
    yield (
        f"by {counted(one.trainings, 'training')} each of {named(one.networks)} with "
        f"{counted(one.train_images, 'image')}; networks that train less steadily need more"
    )
