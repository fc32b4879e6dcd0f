"""Runs as markdown, for a pull request or a wiki."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from unet_bench.analysis.effects import effects
from unet_bench.analysis.rank import rank
from unet_bench.analysis.recommend import recommend
from unet_bench.present.effects import effects_document
from unet_bench.present.markdown import as_markdown, fenced
from unet_bench.present.rank import rank_document
from unet_bench.present.recommend import recommend_document
from unet_bench.present.table import results_document
from unet_bench.store.runs import Runs
from unet_bench.text_format import escaped


def markdown(runs: Runs) -> str:
    """Return which network to use, the results, effects and ranks as GitHub markdown."""
    return "\n\n".join(part.strip() for part in _parts(runs)) + "\n"


def _parts(runs: Runs) -> Iterator[str]:
    answers = {
        "Which network": recommend_document(recommend(runs)),
        "Results": results_document(runs.results, known=runs.columns),
        "What each choice is worth": effects_document(effects(runs)),
        "Ranks": rank_document(rank(runs)),
    }
    names = map(str, runs.results["run_id"].dropna().unique())
    yield f"# unet-bench: {', '.join(map(escaped, names))}"
    for title, document in answers.items():
        yield f"## {title}"
        yield as_markdown(document.blocks)
    for name, manifest in runs.manifests.items():
        command = shlex.join(map(str, manifest.get("argv", ())))
        yield f"Run {escaped(name)}:\n\n{fenced(command)}"
