"""Recipes that compress while training: from a float checkpoint to the file, through the steps of the product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from deploycompress import model as onnx_file
from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Distill, Train, parse
from deploycompress.training import checkpoint
from deploycompress.training.distill import distill
from deploycompress.training.export import export
from deploycompress.training.train import train

CODE = """
import numpy as np, torch
from torch import nn

class Net(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.stem = nn.Linear(4, 16)
        self.blocks = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(blocks)])
        self.head = nn.Linear(16, 3)
    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.stem(x))))
    def example_inputs(self):
        return torch.linspace(-1, 1, 8).reshape(2, 4)

def large(): return Net(4)
def small(): return Net(2)
def data():
    x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    return {"x": x, "label": (x.sum(1) > 0).astype(np.int64) + (x[:, 0] > 1)}
"""
SETTINGS = {"epochs": 2, "batch_size": 20, "optimizer": "adam"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE)
    step = Train(model="net.py:large", data="net.py:data", output="float.safetensors", **SETTINGS)
    train(step, tmp_path / "float.safetensors", base=tmp_path)
    return tmp_path


def compressed(folder: Path, begins: str = "float.safetensors", **compress: object) -> Path:
    output = folder / f"{'-'.join(compress)}.safetensors"
    step = Train(
        model="net.py:large",
        data="net.py:data",
        output=output.name,
        initial=str(folder / begins),
        compress=compress,
        **SETTINGS,
    )
    train(step, output, base=folder)
    return output


def exported(folder: Path, weights: Path) -> ir.Model:
    source = f"{folder / 'net.py'}:large"
    result = export(source, folder / "net.onnx", checkpoint=weights, exporter="legacy")
    return onnx_file.load(result.output)


def test_network_trained_with_fake_quantization_is_exported_with_its_codes(folder: Path) -> None:
    weights = compressed(folder, qat={"bits": 4, "edge_bits": None})
    state = checkpoint.load(weights)
    steps = [name for name in state if name.endswith("weight_quantizer.step")]
    assert len(steps) == 6
    model = exported(folder, weights)
    packed = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT4]
    assert len(packed) == 6


def test_masks_leave_zeros_in_the_checkpoint_and_in_the_file(folder: Path) -> None:
    weights = compressed(folder, masks={"sparsity": 0.75, "every": 2})
    state = checkpoint.load(weights)
    for number in range(4):
        assert int((state[f"blocks.{number}.0.weight"] == 0).sum()) == 192
    assert int((state["head.weight"] == 0).sum()) == 0
    model = exported(folder, weights)
    zeros = [
        int((v.const_value.numpy() == 0).sum()) for v in model.graph.initializers.values() if v.const_value.size == 256
    ]  # type: ignore[union-attr]
    assert zeros == [192] * 4


def test_removed_units_make_the_file_smaller(folder: Path) -> None:
    weights = compressed(folder, units={"ratio": 0.5})
    assert checkpoint.load(weights)["blocks.1.0.weight"].shape == (8, 8)
    model = exported(folder, weights)
    assert max(v.const_value.size for v in model.graph.initializers.values()) == 64  # type: ignore[union-attr]


def test_factors_are_in_the_checkpoint_and_in_the_file(folder: Path) -> None:
    weights = compressed(folder, low_rank={"share": 0.5})
    state = checkpoint.load(weights)
    assert (state["blocks.1.0.0.weight"].shape, state["blocks.1.0.1.weight"].shape) == ((4, 16), (16, 4))
    model = exported(folder, weights)
    sizes = [v.const_value.size for v in model.graph.initializers.values()]  # type: ignore[union-attr]
    assert max(sizes) == 64


def test_steps_follow_each_other_down_to_the_file(folder: Path) -> None:
    compressed(folder, units={"ratio": 0.5})
    compressed(folder, "units.safetensors", low_rank={"share": 0.5})
    weights = compressed(folder, "low_rank.safetensors", qat={"bits": 4, "activation_bits": 8})
    assert checkpoint.load(weights)["blocks.1.0.0.weight"].shape == (2, 8)
    model = exported(folder, weights)
    codes = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8 and value.shape]
    assert len([value for value in codes if len(value.shape) == 2]) == 11  # type: ignore[arg-type]


def test_theseus_writes_the_plain_successor(folder: Path) -> None:
    step = Distill(
        teacher="net.py:large",
        teacher_checkpoint="float.safetensors",
        student="net.py:small",
        data="net.py:data",
        output="successor.safetensors",
        method={"theseus": {"at": "blocks"}},
        **SETTINGS,
    )
    result = distill(step, folder / step.output, teacher_checkpoint=folder / "float.safetensors", base=folder)
    teacher, successor = checkpoint.load(folder / "float.safetensors"), checkpoint.load(result.student.output)
    assert sorted(successor) == sorted(
        f"{name}.{part}" for name in ("stem", "blocks.0.0", "blocks.1.0", "head") for part in ("weight", "bias")
    )
    assert torch.equal(successor["head.weight"], teacher["head.weight"])
    assert not torch.equal(successor["blocks.0.0.weight"], teacher["blocks.0.0.weight"])


STEP = "name: a\ntarget: auto\nout: out\nsteps:\n  - train: {{model: m.py:a, data: d.py:a, output: a.safetensors, {}}}"


@pytest.mark.parametrize("kind", ["qat", "units: {ratio: 0.5}"])
def test_what_needs_a_trained_network_says_so(kind: str) -> None:
    name = kind.partition(":")[0]
    written = f"{{{kind}}}" if ":" in kind else kind
    with pytest.raises(UsageError, match=f"compress: {name} begins with a trained network; give it as initial"):
        parse(STEP.format(f"compress: {written}"))


def test_unknown_compressions_and_keys_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown compress 'qta'; did you mean qat"):
        parse(STEP.format("compress: {qta: {}}"))
    with pytest.raises(UnknownNameError, match=r"unknown key 'bit'; did you mean bits"):
        parse(STEP.format("initial: a, compress: {qat: {bit: 4}}"))
    with pytest.raises(UsageError, match="qat has the float network as teacher; leave regime out"):
        parse(STEP.format("initial: a, regime: tail, compress: qat"))


def test_outputs_of_the_file_are_those_of_the_network_that_was_trained(folder: Path) -> None:
    from deploycompress.runtime.session import Session
    from deploycompress.training import source as sources

    weights = compressed(folder, qat={"bits": 2, "levels": "ternary", "activation_bits": 8})
    exported(folder, weights)
    loaded = sources.load(f"{folder / 'net.py'}:large", checkpoint_path=weights)
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = loaded.module.eval()(x).numpy()
    session = Session(folder / "net.onnx")
    got = session.run({session.signature.input_names[0]: x.numpy()})["logits"]
    # Sums of 16 float32 products in another order; a code on the other side of a tie would be a hundred times more.
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
