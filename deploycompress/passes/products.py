"""value -> coefficient * factors: a tree of Mul, Div and Pow as one product, whatever order an exporter wrote it in.

Only nodes whose result one node of the same graph reads are taken apart, so that what a product was made of goes when
it is replaced. A scalar is a float32 constant of rank 0: it cannot raise the rank of what it is multiplied with.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from deploycompress.passes import graph as g

# Constants are rounded to float32 (2^-24), or written with ten digits: 2e-6 tells them from another formula.
_TOLERANCE = 2e-6
_LARGEST_POWER = 3


@dataclass(frozen=True)
class Product:
    """`coefficient` times every one of `factors` (one that is squared stands twice)."""

    coefficient: float
    factors: tuple[ir.Value, ...]


@dataclass(frozen=True)
class Term:
    """`constant` + `rest`."""

    constant: float
    rest: ir.Value


def scalar(value: ir.Value | None) -> float | None:
    """A float32 constant of rank 0, as a number."""
    tensor = g.constant(value)
    if tensor is None or len(tensor.shape) or tensor.dtype != ir.DataType.FLOAT:
        return None
    return float(tensor.numpy())


def close(number: float, wanted: float) -> bool:
    """Equal up to the rounding of a constant to float32."""
    return abs(number - wanted) <= _TOLERANCE * abs(wanted)


def read_once(value: ir.Value) -> bool:
    """Whether one node alone reads `value`, in the graph that makes it."""
    user, producer = g.sole_user(value), value.producer()
    return user is not None and producer is not None and user.graph is producer.graph


def product(value: ir.Value, *, root: bool = True) -> Product:
    """`value` as a product; by itself where nothing more is known of it."""
    node = value.producer()
    alone = Product(1.0, (value,))
    if node is None or not (root or read_once(value)):
        return alone
    if g.is_op(node, "Mul", "Div"):
        return _product_of_two(node) or alone
    if g.is_op(node, "Pow") and node.inputs[0] is not None:
        power = scalar(node.inputs[1])
        if power is not None and power == int(power) and 1 < power <= _LARGEST_POWER:
            return Product(1.0, (node.inputs[0],) * int(power))
    return alone


def _product_of_two(node: ir.Node) -> Product | None:
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        return None
    number = scalar(right)
    if node.op_type == "Div":
        if not number:
            return None
        inner = product(left, root=False)
        return Product(inner.coefficient / number, inner.factors)
    if number is None:
        number, right = scalar(left), right
        if number is not None:
            left = right
    if number is not None:
        inner = product(left, root=False)
        return Product(inner.coefficient * number, inner.factors)
    first, second = product(left, root=False), product(right, root=False)
    return Product(first.coefficient * second.coefficient, first.factors + second.factors)


def shifted(value: ir.Value) -> Term | None:
    """`value` as a constant plus something, where an Add that nothing else reads makes it."""
    node = value.producer()
    if node is None or not g.is_op(node, "Add") or not read_once(value):
        return None
    for index in (0, 1):
        number, rest = scalar(node.inputs[1 - index]), node.inputs[index]
        if number is not None and rest is not None:
            return Term(number, rest)
    return None
