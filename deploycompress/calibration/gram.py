"""input of a layer -> `X^T X`, the second moments of what its weights multiply.

A layer computes `Y = X W` on rows `X` [rows, K]: of a MatMul or Gemm the last axis of its input, of a convolution every
patch that its kernel sees, unrolled to K = channels per group x kernel positions. What least squares on the weights
needs is `X^T X` alone: `|X W - X W'|^2 = trace((W - W')^T X^T X (W - W'))`, however many rows there were. That serves
GPTQ, AWQ and SmoothQuant, repair after pruning, whitened low rank and bias correction alike.

Sums and products are float64: a float32 product of rows near one another in direction cannot be inverted.

Source: Frantar and Alistarh 2022 (arXiv:2208.11580) section 3; ONNX operators MatMul, Gemm, Conv.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_ROWS = 512  # multiplied at a time
_BLOCK = 1 << 22  # elements of unrolled rows held at a time: 32 MiB


@dataclass(frozen=True)
class Patches:
    """How a convolution reads its input; one entry per spatial axis, two for `pads`.

    Attributes:
        kernel: Length of the kernel.
        strides: Step between patches.
        dilations: Step inside a patch.
        pads: Zeros before each axis, then after each; empty where `same` decides.
        groups: Groups of channels; each has rows, and products, of its own.
        same: "SAME_UPPER" or "SAME_LOWER" where the pads follow from the length of the input, else "".
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1
    same: str = ""


@dataclass(frozen=True)
class LayerInput:
    """The rows that the weights of a layer multiply; layers that read one tensor alike share them.

    Attributes:
        tensor: Name of the activation.
        features: K, the length of a row.
        axis: Axis of the features in the activation, where the layer is a product.
        patches: How patches are cut, where the layer is a convolution.
    """

    tensor: str
    features: int
    axis: int = -1
    patches: Patches | None = None

    @classmethod
    def of(cls, node: ir.Node) -> LayerInput | None:
        """The layer input of a MatMul, Gemm or Conv; None for other nodes and for weights of unknown shape."""
        if node.domain not in ("", "ai.onnx") or len(node.inputs) < 2 or node.inputs[0] is None:
            return None
        weight = node.inputs[1]
        if weight is None or weight.shape is None or not weight.shape.is_static() or len(weight.shape) < 2:
            return None
        name, dims = str(node.inputs[0].name), weight.shape.numpy()
        if node.op_type == "MatMul":
            return cls(name, dims[-2])
        if node.op_type == "Gemm":
            features = dims[1] if node.attributes.get_int("transB", 0) else dims[0]
            return cls(name, features, 0 if node.attributes.get_int("transA", 0) else -1)
        if node.op_type == "Conv":
            return cls(name, math.prod(dims[1:]), patches=_patches(node, dims[2:]))
        return None

    @property
    def groups(self) -> int:
        """Number of matrices: the groups of a convolution, else 1."""
        return 1 if self.patches is None else self.patches.groups

    @property
    def size_bytes(self) -> int:
        """Bytes of the products."""
        return 8 * self.groups * self.features**2

    def rows(self, values: NDArray[np.floating], most: int | None = None) -> Iterator[NDArray[np.float64]]:
        """Yields blocks of rows [groups, rows, K], float64, zero rows for an empty input.

        Args:
            values: The input of the layer.
            most: Where given, about so many rows of each image, or of all of `values` for a product, evenly spread.
        """
        if self.patches is None:
            matrix = np.moveaxis(values, self.axis, -1).reshape(-1, values.shape[self.axis])
            apart = 1 if most is None else max(1, len(matrix) // most)
            matrix = matrix[apart // 2 :: apart]
            step = max(1, _BLOCK // max(1, matrix.shape[1]))
            for start in range(0, len(matrix), step):
                yield matrix[None, start : start + step].astype(np.float64)
            return
        for image in values:
            yield from _unrolled(image, self.patches, most)


@dataclass(frozen=True)
class Gram:
    """Second moments of a layer's input; `merge` is associative up to the order of float64 additions.

    Attributes:
        count: Rows seen.
        sums: Sum of the rows, float64 [groups, K].
        products: `X^T X`, float64 [groups, K, K], symmetric.
    """

    count: int
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def of(cls, layer: LayerInput, values: NDArray[np.floating]) -> Gram:
        """The moments of one input."""
        running = RunningGram(layer)
        running.add(values)
        return running.result()

    def merge(self, other: Gram) -> Gram:
        """The moments of both sets of rows."""
        return Gram(self.count + other.count, self.sums + other.sums, self.products + other.products)


class RunningGram:
    """A Gram that grows in place: at no time are there two copies of its products.

    Rows wait until there are many: to add the product of a dozen reads and writes as much memory as that of hundreds.
    """

    def __init__(self, layer: LayerInput, most_rows: int | None = None) -> None:
        self.layer, self._most_rows = layer, most_rows
        self._count = 0
        self._waiting: list[NDArray[np.float64]] = []
        self._waiting_rows = 0
        self._sums = np.zeros((layer.groups, layer.features))
        self._products = np.zeros((layer.groups, layer.features, layer.features))

    def add(self, values: NDArray[np.floating]) -> None:
        """Adds the rows of one input."""
        for rows in self.layer.rows(values, self._most_rows):
            self._waiting.append(rows)
            self._waiting_rows += rows.shape[1]
            if self._waiting_rows >= _ROWS:
                self._fold()

    def result(self) -> Gram:
        """What was added so far; later additions change it."""
        self._fold()
        return Gram(self._count, self._sums, self._products)

    def _fold(self) -> None:
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting, axis=1)
        self._waiting, self._waiting_rows = [], 0
        self._count += rows.shape[1]
        self._sums += rows.sum(axis=1)
        for product, matrix in zip(self._products, rows, strict=True):
            product += matrix.T @ matrix


def _patches(node: ir.Node, kernel: tuple[int, ...]) -> Patches:
    ones = (1,) * len(kernel)
    auto = str(node.attributes.get_string("auto_pad", "NOTSET"))
    return Patches(
        kernel,
        tuple(node.attributes.get_ints("strides", ones)),
        tuple(node.attributes.get_ints("dilations", ones)),
        tuple(node.attributes.get_ints("pads", (0, 0) * len(kernel))) if auto == "NOTSET" else (),
        node.attributes.get_int("group", 1),
        auto if auto.startswith("SAME") else "",
    )


def _unrolled(image: NDArray[np.floating], patches: Patches, most: int | None) -> Iterator[NDArray[np.float64]]:
    """Yields the patches of one image [channels, *spatial], about `most` of them, in blocks [groups, rows, K]."""
    spatial, rank = image.shape[1:], len(patches.kernel)
    pads = patches.pads or (0,) * (2 * rank)
    if patches.same:
        pads = _same_pads(spatial, patches)
    padded = np.pad(image, [(0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    span = [(length - 1) * step + 1 for length, step in zip(patches.kernel, patches.dilations, strict=True)]
    if any(length < needed for length, needed in zip(padded.shape[1:], span, strict=True)):
        return
    windows = sliding_window_view(padded, span, axis=tuple(range(1, rank + 1)))
    every = slice(None)
    places_kept = (slice(None, None, step) for step in patches.strides)
    kernel_kept = (slice(None, None, step) for step in patches.dilations)
    windows = windows[(every, *places_kept, *kernel_kept)]
    if most is not None:
        apart = max(1, math.floor((math.prod(windows.shape[1 : rank + 1]) / most) ** (1 / rank)))
        lengths = windows.shape[1 : rank + 1]  # an axis may be shorter than the step
        windows = windows[(every, *(slice(min(apart, length) // 2, None, apart) for length in lengths))]
    channels, places = windows.shape[0], windows.shape[1 : rank + 1]
    # [channels, *places, *kernel] -> [first place, the other places, groups, channels per group, *kernel]
    ordered = np.moveaxis(windows, 0, rank).reshape(
        *places, patches.groups, channels // patches.groups, *patches.kernel
    )
    features = channels // patches.groups * math.prod(patches.kernel)
    step = max(1, _BLOCK // max(1, math.prod(places[1:]) * patches.groups * features))
    for start in range(0, places[0], step):
        block = ordered[start : start + step].reshape(-1, patches.groups, features)
        yield block.transpose(1, 0, 2).astype(np.float64)


def _same_pads(spatial: tuple[int, ...], patches: Patches) -> tuple[int, ...]:
    """Pads that make the output `ceil(length / stride)` long; the odd one goes after (UPPER) or before (LOWER)."""
    before, after = [], []
    for length, kernel, stride, dilation in zip(
        spatial, patches.kernel, patches.strides, patches.dilations, strict=True
    ):
        total = max(0, (math.ceil(length / stride) - 1) * stride + (kernel - 1) * dilation + 1 - length)
        small, large = total // 2, total - total // 2
        before.append(small if patches.same == "SAME_UPPER" else large)
        after.append(large if patches.same == "SAME_UPPER" else small)
    return (*before, *after)
