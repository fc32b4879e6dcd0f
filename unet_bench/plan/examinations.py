"""What is known of networks without building them again.

A network is examined once, and once more where any source that it depends on has changed.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, TypeVar

from unet_bench.errors import UnetBenchError
from unet_bench.geometry.shapes import InputWindow, Size
from unet_bench.host.cache import add_entries, read_entries
from unet_bench.networks.variants import OF_ANY, Variant
from unet_bench.plan.cost import SimulatedPass, as_simulated, simulate_pass
from unet_bench.plan.examine import ExaminedNetwork, examine, matched
from unet_bench.plan.fingerprint import Sources
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Task, TrainingWindow, digest, tuples

Found = TypeVar("Found")
Item = TypeVar("Item")
Watch = Callable[[int, int], None]
"""Told how many of how many networks are examined."""

FEW: Final = 8  # networks that are not worth another process
MOST_PROCESSES: Final = 16
FIGURES: Final = (
    *("params", "macs", "activations", "modules", "training_macs", "training_activations"),
    *("status", "reason", "pretrained"),
)
SILENT_S: Final = 60.0  # until a process that examines is done without


class NotExamined(Exception):
    """Something would have to be examined."""


class Examinations:
    """Examines networks, and simulates their passes, unless that is known.

    `folder` is where it is known from one run to the next, by the hashes of `sources`.
    """

    def __init__(
        self, registry: Registry, sources: Sources | None = None, folder: Path | None = None
    ) -> None:
        self._registry, self._sources = registry, sources
        self._file: Path | None = None
        if sources is not None and folder is not None:
            self._file = folder / f"networks-{software(sources)}.json"
        self._known: dict[str, Any] = read_entries(self._file) if self._file else {}
        self._new: dict[str, Any] = {}
        self._passing: set[str] = set()  # keys of what is not kept for the next run
        self._only_known = False

    def examine(self, variant: Variant, task: Task, window: Size = ()) -> ExaminedNetwork:
        """See `plan.examine.examine`."""
        return self._network(
            variant, task, [window], lambda: examine(self._registry, variant, task, window)
        )

    def matched(
        self,
        variant: Variant,
        task: Task,
        start: float,
        baseline: ExaminedNetwork,
        figure: str,
        window: Size = (),
    ) -> ExaminedNetwork:
        """See `plan.examine.matched`."""
        return self._network(
            variant,
            task,
            [window, start, figure, getattr(baseline, figure), baseline.variant.name],
            lambda: matched(self._registry, variant, task, start, baseline, figure, window),
        )

    def simulate(self, cell: Cell, *, training: bool) -> SimulatedPass:
        """See `plan.cost.simulate_pass`."""
        return self._once(
            cell.variant,
            [as_simulated(cell, training=training).to_json(), training],
            lambda: simulate_pass(self._registry, cell, training=training),
            SimulatedPass._asdict,
            lambda plain: SimulatedPass(**plain),
        )

    def _network(
        self, variant: Variant, task: Task, wanted: list[Any], find: Callable[[], ExaminedNetwork]
    ) -> ExaminedNetwork:
        about = [variant.to_json(), task.name, task.classes, task.in_channels, task.scored, wanted]
        return self._once(
            variant, about, find, plain_of_network, lambda plain: network_of(variant, plain)
        )

    def _once(
        self,
        variant: Variant,
        about: list[Any],
        find: Callable[[], Found],
        to_plain: Callable[[Found], dict[str, Any]],
        from_plain: Callable[[dict[str, Any]], Found],
    ) -> Found:
        """Return what is known, or else find it. Raises NotExamined where only that is wanted."""
        key = digest([about, self._hashes(variant)])
        if key in self._known:
            # What the file holds may be anything.
            with suppress(KeyError, TypeError, ValueError, AttributeError, UnetBenchError):
                return from_plain(self._known[key])
        if self._only_known:
            raise NotExamined
        found = find()
        self._known[key] = self._new[key] = to_plain(found)
        if self._registry.is_foreign(variant) or not is_settled(self._new[key]):
            self._passing.add(key)
        return found

    def _hashes(self, variant: Variant) -> dict[str, str]:
        if self._sources is None:
            return {}
        return self._sources.hashes(self._sources.modules_of_variant(variant))

    def knows(self, use: Callable[[], object]) -> bool:
        """Return whether nothing has to be examined for what `use` does."""
        self._only_known = True
        try:
            use()
        except NotExamined:
            return False
        except UnetBenchError:
            pass
        finally:
            self._only_known = False
        return True

    def examine_ahead(
        self,
        variants: Sequence[Variant],
        use: Callable[[Sequence[Variant]], object],
        watch: Watch,
    ) -> None:
        """Examine all that `use` needs of these variants, the first of them the baseline.

        Many are examined in processes side by side.
        """
        if self.knows(lambda: use(variants)):
            return
        pairs = [[variants[0], other] for other in variants[1:]]
        unknown = [pair for pair in pairs if not self.knows(partial(use, pair))]
        found: dict[str, Any] = {}

        def examined(pair: Sequence[Variant]) -> list[Any]:
            self._new, self._passing = {}, set()
            with suppress(UnetBenchError):  # whoever plans meets it again
                use(pair)
            return [self._new, sorted(self._passing)]

        passing: set[str] = set()
        for number, (new, not_to_keep) in enumerate(each_of(unknown, examined), 1):
            found |= new
            passing |= {*not_to_keep}
            self._known |= new
            watch(number, len(unknown))
        self._new, self._passing = found, passing

    def save(self) -> None:
        """Keep what was found for the next run."""
        lasting = {key: plain for key, plain in self._new.items() if key not in self._passing}
        if self._file and lasting:
            add_entries(self._file, lasting)
        self._new = {}


def software(sources: Sources) -> str:
    """Return 12 hex digits over what examinations depend on, whichever the variant."""
    installed: set[str] = set()
    for folder in sys.path:
        with suppress(OSError):
            installed |= {name for name in os.listdir(folder or ".") if name.endswith("-info")}
    ours = sources.hashes({"unet_bench", *sources.our_plugins})
    return digest([platform.python_version(), sorted(installed), ours])


def is_settled(plain: Mapping[str, Any]) -> bool:
    """Return whether a finding would come out the same again.

    What failed in an unforeseen way may have failed for want of memory.
    """
    succeeded = None not in (plain.get("input_window", ""), plain.get("mib", ""))
    return plain["status"] == "unsupported" or (not plain["status"] and succeeded)


def plain_of_network(found: ExaminedNetwork) -> dict[str, Any]:
    """Return what was found of a variant, as JSON has it."""
    choices = found.variant.choices
    plain: dict[str, Any] = {name: getattr(found, name) for name in FIGURES}
    plain["input_window"] = asdict(found.input_window) if found.input_window else None
    small = found.training_window
    plain["training_window"] = [small.size, asdict(small.input)] if small else None
    plain["choices"] = choices.text() | {name: getattr(choices, name) for name in OF_ANY}
    plain["inactive"] = list(found.variant.inactive)
    return plain


def network_of(variant: Variant, plain: Mapping[str, Any]) -> ExaminedNetwork:
    """Return what `plain_of_network` made plain of a variant. Raises for anything else."""
    found: dict[str, Any] = {name: plain[name] for name in FIGURES}
    window, small = plain["input_window"], plain["training_window"]
    found["input_window"] = InputWindow(**tuples(window)) if window else None
    if small:
        found["training_window"] = TrainingWindow(tuple(small[0]), InputWindow(**tuples(small[1])))
    choices = variant.choices.replace(**plain["choices"])
    variant = replace(variant, choices=choices, inactive=tuple(plain["inactive"]))
    return ExaminedNetwork(variant, **found)


def each_of(items: Sequence[Item], work: Callable[[Item], Any]) -> Iterator[Any]:
    """Yield what comes of each item, in any order; many items in processes side by side.

    Results are plain data. What a process does not return is done here.
    """
    processes = min(len(items) // FEW, MOST_PROCESSES)
    processes = min(processes, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 0
    left = set(range(len(items)))
    if processes > 1:
        for number, result in _side_by_side(items, work, processes):
            left.discard(number)
            yield result
    for number in sorted(left):
        yield work(items[number])


def _side_by_side(
    items: Sequence[Item], work: Callable[[Item], Any], processes: int
) -> Iterator[tuple[int, Any]]:
    """Yield number and result of each item that a process returned."""
    forking = multiprocessing.get_context("fork")
    children, open_ends = [], []
    try:
        for first in range(processes):
            receiving, sending = forking.Pipe(duplex=False)
            share = range(first, len(items), processes)
            child = forking.Process(target=_do, args=(items, work, share, sending), daemon=True)
            with warnings.catch_warnings():  # of threads, of which the child uses none
                warnings.simplefilter("ignore", DeprecationWarning)
                child.start()
            children.append(child)
            open_ends.append(receiving)
            sending.close()
        while open_ends and (ready := wait(open_ends, SILENT_S)):
            for end in [one for one in open_ends if one in ready]:
                try:
                    yield end.recv()
                except (EOFError, OSError):
                    open_ends.remove(end)
    finally:
        for child in children:
            child.kill()
            child.join()


def _do(
    items: Sequence[Item], work: Callable[[Item], Any], share: Sequence[int], answers: Connection
) -> None:
    """Send number and result of each item of a share; in the child process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    gc.freeze()  # collecting what the parent has would copy its pages
    with suppress(Exception):  # the parent will meet it again, or is gone
        for one in share:
            answers.send((one, work(items[one])))
