"""Every real and odd model through `optimize` and `explain`: a result that agrees, or a refusal with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress import targets
from deploycompress.errors import InputRejectedError
from deploycompress.flow.agreement import difference
from deploycompress.flow.explain import explain
from deploycompress.flow.optimize import optimize
from deploycompress.runtime.session import Session, SessionConfig
from tests.zoo import shared_folder

pytestmark = pytest.mark.shared
SHARED = shared_folder()
CORPUS = sorted(path.parent.name for path in SHARED.glob("onnx_corpus/*/model.onnx"))
MODELS = sorted(str(path.relative_to(SHARED)) for path in SHARED.glob("models/**/*.onnx"))
TARGET = targets.load("server-cpu").model_copy(update={"threads": 1})
CONFIG = SessionConfig(threads=1)

# What ONNX Runtime refuses to load or cannot be fed from Python, and a word of the reason the user is given.
REFUSED = {
    "BertForQuestionAnswering_0_ort": "All inputs to Concat must have same rank",
    "Graph_with_UnSupportedOp_ort": "UnSupportedOp",
    "add_opset_314159_ort": "opset",
    "cast_FLOAT_to_BFLOAT16": "NaN",
    "corrupt-model_ort": "not a complete ONNX protobuf",
    "custom_op_test_ort": "CustomOpOne",
    "densenet-12_nncf": "git-LFS pointer",
    "dequantizelinear_int4": "int4",
    "eltwise_chanlast_testcase_qonnx": "Quant",
    "embed_layer_norm_multiple_ort": "Incompatible dimensions",
    "mul_1_noopset_ort": "opset",
    "pyop_1_ort": "PyOp",
    "quantizelinear_e4m3fn": "can't be converted",
    "strnormalizer_export_monday_empty_output": "Locale",
    "test_BatchNorm2d_eval_onnx": "BatchNormalization",
    "test_regex_split_with_offsets_onnxruntime-extensions": "StringRegexSplitWithOffsets",
    "zipmap_stringfloat_ort": "map",
}
# Thousands of nodes, or 100 MB of weights that ONNX Runtime makes from ConstantOfShape at every load.
LARGE = {"GPT2Model_ort", "light_resnet50_onnx", "light_shufflenet_onnx"}
SLOW = [pytest.mark.slow]
# (nodes, at most) after the rewrites: what the passes reach today; a loss of one of them shows here.
REACHED = {
    "models/audio/gtcrn_unsimplified.onnx": (1786, 445),
    "models/audio/silero_vad.onnx": (689, 260),
    "models/bytes/magika_v3_3.onnx": (95, 93),
    "models/cifar10/resnet20_cifar10.onnx": (102, 56),
    "models/imagenet/mobilenet_v1_0.25_224_fp32.onnx": (84, 57),
    "models/mnist/mnist_cntk_opset7.onnx": (12, 8),
    "models/text/stories260K.onnx": (906, 494),
}


def reference_data(folder: Path) -> str | None:
    return str(folder) if list(folder.glob("input_*.pb")) or (folder / "io.npz").exists() else None


@pytest.mark.skipif(not CORPUS, reason=f"the shared corpus is not at {SHARED}")
@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW if n in LARGE else ()) for n in CORPUS or ["absent"]])
def test_corpus_model_is_optimized_to_an_equal_one_or_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    source, output = SHARED / "onnx_corpus" / name / "model.onnx", tmp_path / "out.onnx"
    data = reference_data(source.parent)
    if name in REFUSED:
        with pytest.raises(InputRejectedError) as refusal:
            optimize(source, output, target=TARGET, measure=False, data=data)
        assert REFUSED[name] in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(InputRejectedError) as refusal:
            explain(source, target=TARGET, data=data)
        assert REFUSED[name] in str(refusal.value)
        return
    result = optimize(source, output, target=TARGET, measure=False, data=data)
    assert result.nodes_after <= result.nodes_before
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"out"}
    explained = explain(source, target=TARGET, runs=1, data=data)
    assert explained.executed_nodes <= max(explained.nodes, 1) * 3


@pytest.mark.skipif(not MODELS, reason=f"the shared models are not at {SHARED}")
@pytest.mark.parametrize("name", MODELS or ["absent"])
def test_real_model_agrees_on_other_inputs_than_those_of_the_gate(name: str, tmp_path: Path) -> None:
    source, output = SHARED / name, tmp_path / "out.onnx"
    result = optimize(source, output, target=TARGET, measure=False)
    # The writer states the type of every initializer a second time, which costs a model that gains little up to 0.1 %.
    assert result.bytes_after <= result.bytes_before * 1.001
    if name in REACHED:
        before, at_most = REACHED[name]
        assert (result.nodes_before, result.nodes_after <= at_most) == (before, True)
    original, rewritten = Session(source, CONFIG), Session(output, CONFIG)
    assert rewritten.signature == original.signature
    for seed in (11, 12):
        feed = inputs(original, name, seed)
        assert difference(original.run(feed), rewritten.run(feed)) is None


def inputs(session: Session, name: str, seed: int) -> dict[str, np.ndarray]:
    """Inputs in the range the model was made for: pixels, tokens of its vocabulary, 16 kHz frames."""
    rng = np.random.default_rng(seed)
    free = {"stories260K": 33, "silero_vad": 576}.get(Path(name).stem, 1)
    feed: dict[str, np.ndarray] = {}
    for spec in session.signature.inputs:
        assert spec.shape is not None
        last = len(spec.shape) - 1
        shape = [d if isinstance(d, int) else (free if axis == last else 1) for axis, d in enumerate(spec.shape)]
        if spec.name == "sr":
            feed["sr"] = np.asarray(16_000, np.int64)
        elif spec.dtype.startswith("int"):
            feed[spec.name] = rng.integers(0, 257, shape).astype(spec.dtype)
        else:
            feed[spec.name] = (rng.standard_normal(shape) * 0.3).astype(spec.dtype)
    return feed
