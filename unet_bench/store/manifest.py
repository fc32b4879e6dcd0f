"""What `run.json` must look like to be read: edited and foreign ones are refused, with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict

from unet_bench.limits import one_line
from unet_bench.spec.option import options
from unet_bench.spec.shape import Plain, require_shape
from unet_bench.spec.suite import Suite

Facts = dict[str, Plain | list[Plain] | dict[str, Plain | list[Plain]]]


class Executor(TypedDict, total=False):
    """What ran the cells."""

    name: str
    devices: list[str]
    options: dict[str, str]


class StatedColumn(TypedDict, total=False):
    """A column that a plugin's probe measured; see `store/columns.py`."""

    name: Required[str]
    dtype: Required[Literal["Float64", "Int64", "string", "boolean"]]
    unit: str
    scaled: str
    meaning: str
    better: Literal["", "high", "low"]
    label: str
    heading: str
    factor: float
    decimals: int


class StatedProbe(TypedDict, total=False):
    """What a run says of a probe."""

    any_device: bool
    columns: list[StatedColumn]


class Manifest(TypedDict, total=False):
    """A run.json. What a run's version did not state yet is not there."""

    schema_version: Required[int]
    run_id: Required[str]
    started: str
    argv: list[str]
    suite: dict[str, Any]
    preset: str
    recipe: dict[str, Any]
    executor: Executor
    baseline: str
    probes: dict[str, StatedProbe]
    environment: Facts
    commit: str
    plugins: list[dict[str, Plain]]


def require_manifest(manifest: Mapping[str, Any]) -> None:
    """Raise ValueError, InvalidSuite for what is no run.json.

    Of the suite only the types are checked: what another version took is refused by whoever goes
    on with it, not by whoever shows it.
    """
    require_shape(manifest, Manifest, "run.json")
    run_id = manifest["run_id"]
    if not run_id or one_line(run_id) != run_id:
        raise ValueError("run.json.run_id is no name on one line")
    known = options(Suite)
    for name, value in (manifest.get("suite") or {}).items():
        if name in known:
            known[name].typed(value)
