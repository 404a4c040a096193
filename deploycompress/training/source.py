"""what the user names -> the network to export: `module:factory`, `.pt2` program, checkpoint folder or `hf:` hub id."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deploycompress.errors import CheckpointRejectedError, InputRejectedError, UsageError
from deploycompress.records.reference import is_reference
from deploycompress.training import checkpoint, huggingface, network
from deploycompress.training.example import Inputs, from_example, from_specs
from deploycompress.training.quiet import quiet
from deploycompress.training.reshaping import reshape

HUB = "hf:"


@dataclass(frozen=True)
class Source:
    """A network that is ready to be exported.

    Attributes:
        kind: What the user named.
        module: In eval mode; called to compare with.
        program: What the dynamo exporter converts where that is not `module`.
        inputs: Example and dynamic axes.
        output_names: ONNX names of the outputs; empty where they are not known yet.
        folder: The checkpoint folder, for optimum.
    """

    kind: Literal["factory", "program", "checkpoint folder"]
    module: torch.nn.Module
    inputs: Inputs
    program: torch.export.ExportedProgram | None = None
    output_names: tuple[str, ...] = ()
    folder: Path | None = None


def load(
    source: str,
    *,
    checkpoint_path: Path | None = None,
    trust: bool = False,
    specs: Sequence[str] = (),
    dynamic_batch: bool = True,
    base: Path | None = None,
) -> Source:
    """Finds out what `source` is and loads it.

    Raises:
        UsageError: It is none of the four, or the example input is missing.
        CheckpointRejectedError: A checkpoint or program is damaged, does not fit, or would run code.
        EnvironmentLacksError: The hub cannot be reached, or a package is missing.
    """
    if is_reference(source):
        module, example = network.build(source, base=base)
        if checkpoint_path is not None:
            reshape(module, checkpoint_path, trust=trust)
            checkpoint.load_into(module, checkpoint_path, trust=trust)
        return Source("factory", module, _inputs(module, example, specs, dynamic_batch, source))
    if checkpoint_path is not None:
        raise UsageError("--checkpoint goes with module:factory", where=source, remedy="the source has its own weights")
    if source.startswith(HUB):
        return _folder(huggingface.download(source.removeprefix(HUB)), dynamic_batch)
    path = (base or Path.cwd()) / source
    if path.is_dir():
        return _folder(path, dynamic_batch)
    if path.suffix == ".pt2":
        return _program(path, dynamic_batch)
    if path.is_file():
        raise UsageError(
            "a checkpoint holds weights without the network",
            where=source,
            remedy="export module:factory --checkpoint FILE",
        )
    raise UsageError(
        "there is no such file or folder",
        where=source,
        remedy="give module:factory, a checkpoint folder, a .pt2 file, or hf:org/name for a Hugging Face hub model",
    )


def _inputs(
    module: torch.nn.Module, example: network.Example | None, specs: Sequence[str], dynamic_batch: bool, source: str
) -> Inputs:
    if specs:
        keywords = list(inspect.signature(module.forward).parameters)
        return from_specs(specs, keywords=keywords if len(specs) > 1 else (), dynamic_batch=dynamic_batch)
    if example is None:
        raise UsageError(
            "there is no example input",
            where=source,
            remedy="pass --input name=float32[2,3,224,224], return (module, example) from the factory, "
            "or give the module a method example_inputs()",
        )
    return from_example(example, dynamic_batch=dynamic_batch)


def _folder(path: Path, dynamic_batch: bool) -> Source:
    loaded = huggingface.load(path, dynamic_batch=dynamic_batch)
    return Source("checkpoint folder", loaded.module, loaded.inputs, output_names=loaded.output_names, folder=path)


def _program(path: Path, dynamic_batch: bool) -> Source:
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    try:
        with quiet():
            program = torch.export.load(path)
            module = program.module()
    except Exception as error:  # the reader of .pt2 archives fails in any way on damaged ones
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointRejectedError(f"it is no torch.export program: {first}", where=str(path)) from error
    if _trains(program):
        raise InputRejectedError(
            "the program was captured in training mode (active dropout or batch statistics)",
            where=str(path),
            remedy="call model.eval() before torch.export.export",
        )
    if program.example_inputs is None:
        raise InputRejectedError(
            "the program carries no example inputs", where=str(path), remedy="save it with torch.export.save"
        )
    arguments, keywords = program.example_inputs
    example = dict(keywords) if keywords and not arguments else tuple(arguments)
    return Source("program", module, from_example(example, dynamic_batch=dynamic_batch), program=program)


def _trains(program: torch.export.ExportedProgram) -> bool:
    """Whether a captured graph drops out or normalises by the statistics of its batch."""
    position = {"aten::dropout": 2, "aten::batch_norm": 5}
    for node in program.graph.nodes:
        name = getattr(getattr(node.target, "_schema", None), "name", "")
        if name in position and len(node.args) > position[name] and node.args[position[name]] is True:
            return True
    return False
