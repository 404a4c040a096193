"""network -> ONNX file that agrees with it at every size it claims to take, or no file.

The exporters form a ladder: dynamo, then legacy (for Hugging Face folders optimum first). Each attempt is compared with
torch on batches that the exporter never saw; the first that agrees wins, and every refusal is kept apart, because
"export failed" sends people from one exporter to the other and back.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deploycompress import model as onnx_file
from deploycompress.errors import DeployCompressError, InputRejectedError, UnsupportedError, UsageError
from deploycompress.records.signature import Signature
from deploycompress.training import exporters, huggingface, parity
from deploycompress.training import source as sources
from deploycompress.training.parity import FixedSizeError, Parity, ParityError, Reference
from deploycompress.training.quiet import quiet
from deploycompress.training.source import Source

Exporter = Literal["auto", "dynamo", "legacy", "optimum"]


@dataclass(frozen=True)
class Attempt:
    """One exporter's try: `error` is None where it won; `said` is what it would have printed."""

    exporter: str
    error: str | None
    said: tuple[str, ...]


@dataclass(frozen=True)
class ExportResult:
    """An ONNX file that agrees with torch.

    Attributes:
        output: The file.
        exporter: The exporter that wrote it.
        opset: Of the standard domain.
        size_bytes: Of the file and its external data.
        signature: Inputs and outputs.
        dynamic_batch: Whether any batch size may be fed; compared at the sizes in `parity`.
        parity: How closely it agrees.
        frozen: Where Python decisions were fixed to the example's path, from the tracer's own warnings.
        attempts: Every exporter tried, in order.
    """

    output: Path
    exporter: str
    opset: int
    size_bytes: int
    signature: Signature
    dynamic_batch: bool
    parity: Parity
    frozen: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    def summary(self) -> str:
        """The result in one line."""
        batch = "any batch" if self.dynamic_batch else "fixed batch"
        return (
            f"{self.output.name}: {self.size_bytes:,} bytes, {self.exporter} exporter, opset {self.opset}, {batch}, "
            f"max |onnx - torch| = {self.parity.max_abs:.1e} over {len(self.parity.sizes)} shapes"
        )


def export(
    source: str,
    output: Path,
    *,
    checkpoint: Path | None = None,
    trust: bool = False,
    opset: int | None = None,
    max_opset: int | None = None,
    exporter: Exporter = "auto",
    dynamic_batch: bool = True,
    inputs: Sequence[str] = (),
    base: Path | None = None,
) -> ExportResult:
    """Exports in eval mode and proves the file against torch; the module's training state is restored.

    Args:
        source: `module:factory`, `.pt2` file, checkpoint folder, or `hf:org/name`.
        output: The ONNX file to write.
        checkpoint: Weights for a factory.
        trust: Allow a pickled checkpoint to run its code.
        opset: Opset to export with; 18 (dynamo) or 17 (legacy) by default. The file is stamped with the smallest
            opset that means the same.
        max_opset: Highest opset the target takes.
        exporter: One exporter instead of the ladder.
        dynamic_batch: Whether every batch size is to be taken.
        inputs: `name=dtype[sizes]`, one per input, in place of the network's own example.
        base: Folder that references and relative sources are looked up from.

    Raises:
        UsageError: The source, an input or the exporter is named wrongly.
        UnsupportedError: The opset is above what the target takes.
        CheckpointRejectedError: A checkpoint is damaged, does not fit, or would run code.
        InputRejectedError: No exporter took the network, or its batch is fixed; the message keeps each reason apart.
    """
    if opset is not None and max_opset is not None and opset > max_opset:
        raise UnsupportedError(
            f"opset {opset} is above the target's {max_opset}", remedy=f"export with --opset {max_opset}"
        )
    loaded = sources.load(
        source, checkpoint_path=checkpoint, trust=trust, specs=inputs, dynamic_batch=dynamic_batch, base=base
    )
    ladder = _ladder(
        loaded, exporter, opset or (max_opset if max_opset and max_opset < exporters.DYNAMO_OPSET else None)
    )
    attempts: list[Attempt] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    with _evaluating(loaded.module), tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
        try:
            expected = parity.references(loaded.module, loaded.inputs)
        except FixedSizeError as error:
            raise InputRejectedError(
                str(error), where=source, remedy="let forward take any batch, or --static-batch"
            ) from error
        except Exception as error:
            raise InputRejectedError(f"forward fails on the example: {_first_line(error)}", where=source) from error
        for name, write in ladder:
            draft = Path(folder) / name / output.name
            result, attempt = _attempt(name, write, draft, loaded, expected)
            attempts.append(attempt)
            if result is not None:
                finished = onnx_file.load(draft)
                onnx_file.save(finished, output)
                return ExportResult(
                    output=output,
                    exporter=name,
                    opset=int(finished.opset_imports[""]),
                    size_bytes=_size_bytes(draft),
                    signature=onnx_file.signature(finished),
                    dynamic_batch=all(spec.has_dynamic_batch for spec in onnx_file.signature(finished).inputs),
                    parity=result,
                    frozen=tuple(line for line in attempt.said if line.startswith("TracerWarning")),
                    attempts=tuple(attempts),
                )
    reasons = "; ".join(f"{attempt.exporter}: {attempt.error}" for attempt in attempts)
    raise InputRejectedError(
        f"no exporter gives a file that agrees with torch ({reasons})", where=source, remedy="see --json"
    )


Write = Callable[[Path], None]


def _ladder(loaded: Source, exporter: Exporter, opset: int | None) -> tuple[tuple[str, Write], ...]:
    """The exporters to try, each as a function of the path to write."""
    names = list(loaded.output_names) or _output_names(loaded)
    converted = loaded.program or loaded.module
    rungs: dict[str, Write] = {
        "dynamo": lambda path: exporters.dynamo(converted, loaded.inputs, names, path, opset),
    }
    if loaded.program is None:
        rungs["legacy"] = lambda path: exporters.legacy(loaded.module, loaded.inputs, names, path, opset)
    folder = loaded.folder
    if folder is not None:
        rungs = {"optimum": lambda path: huggingface.optimum_export(folder, path, opset, loaded.inputs), **rungs}
    if exporter == "auto":
        return tuple(rungs.items())
    if exporter not in rungs:
        raise UsageError(f"the {exporter} exporter does not take a {loaded.kind}", remedy=f"use {' or '.join(rungs)}")
    return ((exporter, rungs[exporter]),)


def _attempt(
    name: str, write: Write, draft: Path, loaded: Source, expected: Sequence[Reference]
) -> tuple[Parity | None, Attempt]:
    """Exports to `draft`, takes the exporter's notes about this machine out of it, and compares it with torch."""
    draft.parent.mkdir()
    said: list[str] = []
    try:
        with quiet() as said, torch.no_grad():
            write(draft)
            cleaned = onnx_file.load(draft)
            exporters.strip_notes(cleaned)
            onnx_file.save(cleaned, draft)
        return parity.compare(draft, loaded.inputs, expected, loaded.output_names), Attempt(name, None, tuple(said))
    except ParityError as error:
        return None, Attempt(name, str(error), tuple(said))
    except DeployCompressError as error:
        return None, Attempt(name, error.what, tuple(said))
    except Exception as error:  # noqa: BLE001 - an exporter fails in any way; each reason is kept and shown
        return None, Attempt(name, exporters.cause(error), tuple(said))


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts every submodule in eval mode and back into the mode it was in."""
    before = [(part, part.training) for part in module.modules()]
    for part, _ in before:
        part.training = False
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _output_names(loaded: Source) -> list[str]:
    with _evaluating(loaded.module), torch.no_grad():
        count = len(parity.flatten(loaded.inputs.call(loaded.module, loaded.inputs.tensors)))
    return ["logits"] if count == 1 else [f"output_{number}" for number in range(count)]


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.iterdir())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
