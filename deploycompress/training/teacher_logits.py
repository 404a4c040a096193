"""frozen teacher, samples -> its logits as a memory-mapped .npy file, computed once and resumable.

The file is named by the hashes of teacher and data. It grows as `<name>.part`; a killed run goes on after the last
whole chunk, and the name appears when the file is complete.
Source: NumPy documentation, numpy.lib.format (the .npy header).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deploycompress.errors import EnvironmentLacksError
from deploycompress.records.progress import Track, silent
from deploycompress.training.arrays import Arrays
from deploycompress.training.network import logits
from deploycompress.training.processes import here

CHUNK = 64
"""Batches per chunk."""


def cached(
    teacher: nn.Module, data: Arrays, batch_size: int, folder: Path, teacher_hash: str, *, track: Track = silent
) -> torch.Tensor:
    """Logits of every sample in order, float32 [samples, ...], read from disk as they are needed.

    Args:
        teacher: In eval mode; moved to the device of the run.
        data: The samples.
        batch_size: Samples per forward pass.
        folder: Where the file lies.
        teacher_hash: Of the teacher's weights.
        track: Shows progress.

    Raises:
        EnvironmentLacksError: The folder cannot be written.
    """
    digest = hashlib.sha256(f"{teacher_hash} {data.fingerprint} {batch_size}".encode()).hexdigest()
    path = folder / f"teacher-{digest[:16]}.npy"
    teacher.to(here().device)
    with here().main_process_first():
        if not path.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _write(teacher, data, batch_size, path, track)
            except OSError as error:
                raise EnvironmentLacksError(
                    f"cannot write the teacher's logits: {error.strerror or error}",
                    where=str(path),
                    remedy="free some space, or set cache_logits: false",
                ) from error
    # Mode "c" keeps writes to itself, so that torch may take the array for writable.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _write(teacher: nn.Module, data: Arrays, batch_size: int, path: Path, track: Track) -> None:
    part, chunk = path.with_suffix(".part"), CHUNK * batch_size
    shape = (len(data), *_answers(teacher, data, slice(0, 1)).shape[1:])
    row_bytes = 4 * int(np.prod(shape[1:]))
    with part.open("r+b" if part.exists() else "w+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        )
        header = file.tell()
        done = (file.seek(0, 2) - header) // (row_bytes * chunk) * chunk
        file.seek(header + done * row_bytes)
        for start in track(range(done, len(data), batch_size), "asking the teacher"):
            answers = _answers(teacher, data, slice(start, start + batch_size))
            file.write(np.ascontiguousarray(answers.float().cpu().numpy()).data)
    part.replace(path)


def _answers(teacher: nn.Module, data: Arrays, rows: slice) -> torch.Tensor:
    inputs = tuple(tensor[rows].to(here().device) for tensor in data.inputs)
    with torch.inference_mode():
        return logits(teacher, data.names, inputs)
