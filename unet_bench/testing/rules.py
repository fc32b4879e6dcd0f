"""What every part and every network must keep to: each rule is a function of one case that raises
InvalidPart.
"""

from __future__ import annotations

import copy
import io
import os
import sys
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidPart, UnetBenchError, first_line
from unet_bench.geometry.tracker import flat_tensors
from unet_bench.testing.case import Case, Size, require, seeded

REFUSALS: Final = (UnetBenchError, RuntimeError, ValueError, IndexError, AssertionError)
BF16: Final = torch.bfloat16
CHANNELS_LAST: Final = {4: torch.channels_last, 5: torch.channels_last_3d}


def shapes(case: Case) -> None:
    """Require that every size gives the promised channels and sizes, in finite float32.

    A size that need not work may be refused.
    """
    for size in (*case.sizes, *case.others):
        inputs = case.fed(size)
        output, refusal = attempt(case, case.part, size)
        if refusal is None:
            case.verify(case.part, inputs, output)
            require_finite(output, torch.float32)


def meta(case: Case) -> None:
    """Require that it gives the same shapes when built on the meta device.

    That is how sizes are found out without computing.
    """
    for size in (*case.sizes, *case.others[: None if case.distinct else 0]):
        with torch.device("meta"):
            foreseen, _ = attempt(case, case.shadow, size)
        real, refusal = attempt(case, case.part, size)
        told = f"refused it ({refusal})" if refusal else f"returned {shapes_of(real)}"
        require(
            shapes_of(foreseen) == shapes_of(real),
            f"on the meta device {size} gives {shapes_of(foreseen)}; on the CPU it {told}; "
            "expected the same",
        )


def gradients(case: Case) -> None:
    """Require that a training step reaches every parameter and every input.

    Their gradients must be finite.
    """
    part, inputs = case.built().train(), case.fed()
    for tensor in flat_tensors(inputs):
        tensor.requires_grad_()
    # Before the call, for a topology may take maps out of its list.
    needed = list(case.needed(inputs))
    # Without oneDNN, whose backward passes at very few channels write beyond their memory on AVX2.
    with torch.backends.mkldnn.flags(enabled=False):
        outputs = list(flat_tensors(part(*inputs)))
        if not outputs:
            return  # a skip that lets nothing pass
        scores = [(tensor * torch.randn_like(tensor)).sum() for tensor in outputs]
        torch.stack(scores).sum().backward()
    leaves: dict[str, Tensor] = {name: p for name, p in part.named_parameters() if p.requires_grad}
    leaves |= {f"input {i}": tensor for i, tensor in enumerate(needed)}
    for name, leaf in leaves.items():
        if leaf.grad is None:
            raise InvalidPart(
                f"no gradient reaches {name}; expected every parameter and input to matter"
            )
        require(bool(leaf.grad.isfinite().all()), f"the gradient of {name} is not finite")


def state_dict(case: Case) -> None:
    """Require that a saved state dict brings back the same outputs in a fresh one.

    It is saved after a training step.
    """
    trained, fresh = case.built(seed=0), case.built(seed=1)
    trained.train()(*case.fed())
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    require_close(
        evaluated(fresh, case), evaluated(trained, case), "of a fresh one with its state dict", 0
    )


def deepcopy(case: Case) -> None:
    """Require that a deep copy, made after a training step, gives the same outputs."""
    part = case.built().train()
    part(*case.fed())
    require_close(
        evaluated(copy.deepcopy(part), case), evaluated(part, case), "of its deep copy", 0
    )


def deterministic(case: Case) -> None:
    """Require that one seed gives one set of weights, and one input one output.

    After another seed other random numbers must follow.
    """
    part, twin = case.part, case.built()
    for name, tensor in part.state_dict().items():
        require(
            torch.equal(tensor, twin.state_dict()[name]),
            f"{name} differs between two built under one seed",
        )
    require_close(evaluated(part, case), evaluated(part, case), "for the same input again", 0)
    following = []
    for seed in (0, 1):
        with seeded(seed):
            case.make()
            following.append(torch.rand(()))
    require(
        not torch.equal(*following),
        "building it sets torch's seed, which would make all repetitions alike",
    )


def keeps_input(case: Case) -> None:
    """Require that inputs are as they were afterwards: a map may be wanted again as a skip."""
    for training in (False, True):
        inputs = case.fed()
        # Before the call, as above.
        given = list(flat_tensors(inputs))
        with torch.no_grad():
            case.built().train(training)(*inputs)
        for i, (after, before) in enumerate(zip(given, flat_tensors(case.fed()), strict=True)):
            require(
                torch.equal(after, before),
                f"input {i} was changed in place; work on a copy, or with inplace=False",
            )


def keeps_world(case: Case) -> None:
    """Require that torch's settings, the environment and the import path stay as they were."""
    before = world()
    part = case.built()
    part(*case.fed())
    part.train()(*case.fed())
    for name, value in world().items():
        require(
            value == before[name],
            f"{name} was changed from {before[name]} to {value}; leave it as it is",
        )


def channels_last(case: Case) -> None:
    """Require the same numbers in the channels-last memory format, up to rounding."""
    part = case.built()
    expected = evaluated(part, case)
    dims = max(tensor.ndim for tensor in flat_tensors(case.fed()))
    part.to(memory_format=CHANNELS_LAST[dims])
    inputs = restrided(case.fed())
    with torch.no_grad():
        require_close(part(*inputs), expected, "in channels-last format")


def autocast(case: Case) -> None:
    """Require that a training step under bfloat16 autocast stays finite and keeps its shapes."""
    part = case.built().train()
    with torch.autocast("cpu", BF16):
        output = part(*case.fed())
    require_finite(output)
    plain = part(*case.fed())
    require(
        shapes_of(output) == shapes_of(plain),
        f"returned {shapes_of(output)} for {shapes_of(plain)} under autocast",
    )


RULES: Final = (
    *(shapes, meta, gradients, state_dict, deepcopy),
    *(deterministic, keeps_input, keeps_world, channels_last, autocast),
)
EVERYWHERE: Final = (shapes, meta)
"""What padding and dimensions change; the other rules look at the distinct cases alone."""
OF_A_WHOLE: Final = (shapes, gradients, state_dict)
"""Checked of a network made of slots; the rest holds if it holds for every part."""


def attempt(case: Case, part: nn.Module, size: Size) -> tuple[Any, str | None]:
    """Return (output, None), or (None, why) when the size is refused.

    A size that must work raises what it raises.
    """
    inputs = case.fed(size)
    try:
        with torch.no_grad():
            return part(*inputs), None
    except REFUSALS as error:
        if size in case.sizes or not str(error).strip():
            raise
        return None, first_line(error)


def evaluated(part: nn.Module, case: Case) -> list[Tensor]:
    """Return what the part returns in evaluation mode."""
    with torch.no_grad():
        return list(flat_tensors(part.eval()(*case.fed())))


def restrided(inputs: Any) -> Any:
    """Return the same inputs with each map channels-last in memory."""
    if isinstance(inputs, Tensor):
        return inputs.contiguous(memory_format=CHANNELS_LAST[inputs.ndim])
    return type(inputs)(map(restrided, inputs)) if isinstance(inputs, (list, tuple)) else inputs


def world() -> dict[str, object]:
    """Return what a part has no business changing."""
    cudnn = torch.backends.cudnn
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's float32 matmul precision": torch.get_float32_matmul_precision(),
        "torch.backends.cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "os.environ": dict(os.environ),
        "sys.path": list(sys.path),
    }


def shapes_of(output: Any) -> list[tuple[int, ...]]:
    """Return the shapes of all maps in an output."""
    return [tuple(tensor.shape) for tensor in flat_tensors(output)]


def require_finite(output: Any, *dtypes: torch.dtype) -> None:
    """Raise InvalidPart for a number that is not finite, or a dtype other than these."""
    for tensor in flat_tensors(output):
        require(bool(tensor.isfinite().all()), "returned numbers that are not finite")
        require(not dtypes or tensor.dtype in dtypes, f"returned {tensor.dtype}, expected {dtypes}")


def require_close(seen: Any, expected: list[Tensor], when: str, tolerance: float = 1e-4) -> None:
    """Raise InvalidPart unless all maps agree, relative to the largest number."""
    maps = list(flat_tensors(seen))
    require(
        shapes_of(maps) == shapes_of(expected),
        f"returned {shapes_of(maps)} {when}, expected {shapes_of(expected)}",
    )
    for one, other in zip(maps, expected, strict=True):
        gap = float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
        require(
            gap <= tolerance,
            f"the numbers {when} differ by {gap:.1g} of the largest, expected {tolerance:g} at "
            "most",
        )
