"""float file, peer -> what ONNX Runtime's own quantizer makes of it, every mode that a user would try.

Dynamic: signed weights, per tensor and per channel, full and 7-bit range. Static: U8S8 per tensor and per channel, and
the defaults of `quantize_static` (S8S8), on the given feeds, min-max; all operators, or the products with constant
weights alone. Files that shape inference refuses are tried as they are.

Source: onnxruntime.quantization 1.31 (`quantize_dynamic`, `quantize_static`, `QuantFormat.QDQ`).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from deploycompress.runtime.session import Feed

Make = Callable[[Path, Path, Sequence[Feed]], None]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _dynamic(**options: Any) -> Make:  # noqa: ANN401
    def make(source: Path, output: Path, feeds: Sequence[Feed]) -> None:
        del feeds
        quantize_dynamic(source, output, weight_type=QuantType.QInt8, **options)

    return make


def _static(**options: Any) -> Make:  # noqa: ANN401
    def make(source: Path, output: Path, feeds: Sequence[Feed]) -> None:
        quantize_static(source, output, _Reader(feeds), quant_format=QuantFormat.QDQ, **options)

    return make


_U8S8 = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
_PRODUCTS = {"op_types_to_quantize": ["MatMul", "Gemm"], "extra_options": {"MatMulConstBOnly": True}}

PEERS: dict[str, Make] = {
    "dynamic": _dynamic(),
    "dynamic per channel": _dynamic(per_channel=True),
    "dynamic, 7 bits": _dynamic(reduce_range=True),
    "dynamic per channel, 7 bits": _dynamic(per_channel=True, reduce_range=True),
    "static, defaults": _static(),
    "static U8S8": _static(**_U8S8),
    "static U8S8 per channel": _static(**_U8S8, per_channel=True),
    "static U8S8 per channel, 7 bits": _static(**_U8S8, per_channel=True, reduce_range=True),
    "static U8S8 per channel, products": _static(**_U8S8, **_PRODUCTS, per_channel=True),
    "static U8S8 per channel, products, 7 bits": _static(**_U8S8, **_PRODUCTS, per_channel=True, reduce_range=True),
}


def prepared(source: Path, output: Path) -> Path:
    """`source` after the preparation that ONNX Runtime recommends, or `source` where that refuses it."""
    try:
        quant_pre_process(source, output, auto_merge=True)
    except Exception:  # noqa: BLE001 - whatever a peer raises, it could not prepare the file
        return source
    return output


def quantized(peer: str, source: Path, output: Path, feeds: Sequence[Feed]) -> str:
    """Writes what `peer` makes of `source`; returns "" or, in a few words, how it failed."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready = prepared(source, Path(folder) / "prepared.onnx")
        try:
            PEERS[peer](ready, output, feeds)
            onnx.checker.check_model(str(output))
        except Exception as error:  # noqa: BLE001
            return f"failed: {type(error).__name__}: {str(error)[:80]}"
    return ""
