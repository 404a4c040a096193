"""`deploycompress calibrate`: float ONNX file and samples in, saved statistics out; shares in, the whole out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.byte_size import byte_size
from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.errors import UsageError

if TYPE_CHECKING:
    from deploycompress.flow.calibrate import CalibrateResult


def calibrate(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="MODEL", help="Float ONNX file; with --merge, the files of all shares.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write (default: MODEL.calib.json beside the input).")
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(help="Calibration samples: folder, file, module:function, or random (figures are then void)."),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Join the files of all shares into one.")] = False,
    shard: Annotated[str | None, typer.Option(help="Look at share i of n alone, as i/n.")] = None,
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples, all shares together.")] = None,
    grams: Annotated[
        bool, typer.Option("--grams", help="Add the Gram matrix of the input of every layer with weights.")
    ] = False,
    calib_memory: Annotated[
        str | None, typer.Option(help="Gram matrices held at a time, e.g. 512MiB; the samples are read again for more.")
    ] = None,
    accept_data: Annotated[
        bool, typer.Option("--accept-data", help="Calibrate on samples that the data doctor rejects.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Save what `quantize --calibration` needs to know about the activations of a model.

    Shares of the samples may be looked at on several machines: --shard 1/3 .. --shard 3/3, then --merge.
    """
    write = stderr if str(json_path) == "-" else stdout
    if merge:
        result = _merge(inputs, output, calib=calib, shard=shard)
    else:
        given = (calib, shard, target, preprocess, tokenizer, limit, grams, calib_memory, accept_data)
        result = _calibrate(inputs, output, *given)
    for skipped in result.skipped:
        write(f"skipped {skipped.path}: {skipped.reason}")
    for note in result.notes:
        write(f"note: {note}")
    share = "" if result.shard is None else f" (share {result.shard}; join all with --merge)"
    grams_too = f" and {result.grams} Gram matrices" if result.grams else ""
    write(
        f"{result.output}: {result.tensors} tensors{grams_too} over {result.samples} of {result.available} samples"
        f"{share}, {result.size_bytes} bytes with its arrays"
    )
    write_json(result, json_path)


def _merge(inputs: list[Path], output: Path | None, **unused: object) -> CalibrateResult:
    from deploycompress.flow.calibrate import merge

    for name, value in unused.items():
        if value is not None:
            raise UsageError(f"--{name} has no meaning with --merge", remedy="leave it out")
    if output is None:
        raise UsageError("--merge needs a place to write", remedy="give -o X.calib.json")
    show_settings("calibrate", {"merge": ", ".join(map(str, inputs)), "output": output})
    return merge(inputs, output)


def _calibrate(
    inputs: list[Path],
    output: Path | None,
    calib: str | None,
    shard: str | None,
    target: str,
    preprocess: str | None,
    tokenizer: Path | None,
    limit: int | None,
    grams: bool,
    calib_memory: str | None,
    accept_data: bool,
) -> CalibrateResult:
    from deploycompress.calibration.shards import parse
    from deploycompress.flow.calibrate import calibrate as run
    from deploycompress.flow.host import described, resolve

    if len(inputs) != 1:
        raise UsageError(f"{len(inputs)} models are named", remedy="name one, or --merge to join calibration files")
    if calib is None:
        raise UsageError("calibration needs samples", remedy="give --calib DIR")
    model, chosen, share = inputs[0], resolve(target), None if shard is None else parse(shard)
    part = "" if share is None else f".{share.index}of{share.count}"
    output = output or model.with_name(f"{model.stem}{part}.calib.json")
    settings = {
        "model": model,
        "output": output,
        "target": described(target, chosen),
        "calibration": calib,
        "preprocess": preprocess,
        "share": share,
        "Gram matrices": (calib_memory or "all at a time") if grams else None,
    }
    show_settings("calibrate", settings)
    return run(
        model,
        output,
        calib=calib,
        target=chosen,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        shard=share,
        grams=grams,
        memory_bytes=None if calib_memory is None else byte_size(calib_memory, "--calib-memory"),
        accept_data=accept_data,
        track=track,
    )
