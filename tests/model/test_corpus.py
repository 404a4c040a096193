"""Real and odd models come out of load and save as they went in, judged by ONNX Runtime."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from deploycompress import model
from deploycompress.errors import ModelRejectedError


@pytest.mark.shared
def test_every_shared_model_keeps_its_outputs(shared: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    unpacked = tmp_path / "mobilenet_v2.onnx"
    unpacked.write_bytes(lzma.decompress((shared / "models/imagenet/mobilenet_v2_1.0_224_fp32.onnx.xz").read_bytes()))
    compared = 0
    for path in sorted(shared.glob("onnx_corpus/*/model.onnx")) + sorted(shared.glob("models/**/*.onnx")) + [unpacked]:
        try:
            loaded = model.load(path)
        except ModelRejectedError:
            continue
        saved = tmp_path / "saved.onnx"
        model.save(loaded, saved, external_data=compared % 2 == 0)
        assert model.signature(model.load(saved)) == model.signature(loaded), path
        compared += outputs_agree(path, saved, options)
    assert compared >= 40


def outputs_agree(original: Path, saved: Path, options: onnxruntime.SessionOptions) -> bool:
    """Whether the two ran; asserts that they agree. False where ONNX Runtime takes neither."""
    answers = []
    for path in (original, saved):
        try:
            session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            feed = random_feed(session)
            answers.append(None if feed is None else session.run(None, feed))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has no common class of error
            answers.append(type(error))
    before, after = answers
    if not isinstance(before, list) or not isinstance(after, list):
        assert before == after, f"{original}: {before} before, {after} after"
        return False
    for a, b in zip(before, after, strict=True):
        same(a, b, str(original))
    return True


def same(a: object, b: object, where: str) -> None:
    """Asserts that two outputs agree: arrays, sequences of arrays, or plain values."""
    if isinstance(a, list) and isinstance(b, list):
        for left, right in zip(a, b, strict=True):
            same(left, right, where)
    elif isinstance(a, np.ndarray) and a.dtype.kind == "f":
        # The graph is the same; one float32 rounding is left to kernels that choose their path by alignment.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=where)
    else:
        np.testing.assert_array_equal(a, b, err_msg=where)


def random_feed(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray] | None:
    rng = np.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        shape = [dim if isinstance(dim, int) and dim > 0 else 2 for dim in value.shape]
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        if kind == "string":
            feed[value.name] = np.full(shape, "monday", object)
        elif kind in ("float", "double", "float16"):
            feed[value.name] = rng.normal(size=shape).astype({"float": "f4", "double": "f8", "float16": "f2"}[kind])
        elif kind == "bool" or ("int" in kind and "(" not in kind):
            feed[value.name] = rng.integers(0, 2, shape).astype(kind)
        else:
            return None
    return feed
