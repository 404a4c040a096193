from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from deploycompress.errors import InputRejectedError
from deploycompress.measurement import size as module
from deploycompress.measurement.size import size


def test_external_data_counts(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"a" * 1000)
    (tmp_path / "m.data").write_bytes(os.urandom(3_000_000))  # several chunks, incompressible
    found = size(tmp_path / "m.onnx", [tmp_path / "m.data"])
    assert found.size_bytes == 3_001_000
    expected = sum(len(zlib.compress((tmp_path / name).read_bytes())) for name in ("m.onnx", "m.data"))
    assert found.download_bytes == expected


def test_very_large_files_are_not_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMPRESS_UP_TO_BYTES", 10)
    (tmp_path / "m.onnx").write_bytes(b"a" * 11)
    assert size(tmp_path / "m.onnx").download_bytes is None


def test_missing_data_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"a")
    with pytest.raises(InputRejectedError, match=r"gone.data: cannot be read: No such file"):
        size(tmp_path / "m.onnx", [tmp_path / "gone.data"])
