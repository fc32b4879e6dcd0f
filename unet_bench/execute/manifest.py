"""What run.json says of a run: what was asked for, by what and on what it was run."""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import TYPE_CHECKING, Any

from unet_bench.registry import plugins
from unet_bench.spec.cell import digest

if TYPE_CHECKING:
    from unet_bench.execute.options import ExecutionOptions
    from unet_bench.plan.cells import Plan


def manifest(plan: Plan, execution: ExecutionOptions) -> dict[str, Any]:
    """Return what run.json holds: what was run, by what and on what, and how to run it again."""
    started = dt.datetime.now(dt.UTC)
    unique = digest([time.time_ns(), plan.suite.to_dict()])
    return {
        "run_id": f"{started:%Y%m%d-%H%M%S}-{plan.suite.preset}-{unique[:4]}",
        "started": started.isoformat(timespec="seconds"),
        "argv": ["unet-bench", *sys.argv[1:]],
        "suite": plan.suite.to_dict(),
        "preset": plan.suite.preset,
        "recipe": plan.recipe.to_dict(),
        "executor": {
            "name": execution.executor,
            "devices": list(execution.devices),
            "options": dict(execution.options),
        },
        "baseline": plan.planned[0].cell.baseline.name,
        "probes": {p.name: p.to_manifest() for p in dict.fromkeys(c.probe for c in plan.planned)},
        "notes": list(plan.notes),
        "environment": plan.environment,
        "commit": plan.environment["commit"],
        "plugins": [
            {
                "plugin": p.provider.plugin,
                "distribution": p.provider.distribution,
                "version": p.provider.version,
                "module": p.module,
                "status": p.status,
                "source_hash": plugins.source_hash(p.module.partition(".")[0])
                if p.status == "ok"
                else None,
            }
            for p in plan.loaded.plugins
        ],
    }
