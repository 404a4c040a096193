"""model -> the names, element types and shapes of what it takes and gives.

Source: ONNX IR specification, "Graphs" and "Static tensor shapes" (a dimension is an integer, a symbol, or unknown).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """One graph input or output.

    Attributes:
        name: Tensor name.
        dtype: numpy name of the element type ("float32", "int64", "bfloat16", "str" ...), or "" for sequences, maps,
            optionals and other values that are not dense tensors.
        shape: One entry per axis: an int, a symbol such as "batch", or None where nothing is known.
            The whole shape is None where even the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    @property
    def has_dynamic_batch(self) -> bool:
        """Whether the leading axis accepts any length (or its length is not written in the file)."""
        return self.shape is None or (len(self.shape) > 0 and not isinstance(self.shape[0], int))

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {self.dtype or 'not a tensor'}"
        axes = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.dtype or 'not a tensor'}[{axes}]"


@dataclass(frozen=True)
class Signature:
    """The inputs a user must feed (initializers with defaults left out) and the outputs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the file."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the file."""
        return tuple(spec.name for spec in self.outputs)
