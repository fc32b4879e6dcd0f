"""The real command line on a host with GPUs, usable or not: `support/gpu_host`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unet_bench import read_results

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(sys.platform != "linux", reason="its world is one of Linux's processes"),
]
HOST = Path(__file__).parents[1] / "support" / "gpu_host"
TINY = (
    "--size",
    "32x32",
    "--width-scale",
    "0.0625",
    "--batch",
    "2",
    "--steps",
    "2",
    "--speed-s",
    "0.2",
)
SMALL = ("--preset", "quick", *TINY, "--threads", "1", "--examples", "0")


class Host:
    """A world with GPUs; `run` is a command in it."""

    def __init__(self, folder: Path, faults: tuple[str, ...]) -> None:
        self.folder = folder
        (folder / "world" / "contexts").mkdir(parents=True)
        self.environment = {
            **os.environ,
            "UNET_BENCH_GPU_HOST": str(folder / "world"),
            "UNET_BENCH_GPU_FAULTS": ",".join(faults),
            "PYTHONPATH": str(HOST),
            "TMPDIR": str(folder),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "160",
        }
        self.environment.pop("CUDA_VISIBLE_DEVICES", None)

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "unet_bench", *command]
        return subprocess.run(
            arguments,
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def measured(self, *options: str, **more: str) -> Any:
        """The cells of a run, which ended well."""
        done = self.run("run", *SMALL, *options, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return read_results(self.last(), "cells")

    def last(self) -> Path:
        """The folder of the last run."""
        folders = (path for path in (self.folder / "results").iterdir() if path.is_dir())
        return max(folders, key=lambda path: path.stat().st_mtime)

    def contexts(self) -> set[tuple[str, str]]:
        """Which GPUs what kinds of process had contexts on: (GPU, role)."""
        events = (self.folder / "world" / "events.log").read_text().splitlines()
        words = [line.split(maxsplit=4) for line in events if " context " in line]
        return {(word[2], word[4]) for word in words}

    def refusals(self) -> list[str]:
        """Contexts that an exclusive GPU refused."""
        events = self.folder / "world" / "events.log"
        return [line for line in events.read_text().splitlines() if " refused " in line]


def is_known(value: Any) -> bool:
    return bool(pd.notna(value))


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Host]:
    return lambda *faults: Host(tmp_path, faults)


# ---- a GPU that is as it should be


def test_every_probe_runs_and_nobody_but_workers_has_a_context(host: Callable[..., Host]) -> None:
    """The GPU is one process's alone: whoever else wants a context is refused."""
    here = host("exclusive")
    cells = here.measured(
        "-v", "unet", "--probes", "cost,speed,memory,accuracy,training", "--no-floors"
    )
    assert set(cells["status"]) == {"ok"}, cells["error"].tolist()
    assert set(cells["device"]) == {"cuda"}
    assert set(cells["device_name"]) == {"Stand-in GPU A"}
    assert here.contexts() == {("0", "survey"), ("0", "worker")}
    assert not here.refusals()
    speed = cells.set_index("probe").loc["speed"]
    assert is_known(speed["latency_ms"])
    assert (speed["foreign_gpu_share"], speed["gpu_clock_mhz"], speed["gpu_power_w"]) == (
        0,
        1700,
        300,
    )
    memory = cells.set_index("probe").loc["memory"]
    assert memory["peak_memory_mib"] == memory["requested_memory_mib"] == 123
    assert memory["process_memory_mib"] == 500
    training = cells.set_index("probe").loc["accuracy"]
    assert (training["train_precision"], training["train_memory_format"]) == (
        "bf16",
        "channels_last",
    )


def test_joules_are_counted_and_batches_tried(host: Callable[..., Host]) -> None:
    cells = host().measured("-v", "unet", "--probes", "energy,batch", "--memory-limit", "64M")
    assert set(cells["status"]) == {"ok"}, cells["error"].tolist()
    energy, batch = (cells.set_index("probe").loc[probe] for probe in ("energy", "batch"))
    assert energy["energy_j_img"] > 0
    assert energy["quality"] == "clean"
    assert batch["largest_batch"] >= 1


def test_half_precision_and_graphs(host: Callable[..., Host]) -> None:
    options = (
        "--mode",
        "eager,cudagraphs",
        "--precision",
        "bf16",
        "--memory-format",
        "channels_last",
    )
    cells = host().measured("-v", "unet", *options, "--probes", "speed,memory")
    assert (len(cells), set(cells["status"])) == (4, {"ok"}), cells["error"].tolist()


def test_plans_and_doctors_leave_no_context_and_say_what_is_there(
    host: Callable[..., Host],
) -> None:
    here = host("gpus=2")
    done = here.run("doctor")
    assert done.returncode == 0, done.stderr
    assert "cuda:1: Stand-in GPU B, compute capability 9.0, fp32/tf32/fp16/bf16" in done.stdout
    assert "580.65.06" in done.stdout
    planned = here.run("plan", "-v", "unet", *SMALL, "--json")
    assert planned.returncode == 0, planned.stderr
    assert {cell["setting"]["device"] for cell in json.loads(planned.stdout)} == {"cuda"}
    assert {role for _, role in here.contexts()} == {"survey"}


def test_without_arguments_a_gpu_has_a_first_look_of_limited_length(
    host: Callable[..., Host],
) -> None:
    """Its cells; what else belongs to a first look is foreseen in half a minute, and tested with
    the presets.
    """
    done = host().run("plan", "--json", "--probes", "cost")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert {"unet", "unet-paper", "segnet"} < {cell["variant"] for cell in cells}
    assert 30 <= len(cells) <= 34


# ---- several GPUs


def test_trainings_are_spread_and_each_row_names_its_own_gpu(host: Callable[..., Host]) -> None:
    here = host("gpus=2")
    cells = here.measured(
        "-v", "unet,unet-add,unet-same", "--probes", "accuracy", "--no-floors", "--seeds", "0,1"
    )
    assert set(cells["status"]) == {"ok"}, cells["error"].tolist()
    assert set(cells["device_name"]) == {"Stand-in GPU A", "Stand-in GPU B"}
    assert cells.groupby("place")["device_name"].nunique().tolist() == [1, 1]
    assert here.contexts() == {(gpu, role) for gpu in "01" for role in ("survey", "worker")}


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--devices", "cuda:1"], {}),
        (["--device", "cuda:1"], {}),
        ([], {"CUDA_VISIBLE_DEVICES": "GPU-00000001-aaaa-bbbb-cccc-dddddddddddd"}),
    ],
)
def test_one_of_several_can_be_named(
    host: Callable[..., Host], options: list[str], environment: dict[str, str]
) -> None:
    here = host("gpus=2")
    cells = here.measured("-v", "unet", "--probes", "speed", *options, **environment)
    assert set(cells["status"]) == {"ok"}, cells["error"].tolist()
    assert set(cells["device_name"]) == {"Stand-in GPU B"}
    assert set(cells["place"]) == {
        "cuda-00000001"
    }  # by its identity: within a share of a node it may be number 0
    assert ("1", "worker") in here.contexts()
    assert ("0", "worker") not in here.contexts()


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(host: Callable[..., Host]) -> None:
    done = host("gpus=2").run("run", "-v", "unet", *SMALL, "--device", "cuda:5")
    assert done.returncode == 2
    assert "'cuda:5' is not available here; these are: cpu, cuda:0, cuda:1" in done.stderr


# ---- other people's work, and clocks


@pytest.mark.parametrize(
    ("faults", "share"),
    [
        (("desktop",), 0.0),
        (("busy",), 0.4),
        (("busy", "unsaid"), 0.4),
        (("desktop", "unsaid"), 0.0),
    ],
)
def test_others_contexts_are_harmless_and_their_work_is_not(
    host: Callable[..., Host], faults: tuple[str, ...], share: float
) -> None:
    [cell] = host(*faults).measured("-v", "unet", "--probes", "speed").to_dict("records")
    assert cell["foreign_gpu_share"] == pytest.approx(share)
    assert ("of the GPU's time" in str(cell["evidence"])) == (share > 0)
    if share:
        assert cell["quality"] == "contaminated"
        assert not is_known(cell["latency_ms"])


def test_a_power_limit_is_a_label_and_times_stay(host: Callable[..., Host]) -> None:
    [cell] = host("capped").measured("-v", "unet", "--probes", "speed").to_dict("records")
    assert "sw_power_cap" in cell["evidence"]
    assert cell["quality"] == "throttled"
    assert is_known(cell["latency_ms"])


def test_what_nobody_watches_is_not_called_clean(host: Callable[..., Host]) -> None:
    [cell] = host("noself").measured("-v", "unet", "--probes", "speed").to_dict("records")
    assert cell["quality"] == "unwatched"
    assert "NVML does not know it" in cell["evidence"]


# ---- GPUs that cannot be used, or not for all


def test_emulated_formats_are_rows_with_their_reason(host: Callable[..., Host]) -> None:
    here = host("sm75")
    options = ("--precision", "bf16,tf32,fp16", "--probes", "speed,accuracy", "--no-floors")
    done = here.run("run", "-v", "unet", *SMALL, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = read_results(here.last(), "cells").set_index(["probe", "precision"])
    assert cells.loc[("speed", "fp16"), "status"] == "ok"
    for precision in ("bf16", "tf32"):
        assert cells.loc[("speed", precision), "status"] == "unsupported"
        assert "not native" in cells.loc[("speed", precision), "error"]
    assert cells.loc[("accuracy", "fp16"), "status"] == "ok"


def test_mixed_precision_is_fp16_where_bf16_is_emulated(host: Callable[..., Host]) -> None:
    [cell] = (
        host("sm75")
        .measured("-v", "unet", "--probes", "accuracy", "--no-floors")
        .to_dict("records")
    )
    assert cell["train_precision"] == "fp16"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("olddriver", ("driver on your system is too old", "built for CUDA", "a newer driver")),
        ("sm61", ("no kernel image", "sm_75, sm_90", "built for this GPU")),
        ("full", ("out of memory", "nvidia-smi")),
    ],
)
def test_a_gpu_that_cannot_be_used_is_told_with_the_remedy(
    host: Callable[..., Host], fault: str, words: tuple[str, ...]
) -> None:
    here = host(fault)
    doctor = here.run("doctor")
    refused = here.run("run", "-v", "unet", *SMALL, "--device", "cuda")
    assert (doctor.returncode, refused.returncode) == (0, 2), doctor.stderr
    for word in words:
        assert word in doctor.stdout
        assert word in refused.stderr
    assert "Traceback" not in doctor.stderr + refused.stderr


def test_where_no_gpu_can_be_used_the_processor_is_and_that_is_said(
    host: Callable[..., Host],
) -> None:
    here = host("olddriver")
    fallen_back = here.run("run", "-v", "unet", *SMALL, "--probes", "cost")
    assert fallen_back.returncode == 0
    assert "too old" in fallen_back.stderr  # a note: it was not asked for the processor
    on_cpu = here.run("plan", "-v", "unet", *SMALL, "--device", "cpu")
    assert on_cpu.returncode == 0, on_cpu.stderr
    assert "too old" not in on_cpu.stderr


# ---- long runs


def test_a_run_that_was_cut_short_goes_on(host: Callable[..., Host]) -> None:
    here = host()
    options = ("-v", "unet,unet-add", "--probes", "cost,accuracy", "--no-floors")
    cut = here.run("run", *SMALL, *options, "--time-limit", "1s")
    assert cut.returncode == 75, cut.stderr
    assert "cells are left (cost of unet" in cut.stderr
    done = here.run("run", "--resume", "last")
    assert done.returncode == 0, done.stderr
    cells = read_results(here.last(), "cells")
    assert (len(cells), set(cells["status"])) == (4, {"ok"})


# ---- the certificate, and the self-test in it


def certificate_in(folder: Path) -> Any:
    return json.loads((folder / "certificate.json").read_text())


def test_a_certificate_that_was_killed_goes_on_and_is_given(host: Callable[..., Host]) -> None:
    here = host("peak=33")
    command = [sys.executable, "-m", "unet_bench", "certify", "--minutes", "8"]
    with subprocess.Popen(
        command,
        cwd=here.folder,
        env=here.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "clocks unet" in line:
                break
        child.kill()
    folder = here.last()
    assert not (folder / "certificate.json").exists()
    done = here.run("certify", "--resume", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "certified: Stand-in GPU A (cuda:0); all 6 checks passed" in done.stdout
    assert len([*folder.glob("clocks/*/run.json")]) == 1
    found = certificate_in(folder)
    assert [check["status"] for check in found["checks"]] == ["passed"] * 6
    for check in found["checks"]:
        assert (folder / check["evidence"]).exists(), check["name"]
    assert (folder / "report.html").exists()
    assert folder.with_name(f"{folder.name}.zip").exists()
    assert {role for _, role in here.contexts()} == {"survey", "worker"}


def test_memory_that_was_not_foreseen_fails_a_certificate(host: Callable[..., Host]) -> None:
    """Its allocator counts 123 MiB, whatever is computed.

    The GPU is one process's alone, so that workers which share it fail, and are tried again.
    """
    here = host("exclusive")
    done = here.run("certify", "--minutes", "6", UNET_BENCH_GPU_CHECK="memory")
    assert done.returncode == 1, done.stdout + done.stderr
    assert here.refusals()
    environment, memory = certificate_in(here.last())["checks"]
    assert (environment["status"], memory["status"]) == ("passed", "failed")
    assert len(memory["problems"]) == 3
    for problem in memory["problems"]:
        assert "was predicted to peak at" in problem
        assert "and did at 123.0" in problem
    assert [*(here.last() / memory["evidence"]).rglob("cells.csv")]


# ---- a host without a GPU


def test_a_gpu_that_is_elsewhere_can_be_planned_for(unet_bench: Callable[..., Any]) -> None:
    done = unet_bench("plan", "-v", "unet", *SMALL, "--device", "cuda", "--probes", "speed,memory")
    assert done.returncode == 0, done.stderr
    assert "not on this machine" in done.stderr
    assert unet_bench("plan", "-v", "unet", *SMALL, "--device", "hpu").returncode == 2
