"""The command that certifies a device: everything that is checked on one, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unet_bench.cli.inspect import doctor_report
from unet_bench.cli.measure import Out
from unet_bench.cli.options import Chosen, Debug, Quiet, pick, with_options
from unet_bench.errors import InvalidSuite
from unet_bench.present.stdout import echo, tell
from unet_bench.spec.suite import Suite


@with_options(chosen=pick(Suite, "device"))
def certify(
    chosen: Chosen,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.1, help="Be done in so many; 15 by default, enough on a GPU."
        ),
    ] = None,
    out: Out = Path("results"),
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Go on with a certificate: the folder that it is in."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Certify a device: our timing, memory, outputs and a table on it, with the evidence in a .zip.

    Exit 1 if a check failed, 3 if there was no time for all.
    """
    from unet_bench import certify as certified

    if resume and chosen:
        raise InvalidSuite("--resume goes on with the certificate's own device: leave out --device")

    def doctor() -> dict[str, Any]:
        return doctor_report(())

    done = certified.certify(doctor, minutes=minutes, out=out, resume=resume, **chosen)
    echo(done.certificate.sentence())
    for check in done.certificate.checks:
        echo(f"  {check.name}: {check.status}; {check.figure}")
    tell(f"written: {done.folder}/certificate.md")
    if done.exit_code() not in (0, 1):
        tell(f"go on with: {certified.resume_command(done.folder)}")
    if not done.stopped:
        tell(f"to send: {done.archive}")
    raise typer.Exit(done.exit_code())
