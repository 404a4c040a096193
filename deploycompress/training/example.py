"""example tensors or `name=float32[2,1,8,8]` -> the inputs a network is exported and compared with.

An example fixes names, element types and shapes, and says which axes may change: axis 0 of every input is the batch
unless a static one is asked for, and every axis given a name in a specification. The batch is at least 2, because
torch.export takes a size of 1 as a constant.

Source: torch.export documentation, "0/1 Specialization Problem".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.network import Example

BATCH = "batch"
_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_SPEC = re.compile(r"(?P<name>[\w.]+)=(?P<dtype>\w+)\[(?P<shape>[^\]]*)\]")
_NAMED_AXIS_SIZE = 8


@dataclass(frozen=True)
class Inputs:
    """What goes into a network, and which axes may change.

    Attributes:
        names: ONNX input names; the keywords of `forward` where `by_keyword`.
        tensors: One example per input.
        symbols: Per input, {axis: symbol} of the axes that may change; equal symbols have equal sizes.
        by_keyword: Whether `forward` is called with keywords.
    """

    names: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]
    symbols: tuple[Mapping[int, str], ...]
    by_keyword: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each symbol in the example."""
        return {
            symbol: tensor.shape[axis]
            for tensor, axes in zip(self.tensors, self.symbols, strict=True)
            for axis, symbol in axes.items()
        }

    def varied(self, sizes: Mapping[str, int], seed: int = 0) -> tuple[torch.Tensor, ...]:
        """New inputs of the same kind with other sizes: numbers spread as those of the example, not equal to them."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            _like(tensor, [sizes.get(axes.get(axis, ""), size) for axis, size in enumerate(tensor.shape)], generator)
            for tensor, axes in zip(self.tensors, self.symbols, strict=True)
        )

    def call(self, module: torch.nn.Module, tensors: Sequence[torch.Tensor]) -> object:
        """One forward pass."""
        return module(**dict(zip(self.names, tensors, strict=True))) if self.by_keyword else module(*tensors)


def from_example(example: Example, *, dynamic_batch: bool) -> Inputs:
    """Inputs from what a factory or module offers; a batch of 1 is doubled.

    Raises:
        UsageError: It is no tensor, tuple or dict of tensors.
    """
    if isinstance(example, dict):
        names, tensors = tuple(example), tuple(example.values())
    else:
        tensors = example if isinstance(example, tuple) else (example,)
        names = ("input",) if len(tensors) == 1 else tuple(f"input_{number}" for number in range(len(tensors)))
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise UsageError("an example is a tensor, a tuple of tensors, or a dict of tensors by keyword")
    batched = all(tensor.ndim > 0 for tensor in tensors) and len({tensor.shape[0] for tensor in tensors}) == 1
    if not batched or not dynamic_batch:
        return Inputs(names, tensors, tuple({} for _ in tensors), isinstance(example, dict))
    if tensors[0].shape[0] < 2:
        tensors = tuple(torch.cat([tensor, tensor]) for tensor in tensors)
    return Inputs(names, tensors, tuple({0: BATCH} for _ in tensors), isinstance(example, dict))


def from_specs(specs: Sequence[str], *, keywords: Sequence[str], dynamic_batch: bool) -> Inputs:
    """Inputs from `name=dtype[sizes]`, e.g. `input=float32[2,3,224,224]` or `ids=int64[batch,sequence=16]`.

    Args:
        specs: One per input. An axis is a size, a symbol, or symbol=size.
        keywords: Parameters of `forward`; where all names are among them the network is called by keyword.
        dynamic_batch: Whether axis 0 may change even where it is given as a plain size.

    Raises:
        UsageError: A specification has another form.
        UnknownNameError: An unknown element type.
    """
    names, tensors, symbols = [], [], []
    for spec in specs:
        match = _SPEC.fullmatch(spec.replace(" ", ""))
        if match is None:
            raise UsageError(f"{spec!r} is no input", remedy="write name=dtype[sizes], e.g. input=float32[2,3,224,224]")
        if match["dtype"] not in _DTYPES:
            raise UnknownNameError("element type", match["dtype"], _DTYPES, where=match["name"])
        sizes, axes = [], {}
        for axis, part in enumerate(filter(None, match["shape"].split(","))):
            symbol, _, size = part.rpartition("=") if "=" in part or part.isdigit() else (part, "", "")
            if (size and not size.isdigit()) or (symbol and not symbol.isidentifier()):
                raise UsageError(f"{part!r} in {spec!r} is neither a size nor a symbol", remedy="write 8, seq or seq=8")
            if symbol and (symbol != BATCH or dynamic_batch):
                axes[axis] = symbol
            elif axis == 0 and dynamic_batch:
                axes[axis] = BATCH
            sizes.append(int(size) if size else 2 if axis == 0 else _NAMED_AXIS_SIZE)
            if axes.get(axis) == BATCH:
                sizes[axis] = max(sizes[axis], 2)
        tensor = torch.zeros(sizes, dtype=_DTYPES[match["dtype"]])
        names.append(match["name"])
        symbols.append(axes)
        tensors.append(_like(tensor, sizes, torch.Generator().manual_seed(len(names))))
    by_keyword = all(name in keywords for name in names)
    return Inputs(tuple(names), tuple(tensors), tuple(symbols), by_keyword)


def _like(tensor: torch.Tensor, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Random numbers of a shape, spread as those of `tensor`: normal floats, integers uniform between its extremes."""
    if tensor.dtype.is_floating_point:
        values = tensor.double()
        spread = values.std(correction=0).item() or 1.0
        return (torch.randn(tuple(shape), generator=generator) * spread + values.mean().item()).to(tensor.dtype)
    if tensor.dtype == torch.bool:
        return torch.rand(tuple(shape), generator=generator) < 0.5
    low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, 0)
    return torch.randint(low, high + 1, tuple(shape), generator=generator, dtype=tensor.dtype)
