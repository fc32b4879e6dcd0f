"""What workers print: kept short, and without the secrets of the environment."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 1 << 20  # of a log: a worker that prints garbage must not fill the disk
SECRET: Final = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE
)
SHORTEST: Final = 6  # characters of a value that is taken for a secret: others stand everywhere


def without_secrets(text: str) -> str:
    """Return the text without the values of environment variables that are called as secrets."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, f"[{name}]")
    return text


def tidy(log: Path) -> None:
    """Remove an empty log; of a long one keep both ends; blot out secrets."""
    with suppress(OSError):
        size = log.stat().st_size
        if not size:
            log.unlink()
            return
        with log.open("rb") as file:
            kept = file.read(MOST_BYTES)
            if size > MOST_BYTES:
                half = MOST_BYTES // 2
                file.seek(size - half)
                gap = f"\n… {size - MOST_BYTES} bytes left out …\n".encode()
                kept = kept[:half] + gap + file.read()
        text = kept.decode(errors="replace")
        clean = without_secrets(text)
        if size > MOST_BYTES or clean != text:
            log.write_text(clean, encoding="utf-8")


def last_line(log: Path) -> str:
    """Return the end of a worker's log, to stand behind a message."""
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""
