"""What a dataset.json says, which several formats have, each with keys of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unet_bench import limits
from unet_bench.limits import one_line, shown


def modalities(stated: object) -> tuple[str, ...]:
    """The modality of each channel, from `{"0": "T1", "1": "T2"}` or nothing."""
    named = stated if isinstance(stated, dict) else {}
    texts = {
        channel: text if isinstance(text, str) else shown(text) for channel, text in named.items()
    }
    return tuple(
        one_line(texts[channel])
        for channel in sorted(texts, key=lambda channel: (len(channel), channel))
    )


def title(stated: dict[str, Any], otherwise: str) -> str:
    """What a data set is called: its `name`, where that is text."""
    name = stated.get("name")
    return name if isinstance(name, str) and name else otherwise


def inside(root: Path, name: str, problems: list[str]) -> Path | None:
    """The file that a dataset.json names; None, and a problem, for a name that leads out of the
    folder `root`.
    """
    path = Path(name)
    if path.anchor or ".." in path.parts:
        problems.append(
            f"dataset.json: {shown(name)} leads out of the folder; name files in it, such as imagesTr/a.nii"
        )
        return None
    return root / path


def read_json(file: Path, problems: list[str]) -> dict[str, Any]:
    """What a dataset.json states; nothing, and a problem, where it is no JSON object."""
    if not file.exists():
        return {}
    try:
        stated = limits.read_json(file)
    except (OSError, ValueError) as error:
        problems.append(f"{file.name}: not JSON ({error}); mend or remove it")
        return {}
    if not isinstance(stated, dict):
        problems.append(
            f"{file.name}: must be an object with keys such as name and classes; mend or remove it"
        )
        return {}
    return stated
