"""Energy on a synthetic clock and a fake NVML: joules are exact, or as exact as the counter's steps
allow.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from unet_bench.errors import Unsupported
from unet_bench.host.nvml import THROTTLE_BITS, Gpu, open_gpu
from unet_bench.measure import energy

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
UTILISATION = "nvmlDeviceGetProcessUtilization"
PROCESSES = "nvmlDeviceGetComputeRunningProcesses"
REAL_PROPERTIES = torch.cuda.get_device_properties


class NVMLError(Exception):
    pass


class NVMLLibraryMismatchError(Exception):  # pynvml derives it from Exception, too
    pass


def refuse(*_: Any) -> Any:
    raise NVMLError("Not Supported")


def process(pid: int, mib: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=None if mib is None else mib * 2**20)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A pynvml with two GPUs, `a` and `b`, of which CUDA_VISIBLE_DEVICES=1 has left `b`, as torch's
    GPU 0.
    """
    module: Any = ModuleType("pynvml")
    module.NVMLError, module.NVMLLibraryMismatchError = NVMLError, NVMLLibraryMismatchError
    module.nvmlInit = lambda: None

    def by(known: dict[Any, str]) -> Any:
        return lambda key: known[key] if key in known else refuse()

    module.nvmlDeviceGetHandleByUUID = by({"GPU-aaaa": "a", "GPU-bbbb": "b", "MIG-cccc": "slice"})
    module.nvmlDeviceGetHandleByPciBusId = by({"00000000:1a:00.0": "a", "00000000:af:00.0": "b"})
    module.nvmlDeviceGetHandleByIndex = by({0: "a", 1: "b"})
    monkeypatch.setitem(sys.modules, "pynvml", module)
    visible(monkeypatch, uuid="bbbb")
    return module


def visible(monkeypatch: pytest.MonkeyPatch, **properties: Any) -> None:
    """Torch sees one GPU, of these properties."""

    def get(device: Any) -> SimpleNamespace:
        assert (
            torch.device("cuda", device if isinstance(device, int) else device.index or 0).index
            == 0
        ), "invalid id"
        return SimpleNamespace(**properties)

    monkeypatch.setattr(torch.cuda, "get_device_properties", get)


class Machine:
    """A clock that steps advance at some power, and a counter that shows the joules in steps of
    `tick` seconds.
    """

    def __init__(self, tick: float = 0.0, drift: float = 0.0) -> None:
        self.time, self.joules, self.shown, self.tick, self.drift = 0.0, 0.0, 0.0, tick, drift
        self.calls: list[str] = []
        self.percents = {os.getpid(): 90}  # of the GPU's time, by pid

    def now(self) -> float:
        return self.time

    def step(self, name: str, seconds: float, watts: float) -> Any:
        def run() -> None:
            before = self.time
            self.calls.append(name)
            self.time += seconds
            self.joules += watts * seconds * (1 + self.drift * self.time)
            if not self.tick or self.time // self.tick > before // self.tick:
                self.shown = self.joules

        return run

    @property
    def gpu(self) -> Gpu:
        ask = {
            ENERGY: lambda _: self.shown * 1e3,
            PROCESSES: lambda _: [process(pid, 100) for pid in self.percents],
            UTILISATION: lambda _, since: [
                SimpleNamespace(pid=p, smUtil=u) for p, u in self.percents.items()
            ],
            "NVMLError": NVMLError,
        }
        return Gpu(SimpleNamespace(**ask), None)

    def measure(self, own: Any, base: Any, budget_s: float = 10) -> energy.Energy:
        return energy.measure(own, base, self.gpu, budget_s, images=4, now=self.now)


# ---- measuring


def test_constant_power_gives_exact_joules() -> None:
    machine = Machine()
    found = machine.measure(machine.step("a", 0.01, 300), machine.step("b", 0.02, 200))
    assert all(window.seconds >= energy.WINDOW_S for window in (*found.candidate, *found.baseline))
    columns = found.columns()
    assert columns.pop("energy_j_img") == pytest.approx(300 * 0.01 / 4)
    assert columns.pop("energy_ratio") == pytest.approx(300 * 0.01 / (200 * 0.02))
    assert columns.pop("power_w") == pytest.approx(300)
    assert columns == {"energy_windows": 4, "quality": "clean", "evidence": None}


def test_a_counter_that_moves_every_tenth_of_a_second_is_good_enough() -> None:
    machine = Machine(tick=0.1)
    own, base = machine.step("a", 0.0137, 500), machine.step("b", 0.0171, 50)
    found = machine.measure(own, base, budget_s=60)
    assert energy.joules_per_image(found.candidate) == pytest.approx(500 * 0.0137 / 4, rel=0.03)
    for (
        window
    ) in found.baseline:  # without a lead-in, joules of the thirstier network would count here
        assert window.joules / window.images == pytest.approx(50 * 0.0171 / 4, rel=0.04)
    assert found.columns()["energy_ratio"] == pytest.approx(500 * 0.0137 / (50 * 0.0171), rel=0.03)


def test_windows_alternate_so_that_drift_cancels() -> None:
    machine = Machine(drift=0.01)
    found = machine.measure(machine.step("a", 0.01, 300), machine.step("b", 0.01, 300))
    order = "".join(
        name for n, name in enumerate(machine.calls) if n == 0 or machine.calls[n - 1] != name
    )
    assert (
        order == "ab" + "ababa"
    )  # the warm-ups; then ABBA ABBA, where neighbours of one name run together
    assert found.columns()["energy_ratio"] == pytest.approx(1, abs=1e-3)


def test_queued_work_is_waited_for() -> None:
    machine, queue = Machine(), []

    def queued(name: str, seconds: float, watts: float) -> Any:
        work, launch = machine.step(name, seconds, watts), machine.step("launch", 1e-4, 0)
        return lambda: (launch(), queue.append(work))

    def sync() -> None:
        while queue:
            queue.pop(0)()

    own, base = queued("a", 0.01, 300), queued("b", 0.02, 200)
    found = energy.measure(own, base, machine.gpu, 10, images=4, now=machine.now, sync=sync)
    assert [
        energy.joules_per_image([w]) for w in (*found.candidate, *found.baseline)
    ] == pytest.approx([0.75] * 4 + [1.0] * 4)
    assert (
        max(window.seconds for window in (*found.candidate, *found.baseline))
        < energy.WINDOW_S + 2 * energy.CHUNK_S
    )


def test_a_larger_budget_measures_more() -> None:
    machine = Machine()
    found = machine.measure(machine.step("a", 0.01, 300), machine.step("b", 0.02, 200), budget_s=40)
    assert (len(found.candidate), len(found.baseline)) == (8, 8)


def test_kernels_of_a_second_process_contaminate_and_its_context_does_not() -> None:
    me = os.getpid()
    for percents, quality in (
        ({4242: 90}, "clean"),
        ({me: 90, 4242: 0}, "clean"),
        ({me: 60, 4242: 30}, "contaminated"),
    ):
        machine = Machine()
        machine.percents = percents
        step = machine.step("a", 0.01, 300)
        assert machine.measure(step, step).columns()["quality"] == quality


def test_a_counter_that_stands_still_is_no_counter() -> None:
    machine = Machine(tick=1e9)
    step = machine.step("a", 0.01, 300)
    with pytest.raises(Unsupported, match="stood still"):
        machine.measure(step, step)


# ---- the probe


@pytest.fixture(autouse=True)
def no_gpu_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_step", lambda context: lambda: torch.zeros(2))


def context(device: str, samples: Path | None = None) -> Any:
    return SimpleNamespace(
        device=torch.device(device),
        samples=samples,
        cell=SimpleNamespace(
            protocol=SimpleNamespace(speed_s=0.0), setting=SimpleNamespace(batch=2)
        ),
        baseline=lambda: None,
        precision=contextlib.nullcontext,
    )


def test_the_probe_returns_its_columns_and_keeps_its_windows(
    nvml: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synchronised: list[Any] = []
    monkeypatch.setattr(torch._C, "_accelerator_getAccelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch._C, "_accelerator_synchronizeDevice", synchronised.append)
    for name in ("WINDOW_S", "LEAD_S", "CHUNK_S"):
        monkeypatch.setattr(energy, name, 1e-3)
    reads = iter(range(0, 10**6, 500))
    setattr(nvml, ENERGY, lambda handle: next(reads) if handle == "b" else refuse())
    found = energy.probe(context("cuda:0", tmp_path / "raw.json"))
    raw = json.loads((tmp_path / "raw.json").read_text())
    assert set(found) == {
        "energy_j_img",
        "energy_ratio",
        "power_w",
        "energy_windows",
        "quality",
        "evidence",
    }
    assert [joules for joules, _, _ in raw["own"]] == [0.5] * found["energy_windows"] == [0.5] * 4
    assert found["energy_j_img"] == pytest.approx(2 / sum(images for _, images, _ in raw["own"]))
    assert synchronised
    assert set(synchronised) == {0}


def test_where_nothing_counts_joules_the_probe_says_so(
    nvml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(nvml, ENERGY, refuse)
    with pytest.raises(Unsupported, match=r"nvidia-ml-py\); this GPU has none"):
        energy.probe(context("cuda:0"))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unsupported, match=r"nvidia-ml-py\); NVML knows no GPU as cuda"):
        energy.probe(context("cuda:0"))


# ---- NVML


@pytest.mark.parametrize(
    ("properties", "handle"),
    [
        ({"uuid": "bbbb"}, "b"),
        ({"uuid": "cccc"}, "slice"),
        ({"uuid": "dddd", "pci_domain_id": 0, "pci_bus_id": 0xAF, "pci_device_id": 0}, "b"),
        ({}, "a"),
    ],
)
def test_a_gpu_is_found_by_what_renumbering_leaves(
    nvml: Any, monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any], handle: str
) -> None:
    visible(monkeypatch, **properties)
    for device in (0, torch.device("cuda"), torch.device("cuda:0")):
        gpu = open_gpu(device)
        assert gpu is not None
        assert gpu.handle == handle


def test_no_package_no_driver_or_no_such_gpu_is_none(
    nvml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_gpu(0) is not None
    assert open_gpu(1) is None
    visible(monkeypatch, uuid="dddd", pci_domain_id=1, pci_bus_id=0, pci_device_id=0)
    assert open_gpu(0) is None
    visible(monkeypatch, uuid="bbbb")
    nvml.nvmlInit = refuse
    assert open_gpu(0) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu(0) is None


@pytest.mark.parametrize("error", [AssertionError, RuntimeError, ValueError])
def test_a_device_that_torch_does_not_know_is_none(
    nvml: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "get_device_properties", fail)
    assert open_gpu(0) is None


def test_a_cpu_is_no_gpu(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", REAL_PROPERTIES)
    assert open_gpu(torch.device("cpu")) is None


@pytest.fixture
def gpu(nvml: ModuleType) -> Gpu:
    opened = open_gpu(0)
    assert opened is not None
    return opened


def test_readings_are_in_their_units(nvml: Any, gpu: Gpu) -> None:
    setattr(nvml, ENERGY, {"b": 1500}.get)
    nvml.nvmlDeviceGetTemperature = lambda _, sensor: {0: 61}[sensor]
    nvml.nvmlDeviceGetClockInfo = lambda _, clock: {0: 1, 1: 1980}[clock]
    nvml.nvmlDeviceGetUtilizationRates = lambda _: SimpleNamespace(gpu=97, memory=5)
    assert (gpu.energy_j(), gpu.temperature_c(), gpu.sm_clock_mhz(), gpu.utilisation()) == (
        1.5,
        61,
        1980,
        97,
    )


@pytest.mark.parametrize("error", [NVMLError, NVMLLibraryMismatchError, AttributeError])
def test_what_is_not_supported_is_none_or_empty(
    nvml: Any, gpu: Gpu, error: type[Exception]
) -> None:
    def fail(*_: Any) -> None:
        raise error

    functions = ("Temperature", "ClockInfo", "UtilizationRates", "CurrentClocksEventReasons")
    for name in (ENERGY, PROCESSES, *(f"nvmlDeviceGet{function}" for function in functions)):
        setattr(nvml, name, fail)
    assert [gpu.energy_j(), gpu.temperature_c(), gpu.sm_clock_mhz(), gpu.utilisation()] == [
        None
    ] * 4
    assert (gpu.throttle_reasons(), gpu.processes(), gpu.foreign_share(0.0)) == (
        frozenset(),
        {},
        None,
    )
    assert gpu.process_memory_mib(1) is None


def test_throttle_bits_have_names_and_idle_is_none_of_them(nvml: Any, gpu: Gpu) -> None:
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda _: 0x1 | 0x4 | 0x20
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _: 0x8 | 0x40 | 0x100
    assert gpu.throttle_reasons() == {"sw_power_cap", "sw_thermal"}
    nvml.nvmlDeviceGetCurrentClocksEventReasons = refuse
    assert gpu.throttle_reasons() == {"hw_slowdown", "hw_thermal"}
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda _: 0xFFF
    assert gpu.throttle_reasons() == set(THROTTLE_BITS.values())
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda _: 0x1
    assert gpu.throttle_reasons() == frozenset()


def test_memory_of_processes(nvml: Any, gpu: Gpu) -> None:
    setattr(nvml, PROCESSES, lambda _: [process(1, 500), process(2, 300), process(3, None)])
    assert [gpu.process_memory_mib(pid) for pid in (1, 3, 4)] == [500.0, None, None]


def samples(*of: tuple[int, int]) -> Any:
    return lambda _, since: [SimpleNamespace(pid=pid, smUtil=percent) for pid, percent in of]


def test_what_others_take_of_a_gpu_is_the_mean_of_their_samples(nvml: Any, gpu: Gpu) -> None:
    me = os.getpid()
    setattr(nvml, PROCESSES, lambda _: [process(me, 500), process(7, 300), process(8, 300)])
    setattr(nvml, UTILISATION, samples((me, 90), (7, 10), (7, 30), (8, 5)))
    assert gpu.foreign_share(0.0) == pytest.approx(0.25)
    setattr(nvml, UTILISATION, samples((7, 10)))  # this process computed nothing
    assert gpu.foreign_share(0.0) == pytest.approx(0.10)


def test_in_a_container_the_busiest_process_is_taken_for_this_one(nvml: Any, gpu: Gpu) -> None:
    setattr(nvml, PROCESSES, lambda _: [process(4242, 500), process(7, 300)])
    setattr(nvml, UTILISATION, samples((4242, 80), (7, 15)))
    assert gpu.foreign_share(0.0) == pytest.approx(0.15)
    setattr(nvml, UTILISATION, samples((4242, 80)))
    assert gpu.foreign_share(0.0) == 0


def test_no_samples_are_no_work_and_no_answer_is_none(nvml: Any, gpu: Gpu) -> None:
    class NotFound(NVMLError):
        pass

    def none_since(*_: Any) -> None:
        raise NotFound

    nvml.NVMLError_NotFound = NotFound
    setattr(nvml, UTILISATION, none_since)
    assert gpu.foreign_share(0.0) == 0
    setattr(nvml, UTILISATION, refuse)
    assert gpu.foreign_share(0.0) is None


def test_where_processes_are_not_told_apart_the_gpu_is_looked_at_at_rest(
    nvml: Any, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("unet_bench.host.nvml.time.sleep", slept.append)
    nvml.nvmlDeviceGetUtilizationRates = lambda _: SimpleNamespace(gpu=40, memory=5)
    setattr(nvml, PROCESSES, lambda _: [process(os.getpid(), 500)])
    assert (gpu.share_at_rest(), slept) == (0.0, [])
    setattr(nvml, PROCESSES, lambda _: [process(os.getpid(), 500), process(7, 300)])
    assert gpu.share_at_rest() == pytest.approx(0.4)
    assert slept
