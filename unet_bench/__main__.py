"""The program: `unet-bench`, and `python -m unet_bench`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line.

    Until a command begins there is nothing to tidy up: signals end the program at once and in
    silence, in the midst of any import.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from unet_bench.cli import app

    app.main()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, from which `unet-bench` imports nothing either
    main()
