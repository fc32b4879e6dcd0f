"""What the values of masks mean: class names, class ids, and what to ignore.

Where nobody says it, the values decide, by what stands in each file; what cannot be meant is
refused with an entry for dataset.json that says it, and what is unlikely is a doubt.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from unet_bench.data.dataset import IGNORE, Array, LabelRow
from unet_bench.data.findings import Findings, listing
from unet_bench.data.mask import GREY, Mask, hexed, is_grey
from unet_bench.limits import shown

NAME: Final = 100
"""Characters of a class's name: it is a row's label in every table."""
BINARY: Final = ("background", "object")
BACKGROUND: Final = "background"
WHITE: Final = 255  # the lightest grey level that is a colour
MOST_PROPOSED: Final = 20
"""Entries of a proposal for dataset.json: more are no classes."""
GREY_LEVELS: Final = 8
"""More values than these may be grey levels, and no class ids."""
MOST_CHANGING: Final = 0.7
"""The share of pixels that differ from a neighbour, from which on these are grey levels."""
DOUBTED_SHARE: Final = 0.8
"""The share of pixels from which on what is called an object may be the background."""
MOST_TABLED: Final = 2**16  # values below this are mapped by a table
MANY_IDS: Final = 20
"""Classes of which nobody has so many, in every image one part each."""
MOST_LOOKED_AT: Final = 20  # masks whose neighbouring pixels are compared

Classes = int | Sequence[str] | str | None
"""What a caller may say of the classes: their names, the background first; how many; `binary`, all
that is not 0; or nothing."""

Counts = dict[int, int]
"""Pixels by value."""


@dataclass(frozen=True)
class Span:
    """Values that mean one class, from `low` to `high`; or that are ignored, class `IGNORE`."""

    low: int
    high: int
    class_id: int


@dataclass(frozen=True)
class Declared:
    """What is said of masks beforehand, by the caller or by a dataset.json."""

    classes: tuple[str, ...] | None = None
    spans: tuple[Span, ...] = ()
    ignore: frozenset[int] = frozenset()
    is_binary: bool = False
    by_colour: bool = False
    """Whether values in `spans` and `ignore` are colours, 0xRRGGBB."""


@dataclass(frozen=True)
class Labelled:
    """Class names, masks `(*S)` of class ids by name, and what each value was taken for."""

    classes: tuple[str, ...]
    masks: Mapping[str, Array]
    rows: tuple[LabelRow, ...] = ()


def class_names(classes: Classes | object, found: Findings) -> tuple[str, ...] | None:
    """Return class names from names, a count or nothing; None, and a problem, from all else."""
    if classes is None:
        return None
    if classes == "binary":
        return BINARY
    if type(classes) is int and 2 <= classes <= IGNORE:
        return (BACKGROUND, *(f"class {number}" for number in range(1, classes)))
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    are_text = all(isinstance(name, str) for name in names)
    if not are_text or not 2 <= len(set(names)) == len(names) <= IGNORE:
        found.problems.append(
            f"classes {shown(classes)}: give 2 to {IGNORE} different names, "
            "the background first, how many, or binary"
        )
        return None
    for name in names:
        if len(name) > NAME or not name.isprintable():
            found.problems.append(
                f"class {shown(name)}: a name has at most {NAME} characters, "
                "all of them printable; rename it"
            )
            return None
    return names


def declare(classes: Classes, stated: Mapping[str, Any], found: Findings) -> Declared:
    """Return what the caller's `classes`, and else a dataset.json, say of masks.

    dataset.json may have `classes`, as the caller; `labels`, from names to values, ranges or
    colours, or `binary`; and `ignore` (or `ignore_index`), values or colours.
    """
    ignored = _values_of(stated.get("ignore", stated.get("ignore_index")), "ignore", found)
    # Where 255 turns out to mean 1, an ignore_index of 255 was a default nobody meant.
    by_default = set() if "ignore" in stated else {IGNORE}
    labels = stated.get("labels") if classes is None else None
    if isinstance(labels, dict) and labels:
        return _from_labels(labels, ignored, found)
    if labels == "binary":
        classes = "binary"
    elif classes is None:
        classes = stated.get("classes")
    if labels and labels != "binary":
        found.problems.append(
            f"dataset.json: labels {shown(labels)} must be an object from names to values, such as "
            '{"background": 0, "nucleus": "1-255"}, or "binary"'
        )
    if any(is_colour for *_, is_colour in ignored):
        found.problems.append(
            "dataset.json: ignore is a colour, and labels name no colours; add them"
        )
    ignore = {value for low, high, _ in ignored for value in range(low, high + 1)} - by_default
    names = class_names(classes, found)
    return Declared(names, ignore=frozenset(ignore), is_binary=classes == "binary")


Said = tuple[int, int, bool]
"""The lowest and the highest of a range of values, and whether they are colours."""


def _values_of(given: object, name: str, found: Findings) -> list[Said]:
    """Return the values that one entry of dataset.json names."""
    entries = given if isinstance(given, list) else [] if given is None else [given]
    said = []
    for entry in entries:
        if one := _value_of(entry):
            said.append(one)
        else:
            found.problems.append(
                f"dataset.json: {name} {shown(entry)} must be one whole number, a range such as "
                '"1-255" or a colour such as "#ff0000"; several in a list'
            )
    return said


def _value_of(entry: object) -> Said | None:
    if type(entry) is int and abs(entry) < 2**31:
        return entry, entry, False
    if not isinstance(entry, str):
        return None
    if re.fullmatch(r"#[0-9a-fA-F]{6}", entry):
        colour = int(entry[1:], 16)
        return colour, colour, True
    if ends := re.fullmatch(r"(\d{1,5})\s*(?:-\s*(\d{1,5}))?", entry.strip(), re.ASCII):
        low, high = int(ends[1]), int(ends[2] or ends[1])
        return (low, high, False) if low <= high else None
    return None


def _from_labels(labels: Mapping[str, Any], ignored: list[Said], found: Findings) -> Declared:
    """Return what `labels` of a dataset.json say, from names to values or from values to names."""
    are_values = all(_value_of(value) for value in labels)
    if are_values and all(isinstance(name, str) for name in labels.values()):
        labels = {name: value for value, name in labels.items()}
    named = {}
    for name, value in labels.items():
        named[name] = _values_of(value, f"labels: {shown(name)}", found)
    ignored = ignored + named.pop("ignore", [])
    order = sorted(named, key=lambda name: name.lower() != BACKGROUND)
    classes = class_names(order, found)
    by_colour = any(is_colour for values in (*named.values(), ignored) for *_, is_colour in values)
    spans = []
    for class_id, values in (*enumerate(named[name] for name in order), (IGNORE, ignored)):
        for said in values:
            spans += _spans(said, class_id, by_colour)
    ordered = sorted(spans, key=lambda span: span.low)
    for before, after in itertools.pairwise(ordered):
        if after.low <= before.high and before.class_id != after.class_id:
            found.problems.append(
                f"dataset.json: labels give {_text(after.low, by_colour)} two meanings; give it one"
            )
    return Declared(classes, tuple(ordered), by_colour=by_colour)


def _spans(said: Said, class_id: int, by_colour: bool) -> list[Span]:
    """Return the span of a range; where values are colours, one for each grey level in it."""
    low, high, is_colour = said
    if is_colour or not by_colour:
        return [Span(low, high, class_id)]
    greys = [level * GREY for level in range(low, min(high, WHITE) + 1)]
    return [Span(grey, grey, class_id) for grey in greys]


def label(
    given_masks: Mapping[str, Mask | Array],
    declared: Declared,
    found: Findings,
    where: str = "masks",
) -> Labelled:
    """Return class names, and masks of class ids, from what stands in the files.

    `where` is what a problem with the values of all masks names.
    """
    masks: Mapping[str, Mask] = {
        stem: mask if isinstance(mask, Mask) else Mask(mask) for stem, mask in given_masks.items()
    }
    masks = _exact(masks, declared, found)
    masks = _of_one_kind(masks, declared, found, where)
    counts = {stem: counted(mask.values) for stem, mask in masks.items()}
    classes, meaning = _meaning(masks, counts, declared, found, where)
    ids = {stem: _ids(mask.values, meaning) for stem, mask in masks.items()}
    by_colour = any(mask.is_colour for mask in masks.values())
    rows = _rows(counts.values(), meaning, classes, by_colour)
    if not declared.spans:
        found.doubts.extend(_doubts(rows, classes, where, are_declared=bool(declared.classes)))
    return Labelled(classes, ids, rows)


def by_format(masks: Mapping[str, Mask | Array], classes: tuple[str, ...]) -> Labelled:
    """Return masks whose values are class ids by their format, 255 = ignore."""
    values = {stem: mask.values if isinstance(mask, Mask) else mask for stem, mask in masks.items()}
    return Labelled(classes, {stem: _ids(held, {}) for stem, held in values.items()})


def _exact(masks: Mapping[str, Mask], declared: Declared, found: Findings) -> Mapping[str, Mask]:
    """Return the masks without blurred ones: a problem each, where nobody names ranges."""
    if declared.spans:
        return masks
    for mask in masks.values():
        if mask.is_lossy:
            found.problems.append(
                f"{mask.where}: lossy compression (JPEG and the like) blurs class ids; save masks "
                "as PNG, or say in dataset.json what the values mean: "
                '"labels": {"background": "0-127", "object": "128-255"}'
            )
    return {stem: mask for stem, mask in masks.items() if not mask.is_lossy}


def _of_one_kind(
    masks: Mapping[str, Mask], declared: Declared, found: Findings, where: str
) -> Mapping[str, Mask]:
    """Return masks whose values mean the same in every file: colours, or not.

    Palette indices count as they are, if all palettes agree. Where they do not, their colours
    count: grey ones as grey levels, others if dataset.json names them.
    """
    if declared.by_colour:
        return {stem: mask.as_colours() for stem, mask in masks.items()}
    coloured = {stem: mask for stem, mask in masks.items() if mask.is_colour}
    if coloured:
        shares = _shares(coloured.values())
        for mask in coloured.values():
            found.problems.append(
                f"{mask.where}: holds colours; say in dataset.json what they mean: "
                f"{_colour_entry(shares)}"
            )
        return {stem: mask for stem, mask in masks.items() if not mask.is_colour}
    palettes = {stem: mask.palette() for stem, mask in masks.items() if mask.colours is not None}
    meanings: dict[int, set[int]] = {}
    for used in palettes.values():
        for index, colour in used.items():
            meanings.setdefault(index, set()).add(colour)
    agree = all(len(colours) == 1 for colours in meanings.values())
    shared = _shared_colour(masks.values(), meanings) if agree else None
    if all(is_grey(colour) for colours in meanings.values() for colour in colours):
        in_order = [max(meanings[index]) for index in sorted(meanings)]
        if (
            not agree
            or shared is not None
            or in_order != sorted(in_order)
            or len(palettes) < len(masks)
        ):
            return {stem: m.as_greys() if m.colours is not None else m for stem, m in masks.items()}
    elif not agree:
        index = next(index for index, colours in sorted(meanings.items()) if len(colours) > 1)
        shares = _shares(mask.as_colours() for mask in masks.values())
        found.problems.append(
            f"{where}: palettes disagree: index {index} is "
            f"{' and '.join(hexed(colour) for colour in sorted(meanings[index])[:3])}; "
            f"say in dataset.json what the colours mean: {_colour_entry(shares)}"
        )
    elif shared is not None:
        indices = [str(index) for index, colours in sorted(meanings.items()) if shared in colours]
        shares = _shares(mask.as_colours() for mask in masks.values())
        found.problems.append(
            f"{where}: palettes disagree: {hexed(shared)} is index {' and '.join(indices[:3])}; "
            f"say in dataset.json what the colours mean: {_colour_entry(shares)}"
        )
    return masks


def _shared_colour(masks: Iterable[Mask], meanings: Mapping[int, set[int]]) -> int | None:
    """Return a colour that is one index in some files and another one in others; None without.

    A palette that has it twice tells indices apart by itself, and colours nothing.
    """
    indices: dict[int, list[int]] = {}
    for index, colours in meanings.items():
        for colour in colours:
            indices.setdefault(colour, []).append(index)
    palettes = [mask.colours for mask in masks if mask.colours is not None]
    for colour, several in sorted(indices.items()):
        is_apart = not any(
            all(index < len(known) and known[index] == colour for index in several)
            for known in palettes
        )
        if len(several) > 1 and is_apart:
            return colour
    return None


def _shares(masks: Iterable[Mask]) -> Counter[int]:
    pixels: Counter[int] = Counter()
    for mask in masks:
        pixels.update(counted(mask.values))
    return pixels


def _colour_entry(pixels: Counter[int]) -> str:
    if len(pixels) > IGNORE:
        return f"{len(pixels)} colours are too many, blurred by JPEG or resizing; save masks anew"
    return proposal([hexed(colour) for colour, _ in pixels.most_common()])


def proposal(values: Sequence[int | str]) -> str:
    """Return an entry for dataset.json that names each of these values, the first as background."""
    names = [BACKGROUND, *(f"class {number}" for number in range(1, len(values)))]
    entry = json.dumps({"labels": dict(zip(names, values[:MOST_PROPOSED], strict=False))})[1:-1]
    more = f" and {len(values) - MOST_PROPOSED} more" if len(values) > MOST_PROPOSED else ""
    return f"{entry}{more}"


def counted(values: Array) -> Counts:
    """Return how many pixels each value has."""
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() < 2**16:
        counts = np.bincount(values.ravel())
        held = np.flatnonzero(counts)
        return dict(zip(held.tolist(), counts[held].tolist(), strict=True))
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _meaning(
    masks: Mapping[str, Mask],
    counts: Mapping[str, Counts],
    declared: Declared,
    found: Findings,
    where: str,
) -> tuple[tuple[str, ...], Counts]:
    """Return class names, and the class id of each value that is not one itself."""
    values = {value for held in counts.values() for value in held}
    ignored = dict.fromkeys(declared.ignore, IGNORE)
    if declared.spans:
        return _by_spans(counts, declared, found, where)
    levels = [mask.values for mask in masks.values()], list(counts.values())
    if declared.is_binary:
        if problem := blurred(*levels):
            found.doubts.append(f"{where}: {problem}")
        return BINARY, {value: int(value != 0) for value in values} | ignored
    is_two = declared.classes is None or len(declared.classes) == 2
    may_be_white = IGNORE in values and IGNORE not in declared.ignore
    if is_two and may_be_white and values <= {0, 1, IGNORE, *declared.ignore}:
        names = declared.classes or class_names(2, found) or ()
        if _is_white(counts, found, where):
            return names, {IGNORE: 1} | ignored
        return names, ignored
    if declared.classes is not None:
        return declared.classes, ignored
    ids = values - {IGNORE, *declared.ignore}
    if problem := blurred(*levels) or _no_ids(counts, ids):
        found.problems.append(f"{where}: {problem}")
        return (), ignored
    names = class_names(max(2, max(ids, default=1) + 1), found) or ()
    if problem := _instances(masks, counts):
        found.doubts.append(f"{where}: {problem}")
    return names, ignored


def _is_white(counts: Mapping[str, Counts], found: Findings, where: str) -> bool:
    """Return whether 255 is the object in masks of 0, 1 and 255, and not a value to ignore.

    It is to be ignored where one file holds 1 and 255. A doubt tells of files that may mean it
    otherwise.
    """
    ones = [stem for stem, held in counts.items() if 1 in held]
    white = [stem for stem, held in counts.items() if IGNORE in held]
    both = [stem for stem in ones if IGNORE in counts[stem]]
    if not both and ones:
        found.doubts.append(
            f"{where}: {len(ones)} masks hold 0 and 1 ({listing(ones)}), {len(white)} hold 0 and "
            f"255 ({listing(white)}): 255 is taken for 1 in these; save all alike"
        )
    elif both and (alone := [stem for stem in white if stem not in both]):
        found.doubts.append(
            f"{where}: 255 is ignored, since {len(both)} masks hold it beside 1 "
            f"({listing(both)}); {len(alone)} hold it without 1 ({listing(alone)}): "
            "is it the object there?"
        )
    return not both


def _no_ids(counts: Mapping[str, Counts], values: set[int]) -> str:
    """Return why values are no class ids, where nobody declared any; empty where they are."""
    count = max(values, default=1) + 1
    if count > IGNORE and 2 * len(values) >= count:
        return (
            f"{count} values, and there are {IGNORE} classes at most; if they are numbers of "
            'objects, take them for one class by --classes binary, or in dataset.json by "labels": '
            '"binary"'
        )
    # One-based ids, grey levels and stray values would make classes which nobody has; a class or
    # two may be absent.
    are_ids = 0 in values and min(values) == 0 and 2 * len(values) >= count >= 2
    if not values or are_ids:
        return ""
    if min(values) < 0:
        lowest = min(values)
        return (
            f"the value {lowest} is no class id; if it is to be ignored, say so in dataset.json: "
            f'"ignore": {lowest}'
        )
    if values == {0}:
        return "hold only 0, the background; declare how many classes there are (--classes 2)"
    some = ", ".join(map(str, sorted(values)[:10]))
    entry = proposal(sorted(values | _seen_255(counts)))
    return (
        f"values {some} are not class ids 0, 1, 2, …; say in dataset.json what they mean, "
        f"such as {entry}; or take all but 0 for one class, by --classes binary"
    )


def _seen_255(counts: Mapping[str, Counts]) -> set[int]:
    """Return 255 where it may be a class of its own: as the lightest of some grey levels."""
    values = {value for held in counts.values() for value in held}
    return {IGNORE} & values if 1 not in values else set()


def blurred(masks: Sequence[Array], counts: Sequence[Counts]) -> str:
    """Return what is wrong where masks hold grey levels and no class ids; empty where not.

    Inside of classes and objects, neighbouring pixels are equal. Where edges are blurred, and in
    photographs, hardly any pixel between the lowest and the highest value equals its neighbours.
    """
    pixels: Counter[int] = Counter()
    for held in counts:
        pixels.update(held)
    if len(pixels) <= GREY_LEVELS:
        return ""
    lowest, highest = min(pixels), max(pixels)
    between = changing = 0
    by_levels = sorted(zip(masks, counts, strict=True), key=lambda pair: -len(pair[1]))
    for mask, _ in by_levels[:MOST_LOOKED_AT]:
        here = mask[:-1, :-1]
        is_between = (here != lowest) & (here != highest)
        differs = (here != mask[1:, :-1]) | (here != mask[:-1, 1:])
        between += int(is_between.sum())
        changing += int((is_between & differs).sum())
    if changing < MOST_CHANGING * between:
        return ""
    share = 1 - (pixels[lowest] + pixels[highest]) / sum(pixels.values())
    half = highest // 2
    entry = json.dumps({"labels": {BACKGROUND: f"0-{half}", "object": f"{half + 1}-{highest}"}})
    return (
        f"{len(pixels)} grey levels, {share:.1%} of the pixels between {lowest} and {highest}, "
        "look like two classes whose edges were blurred by resizing, or like a photograph; save "
        "masks unblurred (nearest neighbour), or say in dataset.json where the object begins: "
        f"{entry[1:-1]}"
    )


def _instances(masks: Mapping[str, Mask], counts: Mapping[str, Counts]) -> str:
    """Return why class ids look like numbers of objects in an image; empty where they do not.

    Tools that find objects number them 1, 2, 3, … in each image anew, a connected part each.
    """
    highest = [max(held) for held in counts.values() if len(held) > 1]
    contiguous = [max(held) == len(held.keys() - {0}) for held in counts.values() if len(held) > 1]
    files = Counter(value for held in counts.values() for value in held if value)
    lonely = sum(count == 1 for count in files.values())
    run_on = len(files) >= MANY_IDS and lonely > len(files) / 2 and len(counts) > 2
    anew = len(set(highest)) > 1 and max(highest, default=0) > 3
    as_many = max(highest, default=0) >= MANY_IDS
    if not run_on and not ((anew or as_many) and np.mean(contiguous) >= 0.8):
        return ""
    looked_at = [stem for stem, held in counts.items() if len(held) > 1][:MOST_LOOKED_AT]
    parts = sum(_parts(masks[stem].values) for stem in looked_at)
    ids = sum(len(counts[stem].keys() - {0}) for stem in looked_at)
    if parts > 1.5 * ids:
        return ""
    return (
        f"{max(files)} classes, as many as the fullest image has objects, or all together: these "
        "look like numbers of objects; take them for one class by --classes binary, or in "
        'dataset.json by "labels": "binary"'
    )


def _parts(values: Array) -> int:
    """Return how many connected parts of one value there are, without those of 0."""
    from scipy import ndimage  # takes longer to import than all of this module

    boxes = enumerate(ndimage.find_objects(values), start=1)
    return sum(ndimage.label(values[box] == value)[1] for value, box in boxes if box)


def _by_spans(
    counts: Mapping[str, Counts], declared: Declared, found: Findings, where: str
) -> tuple[tuple[str, ...], Counts]:
    """Return class names, and the class id of each value, by dataset.json.

    A value that it leaves out is a problem: there are no classes then.
    """
    meaning: Counts = {}
    strays: dict[int, list[str]] = {}
    lows = [span.low for span in declared.spans]
    for stem, held in counts.items():
        for value in held:
            index = int(np.searchsorted(lows, value, side="right")) - 1
            if index >= 0 and value <= declared.spans[index].high:
                meaning[value] = declared.spans[index].class_id
            else:
                strays.setdefault(value, []).append(stem)
    if strays:
        some = [_text(value, declared.by_colour) for value in sorted(strays)]
        files = sorted({stem for stems in strays.values() for stem in stems})
        found.problems.append(
            f"{where}: values {listing(some, 10)} are in no label of dataset.json "
            f"(in {listing(files)}); add them, to `ignore` if they mean nothing"
        )
        return (), meaning
    return declared.classes or (), meaning


def _ids(values: Array, meaning: Counts) -> Array:
    """Return class ids, uint8 where they fit, of values with another meaning than themselves."""
    changed = {value: class_id for value, class_id in meaning.items() if value != class_id}
    if changed and values.size:
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high < MOST_TABLED:
            table = np.arange(high + 1)
            for value, class_id in changed.items():
                if low <= value <= high:
                    table[value] = class_id
            values = table[values]
        else:
            held, inverse = np.unique(values, return_inverse=True)
            mapped = np.array([changed.get(value, value) for value in held.tolist()])
            values = mapped[inverse].reshape(values.shape)
    fits = values.size == 0 or (values.min() >= 0 and values.max() <= IGNORE)
    return values.astype(np.uint8, copy=False) if fits else values


def _rows(
    counts: Iterable[Counts], meaning: Counts, classes: tuple[str, ...], by_colour: bool
) -> tuple[LabelRow, ...]:
    """Return what each value was taken for, its share of the pixels, and how many files hold it."""
    pixels: Counter[int] = Counter()
    files: Counter[int] = Counter()
    for held in counts:
        pixels.update(held)
        files.update(held.keys())
    total = sum(pixels.values())
    rows = []
    for value in sorted(pixels):
        class_id = meaning.get(value, value)
        name = classes[class_id] if 0 <= class_id < len(classes) else "ignored"
        rows.append(LabelRow(_text(value, by_colour), name, pixels[value] / total, files[value]))
    return tuple(rows)


def _text(value: int, by_colour: bool) -> str:
    return hexed(value) if by_colour else str(value)


def _doubts(
    rows: Sequence[LabelRow], classes: tuple[str, ...], where: str, are_declared: bool
) -> Iterable[str]:
    """Yield what is unlikely in a meaning of values that no dataset.json gives one by one."""
    shares = dict.fromkeys((*classes, "ignored"), 0.0)
    for row in rows:
        shares[row.meaning] += row.share
    gaps = [name for name in classes[1:] if not shares[name]]
    if gaps and len(classes) > 2 and not are_declared:
        yield f"{where}: no pixel is of {listing(gaps)}, since the values have gaps; renumber them"
    for name in classes[1:]:
        if shares[name] > DOUBTED_SHARE:
            yield (
                f"{where}: {shares[name]:.0%} of the pixels are {name}; is that the background? "
                "The background is the value 0, or what dataset.json calls background"
            )
    objects = sum(shares[name] for name in classes[1:])
    ignored = sum(row.share for row in rows if (row.value, row.meaning) == ("255", "ignored"))
    if ignored > min(0.5, objects):
        yield (
            f"{where}: {ignored:.1%} of the pixels are 255, which is ignored, and {objects:.1%} "
            "are of a class beside the background; is 255 a class? If so, name it in labels of "
            "dataset.json"
        )
