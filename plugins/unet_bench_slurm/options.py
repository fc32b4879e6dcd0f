"""What `--executor-option NAME=VALUE` says to the executor `slurm`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from unet_bench.errors import InvalidSuite


class Kind(NamedTuple):
    """How an option's value is read (ValueError or KeyError: it is not valid), and the remedy."""

    read: Callable[[str], Any]
    remedy: str = ""


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _above_zero(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError
    return number


TEXT: Final = Kind(str)
COUNT: Final = Kind(_positive, "write a whole number above 0")
AMOUNT: Final = Kind(_above_zero, "write a number above 0")
FLAG: Final = Kind({"yes": True, "no": False}.__getitem__, "write yes or no")
CLUSTER: Final = Kind({"slurm": "slurm", "local": "local"}.__getitem__, "write slurm or local")
LINES: Final = Kind(lambda text: [text])

# By name: how its value is read, and what submitit calls it, if it is told.
OPTIONS: Final[Mapping[str, tuple[Kind, str]]] = {
    "cluster": (CLUSTER, ""),
    "cells_per_task": (COUNT, ""),
    "workers": (COUNT, "slurm_array_parallelism"),  # tasks that run at once
    "poll_s": (AMOUNT, ""),
    "minutes": (COUNT, "timeout_min"),
    "mem_gb": (AMOUNT, "mem_gb"),
    "cpus_per_task": (COUNT, "cpus_per_task"),
    "gpus_per_node": (COUNT, "gpus_per_node"),
    "partition": (TEXT, "slurm_partition"),
    "gres": (TEXT, "slurm_gres"),
    "account": (TEXT, "slurm_account"),
    "qos": (TEXT, "slurm_qos"),
    "constraint": (TEXT, "slurm_constraint"),
    "nodelist": (TEXT, "slurm_nodelist"),
    "exclude": (TEXT, "slurm_exclude"),
    # No other job on the node: timings are the quieter for it.
    "exclusive": (FLAG, "slurm_exclusive"),
    "setup": (LINES, "slurm_setup"),  # a line of shell before Python: module load cuda
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "cluster": "slurm",
    "cells_per_task": 20,
    "workers": 16,
    "poll_s": 10.0,
    "minutes": 120,
}


def read_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options, those that are not given at their defaults. Raises InvalidSuite."""
    found = dict(DEFAULTS)
    for name, text in given.items():
        if name not in OPTIONS:
            raise InvalidSuite(
                f"executor slurm has no option {name!r}; these are: {', '.join(OPTIONS)}"
            )
        kind, _ = OPTIONS[name]
        try:
            found[name] = kind.read(text)
        except (ValueError, KeyError) as error:
            raise InvalidSuite(
                f"executor option {name}={text} is not valid: {kind.remedy}"
            ) from error
    return found


def submitit_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what submitit is told of a task, in its own words."""
    names = {name: theirs for name, (_, theirs) in OPTIONS.items() if theirs}
    return {names[name]: value for name, value in options.items() if name in names}
