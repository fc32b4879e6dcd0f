"""A certificate as a page: what was checked, what it came to and had to be, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from unet_bench.analysis.certificate import FAILED, PASSED, Certificate, Check
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text, Tone
from unet_bench.present.document import Document

SHOWN: Final = 12  # lines of a check's table; all of them are in certificate.json
TONES: Final[dict[str, Tone]] = {PASSED: "good", FAILED: "bad"}


def certificate_document(certificate: Certificate) -> Document:
    """Return a certificate as a document; its data are one line a check."""
    checks = certificate.checks
    data = pd.DataFrame(
        [
            {name: getattr(check, name) for name in ("name", "status", "figure", "threshold")}
            for check in checks
        ]
    )
    return Document(
        "certify", (*summary(certificate), *details(checks)), data, certificate.to_json()
    )


def summary(certificate: Certificate) -> Iterator[Block]:
    """Yield the verdict, and a line for each check."""
    tone: Tone = "good" if certificate.exit_code() == 0 else "bad"
    versions = ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    yield Text(certificate.sentence(), "strong")
    yield Text(f"{certificate.made}, {certificate.minutes:g} minutes; {versions}", "quiet")
    lines = tuple(
        Line(
            check.name,
            (
                Cell(check.status, tone=TONES.get(check.status, "unsure")),
                Cell(check.figure),
                Cell(check.threshold),
                Cell(check.evidence),
            ),
        )
        for check in certificate.checks
    )
    labels = ("check", "verdict", "figure", "threshold", "evidence")
    yield Table(labels, lines, left=labels[1:])
    problems = tuple(
        f"{check.name}: {problem}" for check in certificate.checks for problem in check.problems
    )
    if problems:
        yield Heading("What failed")
        yield Notes(problems, tone)


def details(checks: tuple[Check, ...]) -> Iterator[Block]:
    """Yield what each check found, the farthest off first, and what is to be known of it."""
    for check in checks:
        if not (check.lines or check.notes):
            continue
        yield Heading(check.name)
        if check.lines:
            shown = check.lines[:SHOWN]
            lines = tuple(Line(name, tuple(map(Cell, fields))) for name, *fields in shown)
            yield Table(check.labels, lines)
        more = len(check.lines) - SHOWN
        hidden = (f"{more} lines more are in certificate.json",) if more > 0 else ()
        if notes := (*hidden, *check.notes):
            yield Notes(notes)
