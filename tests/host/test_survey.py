"""What is asked of a child is waited for no longer than was said."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unet_bench.host import survey

STOPS = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGSTOP")
def test_a_stopped_survey_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "TIMEOUT_S", 0.5)
    with pytest.raises(subprocess.TimeoutExpired):
        survey._run_child([sys.executable, "-c", STOPS])


def test_a_survey_is_asked_nothing_and_read_whole() -> None:
    code = "import sys; print(len(sys.stdin.read())); print(9 * 'e', file=sys.stderr); sys.exit(3)"
    assert survey._run_child([sys.executable, "-c", code]) == ("0\n", "eeeeeeeee\n", 3)
