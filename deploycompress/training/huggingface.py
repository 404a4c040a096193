"""Hugging Face checkpoint folder -> network with example inputs; or straight to ONNX by optimum; hub id -> folder.

The class is the one that `config.json` names; code that comes with a checkpoint is never run, and pickled weights go
through the restricted unpickler of Transformers.

Source: transformers `PreTrainedModel.from_pretrained`; optimum.exporters.onnx `main_export`; huggingface_hub
`snapshot_download`.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deploycompress.errors import (
    CheckpointRejectedError,
    EnvironmentLacksError,
    MissingExtraError,
    UnsupportedError,
    UsageError,
)
from deploycompress.training.example import BATCH, Inputs
from deploycompress.training.quiet import quiet

_WEIGHTS = ("*.json", "*.safetensors", "*.txt", "*.model")
_SEQUENCE = 16


class Flat(torch.nn.Module):
    """A Transformers model called by position that returns a plain tuple of tensors, as both exporters want it."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors of the model's output, in its order."""
        output = self.model(**dict(zip(self.names, inputs, strict=True)))
        return tuple(value for value in output.values() if isinstance(value, torch.Tensor))


@dataclass(frozen=True)
class Loaded:
    """A model of a checkpoint folder, its example inputs, and the names of what it returns."""

    module: torch.nn.Module
    inputs: Inputs
    output_names: tuple[str, ...]


def load(folder: Path, *, dynamic_batch: bool) -> Loaded:
    """The network of a checkpoint folder.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointRejectedError: No config.json, or the weights are missing or damaged.
        UnsupportedError: The class or its inputs are not known here.
    """
    kind = _class(folder)
    try:
        with quiet():
            model = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointRejectedError(f"transformers cannot read it: {first}", where=str(folder)) from error
    model.config.use_cache = False
    model.eval().float()
    inputs = _inputs(model, dynamic_batch)
    with torch.no_grad():
        output = model(**dict(zip(inputs.names, inputs.tensors, strict=True)))
    output_names = tuple(name for name, value in output.items() if isinstance(value, torch.Tensor))
    return Loaded(Flat(model, inputs.names), inputs, output_names)


def optimum_export(folder: Path, path: Path, opset: int, inputs: Inputs) -> None:
    """Writes `path` through optimum's exporter, which knows the inputs of each architecture.

    Raises:
        MissingExtraError: optimum-onnx is not installed.
        UnsupportedError: The architecture is split over several ONNX files.
    """
    try:
        from optimum.exporters.onnx import main_export
        from optimum.exporters.tasks import TasksManager
    except ImportError as error:
        raise MissingExtraError("optimum-onnx (with the transformers it works with)", "hf") from error
    with tempfile.TemporaryDirectory(prefix=".optimum-", dir=path.parent) as made:
        main_export(
            str(folder),
            made,
            task=TasksManager.infer_task_from_model(_class(folder)),
            opset=opset,
            do_validation=False,
            local_files_only=True,
            trust_remote_code=False,
            no_dynamic_axes=not any(inputs.symbols),
        )
        files = sorted(file.name for file in Path(made).glob("*.onnx"))
        if files != ["model.onnx"]:
            raise UnsupportedError(f"optimum splits this architecture into {', '.join(files)}")
        for file in Path(made).glob("model.onnx*"):
            shutil.move(file, path.parent / (path.name if file.suffix == ".onnx" else file.name))


def download(model_id: str) -> Path:
    """Folder of a hub model: weights as safetensors, configuration and tokenizer; HF_HUB_OFFLINE is respected.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        EnvironmentLacksError: The hub cannot be reached, or has no such model.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "hf") from error
    if not model_id:
        raise UsageError("the hub id is empty", remedy="write hf:org/name")
    try:
        return Path(huggingface_hub.snapshot_download(model_id, allow_patterns=list(_WEIGHTS)))
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise EnvironmentLacksError(
            f"the hub model cannot be had: {first}", where=model_id, remedy="check the id and the network"
        ) from error


def _class(folder: Path) -> Any:  # noqa: ANN401 - transformers has no types here
    """The class of Transformers that config.json names."""
    transformers, path = _transformers(), folder / "config.json"
    try:
        architectures = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointRejectedError("it has no readable config.json", where=str(folder)) from error
    known = [name for name in architectures if hasattr(transformers, name)]
    if not known:
        raise UnsupportedError(
            f"the installed transformers {transformers.__version__} has none of {architectures}",
            where=str(path),
            remedy="write a factory that makes the network, and export that",
        )
    return getattr(transformers, known[0])


def _inputs(model: Any, dynamic_batch: bool) -> Inputs:  # noqa: ANN401 - transformers has no types here
    """Example inputs of the main modality of a model, with batch and sequence free to change."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    parameters = inspect.signature(model.forward).parameters
    batch: Mapping[int, str] = {0: BATCH} if dynamic_batch else {}
    if "input_ids" in parameters:
        text: Mapping[int, str] = {**batch, 1: "sequence"}
        ids = torch.randint(0, config.vocab_size, (2, _SEQUENCE), generator=generator)
        tensors = {"input_ids": ids}
        if "attention_mask" in parameters:
            tensors["attention_mask"] = torch.ones_like(ids)
            tensors["attention_mask"][1, _SEQUENCE // 2 :] = 0
        if "token_type_ids" in parameters and getattr(config, "type_vocab_size", None):
            tensors["token_type_ids"] = torch.randint(0, config.type_vocab_size, ids.shape, generator=generator)
        return Inputs(tuple(tensors), tuple(tensors.values()), tuple(text for _ in tensors))
    if "pixel_values" in parameters:
        size = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
        pixels = torch.randn(2, config.num_channels, size, size, generator=generator)
        return Inputs(("pixel_values",), (pixels,), (batch,))
    raise UnsupportedError(
        f"the inputs of {type(model).__name__} are not known here ({', '.join(list(parameters)[:4])} ...)",
        remedy="write a factory that makes the network with an example, and export that",
    )


def _transformers() -> Any:  # noqa: ANN401 - a module without types
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error
    return transformers
