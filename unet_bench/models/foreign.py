"""Anybody's network without a plugin, as `--model` names it: `package.module:Class(img_size=224)`.

Nothing of that text is evaluated: arguments are literals, or the words of `WORDS`, which stand for
what the task has. Whatever the network returns, its logits are picked out of it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import itertools
import re
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from inspect import Parameter
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidPart, InvalidSuite, UnetBenchError, Unsupported
from unet_bench.networks.contracts import Outputs
from unet_bench.networks.variants import Variant

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "channels": (
        *("in_channels", "in_chans", "n_channels", "in_ch", "img_ch", "input_channels"),
        *("num_channels", "input_channel", "in_channel", "in_chan", "in_chns", "in_nc", "in_c"),
        *("input_chans", "input_ch", "input_nc", "num_input_channels", "n_input_channels"),
        *("img_channels", "img_channel", "image_channels", "channels_in", "channel_in"),
    ),
    "classes": (
        *("classes", "num_classes", "n_classes", "out_channels", "out_ch", "output_ch"),
        *("nclass", "num_class", "n_class", "nb_classes", "class_num", "num_cls", "n_cls"),
        *("num_labels", "n_labels", "out_channel", "out_chans", "out_chan", "out_chns", "out_nc"),
        *("out_c", "output_channels", "output_channel", "output_chans", "output_nc"),
        *("num_output_channels", "n_output_channels", "channels_out", "channel_out"),
    ),
    "size": ("img_size", "image_size", "input_size", "im_size", "img_dim", "image_dim"),
    "dims": ("spatial_dims", "n_dims", "num_dims", "dimensions"),
}
"""What a task fixes, and the arguments that usually mean it; underscores and case do not count."""
MAIN: Final = ("out", "logits", "main", "output", "pred")
"""What the main output is called where several come back, the likeliest first."""
PUBLISHED: Final = re.compile(r"pretrain(ed)?|imagenet\d*k?|in\d+k|weights?")
"""Words in the names of arguments that bring published weights."""
AROUND: Final = (
    *("use", "load", "is", "with", "from", "on", "encoder", "backbone", "model"),
    *("path", "file", "url", "dir"),
)
"""Words that may stand beside these; `init_weights` and `pretrained_window_size` are others."""
MAY_LOAD: Final = re.compile(
    r"pretrain|imagenet|(?<!init_)weight|checkpoint|ckpt|load|path|file|url"
)
"""Arguments that may bring them, and are named where weights were loaded for all that."""
MAY_BE_LOADED: Final = re.compile(r"pretrain|imagenet")
"""Texts that may name them, whatever their argument is called."""


@dataclass(frozen=True)
class Word:
    """A word that stands for what the task has."""

    name: str


@dataclass(frozen=True)
class Reference:
    """A class or function, and the arguments that are stated for it."""

    module: str
    name: str
    arguments: Mapping[str, Any]
    call: str  # name and arguments in their one spelling

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return what a text such as `package.module:Class(depth=4)` names. Raises InvalidSuite."""
        module, _, call = text.strip().partition(":")
        try:
            tree: ast.expr | None = ast.parse(call, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            tree = None
        keywords = tree.keywords if isinstance(tree, ast.Call) and not tree.args else []
        named = tree.func if isinstance(tree, ast.Call) and not tree.args else tree
        if not (module and isinstance(named, ast.Name) and all(word.arg for word in keywords)):
            raise InvalidSuite(
                f"--model {text}: it must be of the form package.module:Class, or "
                "'package.module:Class(argument=value)' with every argument by its name"
            )
        arguments = {str(word.arg): _value(word.value, text) for word in keywords}
        call = ast.unparse(tree) if tree and arguments else named.id
        return cls(module, named.id, arguments, call)

    def __str__(self) -> str:
        return f"{self.module}:{self.call}"

    def quoted(self, *more: str) -> str:
        """Return the reference with more arguments, `name=value`, as a shell takes it."""
        stated = [self.call[len(self.name) + 1 : -1]] if self.arguments else []
        text = f"{self.module}:{self.name}({', '.join([*stated, *more])})"
        return shlex.quote(text if '"' in text else text.replace("'", '"'))

    def load(self) -> Callable[..., Any]:
        """Return the class or function.

        Raises InvalidSuite, Unsupported where its module loads weights.
        """
        try:
            with importing_from_here(), weights_refused([]):
                found: Callable[..., Any] = getattr(importlib.import_module(self.module), self.name)
            return found
        except WeightsRefused as error:
            raise Unsupported(
                f"--model {self}: its module loads weights while it is imported (by {error}): load "
                "them in a function that is not called there"
            ) from error
        except (Exception, SystemExit) as error:
            raise InvalidSuite(
                f"--model {self}: {type(error).__name__}: {error}; can it be imported from here?"
            ) from error


class WeightsRefused(Exception):
    """What is met where weights are loaded that must not be; its text is what loads them."""


@contextlib.contextmanager
def importing_from_here() -> Iterator[None]:
    """Let the current folder come first where modules are looked for, and from then on last.

    Only somebody's own module is imported from it: it may hold files of any name.
    """
    sys.path.insert(0, "")
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # whatever the module did to it
            sys.path.remove("")
        if "" not in sys.path:
            sys.path.append("")


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name) and node.id in WORDS:
        return Word(node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise InvalidSuite(
            f"--model {text}: {ast.unparse(node)} is no literal; write a number, a text in quotes, "
            "True, False, None, a list, tuple or dict of these, or what stands for the task's own: "
            f"{', '.join(WORDS)}"
        ) from None


def foreign_variant(text: str) -> Variant:
    """Return a variant for anybody's module, `package.module:Class`. Raises InvalidSuite."""
    reference = Reference.parse(text)
    name = str(reference)
    return Variant(
        name=name, architecture=name, summary="measured as it is", provider=reference.module
    )


def build_foreign(text: str, in_channels: int, classes: int, size: Sequence[int]) -> nn.Module:
    """Build anybody's class or function for these channels, classes and input size.

    It gets those that it has arguments for. Published weights that it begins from by default are
    switched off. Raises InvalidSuite, InvalidPart, Unsupported.
    """
    reference = Reference.parse(text)
    factory = reference.load()
    known = _parameters(reference, factory)
    task = _task(in_channels, classes, size)
    names = _matched(known)
    guessed = {names[word]: value for word, value in task.items() if word in names}
    if "size" in names and "size" in task:
        guessed[names["size"]] = _as_wanted(task["size"], known[names["size"]])
    stated = {
        name: task.get(value.name) if isinstance(value, Word) else value
        for name, value in reference.arguments.items()
    }
    arguments = {**_without_weights(reference, known), **guessed, **stated}
    missing = [name for name, p in known.items() if p.default is p.empty and name not in arguments]
    if missing:
        quoted = reference.quoted(*(f"{name}=…" for name in missing))
        raise InvalidSuite(
            f"--model {reference}: it wants {', '.join(missing)}, which cannot be guessed; state "
            f"it, such as --model {quoted}, or name a "
            "function of (in_channels, classes) that builds it"
        )
    attempts = [arguments]
    size_name = names.get("size")
    if size_name and size_name not in stated and known[size_name].default is not Parameter.empty:
        # It may be of a fixed size: then it says so when it is given an image.
        attempts.append({n: value for n, value in arguments.items() if n != size_name})
    suspects = _suspects(known, arguments)
    model = _made(reference, factory, attempts, suspects)
    if not isinstance(model, nn.Module):
        raise InvalidSuite(
            f"--model {reference}: it returned {type(model).__name__}, which is no torch nn.Module"
        )
    model.register_forward_hook(functools.partial(_logits_alone, str(reference), classes))
    return model


def unmatched(text: str) -> str:
    """Return what to try where a network was built without being told its channels or classes."""
    reference = Reference.parse(text)
    known = _parameters(reference, reference.load())
    words = {value.name for value in reference.arguments.values() if isinstance(value, Word)}
    words |= set(_matched(known))
    lacking = [word for word in ("channels", "classes") if word not in words]
    if not lacking:
        return ""
    example = reference.quoted(*(f"ARGUMENT={word}" for word in lacking))
    return (
        f"none of its arguments is known to mean its {' or '.join(lacking)}: if one does, say "
        f"which, --model {example}"
    )


# ---- arguments


def _parameters(reference: Reference, factory: Callable[..., Any]) -> Mapping[str, Parameter]:
    """Return the parameters that can be given by name."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError) as error:
        raise InvalidSuite(
            f"--model {reference}: {error}; name a class or function that builds a network"
        ) from error
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters if p.kind in by_name}


def _task(in_channels: int, classes: int, size: Sequence[int]) -> dict[str, Any]:
    """Return what the words of `WORDS` stand for; a square's size is one number."""
    task: dict[str, Any] = {"channels": in_channels, "classes": classes}
    if size:
        task |= {"size": size[0] if len(set(size)) == 1 else tuple(size), "dims": len(size)}
    return task


def _matched(known: Mapping[str, Parameter]) -> dict[str, str]:
    """Return the parameter for each word of `WORDS` that has one."""
    plain = {_plain(name): name for name in known}
    found = {}
    for word, usual in WORDS.items():
        names = [plain[_plain(name)] for name in usual if _plain(name) in plain]
        if names:
            found[word] = names[0]
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _as_wanted(size: int | tuple[int, ...], parameter: Parameter) -> Any:
    """Return a size as its parameter has it by default: one number, or one for each side."""
    default = parameter.default
    if isinstance(default, (tuple, list)) and isinstance(size, int):
        return type(default)([size] * len(default))
    return size


def _without_weights(
    reference: Reference, known: Mapping[str, Parameter]
) -> dict[str, bool | None]:
    """Return the arguments that leave published weights out, as the row says of a network.

    Raises InvalidSuite where they are asked for.
    """
    for name, value in reference.arguments.items():
        if isinstance(value, (int, str)) and value and _brings_weights(name):
            raise InvalidSuite(
                f"--model {reference}: {name} brings published weights, and networks are compared "
                "from scratch: leave it out"
            )
    off: dict[str, bool | None] = {}
    for name, parameter in known.items():
        if not _brings_weights(name):
            continue
        if parameter.default is parameter.empty:
            off[name] = None if "weight" in name.lower() else False
        elif isinstance(parameter.default, (int, str, Enum)) and parameter.default:
            off[name] = False if isinstance(parameter.default, int) else None
    return off


def _brings_weights(name: str) -> bool:
    """Return whether an argument brings published weights, as `use_imagenet` and its like do."""
    name = re.sub(r"image_?net", "Imagenet", name, flags=re.IGNORECASE)
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])", name)
    others = [word.lower() for word in words if word.lower() not in AROUND]
    return bool(others) and all(PUBLISHED.fullmatch(word) for word in others)


def _suspects(known: Mapping[str, Parameter], arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments that may ask for weights by what they are by default."""
    return [
        name
        for name, parameter in known.items()
        if name not in arguments
        and isinstance(parameter.default, (bool, str, Enum))
        and parameter.default
        and (MAY_LOAD.search(name.lower()) or MAY_BE_LOADED.search(str(parameter.default).lower()))
    ]


# ---- building


def _made(
    reference: Reference,
    factory: Callable[..., Any],
    attempts: Sequence[Mapping[str, Any]],
    suspects: Sequence[str],
) -> Any:
    """Return what the factory makes of the first of these arguments that it takes.

    One that looks at its numbers cannot be built on the meta device, and is brought there.
    """
    device = torch.get_default_device()
    devices = [device, torch.device("cpu")] if device.type == "meta" else [device]
    failures: list[BaseException] = []
    for arguments, where in itertools.product(attempts, devices):
        loads: list[str] = []
        try:
            with importing_from_here(), weights_refused(loads), where:
                model = factory(**arguments)
            return model.to(device) if isinstance(model, nn.Module) else model
        except (Exception, SystemExit) as error:
            if loads:  # whatever its package made of our refusal
                raise Unsupported(_loading(reference, loads[0], suspects)) from error
            if isinstance(error, UnetBenchError):
                raise
            failures.append(error)
    first = failures[len(devices) - 1]  # of the first arguments, where they can be computed with
    raise InvalidPart(
        f"{reference} with {dict(attempts[0])} failed: {type(first).__name__}: {first}"
    ) from first


@contextlib.contextmanager
def weights_refused(loads: list[str]) -> Iterator[None]:
    """Raise WeightsRefused where weights are loaded in the block, and name in `loads` what did.

    Whatever reads them, they come into a module by `load_state_dict`. The others are for what is
    copied into it by hand, and for what would be fetched first. A package that goes on without them
    has built a network from scratch.
    """
    import numpy
    import safetensors.torch

    seams: tuple[tuple[Any, str, str], ...] = (
        (nn.Module, "load_state_dict", "load_state_dict"),
        (torch, "load", "torch.load"),
        (torch.jit, "load", "torch.jit.load"),
        (safetensors.torch, "safe_open", "safetensors"),
        (numpy, "load", "numpy.load"),
        (socket, "getaddrinfo", "a download"),
    )
    refusing = True

    def guarded(owner: Any, name: str, what: str) -> Callable[..., Any]:
        original = getattr(owner, name)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not refusing:  # a module that was imported in the block may have kept this function
                return original(*args, **kwargs)
            loads.append(what)
            raise WeightsRefused(what)

        return call

    with contextlib.ExitStack() as undo:
        for owner, name, what in seams:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, guarded(owner, name, what))
        try:
            yield
        finally:
            refusing = False


def _loading(reference: Reference, by: str, suspects: Sequence[str]) -> str:
    """Return why a network that loads weights is refused, and what to do."""
    if suspects:
        switched_off = reference.quoted(*(f"{name}=None" for name in suspects))
        remedy = f"switch off the argument that asks for them, such as --model {switched_off}"
    else:
        remedy = "name a function of (in_channels, classes) that builds it without them"
    return (
        f"{reference} loads weights while it is built (by {by}), and networks are compared from "
        f"scratch: {remedy}"
    )


# ---- what comes back


def _logits_alone(
    name: str, classes: int, module: nn.Module, inputs: tuple[Tensor, ...], output: Any
) -> Any:
    """Return a network's logits `(N classes *S)` in place of what it returns. Raises InvalidPart.

    Several may come back, by deep supervision say: the main one has a usual name or is the largest.
    """
    if isinstance(output, Outputs) or (
        isinstance(output, Tensor) and output.ndim == inputs[0].ndim
    ):
        return output
    for usual in MAIN:
        found = output.get(usual) if isinstance(output, Mapping) else getattr(output, usual, None)
        if isinstance(found, Tensor):
            return found
    maps = [
        item for item in _items(output) if item.ndim == inputs[0].ndim and item.shape[1] == classes
    ]
    largest = max((item[0, 0].numel() for item in maps), default=0)
    whole = [item for item in maps if item[0, 0].numel() == largest]
    if len(whole) == 1:
        return whole[0]
    when = " in training" if module.training else ""
    if isinstance(output, Tensor) and output.ndim == 2:
        raise InvalidPart(
            f"{name} returns {output.shape[1]} numbers for an image{when}, which is how images are "
            f"classified: name a network that returns a map of {classes} classes"
        )
    raise InvalidPart(
        f"{name} returns {_described(output)}{when}, and it is not clear which of it are the "
        f"logits of {classes} classes: return them alone, as 'out' of a dict, or as "
        "unet_bench.networks.contracts.Outputs(main, aux)"
    )


def _items(output: Any) -> list[Tensor]:
    """Return the tensors of a dict, list or tuple."""
    items = output.values() if isinstance(output, Mapping) else output
    listed = items if isinstance(output, (Mapping, list, tuple)) else ()
    return [item for item in listed if isinstance(item, Tensor)]


def _described(output: Any) -> str:
    """Return what an output is, such as `a list of 2×64×64, 2×64×64`."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} of {', '.join(map(str, output))}"
    tensors = [output] if isinstance(output, Tensor) else _items(output)
    shapes = ", ".join("×".join(map(str, tensor.shape[1:])) for tensor in tensors)
    return f"a {kind} of {shapes}" if shapes else f"a {kind}"
