"""A local Hugging Face folder goes to ONNX through each exporter; nothing is fetched, nothing of it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from deploycompress.errors import CheckpointRejectedError, UnsupportedError, UsageError
from deploycompress.training.export import export
from deploycompress.training.quiet import quiet

transformers = pytest.importorskip("transformers")

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def save(folder: Path, kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    with quiet():
        model = getattr(transformers, kind)(transformers.BertConfig(**CONFIG, num_labels=3)).eval()
        model.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(45))]
    (folder / "vocab.txt").write_text("\n".join(words))
    with quiet():
        transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    folder = tmp_path_factory.mktemp("bert")
    return folder, save(folder, "BertForSequenceClassification")


def feed(batch: int, length: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    mask = np.ones((batch, length), np.int64)
    mask[0, length // 2 :] = 0
    return {
        "input_ids": random.integers(0, 50, (batch, length)),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, (batch, length)),
    }


@pytest.mark.parametrize("exporter", ["auto", "dynamo", "legacy", "optimum"])
def test_folder_is_exported_by_every_exporter(
    tmp_path: Path, classifier: tuple[Path, torch.nn.Module], exporter: str
) -> None:
    if exporter in ("auto", "optimum"):
        pytest.importorskip("optimum.exporters.onnx")
    folder, model = classifier
    result = export(str(folder), tmp_path / "m.onnx", exporter=exporter)  # type: ignore[arg-type]
    assert result.exporter == ("optimum" if exporter == "auto" else exporter)
    assert set(result.signature.input_names) == {"input_ids", "attention_mask", "token_type_ids"}
    assert result.signature.output_names == ("logits",)
    session = onnxruntime.InferenceSession(str(result.output), providers=["CPUExecutionProvider"])
    for batch, length in ((1, 3), (2, 16), (5, 29)):
        values = feed(batch, length)
        with torch.no_grad():
            reference = model(**{name: torch.from_numpy(value) for name, value in values.items()}).logits.numpy()
        # Two layers of width 16: sums of some hundred float32 products, 1e-6 each at most.
        np.testing.assert_allclose(session.run(None, values)[0], reference, rtol=0, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_network_with_several_outputs_keeps_their_names(tmp_path: Path) -> None:
    save(tmp_path / "bert", "BertModel")
    result = export(str(tmp_path / "bert"), tmp_path / "m.onnx", exporter="legacy")
    assert result.signature.output_names == ("last_hidden_state", "pooler_output")


def test_batch_of_a_folder_can_be_fixed(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    result = export(str(classifier[0]), tmp_path / "m.onnx", exporter="legacy", dynamic_batch=False)
    assert result.signature.inputs[0].shape == (2, "sequence")


def test_hostile_pickle_in_a_folder_does_not_run(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    folder = tmp_path / "bert"
    shutil.copytree(classifier[0], folder)
    (folder / "model.safetensors").unlink()
    torch.save({"bert.embeddings.word_embeddings.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointRejectedError, match="transformers cannot read it: "):
        export(str(folder), tmp_path / "m.onnx")
    assert not canary.exists()


def test_code_in_a_folder_is_not_run(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "bert"
    shutil.copytree(classifier[0], folder)
    (folder / "config.json").write_text(
        '{"architectures": ["Custom"], "model_type": "custom", "auto_map": {"AutoModel": "custom.Custom"}}'
    )
    (folder / "custom.py").write_text(f"open({str(canary)!r}, 'w')\n")
    with pytest.raises(UnsupportedError, match=r"has none of \['Custom'\]; write a factory"):
        export(str(folder), tmp_path / "m.onnx")
    assert not canary.exists()


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointRejectedError, match=r"empty: it has no readable config\.json"):
        export(str(tmp_path / "empty"), tmp_path / "m.onnx")


def test_truncated_weights_are_refused(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(classifier[0], folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointRejectedError, match="transformers cannot read it: "):
        export(str(folder), tmp_path / "m.onnx")


def test_checkpoint_option_does_not_go_with_a_folder(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    with pytest.raises(UsageError, match="--checkpoint goes with module:factory"):
        export(str(classifier[0]), tmp_path / "m.onnx", checkpoint=tmp_path / "c.safetensors")


def test_hub_id_is_taken_from_the_cache_when_offline(tmp_path: Path, classifier: tuple[Path, torch.nn.Module]) -> None:
    pytest.importorskip("huggingface_hub")
    revision, cached = "a" * 40, tmp_path / "hub" / "models--some--bert"
    shutil.copytree(classifier[0], cached / "snapshots" / revision)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    script = (
        "import socket, sys\n"
        "from pathlib import Path\n"
        "def refuse(*args, **more): raise AssertionError('the network was touched')\n"
        "socket.socket.connect = refuse\n"
        "from deploycompress.errors import EnvironmentLacksError\n"
        "from deploycompress.training.export import export\n"
        "print(export('hf:some/bert', Path(sys.argv[1]), exporter='legacy').summary())\n"
        "try: export('hf:some/absent', Path(sys.argv[1]))\n"
        "except EnvironmentLacksError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "m.onnx: " in done.stdout
    assert "some/absent: the hub model cannot be had: " in done.stdout
