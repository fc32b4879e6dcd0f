"""A certificate as a page: what was checked, what it came to and had to be, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from unet_bench.analysis.certificate import FAILED, PASSED, Certificate, Check
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text, Tone
from unet_bench.present.document import Document

SHOWN: Final = 12  # lines of a check's table; all of them are in certificate.json
INTRODUCTION: Final = (
    "unet-bench measures the speed, memory and outputs of networks. The checks below say whether "
    "what it measures on this device can be believed; the device is certified if all of them "
    "passed. A cell is one measurement of one network, and a check's figure names the cell that is "
    "farthest off. The command “unet-bench certify --resume FOLDER” goes on with what was not "
    "reached."
)
ABOUT: Final[dict[str, str]] = {
    "environment": "What the command “unet-bench doctor” says of the machine.",
    "selftest": (
        "A network is timed against itself, in pairs: as it is, and slowed down by known shares. "
        "Equal code must come out equal, and slower code slower."
    ),
    "clocks": (
        "The same passes are timed by the host's clock, as all our figures are; by events of the "
        "device; and by torch's profiler, which adds up the programs that the device ran (kernels)."
    ),
    "outputs": (
        "With equal weights and input: the scores in each number format, memory format and way of "
        "running, against those in fp32, run as torch does by default (eager, contiguous)."
    ),
    "memory": (
        "Of every network: the peak that was predicted without running it, against the peak that "
        "was measured, of inference and of a training step."
    ),
    "table": (
        "Some networks as “unet-bench run” measures them: cost, speed, memory, a short training. "
        "A cell is clean, or contaminated if other programs kept the machine busy meanwhile."
    ),
}
FILES: Final = (
    ("certificate.md", "this page"),
    ("certificate.json", "the same, with every line of its tables"),
    ("request.json", "the device and the minutes that were asked for"),
    ("environment.json", "what “unet-bench doctor” says of the machine and its packages"),
    ("report.html", "the networks of the check “table”, as a page for a browser"),
    ("CHECK-error.txt", "where in our code a check broke off, if one did"),
    ("CHECK/…/", "a run of a check, named by its time; “memory” has several, numbered"),
    ("run.json", "of a run: what was asked for, and on what it ran"),
    ("cells.jsonl", "of a run: all results, a line for each cell"),
    ("cells.csv, results.csv, classes.csv", "tables of them, by cell, network and class"),
    ("tables.json", "which lines of cells.jsonl those tables were made of"),
    ("selftest.json, selftest.txt", "of the self-test: what its pairs come to"),
    ("samples/", "of a run: every single timing, a file for each cell"),
    ("logs/", "of a run: what networks and libraries printed, a file for each cell"),
    ("inbox/, checkpoints/, .lock", "of a run, for going on; not in the .zip"),
)
"""What is in a certificate's folder and its runs."""
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
        "certify",
        (*summary(certificate), *details(checks), *contents()),
        data,
        certificate.to_json(),
    )


def summary(certificate: Certificate) -> Iterator[Block]:
    """Yield the verdict, and a line for each check."""
    tone: Tone = "good" if certificate.exit_code() == 0 else "bad"
    versions = ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    yield Text(certificate.sentence(), "strong")
    yield Text(INTRODUCTION)
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
        about = ABOUT.get(check.name, "")
        if not (about or check.lines or check.notes):
            continue
        yield Heading(check.name)
        if about:
            yield Text(about)
        if check.lines:
            shown = check.lines[:SHOWN]
            lines = tuple(Line(name, tuple(map(Cell, fields))) for name, *fields in shown)
            yield Table(check.labels, lines)
        more = len(check.lines) - SHOWN
        hidden = (f"{more} lines more are in certificate.json",) if more > 0 else ()
        if notes := (*hidden, *check.notes):
            yield Notes(notes)


def contents() -> Iterator[Block]:
    """Yield what the files are that lie beside the certificate."""
    yield Heading("What is in this folder")
    lines = tuple(Line(name, (Cell(what),)) for name, what in FILES)
    yield Table(("file", "what it is"), lines, left=("what it is",))
