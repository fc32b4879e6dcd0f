"""Runs as markdown, for a pull request or a wiki: the tables, what each choice is worth, which
network to use.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from unet_bench.analysis.effects import effects
from unet_bench.analysis.rank import rank
from unet_bench.analysis.recommend import recommend
from unet_bench.present.effects import render_effects
from unet_bench.present.rank import render_rank
from unet_bench.present.recommend import render_recommendations
from unet_bench.present.table import render
from unet_bench.store.runs import Runs
from unet_bench.text_format import escaped, printable


def markdown(runs: Runs) -> str:
    """All of it as GitHub markdown; names from files are escaped."""
    return "\n\n".join(part.strip() for part in _parts(runs)) + "\n"


def _parts(runs: Runs) -> Iterator[str]:
    names = ", ".join(escaped(str(name)) for name in runs.results["run_id"].dropna().unique())
    yield f"# unet-bench: {names}"
    yield "## Which network"
    yield str(render_recommendations(recommend(runs), format="md"))
    yield "## Results"
    yield str(render(runs.results, format="md"))
    yield "## What each choice is worth"
    yield str(render_effects(effects(runs), format="md"))
    yield "## Ranks"
    yield str(render_rank(rank(runs), format="md"))
    for name, manifest in runs.manifests.items():
        command = printable(shlex.join(map(str, manifest.get("argv", ()))))
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
        yield f"Run {escaped(name)}:\n\n{fence}\n{command}\n{fence}"
