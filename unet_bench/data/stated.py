"""What a dataset.json says, which several formats have, each with keys of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def modalities(stated: object) -> tuple[str, ...]:
    """The modality of each channel, from `{"0": "T1", "1": "T2"}` or nothing."""
    named = stated if isinstance(stated, dict) else {}
    return tuple(str(named[channel]) for channel in sorted(named, key=lambda channel: (len(channel), channel)))


def read_json(file: Path, problems: list[str]) -> dict[str, Any]:
    """What a dataset.json states; nothing, and a problem, where it is no JSON object."""
    if not file.exists():
        return {}
    try:
        stated = json.loads(file.read_bytes())
    except ValueError as error:
        problems.append(f"{file.name}: not JSON ({error}); mend or remove it")
        return {}
    if not isinstance(stated, dict):
        problems.append(f"{file.name}: must be an object with keys such as name and classes; mend or remove it")
        return {}
    return stated
