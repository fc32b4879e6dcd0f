"""Our networks beside those of other packages that compute the same: time, and live bytes
of an inference pass and of a training step.

Both are in eval, eager, in fp32, on one thread, given the same image of 256². `extra_info` and the
printed line hold what was found; `theirs / ours` of 1 and above means that ours is as fast or
faster. Parameters and MACs are equal to the digit; `tests/parity` shows that the same weights give
the same outputs.

Whether freed maps go back to the system, to be asked for again page by page, depends on what else
the process holds: by that alone one of two equal networks was up to 4 % slower. So the allocator
keeps what it has (`calm`).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unet_bench import build_model
from unet_bench.context import keep_freed_memory
from unet_bench.geometry.tracker import flat_tensors
from unet_bench.measure.clock import time_pair
from unet_bench.measure.cost import cost
from unet_bench.measure.memory import MIB, live_peak
from unet_bench.registry.registry import Registry

SIZE = (256, 256)
CLASSES = 2
CLEARLY_SLOWER = 0.03
MORE = 1.01
"""How much more memory counts as more."""


@dataclass(frozen=True)
class Pair:
    """A network of another package, and our twin of it."""

    theirs: str
    ours: str
    # Whether ours can be folded and computed channels last; instance norms can be neither.
    folds: bool = False


PAIRS = [
    Pair("smp:unet/resnet34", "resnet34-unet", folds=True),
    Pair("smp:unet/tu-mobilenetv3_large_100", "mobilenetv3-unet", folds=True),
    Pair("monai:BasicUNet", "basicunet"),
    Pair("monai:AttentionUnet", "attention-unet-monai"),
    Pair("monai:DynUNet", "dynunet"),
    Pair("nnunet:PlainConvUNet", "nnunet-plain"),
    Pair("nnunet:ResidualEncoderUNet", "nnunet-resenc"),
]


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """One thread, no gradients, and a C library that keeps freed memory, as in the speed probe."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    with torch.inference_mode():
        yield


@pytest.mark.benchmark(group="inference beside other packages")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs)
def test_no_slower_and_no_larger_for_the_same_function(
    benchmark, registry: Registry, pair: Pair
) -> None:
    if reason := registry.find("architecture", pair.theirs).absent:
        pytest.skip(f"{pair.theirs} {reason}")
    with torch.device("meta"):
        their_cost, our_cost = (
            cost(build_model(name, classes=CLASSES), 3, SIZE) for name in (pair.theirs, pair.ours)
        )
    their_training_peak, our_training_peak = training_peak(pair.theirs), training_peak(pair.ours)
    theirs, ours = (build_model(name, classes=CLASSES).eval() for name in (pair.theirs, pair.ours))
    image = torch.randn(1, 3, *SIZE)
    assert ours(image).shape == theirs(image).shape

    their_peak, our_peak = peak(theirs, image), peak(ours, image)
    timing = time_pair(lambda: theirs(image), lambda: ours(image), budget_s=20, interval=0.02)
    ratio, low, high = timing.ratio_interval()
    best = timing.ratio_interval()
    if pair.folds:
        fast, fast_image = fastest(ours), image.to(memory_format=torch.channels_last)
        assert torch.allclose(fast(fast_image), ours(image), rtol=1e-3, atol=1e-4)
        best = time_pair(
            lambda: theirs(image), lambda: fast(fast_image), budget_s=10, interval=0.04
        ).ratio_interval()

    benchmark.extra_info.update(
        {
            "theirs / ours": [round(x, 3) for x in (ratio, low, high)],
            "theirs / ours at our best setting": [round(x, 3) for x in best],
            "macs": [our_cost["macs"], their_cost["macs"]],
            "params": [our_cost["params"], their_cost["params"]],
            "peak_mib": [round(found / MIB, 1) for found in (our_peak, their_peak)],
            "train_peak_mib": [
                round(found / MIB, 1) for found in (our_training_peak, their_training_peak)
            ],
        }
    )
    benchmark.pedantic(ours, args=(image,), rounds=3)
    print(
        f"\n{pair.theirs:36} theirs / ours: time {ratio:.3f} [{low:.3f}, {high:.3f}], best "
        f"setting {best[0]:.3f}, "
        f"live MiB {their_peak / MIB:.1f} / {our_peak / MIB:.1f}, "
        f"in training {their_training_peak / MIB:.1f} / {our_training_peak / MIB:.1f}; "
        f"MACs ×10⁹ {our_cost['macs'] / 1e9:.3f}, params {our_cost['params']:,}"
    )
    assert (our_cost["macs"], our_cost["params"]) == (their_cost["macs"], their_cost["params"])
    assert our_peak <= their_peak * MORE
    assert our_training_peak <= their_training_peak * MORE
    assert high >= 1 - CLEARLY_SLOWER


def peak(network: nn.Module, image: Tensor) -> int:
    """The peak of live bytes of a pass: weights, buffers and the image included."""
    return live_peak([*network.parameters(), *network.buffers(), image], lambda: network(image))


def training_peak(name: str) -> int:
    """The peak of live bytes of a forward and a backward pass of one image, all heads included,
    without computing.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        network, image = build_model(name, classes=CLASSES).train(), torch.empty(1, 3, *SIZE)

        def step() -> None:
            network.zero_grad()
            sum(logits.sum() for logits in flat_tensors(network(image))).backward()

        return live_peak([*network.parameters(), *network.buffers(), image], step)


def fastest(network: nn.Module) -> nn.Module:
    """A copy in its best setting: batch norms folded into the convolutions before them, channels
    last.
    """
    network = copy.deepcopy(network)
    for parent in network.modules():
        children = list(parent.named_children()) if isinstance(parent, nn.Sequential) else []
        for (name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return network.to(memory_format=torch.channels_last)
