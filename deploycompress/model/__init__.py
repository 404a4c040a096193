"""ONNX file <-> onnx_ir.Model: hostile files refused, weights left on disk, saves atomic.

`load`, `save`, `serialize`, `signature`, `fingerprint` and a few questions about a model; everything else is detail.
"""

from deploycompress.model.atomic import check_writable
from deploycompress.model.fingerprints import fingerprint, same_file
from deploycompress.model.footprint import data_files, size_bytes
from deploycompress.model.loading import load, weights_dir
from deploycompress.model.saving import save
from deploycompress.model.serializing import serialize
from deploycompress.model.signatures import signature
from deploycompress.model.tensors import dtype_name, weight_bytes
from deploycompress.model.upgrading import raise_opset

__all__ = [
    "check_writable",
    "data_files",
    "dtype_name",
    "fingerprint",
    "load",
    "raise_opset",
    "same_file",
    "save",
    "serialize",
    "signature",
    "size_bytes",
    "weight_bytes",
    "weights_dir",
]
