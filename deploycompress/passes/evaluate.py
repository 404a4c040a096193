"""node, input arrays -> output arrays, computed by ONNX Runtime without any optimization.

Sessions are kept by operator, attributes and element types: a graph of a thousand shape computations opens a few dozen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploycompress.errors import ModelRejectedError
from deploycompress.passes import graph as g
from deploycompress.runtime.session import Session, SessionConfig

# Element types ONNX Runtime takes from numpy as they are: not bfloat16, float8, int4 (no numpy type) or strings.
_FED = frozenset(
    f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64) if (kind, bits) != ("float", 8)
) | {"bool"}


class Evaluator:
    """Runs single nodes of one model; `model` gives the operator set versions."""

    def __init__(self, model: ir.Model) -> None:
        self._opsets = dict(model.opset_imports)
        self._ir_version = model.ir_version
        self._sessions: dict[tuple[object, ...], Session] = {}

    @staticmethod
    def takes(data: np.ndarray) -> bool:
        """Whether ONNX Runtime accepts arrays of this element type from Python."""
        return data.dtype.name in _FED

    def __call__(self, node: ir.Node, feed: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """The named outputs of `node` for its inputs in order (None where omitted).

        Raises:
            ModelRejectedError: ONNX Runtime cannot compute it, or a result is not a dense array it can hand out.
        """
        types = tuple(None if data is None else ir.DataType.from_numpy(data.dtype) for data in feed)
        attributes = sorted((name, _text(attribute)) for name, attribute in node.attributes.items())
        used = tuple(bool(output.name) for output in node.outputs)
        key = (node.op_identifier(), tuple(attributes), types, used)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._open(node, types)
        results = list(session.run({f"i{n}": data for n, data in enumerate(feed) if data is not None}).values())
        if not all(isinstance(result, np.ndarray) and self.takes(result) for result in results):
            raise ModelRejectedError("the result is not a dense array of a plain type", where=g.label(node))
        return results

    def _open(self, node: ir.Node, types: Sequence[ir.DataType | None]) -> Session:
        inputs = [
            None if dtype is None else ir.Value(name=f"i{n}", type=ir.TensorType(dtype))
            for n, dtype in enumerate(types)
        ]
        outputs = [ir.Value(name=f"o{n}" if o.name else "", type=o.type) for n, o in enumerate(node.outputs)]
        single = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), outputs=outputs)
        graph = ir.Graph(
            [value for value in inputs if value is not None],
            [value for value in outputs if value.name],
            nodes=[single],
            opset_imports=self._opsets,
            name="node",
        )
        proto = ir.to_proto(ir.Model(graph, ir_version=self._ir_version))
        return Session(proto.SerializeToString(), SessionConfig(threads=1, optimization="none"))


def _text(attribute: ir.Attr) -> str:
    """Equal text for equal attributes; tensors by content."""
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return f"{tensor.dtype} {tuple(tensor.shape.numpy())} {tensor.tobytes()!r}"
    return f"{attribute.type} {attribute.value!r}"
