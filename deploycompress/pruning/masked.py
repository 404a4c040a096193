"""model, what is kept of each value -> a model of the old size that gives what the cut one must give.

Every removed element is zero wherever it appears, and a mean over an axis that was cut is one over what is left. It
shares nothing with `removal` but the masks: no weight is sliced and no number of any operator changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Shapes
from deploycompress.pruning.lengths import certain

Kept = NDArray[np.bool_]

_NORMS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


def masked(model: ir.Model, kept: Mapping[str, tuple[Kept, ...]]) -> ir.Model:
    """A copy of `model` with zeros for what is not kept."""
    after = model.clone()
    shapes, writer = certain(after), _Writer(after)
    first_inputs = {node: node.inputs[0] for node in after.graph if node.inputs}
    for node, first in first_inputs.items():
        cut = None if first is None else kept.get(first.name or "")
        if cut is not None and g.is_op(node, *_NORMS):
            writer.normalize(node, cut, shapes)
        elif cut is not None and g.is_op(node, "ReduceMean"):
            writer.rescale(node, cut, shapes)
        for output in node.outputs:
            dtype, name = shapes.dtype(output), output.name or ""
            if name in kept and dtype is not None and dtype.is_floating_point():
                writer.mask(output, dtype.numpy(), _known(kept[name], output, shapes))
    return after


def _known(cut: Sequence[Kept], value: ir.Value, shapes: Shapes) -> list[Kept]:
    """The masks of axes whose length is certain; one that holds a batch as well cannot be written down."""
    lengths = shapes.of(value) or ()
    return [
        mask if length == mask.size else np.ones(1, bool)
        for mask, length in zip(cut, lengths or (None,) * len(cut), strict=True)
    ]


class _Writer:
    """Adds nodes to one graph, behind a node at a time."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._taken = g.names(model)

    def _constant(self, data: NDArray[np.generic]) -> ir.Value:
        return g.new_initializer(self._graph, "masked", np.asarray(data), self._taken)

    def _add(self, before: ir.Node, op_type: str, *inputs: ir.Value, like: ir.Value, **ints: int) -> ir.Value:
        output = ir.Value(name=g.claimed("masked", self._taken), type=like.type)
        attributes = [ir.AttrInt64(name, value) for name, value in ints.items()]
        self._graph.insert_before(before, ir.Node("", op_type, inputs, attributes, outputs=[output]))
        return output

    def _behind(self, value: ir.Value, op_type: str, *inputs: ir.Value | None) -> None:
        """Makes every reader of `value` read `op_type` of it; None among `inputs` stands for it."""
        producer = value.producer()
        assert producer is not None
        readers = list(value.uses())
        output = ir.Value(name=g.claimed("masked", self._taken), type=value.type)
        node = ir.Node("", op_type, [value if given is None else given for given in inputs], outputs=[output])
        self._graph.insert_after(producer, node)
        for reader, index in readers:
            reader.replace_input_with(index, output)

    def mask(self, value: ir.Value, dtype: np.dtype[np.generic], cut: Sequence[Kept]) -> None:
        """Zeros in `value`, which is no graph output."""
        whole = _outer(cut)
        if not whole.all():
            zero = np.zeros((), dtype)
            self._behind(value, "Where", self._constant(whole), None, self._constant(zero))

    def rescale(self, node: ir.Node, cut: Sequence[Kept], shapes: Shapes) -> None:
        """The mean over what is left, where ReduceMean counted zeros too."""
        axes = g.ints_attribute(node, "axes")
        given = g.array(g.input_at(node, 1))
        if axes is None:
            axes = [int(axis) for axis in given.ravel()] if given is not None else list(range(len(cut)))
        share = float(np.prod([cut[axis].mean() for axis in axes]))
        output, dtype = node.outputs[0], shapes.dtype(node.outputs[0])
        if share < 1 and dtype is not None:
            self._behind(output, "Mul", None, self._constant(np.asarray(1 / share, dtype.numpy())))

    def normalize(self, node: ir.Node, cut: Sequence[Kept], shapes: Shapes) -> None:
        """Y = (x - mean) / sqrt(variance + epsilon) * scale + bias, written out with sums over what is left."""
        first = g.int_attribute(node, "axis", -1) % len(cut)
        x = node.inputs[0]
        known = shapes.dtype(node.outputs[0])
        if all(mask.all() for mask in cut[first:]) or x is None or known is None:
            return
        dtype = known.numpy()
        whole = _outer([np.ones(1, bool)] * first + list(cut[first:]))
        count = self._constant(np.asarray(whole.sum(), dtype))
        axes = self._constant(np.arange(first, len(cut)))
        centred = x
        if node.op_type == "LayerNormalization":
            total = self._add(node, "ReduceSum", x, axes, like=x, keepdims=1)
            mean = self._add(node, "Div", total, count, like=x)
            difference = self._add(node, "Sub", x, mean, like=x)
            zero = self._constant(np.zeros((), dtype))
            centred = self._add(node, "Where", self._constant(whole), difference, zero, like=x)
        square = self._add(node, "Mul", centred, centred, like=x)
        total = self._add(node, "ReduceSum", square, axes, like=x, keepdims=1)
        epsilon = self._constant(np.asarray(g.float_attribute(node, "epsilon", 1e-5), dtype))
        variance = self._add(node, "Add", self._add(node, "Div", total, count, like=x), epsilon, like=x)
        result = self._add(node, "Div", centred, self._add(node, "Sqrt", variance, like=x), like=x)
        for op_type, parameter in zip(("Mul", "Add"), node.inputs[1:], strict=False):
            if parameter is not None:
                result = self._add(node, op_type, result, parameter, like=x)
        node.resize_inputs(1)
        for key in list(node.attributes):
            del node.attributes[key]
        node.replace_input_with(0, result)
        node.op_type, node.domain = "Identity", ""
        node.resize_outputs(1)


def _outer(cut: Sequence[Kept]) -> Kept:
    """One mask over all axes; axes of which all is kept have length 1."""
    whole = np.ones((), bool)
    for mask in cut:
        whole = whole[..., None] & (mask if not mask.all() else np.ones(1, bool))
    return whole
