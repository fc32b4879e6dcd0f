"""A device `standin` that refuses what a GPU refuses, in pure Python, with real values. No GPU and
no compiler.

Its tensors wrap tensors of the host, which nobody else sees: `.numpy()`, and operations on tensors
of two devices, fail as they do on CUDA. What a GPU would do behind one's back is counted in
`counts`: waits for the device, and copies.

It is made by torch's own registration of PrivateUse1, which holds for the whole process: call
`install` in a test, not when a module is imported.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

NAME = "standin"
counts: collections.Counter[str] = collections.Counter()

aten = torch.ops.aten
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default}
COPIES = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
ALIASES = {aten.detach.default, aten.alias.default}
MAKERS = (
    "empty.memory_format",
    "empty_strided",
)  # nothing among their arguments lies on the device


class Module:
    """What `torch.standin` answers."""

    _initialized = True
    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.float16, torch.bfloat16])
    get_device_name = staticmethod(lambda device=None: "Stand-in")

    def __init__(self) -> None:
        self.random = torch.zeros(16, dtype=torch.uint8)

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return self.random.clone()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        self.random = state.clone()


class Held(torch.Tensor):
    """A tensor of the device; `raw` is its memory."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Held:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        made.raw = raw
        return made

    def __repr__(self) -> str:
        return f"Held({self.raw})"

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "can't convert a device tensor to numpy; use Tensor.cpu() to copy it to host memory "
            "first"
        )

    __array__ = numpy

    def tolist(self) -> Any:
        counts["waits: tolist"] += 1
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the memory behind the tensors, and refuse or count what a GPU would."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, Held)]
    hosts = [tensor for tensor in tensors if not isinstance(tensor, Held)]
    target = kwargs.get("device")
    leaves = target is not None and torch.device(target).type != NAME
    if func in COPIES:
        counts[f"copies: {'to' if hosts else 'from'} the device"] += bool(hosts) or leaves
    elif ours and any(
        tensor.ndim for tensor in hosts
    ):  # a host's number is taken along, as CUDA takes it
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu! ({func})"
        )
    counts[f"waits: {func}"] += func in WAITS
    plain = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    if target is not None:
        plain["device"] = torch.device("cpu")
    bare_args, bare_kwargs = tree_map(
        lambda leaf: leaf.raw if isinstance(leaf, Held) else leaf, (args, plain)
    )
    result = func(*bare_args, **bare_kwargs)
    if func is aten.copy_.default:
        return args[0]
    if func is aten._to_copy.default and result is bare_args[0]:
        result = result.clone()
    stays, known = bool(ours) and not leaves, {id(tensor.raw): tensor for tensor in ours}

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or isinstance(leaf, Held):
            return leaf
        if id(leaf) in known and func not in ALIASES:  # changed in place: still the same tensor
            return known[id(leaf)]
        return Held(leaf) if stays or (target is not None and not leaves) else leaf

    return tree_map(wrapped, result)


def maker(op: Any) -> Callable[..., Held]:
    """What makes an empty tensor on the device."""

    def make(*args: Any, **kwargs: Any) -> Held:
        plain = {
            name: value
            for name, value in kwargs.items()
            if name not in ("device", "pin_memory", "layout")
        }
        return Held(op(*args, **plain, device="cpu"))

    return make


def copied(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """Copy between the devices, or within one."""
    raw = source.raw if isinstance(source, Held) else source
    (target.raw if isinstance(target, Held) else target).copy_(raw)
    return target


def synchronized(index: int) -> None:
    """In the place of C code that knows no such device; the argument is checked by torch's own
    Python before.
    """
    assert index == 0, index
    counts["synchronised"] += 1


_library: list[torch.library.Library] = []  # what is registered is undone when this goes


def install() -> None:
    """Register the device in this process, once."""
    if _library:
        return
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    torch._C._accelerator_synchronizeDevice = synchronized
    library = torch.library.Library("aten", "IMPL")
    for name in MAKERS:
        packet, _, overload = name.partition(".")
        library.impl(
            name, maker(getattr(getattr(aten, packet), overload or "default")), "PrivateUse1"
        )
    library.impl("_copy_from", copied, "PrivateUse1")
    _library.append(library)
