"""Every shared model, corpus file and exported conv net through `quantize`, static and dynamic -> one Markdown table.

    python bench/all_models.py [--target server-cpu-avx2] [NAME ...]

Per model and form: speed against float (rounds interleaved, one thread, CPU time of that thread; SLOWER only where
measured twice), closeness of the outputs to the float model, nodes that run in int8, weights turned back to float on
every run, layers left float; or the sentence with which it was refused. Trained classifiers are calibrated on their
images; the others on random inputs, which say nothing about accuracy and everything about speed. NAME keeps the models
whose name contains it. What is found about a model is kept below build/bench/all_models/ and not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Literal

from cpu_time import cpu_compare
from optimize_table import ratio, sources
from shared import WORK, cifar10_calibration, imagenet_half, markdown

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import DeployCompressError
from deploycompress.flow.feeds import differential_feeds, timing_feed
from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import Target

FORMS: tuple[Literal["static", "dynamic"], ...] = ("static", "dynamic")
HEADERS = (
    "model",
    "form",
    "speed",
    "SQNR, dB",
    "same decision",
    "int8 nodes",
    "weights dequantized",
    "bytes",
    "layers left float, notes",
)


def main() -> None:
    """Prints and keeps the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="keep models whose name contains one of these")
    parser.add_argument("--target", default="server-cpu-avx2")
    arguments = parser.parse_args()
    target = targets.load(arguments.target).model_copy(update={"threads": 1})
    found: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in sources(Path(folder)):
            if not arguments.names or any(part in name for part in arguments.names):
                found += [kept(name, form, path, Path(folder), target) for form in FORMS]
    made = [row for row in found if "refused" not in row]
    refused = Counter((row["form"], row["refused"]) for row in found if "refused" in row)
    report = "\n\n".join(
        (
            markdown(HEADERS, ([row[header] for header in HEADERS] for row in made)),
            markdown(("form", "refused because", "models"), ((*why, count) for why, count in refused.most_common())),
        )
    )
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "all_models.md").write_text(report + "\n")
    print(report)


def kept(name: str, form: Literal["static", "dynamic"], source: Path, folder: Path, target: Target) -> dict[str, str]:
    """What is known of one form of a model, found out now where no run before this one did."""
    memory = WORK / "all_models" / f"{name.replace('/', '-')}.{form}.json"
    if not memory.is_file():
        print(f"... {name} {form}", flush=True)
        try:
            row = measured(name, form, source, folder, target)
        except DeployCompressError as error:
            row = {"model": name, "form": form, "refused": f"{error.what}".replace(str(source), name)}
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(row))
    found: dict[str, str] = json.loads(memory.read_text())
    return found


def measured(
    name: str, form: Literal["static", "dynamic"], source: Path, folder: Path, target: Target
) -> dict[str, str]:
    """One row.

    Raises:
        DeployCompressError: `quantize` refuses the model.
    """
    output = folder / "quantized.onnx"
    calib, preprocess = calibration(name, source)
    static = form == "static"
    result = quantize(
        source,
        output,
        calib=calib if static else None,
        preprocess=preprocess if static else None,
        target=target,
        form=Format(form),
    )
    config = SessionConfig(threads=1)
    before, after = Session(source, config), Session(output, config)
    signature = models.signature(models.load(source))
    data = calib if preprocess is not None else None
    feeds = differential_feeds(before, signature, data, **({"preprocess": preprocess} if data else {}))
    feed = timing_feed(before, signature, feeds, data)
    comparison = cpu_compare(before, after, feed)
    if comparison.verdict == "SLOWER":
        comparison = cpu_compare(before, after, feed)
    for file in (*models.data_files(output), output):
        file.unlink()
    agreement = result.fidelity.agreement
    left = Counter(node.reason for node in result.nodes if node.form == "float")
    notes = [] if result.given_up is None else [f"every layer went back: in int8 {ratio(result.given_up)}"]
    notes += [f"{count} x {reason}" for reason, count in left.most_common(3)]
    return {
        "model": name,
        "form": form,
        "speed": ratio(comparison),
        "SQNR, dB": f"{result.fidelity.sqnr_db:.1f}",
        "same decision": "" if agreement is None else f"{100 * agreement:.1f} %",
        "int8 nodes": str(result.int8_nodes),
        "weights dequantized": str(result.weights_dequantized),
        "bytes": f"{result.bytes_before:,} -> {result.bytes_after:,}",
        "layers left float, notes": "; ".join(notes),
    }


def calibration(name: str, source: Path) -> tuple[str, str | None]:
    """Samples of a model and how pictures become inputs."""
    if "resnet20" in name and "corpus" not in name:
        return str(cifar10_calibration()), "imagenet"
    if "mobilenet_v" in name:
        return str(imagenet_half(0)), "minus-one-one"
    return (str(source.parent) if any(source.parent.glob("input_*.pb")) else "random:16"), None


if __name__ == "__main__":
    main()
