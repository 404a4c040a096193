"""Cross-layer equalization and GPTQ on convolutional nets, with one weight scale a channel and one a tensor.

    python bench/conv_methods.py [NAME ...]

Every layer in int8 for server-cpu-avx2, 64 calibration images, Gram matrices from 64 rows of each; top-1, agreement and
SQNR against float on held-out images (1,000 of CIFAR-10, 250 of ImageNet). "Pairs" are the convolutions whose channels
equalization may scale.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from convnets_int8 import CASES, logits
from saturation import cells, rewritten
from shared import WORK, markdown

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.data import Samples
from deploycompress.quantization.equalization import equalize
from deploycompress.quantization.plan import channel_axes, layer_inputs, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq

TARGET = targets.load("server-cpu-avx2")
PER_TENSOR = TARGET.model_copy(update={"quant": TARGET.quant.model_copy(update={"per_channel": False})})
ROWS = 64
LIMITS = {"ResNet-20, CIFAR-10": 1000}


def form(model: ir.Model, target: targets.Target, samples: Samples, *, gptq: bool) -> ir.Model:
    """The int8 form of a float graph."""
    found = collect(
        model,
        required_tensors(model, target),
        (sample.feed for sample in samples),
        channel_axes=channel_axes(model),
        grams=layer_inputs(model) if gptq else (),
        gram_rows=ROWS,
    )
    return emit_qdq(model, plan(model, target, found, method="mse"))


def main() -> None:
    """Prints the table and keeps it in build/bench/conv_methods.md."""
    WORK.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in CASES[1:]:
        if sys.argv[1:] and not any(part in case.name for part in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            model = rewritten(case.source(Path(folder)))
            signature = models.signature(model)
            calibration, evaluation = (source() for source in case.parts[0])
            samples = data.open(calibration, signature, preprocess=case.preprocess, limit=64)
            held_out = data.open(evaluation, signature, preprocess=case.preprocess, limit=LIMITS.get(case.name))
            labels = np.array([sample.label for sample in held_out]) + case.background
            even = equalize(model)
            forms = {
                "per channel": (model, TARGET, False),
                "per channel, GPTQ": (model, TARGET, True),
                "per channel, equalized": (even.model, TARGET, False),
                "per tensor": (model, PER_TENSOR, False),
                "per tensor, equalized": (even.model, PER_TENSOR, False),
            }
            path = Path(folder) / "form.onnx"
            models.save(model, path)
            reference = logits(path, held_out)
            for name, (graph, target, gptq) in forms.items():
                models.save(form(graph, target, samples, gptq=gptq), path)
                pairs = f"{len(even.scales)} of {len(even.scales) + len(even.refusals)}" if "equalized" in name else ""
                rows.append([case.name, name, pairs, *cells(logits(path, held_out), reference, labels)])
                print(*rows[-1], flush=True)
    table = markdown(["model", "weight scales", "pairs", "top-1", "same decision", "SQNR, dB"], rows)
    (WORK / "conv_methods.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
