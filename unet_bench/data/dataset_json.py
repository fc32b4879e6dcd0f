"""What a dataset.json says, which several formats have, each with keys of its own."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from unet_bench import limits
from unet_bench.data.findings import Findings
from unet_bench.limits import one_line, shown


def modalities(stated: object) -> tuple[str, ...]:
    """Return the modality of each channel, from `{"0": "T1", "1": "T2"}` or nothing."""
    named = stated if isinstance(stated, dict) else {}
    channels = sorted(named, key=lambda channel: (len(channel), channel))
    texts = [named[channel] for channel in channels]
    return tuple(one_line(text if isinstance(text, str) else shown(text)) for text in texts)


def title(stated: dict[str, Any], otherwise: str) -> str:
    """Return what a data set is called: its `name`, where that is text."""
    name = stated.get("name")
    return name if isinstance(name, str) and name else otherwise


def white(stated: Mapping[str, Any], found: Findings) -> float | None:
    """Return the value that is `white` in images of more than 8 bits; None where nobody says it."""
    value = stated.get("white")
    if value is None:
        return None
    if type(value) in (int, float) and 0 < value < math.inf:
        return float(value)
    found.problems.append(
        f"dataset.json: white {shown(value)} must be a number above 0, such as 4095 of 12 bits"
    )
    return None


def inside(root: Path, name: str, found: Findings, source: str = "dataset.json") -> Path | None:
    """Return the file that `source` names; None, and a problem, for one outside `root`."""
    path = Path(name)
    if path.anchor or ".." in path.parts:
        found.problems.append(
            f"{source}: {shown(name)} leads out of the folder; "
            "name files in it, such as imagesTr/a.nii"
        )
        return None
    return root / path


def doubt_misspelt(stated: Collection[str], known: Collection[str], found: Findings) -> None:
    """Doubt keys that are nearly one that is known: nothing else would say that they are not read.

    Of others there are many in files that were not written for us.
    """
    for key in stated:
        if key in known:
            continue
        near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
        if near and near[0] not in stated:
            found.doubts.append(
                f"dataset.json: nothing reads {shown(key)}; is it {shown(near[0])}?"
            )


def read_json(file: Path, found: Findings) -> dict[str, Any]:
    """Return what a dataset.json states; nothing, and a problem, where it is no JSON object."""
    if not file.exists():
        return {}
    try:
        stated = limits.read_json(file)
    except (OSError, ValueError) as error:
        found.problems.append(f"{file.name}: not JSON ({error}); mend or remove it")
        return {}
    if not isinstance(stated, dict):
        found.problems.append(
            f"{file.name}: must be an object with keys such as name and classes; mend or remove it"
        )
        return {}
    return stated
