"""How a run goes about its cells: what options say, where jobs go, what a key takes of a machine."""

from __future__ import annotations

import pytest

from unet_bench.conduct import RETRIES, Conduct, parse_duration, parse_options, parse_retries
from unet_bench.errors import InvalidSuite
from unet_bench.execute import local
from unet_bench.execute.local import Local
from unet_bench.keys import surroundings


@pytest.mark.parametrize(
    ("text", "seconds"), [("9m", 540), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1.5m", 90), ("1d", 86400)]
)
def test_a_duration_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "9 minutes", "m9", "-1m", "0", "1e9", "9m!"])
def test_no_duration(text: str) -> None:
    with pytest.raises(InvalidSuite, match="time limit"):
        parse_duration(text)


def test_retries_of_every_kind_or_of_some() -> None:
    assert set(parse_retries("2").values()) == {2}
    assert parse_retries("timeout=3") == {**RETRIES, "timeout": 3}
    for wrong in ("oom=1", "killed", "killed=x", "-1"):
        with pytest.raises(InvalidSuite, match="retries"):
            parse_retries(wrong)


def test_options_have_a_name_and_a_value() -> None:
    assert parse_options(["partition=gpu", "setup=a=b"]) == {"partition": "gpu", "setup": "a=b"}
    for wrong in ("partition", "=gpu"):
        with pytest.raises(InvalidSuite, match="NAME=VALUE"):
            parse_options([wrong])


def test_failures_are_tried_again_unless_they_are_to_be_kept() -> None:
    assert [Conduct().keeps(status) for status in ("ok", "oom", "error", "killed")] == [True, True, False, False]
    assert all(Conduct(keep_failures=True).keeps(status) for status in RETRIES)


@pytest.mark.parametrize(
    ("devices", "visible", "asked", "names"),
    [
        ((), "", "cuda", ["0", "1", "2", "3"]),
        (("cuda:0", "cuda:2"), "", "cuda", ["0", "2"]),
        ((), "4,GPU-ab,6,7", "cuda", ["4", "GPU-ab", "6", "7"]),
        (("cuda:1",), "4,GPU-ab,6,7", "cuda", ["GPU-ab"]),
    ],
)
def test_each_place_shows_its_worker_one_gpu_alone(monkeypatch, devices, visible, asked, names) -> None:
    monkeypatch.setattr(local, "_gpus", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    places = Local(devices).places(asked)
    assert [place.environ["CUDA_VISIBLE_DEVICES"] for place in places] == names
    assert [place.name for place in places] == [f"cuda-{name}" for name in names]


def test_a_device_that_a_suite_names_is_one_place_and_the_cpu_as_many_as_it_is_named() -> None:
    assert [(p.name, dict(p.environ)) for p in Local().places("cuda:1")] == [("cuda-1", {})]
    assert [p.name for p in Local(["cpu"] * 3).places("cpu")] == ["cpu"] * 3
    assert [p.name for p in Local().places("cpu")] == ["cpu"]


def test_devices_of_one_kind_alone() -> None:
    with pytest.raises(InvalidSuite, match="leave one out"):
        Local(["cpu"]).device("cuda")
    assert Local(["cpu", "cpu"]).device("auto") == "cpu"
    with pytest.raises(InvalidSuite, match="takes no option"):
        Local([], {"partition": "gpu"})


def test_a_key_takes_of_a_machine_what_a_cell_sees() -> None:
    facts = dict.fromkeys(("system", "machine", "cuda", "cudnn"), "x") | {"python": "3", "packages": {}, "cpu": "A"}
    facts |= {"cores": 8, "kernel": "6"}
    eight, two, other = ({**facts, "gpus": gpus} for gpus in (["H100"] * 8, ["H100"] * 2, ["A100"]))
    here = [surroundings(machine, elsewhere=False) for machine in (eight, two, other)]
    assert here[0] == here[1] != here[2]
    assert surroundings(eight, elsewhere=True) == surroundings(other | {"cpu": "B"}, elsewhere=True)
