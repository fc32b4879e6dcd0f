"""What workers print: bounded, and without the secrets of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from unet_bench.execute.logs import MOST_BYTES, last_line, tidy, without_secrets


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdef")
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    monkeypatch.setenv("SHORT_SECRET", "on")
    monkeypatch.setenv("HARMLESS", "visible-value")


def test_values_that_are_called_as_secrets_are_blotted_out() -> None:
    said = without_secrets("hf_abcdef hunter22 on visible-value")
    assert said == "[HF_TOKEN] [DB_PASSWORD] on visible-value"


def test_a_log_keeps_both_ends_and_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"first hf_abcdef\n" + b"\xff" * (3 * MOST_BYTES) + b"\nlast hunter22\n")
    tidy(log)
    text = log.read_text()
    assert text.startswith("first [HF_TOKEN]")
    assert text.endswith("last [DB_PASSWORD]\n")
    assert "bytes left out" in text
    assert last_line(log) == "last [DB_PASSWORD]"


def test_an_empty_log_goes_and_an_absent_one_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    tidy(tmp_path / "a.log")
    tidy(tmp_path / "b.log")
    assert list(tmp_path.iterdir()) == []
    assert last_line(tmp_path / "b.log") == ""
