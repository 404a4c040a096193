"""external-data entries of a model -> checked (folder, location, offset, length), before any data file is opened.

The rules, and the attack each one answers:

- keys are location, offset, length, checksum and no other (attribute injection, CVE-2026-34445);
- the location is relative and never climbs, and its resolved target is a regular file inside the folder of the model
  or inside the folder of the resolved model file (traversal, CVE-2022-25882, CVE-2024-27318; symlinks,
  CVE-2026-27489). The second folder makes a hub cache work, where `snapshots/<rev>/model.onnx` and its data are both
  links into `blobs/`;
- the file has one name only (hard links, CVE-2026-34446): a hard link shows no target, so a second name of a secret
  cannot be told from a copy. onnx and onnx-ir refuse them as well; `cp` mends an honest one;
- offset + length ends inside the file, and length equals what element type and shape need (huge allocations).

Source: ONNX IR specification, "External Tensor Data".
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from deploycompress.errors import ModelRejectedError
from deploycompress.model.inline import declared_bytes

KEYS = frozenset({"location", "offset", "length", "checksum"})


@dataclass(frozen=True)
class DataFile:
    """A data file that passed the checks.

    Attributes:
        folder: Resolved folder that locations are relative to.
        location: POSIX path of the file relative to `folder`; no link on the way.
        size_bytes: Size of the file.
    """

    folder: Path
    location: str
    size_bytes: int

    @property
    def path(self) -> Path:
        """Full path of the file."""
        return self.folder / self.location


class Folders:
    """The folders a model may keep its data in, and the data files found there so far.

    Args:
        model: Path of the model as the user gave it; links in it are followed only for the second folder.

    Attributes:
        files: Every data file that passed, by its location as the model writes it.
    """

    def __init__(self, model: Path) -> None:
        self._allowed = list(dict.fromkeys((model.parent.resolve(), model.resolve().parent)))
        self.files: dict[str, DataFile] = {}

    def check(self, tensor: onnx.TensorProto, where: str) -> None:
        """Checks the external-data entries of one tensor.

        Raises:
            ModelRejectedError: An entry breaks one of the rules of this module; `where` is named.
        """
        entries = _entries(tensor, where)
        file = self._file(entries.get("location", ""), where)
        offset = _natural(entries.get("offset", "0"), "offset", where)
        expected = declared_bytes(tensor, where)
        length = _natural(entries["length"], "length", where) if "length" in entries else expected
        if length != expected:
            raise ModelRejectedError(
                f"{where} says {length} bytes of external data, its shape {list(tensor.dims)} needs {expected}",
                remedy="the model is damaged; fetch it again",
            )
        if offset + length > file.size_bytes:
            raise ModelRejectedError(
                f"{where} ends at byte {offset + length} of {file.location!r}, which has {file.size_bytes}",
                remedy="the data file is truncated or belongs to another model; fetch both again",
            )

    def _file(self, location: str, where: str) -> DataFile:
        if location not in self.files:
            self.files[location] = self._resolve(location, where)
        return self.files[location]

    def _resolve(self, location: str, where: str) -> DataFile:
        _refuse_path(location, where)
        candidates = [folder / location for folder in self._allowed]
        found = next((path for path in candidates if path.exists() or path.is_symlink()), None)
        if found is None:
            raise ModelRejectedError(
                f"{where} keeps its data in {location!r}, which is not beside the model",
                remedy="put the data file next to the .onnx file",
            )
        try:
            target = found.resolve(strict=True)
            status = target.stat()
        except (OSError, RuntimeError) as error:
            raise ModelRejectedError(
                f"{where} keeps its data in {location!r}, a link that leads nowhere", remedy="fetch the data file again"
            ) from error
        folder = next((folder for folder in self._allowed if target.is_relative_to(folder)), None)
        if folder is None:
            raise ModelRejectedError(
                f"{where} keeps its data in {location!r}, a link that leads outside the model's folder",
                remedy="if you trust it, copy the data file next to the model",
            )
        if not stat.S_ISREG(status.st_mode):
            raise ModelRejectedError(f"{where} keeps its data in {location!r}, which is not a regular file")
        if status.st_nlink > 1:
            raise ModelRejectedError(
                f"{where} keeps its data in {location!r}, a hard link (the file has {status.st_nlink} names)",
                remedy="if you trust it, replace it by a copy of itself",
            )
        return DataFile(folder, target.relative_to(folder).as_posix(), status.st_size)


def _entries(tensor: onnx.TensorProto, where: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in KEYS:
            raise ModelRejectedError(
                f"{where} has the unknown external-data key {entry.key[:80]!r}",
                remedy=f"only {', '.join(sorted(KEYS))} are allowed",
            )
        if entry.key in entries:
            raise ModelRejectedError(f"{where} gives the external-data key {entry.key!r} twice")
        entries[entry.key] = entry.value
    return entries


def _refuse_path(location: str, where: str) -> None:
    """Judges the text alone; both path flavours, so that a file means the same on every system."""
    if not location:
        raise ModelRejectedError(f"{where} has external data without a location")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    shown = repr(location if len(location) <= 200 else location[:200] + "...")
    if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
        raise ModelRejectedError(
            f"{where} keeps its data at the absolute path {shown}",
            remedy="only a path relative to the model is allowed",
        )
    if ".." in posix.parts or ".." in windows.parts:
        raise ModelRejectedError(
            f"{where} keeps its data at {shown}, outside the model's folder", remedy="'..' is not allowed in a location"
        )
    if "\0" in location or len(location) > 4096:
        raise ModelRejectedError(f"{where} has an impossible external-data location {shown}")


def _natural(text: str, key: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise ModelRejectedError(f"{where} has the external-data {key} {text[:80]!r}, which is not a natural number")
    return int(text)
