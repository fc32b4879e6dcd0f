"""What a search found, as a page to read: what to use, how sure it is, what mattered, what next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from unet_bench.analysis.recommend import Recommendation, recommend
from unet_bench.errors import StoreError, command_line
from unet_bench.present.blocks import Command, Heading, Notes
from unet_bench.present.document import Displayed, Document
from unet_bench.present.recommend import recommend_document, table
from unet_bench.store.log import read_manifest
from unet_bench.store.runs import read_runs
from unet_bench.text_format import counted

if TYPE_CHECKING:
    from torch import nn

    from unet_bench.searching.rounds import Found

MATTERED: Final = 3  # effects that are named


@dataclass(frozen=True, repr=False)
class Answer(Displayed):
    """What a search found; shows as a page."""

    found: Found

    __repr__ = Displayed.__str__

    @cached_property
    def recommendations(self) -> list[Recommendation]:
        """What the confirmed figures say of the finalists and the baseline."""
        return recommend(read_runs([self.found.confirmed]), self.found.limits)

    @property
    def best(self) -> str:
        """The network to use; empty where none keeps the limits."""
        best = next((one.best for one in self.recommendations if one.best), None)
        return best.variant if best else ""

    @property
    def table(self) -> pd.DataFrame:
        """The finalists and the baseline, the best first."""
        return table(self.recommendations)

    @property
    def path(self) -> Path:
        """The search's folder."""
        return self.found.path

    def model(self) -> nn.Module:
        """Return the best network, trained, in eval mode. Raises StoreError where there is none."""
        from unet_bench.train.trained import load_model

        if not self.best:
            raise StoreError(f"{self.path}: no network keeps {self.found.limits.text()}")
        return load_model(self.found.confirmed, self.best)

    def document(self) -> Document:
        """Return what `unet-bench search` shows."""
        confirmed = recommend_document(self.recommendations)
        blocks = (
            *confirmed.blocks,
            Heading("The search"),
            Notes(tuple(self.told())),
            *(Command(why, command) for why, command in self.steps()),
        )
        content = {
            "path": str(self.path),
            "confirmed": confirmed.content,
            "best": self.best or None,
            "trained": self.found.trained,
            "combinations": self.found.space.size,
            "effects": [
                {"choice": name, "value": value, "dice": mean, "low": low, "high": high}
                for (name, value), (mean, low, high) in self.found.model.effects().items()
            ],
        }
        return Document("search", blocks, confirmed.data, content)

    def told(self) -> Iterator[str]:
        """Yield how the best was found, and what it is worth beside what the search said of it."""
        found = self.found
        yield (
            f"{counted(found.trained, 'network')} were trained, of {found.space.size:,} "
            "combinations; the table is of trainings by fresh seeds, scored on test images that no "
            "choice was made by"
        )
        for option in (one for advice in self.recommendations for one in advice.options):
            claimed, own = found.claimed.get(option.variant), option.network.number("dice")
            if option.role == "best" and claimed is not None and own is not None:
                yield (
                    f"while searching {option.variant} had a Dice of {claimed:.3f} on validation "
                    f"images: it was chosen for being lucky, too, so believe {own:.3f}"
                )
        effects = sorted(found.model.effects().items(), key=lambda item: -abs(item[1].value))
        said = [
            f"{name}={value} {effect.value:+.3f} ±{effect.half:.3f} against "
            f"{found.space.alternatives[name][0]}"
            for (name, value), effect in effects[:MATTERED]
        ]
        yield f"what mattered most in first rungs (Dice, short trainings): {'; '.join(said)}"

    def steps(self) -> Iterator[tuple[str, str]]:
        """Yield what to do next, and the command."""
        if not self.best:
            return
        run, data = self.found.confirmed, self._data()
        wanted = ("run", "-v", self.best, *data, "--preset", "standard", "--keep-weights")
        yield "train it for longer, as wide as it is defined (a GPU)", command_line(*wanted)
        yield "masks", command_line("predict", run, self.best) + " IMAGE..."
        yield "a folder that runs without PyTorch", command_line("export", run, self.best)

    def _data(self) -> list[str]:
        suite = read_manifest(self.found.confirmed)["suite"]
        return [word for name in suite["data"] for word in ("-d", name)]
