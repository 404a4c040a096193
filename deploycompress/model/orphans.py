"""data files that no model refers to any more -> removed; the names that make them recognisable as ours.

Only files named `<name>.onnx.<16 hex digits>.data` beside the model are ever removed, and none that another .onnx file
of the folder mentions.
"""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from deploycompress.model.standins import in_memory
from deploycompress.model.tensors import slots

_STALE_DRAFT_AFTER_S = 24 * 3600


def data_path(model_path: Path, sha256_hex: str) -> Path:
    """Where the weights of `model_path` go: a name made from their content, so that it never clashes."""
    return model_path.with_name(f"{model_path.name}.{sha256_hex[:16]}.data")


def remove(model: ir.Model, path: Path, *, keep: str, moved: Mapping[int, ir.TensorProtocol]) -> None:
    """Removes data files that earlier saves of `path` left and nothing refers to, and day-old drafts of killed ones.

    Args:
        model: The model just saved; tensors of it that are mapped from a removed file are replaced first.
        path: Where it was saved.
        keep: Name of its data file.
        moved: The same tensors in the new file, by `id` of the old ones.
    """
    ours = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    candidates = [file for file in path.parent.iterdir() if ours.fullmatch(file.name) and file.name != keep]
    stale = [file for file in candidates if not _is_mentioned(file.name, path)]
    if stale:
        _let_go(model, {file.resolve() for file in stale}, moved)
    for file in stale:
        file.unlink(missing_ok=True)
    for draft in path.parent.glob(f".{path.name}.*.tmp"):
        if time.time() - draft.stat().st_mtime > _STALE_DRAFT_AFTER_S:
            draft.unlink(missing_ok=True)


def _let_go(model: ir.Model, files: set[Path], moved: Mapping[int, ir.TensorProtocol]) -> None:
    for slot in list(slots(model)):
        if isinstance(slot.tensor, ir.ExternalTensor) and Path(slot.tensor.path).resolve() in files:
            slot.put(moved.get(id(slot.tensor)) or in_memory(slot.tensor))


def _is_mentioned(name: str, except_by: Path) -> bool:
    """Whether another .onnx file of the folder contains `name` (a copy or rename that shares the data file)."""
    for other in except_by.parent.glob("*.onnx"):
        if other.name == except_by.name or not other.is_file() or other.stat().st_size == 0:
            continue
        with other.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(name.encode()) >= 0:
                return True
    return False
