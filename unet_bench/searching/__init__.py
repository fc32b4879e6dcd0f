"""Finding a network for one's own images, in a time that is given.

space ─▶ candidates ─▶ race ─▶ slot model ─▶ candidates ─▶ race ─▶ finalists, trained anew ─▶ answer
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_bench.searching.answer import Answer
from unet_bench.searching.rounds import Request, Search

if TYPE_CHECKING:
    from unet_bench.execute.driver import Progress
    from unet_bench.execute.options import ExecutionOptions


def search(
    data: str | Path | Sequence[str] = ("cells",),
    *,
    budget: str = "30m",
    space: Sequence[str] = (),
    base: str = "unet",
    seed: int = 0,
    out: str | Path = "results",
    resume: str | Path | None = None,
    progress: Progress | None = None,
    execution: ExecutionOptions | None = None,
    **options: Any,
) -> Answer:
    """Find a network for some images within a time; the answer shows as a page.

    `options` are limits, such as `max_latency_ms=20` (`Budget` has them all), and fields of
    `Suite`, such as `preset="gpu-quick"`. `resume` is the folder of a search that goes on, with
    what it was asked for. Raises InvalidSuite where no network keeps the limits, and what a run
    raises.
    """
    from unet_bench.analysis.budget import LIMITS
    from unet_bench.execute.driver import Quiet

    progress = progress or Quiet()
    if resume is not None:
        return Answer(Search.resumed(Path(resume), progress, execution).run())
    names = [limit.name for limit in LIMITS]
    given = {name: options.pop(name) for name in names if options.get(name) is not None}
    request = Request(
        suite={"data": data_of(data), **options},
        budget=budget,
        limits=given,
        space=tuple(space),
        base=base,
        seed=seed,
    )
    begun = Search(folder_in(Path(out)), request, progress, execution)
    begun.save()
    return Answer(begun.run())


def data_of(data: str | Path | Sequence[str]) -> list[str]:
    """Return the data set by a name that holds wherever the search goes on."""
    from unet_bench.data.sources import absolute
    from unet_bench.registry import plugins

    registry = plugins.load(()).checked()
    given = [str(data)] if isinstance(data, str | Path) else list(data)
    return [absolute(registry, name) for name in given]


def folder_in(out: Path) -> Path:
    """Return a folder for a new search."""
    started = dt.datetime.now(dt.UTC)
    return out / f"search-{started:%Y%m%d-%H%M%S}"
