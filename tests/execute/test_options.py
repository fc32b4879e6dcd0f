"""How a run goes about its cells: options, where jobs go, what a key takes of a machine."""

from __future__ import annotations

import math

import pytest

from unet_bench.errors import InvalidSuite
from unet_bench.execute.local import Local, local_device_of
from unet_bench.execute.options import (
    RETRIES,
    ExecutionOptions,
    parse_options,
    parse_retries,
    parse_time_limit,
)
from unet_bench.host import survey
from unet_bench.host.survey import DeviceFacts, Survey
from unet_bench.plan.fingerprint import environment_facts
from unet_bench.spec.suite import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("9m", 540), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1.5m", 90), ("1d", 86400)],
)
def test_a_duration_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_no_time_limit_is_asked_for_by_name() -> None:
    assert (parse_time_limit("none"), parse_time_limit("9m")) == (math.inf, 540)


@pytest.mark.parametrize("text", ["", "9 minutes", "m9", "-1m", "0", "1e9", "9m!"])
def test_no_duration(text: str) -> None:
    with pytest.raises(InvalidSuite, match="time limit"):
        parse_duration(text)


def test_retries_of_every_kind_or_of_some() -> None:
    assert set(parse_retries(["2"]).values()) == {2}
    assert parse_retries(["timeout=3"]) == {**RETRIES, "timeout": 3}
    assert parse_retries(["killed=2", "timeout=3"]) == {**RETRIES, "killed": 2, "timeout": 3}
    for wrong in ("oom=1", "killed", "killed=x", "-1", "=2"):
        with pytest.raises(InvalidSuite, match="retries"):
            parse_retries([wrong])


def test_options_have_a_name_and_a_value() -> None:
    assert parse_options(["partition=gpu", "setup=a=b"]) == {"partition": "gpu", "setup": "a=b"}
    for wrong in ("partition", "=gpu"):
        with pytest.raises(InvalidSuite, match="NAME=VALUE"):
            parse_options([wrong])


def test_failures_are_tried_again_unless_they_are_to_be_kept() -> None:
    assert [ExecutionOptions().keeps(status) for status in ("ok", "oom", "error", "killed")] == [
        True,
        True,
        False,
        False,
    ]
    assert all(ExecutionOptions(keep_failures=True).keeps(status) for status in RETRIES)


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with four of them, the third of which cannot be used."""
    gpus = [
        DeviceFacts(f"cuda:{i}", f"GPU {i}", problem="broken" if i == 2 else "") for i in range(4)
    ]
    monkeypatch.setattr(survey, "survey", lambda: Survey(tuple(gpus)))


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("devices", "visible", "names"),
    [
        ((), "", ["0", "1", "3"]),
        (("cuda:0", "cuda:2"), "", ["0", "2"]),
        ((), "4,GPU-ab,6,7", ["4", "GPU-ab", "7"]),
        (("cuda:1",), "4,GPU-ab,6,7", ["GPU-ab"]),
    ],
)
def test_each_place_shows_its_worker_one_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], visible: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    places = Local(devices).places("cuda", 1)
    assert [place.environ["CUDA_VISIBLE_DEVICES"] for place in places] == names
    assert [place.name for place in places] == [f"cuda-{name}" for name in names]
    assert all(place.model for place in places)


def test_on_rocm_its_own_variable_goes_before_cudas_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.version.hip", "6.4")
    gpu = DeviceFacts("cuda:1", "MI300X")
    for variable, shown in (("CUDA_VISIBLE_DEVICES", "4,5"), ("HIP_VISIBLE_DEVICES", "6,7")):
        monkeypatch.setenv(variable, shown)
        assert local_device_of(gpu, alone=True).environ == {"HIP_VISIBLE_DEVICES": shown[-1]}


def test_a_place_goes_by_its_gpus_identity() -> None:
    """In a share of a node every GPU may be number 0, and two must not be taken for one."""
    first, second = (DeviceFacts("cuda:0", "A", identity=f"{n}badf00d-1234") for n in (1, 2))
    assert [local_device_of(gpu, alone=True).name for gpu in (first, second)] == [
        "cuda-1badf00d",
        "cuda-2badf00d",
    ]


@pytest.mark.usefixtures("four_gpus")
def test_a_device_that_a_suite_names_is_one_place_and_the_cpu_as_many_as_it_is_named() -> None:
    [place] = Local().places("cuda:1", 1)
    assert (place.name, dict(place.environ), place.model) == ("cuda-1", {}, "GPU 1")
    assert [p.name for p in Local(["cpu"] * 3).places("cpu", 1)] == ["cpu"] * 3
    assert [p.name for p in Local().places("cpu", 10_000)] == ["cpu"]


def test_where_no_gpu_can_be_used_any_more_there_is_a_place_where_workers_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(survey, "survey", lambda: Survey(problem="cuda cannot be started"))
    assert len(Local().places("cuda", 1)) == 1


def test_devices_of_one_kind_alone() -> None:
    with pytest.raises(InvalidSuite, match="leave one out"):
        Local(["cpu"]).device("cuda")
    assert Local(["cpu", "cpu"]).device("auto") == "cpu"
    with pytest.raises(InvalidSuite, match="takes no option"):
        Local([], {"partition": "gpu"})


def test_a_key_takes_of_a_machine_what_a_cell_sees() -> None:
    facts = dict.fromkeys(("system", "machine", "cuda", "cudnn"), "x") | {
        "python": "3",
        "packages": {},
        "cpu": "A",
    }
    facts |= {"cores": 8, "kernel": "6"}
    eight, two, other = ({**facts, "gpus": gpus} for gpus in (["H100"] * 8, ["H100"] * 2, ["A100"]))
    here = [environment_facts(machine, remote=False) for machine in (eight, two, other)]
    assert here[0] == here[1] != here[2]
    assert environment_facts(eight, remote=True) == environment_facts(
        other | {"cpu": "B"}, remote=True
    )
