"""An exported file agrees with torch at batches the exporter never saw, or there is no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from deploycompress.errors import (
    CheckpointRejectedError,
    InputRejectedError,
    UnsupportedError,
    UsageError,
)
from deploycompress.records.reference import resolve
from deploycompress.training import checkpoint
from deploycompress.training.export import ExportResult, _evaluating, export

HERE = Path(__file__).parent


def run(path: Path, **feed: np.ndarray) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed))


def network(name: str) -> nn.Module:
    made = resolve(f"networks.py:{name}", base=HERE)()
    return (made[0] if isinstance(made, tuple) else made).eval()


def exported(name: str, folder: Path, **more: object) -> ExportResult:
    return export(f"networks.py:{name}", folder / "m.onnx", base=HERE, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
@pytest.mark.parametrize(("name", "shape"), [("Convolutional", (1, 8, 8)), ("perceptron", (6,))])
def test_network_left_in_train_mode_is_exported_in_eval_mode(
    tmp_path: Path, exporter: str, name: str, shape: tuple[int, ...]
) -> None:
    result = exported(name, tmp_path, exporter=exporter)
    module = network(name)
    assert (result.exporter, result.dynamic_batch) == (exporter, True)
    assert result.signature.input_names == ("input",)
    assert result.signature.output_names == ("logits",)
    for batch in (1, 2, 5, 7):
        x = np.random.default_rng(batch).standard_normal((batch, *shape), dtype=np.float32)
        with torch.no_grad():
            reference = module(torch.from_numpy(x)).numpy()
        # Two layers of at most 72 products in float32, summed in another order: 1e-5 leaves a factor of ten.
        np.testing.assert_allclose(run(result.output, input=x)[0], reference, rtol=0, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert {sizes["batch"] for sizes in result.parity.sizes} == {1, 2, 3, 5}


def test_mode_of_every_submodule_is_restored(tmp_path: Path) -> None:
    module = network("Convolutional")
    module.train()
    module.drop.eval()
    before = {name: part.training for name, part in module.named_modules()}
    with _evaluating(module):
        assert not any(part.training for part in module.modules())
    assert {name: part.training for name, part in module.named_modules()} == before
    with pytest.raises(KeyError), _evaluating(module):
        raise KeyError
    assert {name: part.training for name, part in module.named_modules()} == before


def test_file_says_nothing_about_this_machine(tmp_path: Path) -> None:
    content = exported("Convolutional", tmp_path, exporter="dynamo").output.read_bytes()
    assert b"stack_trace" not in content
    assert str(HERE).encode() not in content


def test_python_batch_is_caught_in_the_tracer_and_right_with_dynamo(tmp_path: Path) -> None:
    with pytest.raises(InputRejectedError, match=r"no exporter gives .*\(legacy: for batch 1 .*--static-batch"):
        exported("CountsInPython", tmp_path, exporter="legacy")
    assert list(tmp_path.iterdir()) == []
    assert exported("CountsInPython", tmp_path).exporter == "dynamo"


def test_ladder_falls_back_and_keeps_the_reason_and_the_frozen_branch(tmp_path: Path) -> None:
    result = exported("BranchesOnData", tmp_path)
    assert result.exporter == "legacy"
    failed, won = result.attempts
    assert failed.exporter == "dynamo"
    assert failed.error is not None
    assert failed.error.startswith("GuardOnDataDependentSymNode: Could not guard on data-dependent expression")
    assert "networks.py" in failed.error
    assert won.error is None
    assert len(result.frozen) == 1
    assert "networks.py" in result.frozen[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "FixesItsBatch",
            r"forward fails for batch 1: shape '\[2, -1\]' is invalid.*; let forward take any batch, or",
        ),
        ("IgnoresItsBatch", r"forward returns \[2, 3\] for batch 1: it fixes the batch at 2"),
    ],
)
def test_network_that_fixes_its_batch_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputRejectedError, match=message):
        exported(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fixed_batch_is_exported_where_asked_and_says_so(tmp_path: Path) -> None:
    result = exported("FixesItsBatch", tmp_path, dynamic_batch=False)
    assert not result.dynamic_batch
    assert "fixed batch" in result.summary()
    assert result.signature.inputs[0].shape == (2, 8)


def test_network_no_exporter_reproduces_leaves_no_file_and_every_reason(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"the old file")
    with pytest.raises(InputRejectedError, match=r"dynamo: .* differs from torch by .*; legacy: .* differs from"):
        exported("NotExportable", tmp_path)
    assert (tmp_path / "m.onnx").read_bytes() == b"the old file"


def test_inputs_by_keyword_keep_their_names(tmp_path: Path) -> None:
    result = exported("TwoInputs", tmp_path)
    assert result.signature.input_names == ("ids", "scale")
    scaled, following = run(result.output, ids=np.array([[1, 2, 3]] * 3), scale=np.array([1, 2, 3], np.float32))
    np.testing.assert_array_equal(scaled, np.array([[1, 2, 3]], np.float32) * np.array([[1], [2], [3]], np.float32))
    np.testing.assert_array_equal(following, np.array([[2, 3, 4]] * 3))


def test_named_axes_of_a_specification_may_change(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass N(nn.Module):\n    def forward(self, x):\n        return x.mean(1)\n"
    )
    result = export("net.py:N", tmp_path / "m.onnx", inputs=["tokens=float32[batch,seq=6,4]"], base=tmp_path)
    assert result.signature.input_names == ("tokens",)
    x = np.ones((3, 11, 4), np.float32)
    assert run(result.output, tokens=x)[0].shape == (3, 4)
    assert len({sizes["seq"] for sizes in result.parity.sizes}) > 1


def test_checkpoint_is_loaded_into_the_factory(tmp_path: Path) -> None:
    module = network("Convolutional")
    state = {
        name: tensor + 0.5 if tensor.is_floating_point() else tensor for name, tensor in module.state_dict().items()
    }
    checkpoint.save(state, tmp_path / "c.safetensors")
    module.load_state_dict(state)
    result = exported("Convolutional", tmp_path, checkpoint=tmp_path / "c.safetensors", exporter="legacy")
    x = torch.ones(2, 1, 8, 8)
    with torch.no_grad():
        np.testing.assert_allclose(run(result.output, input=x.numpy())[0], module(x).numpy(), rtol=1e-5, atol=1e-5)


def test_hostile_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": network}, tmp_path / "c.pt")
    with pytest.raises(CheckpointRejectedError, match="reading it would execute"):
        exported("Convolutional", tmp_path, checkpoint=tmp_path / "c.pt")


@pytest.mark.parametrize(("opset", "exporter"), [(18, "dynamo"), (15, "legacy")])
def test_opset_is_not_above_what_was_asked(tmp_path: Path, opset: int, exporter: str) -> None:
    result = exported("perceptron", tmp_path, opset=opset, exporter=exporter)
    assert result.opset <= opset
    assert onnx.load(result.output).opset_import[0].version == result.opset


def test_opset_an_exporter_cannot_reach_is_not_changed_silently(tmp_path: Path) -> None:
    result = export("networks.py:Convolutional", tmp_path / "m.onnx", base=HERE, opset=17)
    assert result.opset <= 17
    for attempt in result.attempts[:-1]:
        assert attempt.error is not None
        assert "opset" in attempt.error


def test_roomy_target_does_not_raise_the_opset(tmp_path: Path) -> None:
    assert exported("perceptron", tmp_path, max_opset=26).opset <= 18


def test_opset_above_the_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="opset 19 is above the target's 17; export with --opset 17"):
        exported("perceptron", tmp_path, opset=19, max_opset=17)


def test_static_program_is_refused_and_a_dynamic_one_exported(tmp_path: Path) -> None:
    module = network("Convolutional")
    fixed = torch.export.export(module, (torch.ones(2, 1, 8, 8),))
    torch.export.save(fixed, tmp_path / "fixed.pt2")
    with pytest.raises(InputRejectedError, match=r"forward fails for batch 1: .*--static-batch"):
        export(str(tmp_path / "fixed.pt2"), tmp_path / "m.onnx")
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    free = torch.export.export(module, (torch.ones(2, 1, 8, 8),), dynamic_shapes=(batch,))
    torch.export.save(free, tmp_path / "free.pt2")
    result = export(str(tmp_path / "free.pt2"), tmp_path / "m.onnx")
    assert result.dynamic_batch
    x = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(run(result.output, input=x.numpy())[0], module(x).numpy(), rtol=0, atol=1e-5)


def test_program_captured_in_training_mode_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(network("Convolutional").train(), (torch.ones(2, 1, 8, 8),))
    torch.export.save(program, tmp_path / "p.pt2")
    with pytest.raises(InputRejectedError, match=r"captured in training mode .*; call model\.eval\(\) before"):
        export(str(tmp_path / "p.pt2"), tmp_path / "m.onnx")


def test_legacy_exporter_does_not_take_a_program(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(network("perceptron"), (torch.ones(2, 6),)), tmp_path / "p.pt2")
    with pytest.raises(UsageError, match="the legacy exporter does not take a program; use dynamo"):
        export(str(tmp_path / "p.pt2"), tmp_path / "m.onnx", exporter="legacy", dynamic_batch=False)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04broken"])
def test_damaged_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.pt2").write_bytes(content)
    with pytest.raises(CheckpointRejectedError, match=r"it is no torch\.export program"):
        export(str(tmp_path / "p.pt2"), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent", "there is no such file or folder; give module:factory, .* or hf:org/name"),
        ("absent.pt2", "there is no such file"),
        ("weights.safetensors", r"weights without the network; export module:factory --checkpoint FILE"),
        ("net.py:build", r"there is no example input; pass --input name=float32\[2,3,224,224\]"),
    ],
)
def test_source_named_wrongly_is_told_what_to_name(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    (tmp_path / "net.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(2, 3)\n")
    with pytest.raises(UsageError, match=message):
        export(source, tmp_path / "m.onnx", base=tmp_path)


def test_forward_that_fails_on_its_example_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(2, 3)\n")
    with pytest.raises(InputRejectedError, match=r"net\.py:build: forward fails on the example: RuntimeError: mat1"):
        export("net.py:build", tmp_path / "m.onnx", inputs=["x=float32[2,5]"], base=tmp_path)
