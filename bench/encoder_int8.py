"""An exported encoder, default int8 against every mode of ONNX Runtime's own quantizer -> two Markdown tables.

    python bench/encoder_int8.py [--seconds 6] [--exporter dynamo] [--peers N] [--again]
    python bench/encoder_int8.py --target server-cpu --wide-sums --peers 0

BERT-like, 6 layers of width 384, random weights with outlier channels (bench/exported.py), calibrated on 64 sequences
of 128 tokens. The error is the RMS of the difference of the logits to those of the float file, over the standard
deviation of these; on sequences alone and on padded batches of four. Speed: medians of interleaved runs of one thread
in CPU time. `--wide-sums` lets ONNX Runtime sum pairs of products in 32 bits, so that a machine without VNNI shows the
error, not the speed, of a file for a machine with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path

import numpy as np
from encoders import interleaved
from exported import exported, feeds
from quantizers import PEERS, quantized
from shared import WORK, markdown

from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import load

_CALIBRATION = 64


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each latency measurement, for each model")
    parser.add_argument("--exporter", choices=("dynamo", "legacy"), default="dynamo")
    parser.add_argument("--peers", type=int, default=len(PEERS), help="the first so many")
    parser.add_argument("--target", default="server-cpu-avx2")
    parser.add_argument("--again", action="store_true", help="quantize again what lies there")
    parser.add_argument("--wide-sums", action="store_true", help="no 16-bit saturation in any session")
    arguments = parser.parse_args()
    if arguments.wide_sums:
        wide = {"session.x64quantprecision": "1"}
        SessionConfig.__init__ = partialmethod(SessionConfig.__init__, entries=wide)  # type: ignore[method-assign]
    one_thread = SessionConfig(threads=1)
    source = exported("bert", arguments.exporter)
    given = [feeds("bert", 1, 128, seed=seed) for seed in range(_CALIBRATION)]
    files: dict[str, Path | str] = {"float": source}
    for kind in ("static", "dynamic"):
        files[f"deploycompress, {kind}"] = ours(source, kind, given, arguments.target, again=arguments.again)
    for name in list(PEERS)[: arguments.peers]:
        path = WORK / f"{source.stem}-peer-{name.replace(' ', '-').replace(',', '')}.onnx"
        reason = "" if path.is_file() and not arguments.again else quantized(name, source, path, given)
        files[f"onnxruntime {name}"] = reason or path
    sessions = {name: Session(made, one_thread) for name, made in files.items() if isinstance(made, Path)}
    alone = [feeds("bert", 1, 128, seed=1000 + seed) for seed in range(24)]
    padded = [feeds("bert", 4, 64, seed=2000 + seed) for seed in range(8)]
    speeds = {}
    for tokens in (128, 8):
        runners = [session.runner(feeds("bert", 1, tokens)) for session in sessions.values()]
        speeds[tokens] = dict(zip(sessions, interleaved(runners, arguments.seconds * len(runners)), strict=True))
    rows: list[tuple[object, ...]] = []
    for name, session in sessions.items():
        errors = [f"{value:.4f}" for group in (alone, padded) for value in error(sessions["float"], session, group)]
        size = files[name].stat().st_size / 1e6  # type: ignore[union-attr]
        rows.append((name, f"{size:.1f}", *errors, f"x{speeds[128][name]:.2f}", f"x{speeds[8][name]:.2f}"))
    rows += [(name, made, *[""] * 6) for name, made in files.items() if isinstance(made, str)]
    head = ("file", "MB", "error, RMS", "worst", "padded, RMS", "worst", "1x128", "1x8")
    print(markdown(head, rows))


def ours(source: Path, kind: str, given: Sequence[Feed], target: str, *, again: bool) -> Path:
    """The file of `deploycompress quantize`; prints what each preparation bought."""
    path = WORK / f"{source.stem}-{target}-{kind}.onnx"
    if path.is_file() and not again:
        return path
    calibration = WORK / f"{source.stem}-calibration.npz"
    WORK.mkdir(parents=True, exist_ok=True)
    np.savez(calibration, **{name: np.concatenate([feed[name] for feed in given]) for name in given[0]})
    options = {"calib": str(calibration)} if kind == "static" else {}
    result = quantize(source, path, target=load(target), form=Format(kind), measure=False, **options)  # type: ignore[arg-type]
    print(f"{kind}: {result.kernels}")
    for step in result.preparations:
        print(f"  {step.name} at {step.places} places: {'kept' if step.kept else 'not kept'}, {step.reason}")
    print(f"  {result.padded}\n")
    return path


def error(floats: Session, other: Session, group: Sequence[Feed]) -> tuple[float, float]:
    """RMS and largest difference of the logits, over their standard deviation."""
    pairs = [(next(iter(floats.run(feed).values())), next(iter(other.run(feed).values()))) for feed in group]
    expected, found = (np.concatenate([pair[i].ravel() for pair in pairs]).astype(np.float64) for i in (0, 1))
    difference = found - expected
    return float(np.sqrt((difference**2).mean()) / expected.std()), float(np.abs(difference).max() / expected.std())


if __name__ == "__main__":
    main()
