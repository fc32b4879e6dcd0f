"""How networks are run: folded, compiled, and what cannot be had on a CPU."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
import torch
from support.variants import VARIANTS
from torch import Tensor, nn

from unet_bench import run
from unet_bench.errors import Unsupported
from unet_bench.measure import memory, speed
from unet_bench.measure.folding import fold_batch_norm
from unet_bench.measure.in_torch import graphs_compiled
from unet_bench.measure.ready import prepare
from unet_bench.networks.contracts import main_output

ME = "test_runtime"
NORMED = nn.modules.batchnorm._BatchNorm


def trained(model: nn.Module) -> nn.Module:
    """The network with batch norms that do something: fresh ones hardly change their input."""
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, NORMED):
            for tensor in (norm.running_mean, norm.bias):
                tensor.data.normal_(std=0.3, generator=generator)
            for tensor in (norm.running_var, norm.weight):
                tensor.data.uniform_(0.6, 1.6, generator=generator)
    return model.eval()


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


# ---- folding


NEVER_FED_BY_A_CONVOLUTION = (
    "unet-norm-last",
    "unet-recurrent",
)  # alone: an activation between, or used again
REFUSED = ("resunet++",)


@pytest.mark.parametrize("name", [p for p in VARIANTS if p.values[0] not in REFUSED])
def test_folding_changes_the_network_and_not_its_output(context_of, name: str) -> None:
    context = context_of(name, batch=1)
    model, images = trained(context.network()), context.images()
    norms = count(model, NORMED)
    with torch.inference_mode():
        before = main_output(model(images))
        folded = fold_batch_norm(model, images)
        after = main_output(model(images))
    assert bool(folded) == bool(norms and name not in NEVER_FED_BY_A_CONVOLUTION)
    assert count(model, NORMED) == norms - folded
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4 * float(before.abs().max()))


class Net(nn.Module):
    """A convolution and a batch norm, and whatever a test does with them."""

    def __init__(self, in_channels: int = 1, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 3, padding=1)
        self.norm = nn.BatchNorm2d(classes)
        self.more = nn.Conv2d(classes, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ConvTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(self.more(x)) + self.more(x)


class NormTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.more(self.norm(self.conv(x))))


class UsedElsewhere(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) + x


class ActivatedInPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu_(self.conv(x)))


@pytest.mark.parametrize("kind", [Net, ConvTwice, NormTwice, UsedElsewhere, ActivatedInPlace])
def test_what_may_not_be_folded_is_refused_or_left(kind: type[Net]) -> None:
    torch.manual_seed(0)
    model, images = trained(kind()), torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        before = model(images)
        try:
            folded = fold_batch_norm(model, images)
        except Unsupported:
            assert kind is not Net
            return
        assert folded == (kind is Net)
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["UsedElsewhere", "ActivatedInPlace"])
def test_it_is_refused_for_fresh_networks_too(context_of, kind: str) -> None:
    with pytest.raises(Unsupported):
        prepare(context_of(f"{ME}:{kind}", batch_norm="folded"))


def test_a_folded_network_is_prepared_and_its_training_is_left_out(context_of) -> None:
    context = context_of(batch_norm="folded")
    own = prepare(context)
    assert count(own.model, NORMED) == 0
    torch.testing.assert_close(own.infer(), prepare(context_of()).infer(), rtol=1e-3, atol=1e-4)
    assert {name for name, value in memory.probe(context).items() if value is not None} <= {
        "peak_memory_mib", "live_memory_mib", "rss_memory_mib", "memory_source",
    }  # fmt: skip


# ---- what cannot be had


@pytest.mark.parametrize(
    ("setting", "probe", "words"),
    [
        ({"precision": ["tf32"]}, "speed", "tf32 needs a CUDA device"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ({"runtime": ["cudagraphs"]}, "speed", "cudagraphs needs a CUDA device"),
                ({"runtime": ["cudagraphs"]}, "training", "cudagraphs"),
                ({"batch_norm": ["folded"]}, "training", "cannot be folded while training"),
            )
        ),
    ],
)
def test_what_cannot_be_had_is_a_row_with_its_reason(
    tmp_path: Path, setting: dict, probe: str, words: str
) -> None:
    frame = run(
        "unet,unet-same",
        out=tmp_path,
        probes=[probe],
        data=["cells"],
        size="32x32",
        device="cpu",
        **setting,
    )
    assert set(frame[f"{probe}_status"]) == {"unsupported"}
    assert frame["error"].str.contains(words).all()


# ---- compiling


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch):
    """Compile with the tracer alone: the same guards and graphs, without generating code."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    yield
    torch._dynamo.reset()


class Counts(Net):
    """Depends on a number that is another one at each step."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return self.conv(x) * self.steps


class Breaks(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        torch._dynamo.graph_break()
        return self.norm(x)


@pytest.mark.usefixtures("traced")
def test_compiling_is_timed_apart_and_breaks_are_counted(context_of) -> None:
    whole = prepare(context_of(f"{ME}:Net", runtime="compile"))
    assert whole.columns()["compile_s"] > 0
    assert whole.ready.told["graph_breaks"] == 0
    graphs = graphs_compiled()
    with torch.inference_mode():
        for _ in range(3):
            whole.infer()
    assert graphs_compiled() == graphs > 0
    assert prepare(context_of(f"{ME}:Breaks", runtime="compile")).ready.told["graph_breaks"] == 1
    assert prepare(context_of(f"{ME}:Net")).columns()["compile_s"] is None


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_what_is_compiled_while_timed_is_told(context_of, monkeypatch: pytest.MonkeyPatch) -> None:
    # A network that counts returns another output each time.
    monkeypatch.setattr(speed, "agreement", lambda *_: {})
    row = speed.probe(context_of(f"{ME}:Counts", runtime="compile", protocol={"speed_s": 0.1}))
    assert row["quality"] in (
        "recompiled",
        "contaminated",
    )  # the latter where others use the machine
    assert "compiled again" in row["evidence"]
    calm = speed.probe(context_of(f"{ME}:Net", runtime="compile", protocol={"speed_s": 0.1}))
    assert calm["quality"] in ("clean", "contaminated")
    assert "compiled" not in (calm["evidence"] or "")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="generated code needs a compiler")
def test_unet_is_compiled_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("torch._inductor")
    options = {
        "data": ["cells"],
        "size": "32x32",
        "width_scale": 0.0625,
        "speed_s": 0.2,
        "threads": 1,
    }
    frame = run(
        "unet",
        out=tmp_path,
        probes=["speed"],
        runtime=["eager", "compile"],
        device="cpu",
        **options,
    )
    eager, compiled = (frame.set_index("runtime").loc[name] for name in ("eager", "compile"))
    assert (eager["speed_status"], compiled["speed_status"]) == ("ok", "ok"), compiled["error"]
    assert compiled["compile_s"] > 0.5
    assert compiled["graph_breaks"] == 0
    assert compiled["quality"] in ("clean", "contaminated")
    assert frame.set_index("runtime")["compile_s"].isna()["eager"]
