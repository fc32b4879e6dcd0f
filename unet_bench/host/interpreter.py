"""How a Python of ours is begun."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours in a new interpreter.

    By `-P`, since Python would import what lies in the current folder before what is installed.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
