"""The ONNX file holds the codes that were trained, and ONNX Runtime gives the outputs of the fake quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from deploycompress import model as onnx_file
from deploycompress.errors import InvalidOutputError
from deploycompress.quantization.packing import unpack
from deploycompress.quantization.spec import Bits, Levels
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.training import checkpoint, exporters
from deploycompress.training.example import from_example
from deploycompress.training.export import export
from deploycompress.training.quantizing.emit import emit
from deploycompress.training.quantizing.folding import fold_norms
from deploycompress.training.quantizing.layers import plain, quantized_layers
from deploycompress.training.quantizing.prepare import prepare
from deploycompress.training.quantizing.spec import FakeQuant
from deploycompress.training.quiet import quiet
from tests.training.quantizing.nets import Tokens, convolutional, samples, samples_of_tokens

# Sums of float32 in another order: sqrt(256) 2^-24 of the outputs, and five layers of it.
TOLERANCE = 1e-6
CASES = [
    (8, "uniform", None, True),
    (8, "uniform", 8, True),
    (8, "uniform", 8, False),
    (4, "uniform", None, True),
    (4, "uniform", 4, True),
    (2, "uniform", None, True),
    (2, "uniform", None, False),
    (2, "uniform", 2, True),
    (2, "ternary", None, True),
    (2, "binary", None, True),
    (4, "binary", 8, False),
]


def exported(net: nn.Module, x: torch.Tensor, path: Path) -> ir.Model:
    """The file of a quantized network, through the tracing exporter (the quickest)."""
    with quiet():
        exporters.export("legacy", plain(net), from_example(x, dynamic_batch=True), ("logits",), path, 17)
    quantized = emit(onnx_file.load(path), quantized_layers(net))
    onnx_file.save(quantized, path)
    return onnx_file.load(path)


def run(path: Path, x: torch.Tensor, optimization: str = "all") -> np.ndarray:
    config = SessionConfig(
        threads=1,
        optimization=optimization,  # type: ignore[arg-type]
        entries={"session.qdq_matmulnbits_accuracy_level": "0"},
    )
    session = Session(path, config)
    return session.run({session.signature.input_names[0]: x.numpy()})["logits"]


def codes_in(model: ir.Model) -> list[np.ndarray]:
    """Weight codes of at least two axes, widened to int8."""
    found = []
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        shape = tuple(tensor.shape.numpy())
        if len(shape) > 1 and tensor.dtype in (ir.DataType.INT8, ir.DataType.INT4, ir.DataType.INT2):
            raw = np.frombuffer(tensor.tobytes(), np.uint8)
            found.append(unpack(raw, tensor.dtype.bitwidth, shape, signed=True))
    return found


@pytest.mark.parametrize(("bits", "levels", "activations", "per_channel"), CASES)
@pytest.mark.parametrize("kind", ["convolutional", "tokens"])
def test_codes_and_outputs_are_those_of_the_trained_network(
    kind: str, bits: Bits, levels: Levels, activations: Bits | None, per_channel: bool, tmp_path: Path
) -> None:
    net, x = (convolutional(), samples()) if kind == "convolutional" else (Tokens(), samples_of_tokens())
    fold_norms(net)
    prepare(net, FakeQuant(bits, levels, activations, None, per_channel), (), (x,))
    with torch.no_grad():
        expected = net(x).numpy()
    model = exported(net, x, tmp_path / "net.onnx")
    trained = [layer.weight_codes().codes for layer in quantized_layers(net).values()]
    stored = codes_in(model)
    assert len(stored) == len(trained)
    for codes in trained:
        assert any(np.array_equal(codes, s) or np.array_equal(codes.T, s) for s in stored)
    weights = {codes.size for codes in trained}
    for value in model.graph.initializers.values():  # no weight is left in float beside its codes
        tensor = value.const_value
        assert tensor is not None
        assert tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2 or tensor.size not in weights
    for optimization in ("none", "all"):
        got = run(tmp_path / "net.onnx", x, optimization)
        assert np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_few_bits_make_a_small_file(tmp_path: Path) -> None:
    sizes = {}
    for bits in (8, 4, 2):
        net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
        x = torch.randn(2, 256)
        prepare(net, FakeQuant(bits, edge_bits=None), (), (x,))  # type: ignore[arg-type]
        exported(net, x, tmp_path / f"{bits}.onnx")
        sizes[bits] = (tmp_path / f"{bits}.onnx").stat().st_size
    weights, scales = 256 * 320, 4 * 320 * 2  # and biases
    for bits, size in sizes.items():
        assert weights * bits // 8 < size < weights * bits // 8 + scales + 2500


def test_two_bit_codes_of_a_number_of_outputs_the_kernel_misreads_take_four_bits(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Linear(32, 10)), torch.randn(3, 32)
    prepare(net, FakeQuant(2, edge_bits=None), (), (x,))
    model = exported(net, x, tmp_path / "net.onnx")
    (codes,) = [v for v in model.graph.initializers.values() if v.dtype in (ir.DataType.INT2, ir.DataType.INT4)]
    assert codes.dtype == ir.DataType.INT4
    with torch.no_grad():
        np.testing.assert_allclose(run(tmp_path / "net.onnx", x), net(x).numpy(), atol=1e-6)


def test_weight_that_the_graph_does_not_hold_as_trained_is_refused(tmp_path: Path) -> None:
    net, x = convolutional(), samples()
    prepare(net, FakeQuant(4), (), (x,))  # BatchNorm behind "0" is folded by the exporter
    with pytest.raises(InvalidOutputError, match="does not hold the weight of 0 as it was trained; fold normalisation"):
        exported(net, x, tmp_path / "net.onnx")


def test_layers_with_the_same_weights_are_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[2].weight.data.copy_(net[0].weight.data)  # type: ignore[union-attr, operator, arg-type]
    prepare(net, FakeQuant(4), (), (torch.randn(2, 8),))
    with pytest.raises(InvalidOutputError, match="layers 0 and 2 have the same weights"):
        exported(net, torch.randn(2, 8), tmp_path / "net.onnx")


@pytest.mark.parametrize("activations", [None, 8])
def test_export_of_a_checkpoint_trained_with_fake_quantization_holds_codes(
    activations: Bits | None, tmp_path: Path
) -> None:
    net, x = convolutional(), samples()
    fold_norms(net)
    prepare(net, FakeQuant(4, activation_bits=activations), (), (x,))
    checkpoint.save(net.state_dict(), tmp_path / "net.safetensors")
    source = f"{Path(__file__).with_name('nets.py')}:quantizable"
    result = export(source, tmp_path / "net.onnx", checkpoint=tmp_path / "net.safetensors", exporter="legacy")
    assert len(codes_in(onnx_file.load(result.output))) == 5
    with torch.no_grad():
        np.testing.assert_allclose(run(result.output, x), net(x).numpy(), atol=1e-6)
