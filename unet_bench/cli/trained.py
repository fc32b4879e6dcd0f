"""Commands that use what a run trained: masks, a folder to ship, what eight bits cost."""

from __future__ import annotations

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from unet_bench.cli.answers import answer
from unet_bench.cli.options import (
    AsJson,
    Chosen,
    Debug,
    Format,
    Formatted,
    Quiet,
    Trust,
    pick,
    with_options,
)
from unet_bench.cli.runs import meant
from unet_bench.present.stdout import echo, tell
from unet_bench.spec.cell import AS_TRAINED
from unet_bench.spec.suite import Suite

TrainedBy = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The folder of a run that trained it, or last.", callback=meant
    ),
]
Trained = Annotated[str, typer.Argument(help="The variant, as the run's table calls it.")]
OfData = Annotated[
    str | None, typer.Option("--data", "-d", help="The data set, where the run has several.")
]
OfSeed = Annotated[int | None, typer.Option("--seed", help="The seed, where the run has several.")]
OfFold = Annotated[
    str | None, typer.Option("--fold", help="The fold, where the run has several, such as 0/5.")
]


class Quantize(StrEnum):
    """How an exported network is quantised."""

    none = AS_TRAINED
    static = "static-int8"
    dynamic = "dynamic-int8"


class QuantizedBy(StrEnum):
    """How a network is quantised, if it is."""

    static = "static-int8"
    dynamic = "dynamic-int8"


class FileFormat(StrEnum):
    """What an exported network is written as."""

    onnx = "onnx"
    openvino = "openvino"
    torch_export = "torch-export"


def export(
    path: TrainedBy,
    variant: Trained,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to make; VARIANT-FORMAT.")
    ] = None,
    format: Annotated[
        FileFormat, typer.Option("--format", "-f", help="What the network is written as.")
    ] = FileFormat.onnx,
    quantize: Annotated[
        Quantize,
        typer.Option(
            "--quantize",
            help="Numbers of 8 bits: smaller and, on most CPUs, faster. The run's training images "
            "are read again, to find the ranges of values and to tell what changes.",
        ),
    ] = Quantize.none,
    in_float: Annotated[
        str,
        typer.Option(
            "--in-float",
            help="Slots that are not quantised, by commas; quantize-report says which matter.",
        ),
    ] = "",
    data: OfData = None,
    seed: OfSeed = None,
    fold: OfFold = None,
    trust: Trust = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a trained network as a folder that runs without this package.

    It holds the network, model.json that says what it takes and returns, and predict.py. It runs
    without PyTorch, but for --format torch-export.
    """
    from unet_bench.export import export_network
    from unet_bench.export.training_images import dataset_of, training_inputs
    from unet_bench.networks.as_onnx import CALIBRATION
    from unet_bench.train.trained import load_network

    network = load_network(path, variant, data=data, seed=seed, fold=fold, trust=trust)
    images = []
    if quantize is not Quantize.none:
        images = training_inputs(dataset_of(path, network).train, network, CALIBRATION)
    done = export_network(
        network,
        out or Path(f"{variant}-{format}"),
        str(format),
        str(quantize),
        images,
        [slot.strip() for slot in in_float.split(",") if slot.strip()],
    )
    if as_json:
        echo(json.dumps(done.table()))
        return
    echo(f"written: {done.folder}")
    if done.apart is None:
        tell(f"note: not run yet: {done.unchecked}")
    else:
        before = "before it was quantised, " if done.agreement is not None else ""
        tell(f"checked by its own script: {before}probabilities agree to {done.apart:.1g}")
    if done.agreement is not None:
        tell(
            f"{quantize}: {done.agreement:.2%} of the pixels of {len(images)} training images keep "
            "their class; the probe deployed measures the Dice"
        )
    script = shlex.join(["python", str(done.folder / "predict.py")])
    tell(f"masks, with {', '.join(done.needs)} alone: {script} IMAGE...")


def quantize_report(
    path: TrainedBy,
    variant: Trained,
    quantize: Annotated[
        QuantizedBy, typer.Option("--quantize", help="How the network is quantised.")
    ] = QuantizedBy.static,
    data: OfData = None,
    seed: OfSeed = None,
    fold: OfFold = None,
    trust: Trust = False,
    format: Formatted = Format.table,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what 8 bits cost a trained network in Dice, and which slot is to blame.

    Each slot is left in float by itself, and the run's validation images are scored again.
    """
    from unet_bench.export import eight_bits
    from unet_bench.export.training_images import dataset_of
    from unet_bench.train.trained import load_network

    network = load_network(path, variant, data=data, seed=seed, fold=fold, trust=trust)
    dataset = dataset_of(path, network)
    found = eight_bits.quantize_report(network, dataset, path, str(quantize), tell)
    answer(found.document(), format, as_json)


@with_options(chosen=pick(Suite, "device", "evaluation", "overlap", "flips", "max_megapixels"))
def predict(
    chosen: Chosen,
    path: TrainedBy,
    variant: Trained,
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, or folders of them; volumes where it was trained on."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the masks go: PNG, of volumes NIfTI or TIFF.")
    ] = Path("predictions"),
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay",
            help="Also draw classes over the images, into OUT/overlay: the first three bands; what "
            "is not 8 bits from its 1st to 99th percentile; of a volume one slice.",
        ),
    ] = False,
    probabilities: Annotated[
        str | None,
        typer.Option(
            "--probabilities",
            metavar="<auto|tiff|nifti|npz>",
            help="Also write each class's probability, into OUT/probabilities: auto is TIFF, of "
            "NIfTI NIfTI.",
        ),
    ] = None,
    palette: Annotated[
        bool,
        typer.Option(
            "--palette/--no-palette",
            help="Give PNG masks colours, or only class ids, for programs that would read colours.",
        ),
    ] = True,
    data: OfData = None,
    seed: OfSeed = None,
    fold: OfFold = None,
    trust: Trust = False,
    white: Annotated[
        float | None,
        typer.Option(
            "--white", help="The value that is white in images of other bits than the training's."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write masks for your own images with a network that a run trained.

    Pixels of a mask are class ids. Tiles overlap by half, unless --overlap says otherwise.
    """
    from unet_bench.data.sources import pixels_allowed
    from unet_bench.host.survey import choose_device
    from unet_bench.limits import allow_pixels, one_line
    from unet_bench.predict import Outputs, predict_files
    from unet_bench.train.trained import load_network

    device = choose_device(chosen.pop("device", "auto"))
    network = load_network(
        path, variant, data=data, seed=seed, fold=fold, device=device, trust=trust
    )
    outputs = Outputs(out, overlay, probabilities, palette)
    with allow_pixels(pixels_allowed(chosen.pop("max_megapixels", None))):
        found = predict_files(network, images, outputs, white=white, **chosen)
        for kind, texts in (("note", found.notes), ("warning", found.warnings)):
            for text in texts:
                tell(f"{kind}: {text}", always=kind == "warning")
        done = []
        for written in found.write():
            done.append(written)
            if not as_json:
                echo("\n".join(one_line(str(file)) for file in written.files))
    if as_json:
        echo(json.dumps(found.table(done), indent=2))
