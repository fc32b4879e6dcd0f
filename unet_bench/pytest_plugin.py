"""pytest fixtures that benchmark one part or one variant with pytest-benchmark, and pair it with
the baseline's.

```python
def test_speed(bench_part):
    output = bench_part("up", "sharp", in_channels=64, out_channels=32, size=(32, 32))
    assert output.shape == (1, 32, 64, 64)
```

pytest-benchmark prints and saves the times; with `--benchmark-json=FILE` the ratio to the
baseline's part, with its interval, is saved beside them, and `unet-bench show FILE` and `unet-bench
compare BEFORE AFTER` read it.

Whoever has unet-bench installed has this module imported by every pytest: it imports nothing until
a fixture is used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from unet_bench.context import MeasurementContext
    from unet_bench.networks.contracts import Place
    from unet_bench.networks.variants import Variant
    from unet_bench.registry.registry import Registry
    from unet_bench.spec.cell import Setting

# pytest-benchmark, by entry point or by -p
BENCHMARK_PLUGINS: Final = ("benchmark", "pytest_benchmark.plugin")
BUDGET_S: Final = 1.0  # of paired timing, for each benchmark
INTERVAL: Final = 0.02


def pytest_configure(config: pytest.Config) -> None:
    """Provide the fixtures.

    They measure, or without pytest-benchmark say what is missing.
    """
    there = any(config.pluginmanager.hasplugin(name) for name in BENCHMARK_PLUGINS)
    config.pluginmanager.register(Fixtures() if there else Excuses(), "unet-bench-fixtures")


class Fixtures:
    """With pytest-benchmark."""

    @pytest.fixture
    def bench_part(self, benchmark: Any) -> Callable[..., Any]:
        """Benchmark a part by slot and name, beside the baseline's; return the part's output."""
        return functools.partial(measure_part, benchmark)

    @pytest.fixture
    def bench_variant(self, benchmark: Any) -> Callable[..., Any]:
        """Benchmark a variant's network by name, beside the baseline; returns its logits."""
        return functools.partial(measure_variant, benchmark)


class Excuses:
    """Without pytest-benchmark: tests that ask for these fixtures are skipped."""

    @pytest.fixture
    def bench_part(self) -> None:
        """Skip the test: pytest-benchmark is missing."""
        _skip("bench_part")

    @pytest.fixture
    def bench_variant(self) -> None:
        """Skip the test: pytest-benchmark is missing."""
        _skip("bench_variant")


def _skip(fixture: str) -> None:
    pytest.skip(
        f"{fixture} needs pytest-benchmark, which is not installed or is disabled: "
        "pip install pytest-benchmark"
    )


def measure_part(
    benchmark: Any,
    slot: str,
    name: str,
    *,
    in_channels: int = 64,
    out_channels: int | None = None,
    size: Sequence[int] = (32, 32),
    batch: int = 1,
    device: str = "cpu",
    against: str | None = None,
    **place: Any,
) -> Any:
    """Time a part on random maps of `size` pixels, beside `against`; return its output.

    `against` is another part, by default the baseline's. `out_channels` are 32, or as many as come
    in where a slot keeps them; `place` are further fields of its `Place`. Raises UnknownName for
    slot or part, InvalidSuite for the device, and whatever the part raises.
    """
    from unet_bench.errors import unknown
    from unet_bench.host.device import indexed
    from unet_bench.networks.choices import SLOTS
    from unet_bench.testing.slots import brief

    if slot not in SLOTS:
        raise unknown("slot", slot, SLOTS, "unet-bench list parts")
    baseline = against or baseline_part(slot)
    where = place_of(slot, in_channels, out_channels, place)
    setting = setting_of(device, batch)
    parts = [built(slot, part, where, setting) for part in (name, baseline)]
    steps = [
        functools.partial(called, part, inputs_of(slot, part, where, tuple(size), setting))
        for part in parts
    ]
    about = {
        "slot": slot,
        "against": baseline,
        "variant": f"{slot}={name}",
        "baseline": f"{slot}={baseline}",
        "task": "part",
        **workload(setting, size, [slot, brief(where), list(size)]),
        "in_channels": where.in_channels,
    }
    return measure(benchmark, steps[0], steps[1], indexed(setting.device), about)


def called(part: nn.Module, inputs: Sequence[Any]) -> Any:
    """Return the part's output; a list of maps, which it may take maps out of, is copied first."""
    return part(*(list(maps) if isinstance(maps, list) else maps for maps in inputs))


def measure_variant(
    benchmark: Any,
    variant: str | Variant,
    *,
    size: tuple[int, int] = (128, 128),
    batch: int = 1,
    in_channels: int = 1,
    classes: int = 2,
    width_scale: float = 1.0,
    device: str = "cpu",
    against: str | Variant = "unet",
) -> Any:
    """Time a variant's forward pass, beside variant `against`; return its logits.

    `size` pixels are scored. Network and input are the `speed` probe's: from seed 0. Raises
    UnknownName, InvalidSuite for the device, Unsupported for a variant that cannot serve this size.
    """
    from unet_bench.measure.ready import prepare

    context = context_of(
        variant, against, size, in_channels, classes, width_scale, setting_of(device, batch)
    )
    cell = context.cell
    about = {
        "against": cell.baseline.name,
        "variant": cell.variant.name,
        "baseline": cell.baseline.name,
        "task": cell.task.name,
        "fit": cell.task.fit,
        **workload(cell.setting, size, [in_channels, classes]),
        "in_channels": in_channels,
        "classes": classes,
        "width_scale": width_scale,
    }
    candidate, baseline = prepare(context), prepare(context.baseline())
    return measure(benchmark, candidate.infer, baseline.infer, context.device, about)


def measure(
    benchmark: Any,
    candidate: Callable[[], Any],
    baseline: Callable[[], Any],
    device: torch.device,
    about: Mapping[str, Any],
) -> Any:
    """Time the candidate by pytest-benchmark, and its ratio to the baseline; return its output.

    The ratio is left out where pytest-benchmark is disabled.
    """
    import torch

    from unet_bench.host.device import synchroniser
    from unet_bench.host.environment import device_name
    from unet_bench.measure.clock import time_pair

    sync = synchroniser(device)

    def waited_for() -> Any:
        output = candidate()
        sync()
        return output

    about = {
        **about,
        "device_name": device_name(str(device)),
        "torch": torch.__version__,
        "env_id": env_id(),
    }
    with torch.inference_mode():
        output = benchmark(waited_for)
        if benchmark.enabled:
            timing = time_pair(candidate, baseline, budget_s=BUDGET_S, interval=INTERVAL, sync=sync)
            names = ("latency_ratio", "latency_ratio_ci_low", "latency_ratio_ci_high")
            ratio = zip(names, timing.ratio_interval(), strict=True)
            about |= {name: None if math.isnan(value) else value for name, value in ratio}
    benchmark.extra_info["unet_bench"] = about
    return output


# ---- what is measured


@functools.cache
def registry() -> Registry:
    """Load every installed plugin's parts and variants.

    Raises PluginFailure when one is broken.
    """
    from unet_bench.registry import plugins

    return plugins.load().checked()


@functools.cache
def env_id() -> str:
    """Return the environment's hash, as runs state it."""
    from unet_bench.host.environment import environment
    from unet_bench.host.survey import survey

    return str(environment(survey().names())["env_id"])


def setting_of(device: str, batch: int) -> Setting:
    """Return how it is run: as everything is by default.

    Raises InvalidSuite for a device that is not there.
    """
    import torch

    from unet_bench.host.survey import choose_device
    from unet_bench.spec.cell import Setting

    return Setting(device=choose_device(device), threads=torch.get_num_threads(), batch=batch)


def workload(setting: Setting, size: Sequence[int], further: Any) -> dict[str, Any]:
    """Return the columns by which results are matched.

    What has no column is hashed, as a data set's content is.
    """
    from dataclasses import asdict

    from unet_bench.spec.cell import digest

    columns = asdict(setting)
    columns["batch_requested"] = columns.pop("batch")
    return columns | {
        "dataset_hash": digest(further),
        "scored_height": size[-2],
        "scored_width": size[-1],
    }


def baseline_part(slot: str) -> str:
    """Return the part that the baseline has in a slot."""
    from unet_bench.networks.choices import Choices

    name = str(getattr(Choices(), slot))
    return Choices().encoder_block if name == "same" else name


def place_of(
    slot: str, in_channels: int, out_channels: int | None, changes: Mapping[str, Any]
) -> Place:
    """Return where contract checks first try the slot's parts, as wide as asked for.

    Encoders and topologies stand in a design whose widths fit one another: only `changes` are
    changed in it.
    """
    from unet_bench.testing.slots import CONTRACTS

    usual = next(CONTRACTS[slot](registry()).places(changes.get("dims", 2)))
    if usual.design is None:
        keeps = usual.in_channels == usual.out_channels
        usual = usual.at(
            in_channels=in_channels,
            out_channels=out_channels or (in_channels if keeps else 32),
            skip_channels=(in_channels,) if slot in ("align", "merge") else (),
            gate_channels=2 * in_channels if slot == "skip" else 0,
        )
    return usual.at(**changes)


def inputs_of(
    slot: str, part: nn.Module, place: Place, size: tuple[int, ...], setting: Setting
) -> Any:
    """Return random maps, from seed 0, of the shapes that the slot's contract gives its parts."""
    import torch
    from torch.utils._pytree import tree_map_only

    from unet_bench.testing.slots import CONTRACTS

    # The size is that of the up-sampled map, which has lost the margin on both sides.
    if slot == "align" and len(size) == place.dims:
        size = (*(side + 2 * place.margin for side in size), *size)
    with torch.device("meta"):
        shapes = CONTRACTS[slot](registry()).inputs(part, place, size)
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: torch.Tensor) -> torch.Tensor:
        return torch.randn((setting.batch, *shape.shape[1:]), generator=generator).to(
            setting.device
        )

    return tree_map_only(torch.Tensor, drawn, shapes)


def built(slot: str, name: str, place: Place, setting: Setting) -> nn.Module:
    """Return the part with the weights of seed 0, in evaluation mode, on the device."""
    from unet_bench.testing.case import seeded
    from unet_bench.testing.slots import made

    with seeded(0):
        return made(registry().find(slot, name), place).eval().to(setting.device)


def context_of(
    variant: str | Variant,
    against: str | Variant,
    size: tuple[int, int],
    in_channels: int,
    classes: int,
    width_scale: float,
    setting: Setting,
) -> MeasurementContext:
    """Return the context of a cell of the `speed` probe.

    Raises UnknownName, InvalidSuite, Unsupported.
    """
    from unet_bench.context import MeasurementContext
    from unet_bench.errors import InvalidSuite, Unsupported
    from unet_bench.models.build import with_width_scale
    from unet_bench.models.select import select
    from unet_bench.plan.examine import examine
    from unet_bench.spec.cell import Cell, Protocol, Task, digest

    task = Task(
        name="random",
        dataset_hash=digest([in_channels, classes]),
        classes=tuple(map(str, range(classes))),
        in_channels=in_channels,
        scored=size,
        fit="crop",
    )
    examined_networks = []
    for wanted in (variant, against):
        chosen = select(registry(), [wanted]) if isinstance(wanted, str) else [wanted]
        if len(chosen) != 1:
            raise InvalidSuite(f"{wanted!r} chooses {len(chosen)} variants: name just one")
        examined = examine(registry(), with_width_scale(chosen[0], width_scale), task)
        if examined.input_window is None:
            raise Unsupported(
                f"{chosen[0].name} cannot be run at {size[0]}x{size[1]}: {examined.reason}"
            )
        examined_networks.append((examined.variant, examined.input_window))
    (candidate, input_window), (baseline, baseline_window) = examined_networks
    return MeasurementContext(
        Cell(
            variant=candidate,
            input_window=input_window,
            baseline=baseline,
            baseline_input_window=baseline_window,
            task=task,
            setting=setting,
            protocol=Protocol(),
            probe="speed",
        ),
        registry(),
    )
