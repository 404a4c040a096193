"""model file -> sha256 that changes when the graph or any weight changes.

A self-contained file: sha256 of the file, as `sha256sum` prints it. With external data:
`sha256(sha256(model) || sha256(data 1) || ...)`, data files ordered by location.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploycompress.errors import ModelRejectedError
from deploycompress.model import sniff
from deploycompress.model.loading import check_tensors, parse


def fingerprint(path: Path) -> str:
    """Hex digest over the model file and the data files it refers to, read in pieces.

    Raises:
        ModelRejectedError: The model is damaged, or refers to data that it must not.
    """
    path = Path(path)
    files = check_tensors(parse(sniff.read(path), path), path)
    digests = [_sha256(path)] + [_sha256(file.path) for _, file in sorted(files.items())]
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file (through links, too); False where either does not exist."""
    try:
        return Path(a).samefile(b)
    except OSError:
        return False


def _sha256(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelRejectedError(f"it cannot be read: {error.strerror}", where=str(path)) from error
