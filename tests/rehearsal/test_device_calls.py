"""Every call that is made to a device, through torch's own Python and its checks, down to C code
that is replaced.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support import device_calls
from support.device_calls import GIB, Calls, replace_c_level

import unet_bench
from unet_bench.context import prepare_process
from unet_bench.errors import InvalidSuite
from unet_bench.host import device

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

pytestmark = pytest.mark.rehearsal
KINDS = ("cuda", "xpu", "mps")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def calls(kind: str, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return replace_c_level(kind, monkeypatch)


@pytest.mark.parametrize(
    ("name", "is_then"),
    [
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        ("xpu", "xpu:0"),
        ("mps", "mps:0"),
        ("cpu", "cpu"),
        ("meta", "meta"),
    ],
)
def test_an_accelerators_index_is_always_stated(name: str, is_then: str) -> None:
    assert str(device.indexed(name)) == is_then


@pytest.mark.parametrize("name", ["hpu", "mtia", "privateuseone", "xla:1"])
def test_what_torch_knows_and_we_do_not_is_told_so(name: str) -> None:
    with pytest.raises(InvalidSuite, match="it could not wait for them"):
        device.indexed(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:-1"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(InvalidSuite, match="is not valid"):
        device.indexed(name)


def test_the_process_is_prepared_on_the_device_of_its_cell(
    context_of: Callable[..., MeasurementContext],
    kind: str,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unet_bench.context.keep_freed_memory", lambda: None)
    threads = torch.get_num_threads()
    context = context_of("unet", device=kind, threads=threads)
    prepare_process(context.cell, context.probe)
    assert calls.arguments("_accelerator_setDeviceIndex") == [(0,)]
    if kind != "mps":
        prepare_process(context_of("unet", device=f"{kind}:1", threads=threads).cell, context.probe)
        assert calls.arguments("_accelerator_setDeviceIndex")[-1] == (1,)


def test_a_limit_of_memory_is_a_part_of_the_devices_own(
    context_of: Callable[..., MeasurementContext],
    kind: str,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unet_bench.context.keep_freed_memory", lambda: None)
    context = context_of(
        "unet", device=kind, threads=torch.get_num_threads(), protocol={"memory_limit_mib": 2048.0}
    )
    prepare_process(context.cell, context.probe)
    [(part, *index)] = calls.arguments(f"_{kind}_setMemoryFraction")
    assert part == pytest.approx(2 * GIB / (8 * GIB))
    assert index == ([] if kind == "mps" else [0])


def test_it_is_waited_for(kind: str, calls: Calls) -> None:
    device.synchroniser(device.indexed(kind))()
    assert calls.arguments("_accelerator_synchronizeDevice") == [(0,)]
    device.synchroniser(torch.device("cpu"))()
    assert len(calls) == 1


def test_memory_is_counted(kind: str, calls: Calls) -> None:
    where = device.indexed(kind)
    device.empty_cache(where)
    device.reset_peak(where)
    assert device.memory_statistics(where)["allocated_bytes.all.peak"] == 7 * 2**20
    assert device.free_memory(where) == 6 * GIB
    assert {"_accelerator_emptyCache", "_accelerator_resetPeakStats"} <= set(calls.names())


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
@pytest.mark.parametrize(
    ("ask", "c_name"),
    [
        (device.memory_statistics, "_accelerator_getDeviceStats"),
        (device.free_memory, "_accelerator_getMemoryInfo"),
        (device.reset_peak, "_accelerator_resetPeakStats"),
        (device.empty_cache, "_accelerator_emptyCache"),
    ],
)
def test_a_failure_of_the_device_is_not_taken_for_an_allocator_that_keeps_no_count(
    kind: str, ask: Callable[[torch.device], object], c_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_c_level(kind, monkeypatch)

    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch._C, c_name, fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        ask(device.indexed(kind))


def test_it_says_what_it_is(kind: str, calls: Calls) -> None:
    where = device.indexed(kind)
    assert device.name_of(where)
    assert isinstance(device.identity_of(where), str)
    assert "fp16" in device.precisions(where)


@pytest.mark.parametrize(
    ("capability", "half"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((12, 0), "bf16")]
)
def test_emulated_number_formats_are_not_native(
    capability: tuple[int, int], half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_c_level("cuda", monkeypatch)
    monkeypatch.setattr(device_calls.PROPERTIES, "major", capability[0])
    monkeypatch.setattr(device_calls.PROPERTIES, "minor", capability[1])
    where = device.indexed("cuda")
    assert device.mixed_precision(where) == half
    assert (
        ("tf32" in device.precisions(where))
        == ("bf16" in device.precisions(where))
        == (half == "bf16")
    )


def test_on_rocm_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_c_level("cuda", monkeypatch)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert device.precisions(device.indexed("cuda")) == (
        "fp32",
        "fp16",
        "bf16",
        "tf32",
    )  # of gfx942
    assert device.visible_variable("cuda") == "HIP_VISIBLE_DEVICES"


def test_a_graph_is_captured_on_a_stream_of_the_device(
    context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warm-up on a side stream, the peak reset just before the capture, no weight cast kept from
    the warm-up.
    """
    import contextlib

    from unet_bench.measure import in_torch

    calls = replace_c_level("cuda", monkeypatch)
    context = context_of("unet", device="cuda", runtime="cudagraphs", precision="bf16")
    events: list[str] = []

    class Stream:
        def __init__(self, device: torch.device) -> None:
            assert device == torch.device("cuda", 0)

        def wait_stream(self, other: Stream) -> None:
            events.append("waits")

    @contextlib.contextmanager
    def capture(graph: object):
        events.append("captures")
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    here = replace(context, stand_in="cpu")
    model = here.network().eval()

    def passed(module: object, *_: object) -> None:
        assert not torch.is_autocast_cache_enabled()
        events.append("passes")

    model.register_forward_hook(passed)
    monkeypatch.setattr(in_torch, "reset_peak", lambda _: events.append("resets"))
    monkeypatch.setattr(type(context), "network", lambda *_, **__: model)
    images = here.images()
    run = in_torch.captured(bench_on_host(context), model, images)
    assert events == ["waits", *["passes"] * 3, "waits", "resets", "captures", "passes"]
    assert run.captured_bytes == 7 * 2**20
    assert calls.arguments("_accelerator_synchronizeDevice")


def bench_on_host(context: MeasurementContext) -> MeasurementContext:
    """A bench whose device is CUDA's by name, and whose autocast is the host's."""

    class OnHost(type(context)):  # type: ignore[misc]
        def precision(self, *, cache: bool = True):
            return torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=cache)

    return OnHost(context.cell, context.registry)


# ---- one module

ELSEWHERE = {  # what has no name in `torch.accelerator`, and where it is used
    "measure/in_torch.py": {"CUDAGraph", "Stream", "current_stream", "graph", "stream"},
    "measure/speed.py": {"_sleep"},
    "host/nvml.py": {"get_device_properties"},
    "host/survey.py": {"get_arch_list", "get_device_capability"},
    "execute/forkserver.py": {"is_initialized"},
    "execute/worker.py": {"device_count"},
}


def test_what_differs_between_kinds_of_device_is_said_in_one_module() -> None:
    """`torch.cuda.…` and the like stand in `host/device.py`, and elsewhere only where they are
    listed.
    """
    root = Path(unet_bench.__file__).parent
    found: dict[str, set[str]] = {}
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(ast.Attribute(ast.Name("torch"), "cuda" | "mps" | "xpu"), attr):
                    found.setdefault(file.relative_to(root).as_posix(), set()).add(attr)
    found.pop("host/device.py")
    assert found == ELSEWHERE
