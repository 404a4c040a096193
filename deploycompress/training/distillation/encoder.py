"""transformer encoder -> the names of its embeddings, layers, queries, keys and values, found by its submodules.

BERT's naming (`attention.self.query`), DistilBERT's (`attention.q_lin`) and that of most newer models
(`self_attn.q_proj`) are known; the layers are what the numbers in these names count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from deploycompress.errors import UsageError

_PROJECTIONS = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)
_HEADS = ("num_attention_heads", "n_heads", "num_heads")


@dataclass(frozen=True)
class Encoder:
    """Where an encoder keeps what distillation looks at.

    Attributes:
        embeddings: Name of the submodule whose output enters the first layer.
        layers: Names of the layers, from the first.
        queries: Names of the query projections, one a layer; likewise `keys` and `values`.
        keys: Of the key projections.
        values: Of the value projections.
        heads: Attention heads of every layer.
        width: Channels of the hidden states.
    """

    embeddings: str
    layers: tuple[str, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    values: tuple[str, ...]
    heads: int
    width: int

    @property
    def states(self) -> tuple[str, ...]:
        """The embeddings and the layers: layers + 1 names."""
        return (self.embeddings, *self.layers)


def encoder_of(module: nn.Module) -> Encoder:
    """The encoder inside a network.

    Raises:
        UsageError: No known naming is found, there are two encoders, or the number of heads is not stated.
    """
    known = dict(module.named_modules())
    for query, key, value in _PROJECTIONS:
        found = [match for name in known if (match := re.fullmatch(rf"(.*?)\.?(\d+)\.{re.escape(query)}", name))]
        stacks = {match[1] for match in found}
        if not found:
            continue
        if len(stacks) > 1:
            raise UsageError(f"it has the stacks {', '.join(sorted(stacks))}; one is expected", where=_name(module))
        stack = stacks.pop()
        layers = tuple(_join(stack, match[2]) for match in sorted(found, key=lambda match: int(match[2])))
        queries = tuple(_join(layer, query) for layer in layers)
        projection = known[queries[0]]
        assert isinstance(projection, nn.Linear)
        return Encoder(
            embeddings=_embeddings(known, stack, module),
            layers=layers,
            queries=queries,
            keys=tuple(_join(layer, key) for layer in layers),
            values=tuple(_join(layer, value) for layer in layers),
            heads=_heads(known, queries[0], module),
            width=projection.in_features,
        )
    raise UsageError(
        "no encoder is found in it",
        where=_name(module),
        remedy=f"its layers need submodules named {', '.join(query for query, _, _ in _PROJECTIONS)}, or use a method "
        "that takes names of layers",
    )


def spread(layers: int, deeper: int) -> tuple[int, ...]:
    """Numbers (from 0) of `layers` of `deeper` layers, evenly spaced, the last one among them.

    Raises:
        UsageError: There are more layers than that.
    """
    if layers > deeper:
        raise UsageError(f"the student has {layers} layers, the teacher {deeper}", remedy="use a student with fewer")
    return tuple((number + 1) * deeper // layers - 1 for number in range(layers))


def _heads(known: dict[str, nn.Module], query: str, module: nn.Module) -> int:
    """From the attention module, or from the configuration that Transformers' models carry."""
    owner = known[query.rpartition(".")[0]]
    for holder in (
        owner,
        getattr(owner, "config", None),
        *(getattr(inner, "config", None) for inner in known.values()),
    ):
        for attribute in _HEADS:
            heads = getattr(holder, attribute, None)
            if isinstance(heads, int):
                return heads
    raise UsageError(f"{type(owner).__name__} does not say how many heads it has", where=_name(module))


def _embeddings(known: Iterable[str], stack: str, module: nn.Module) -> str:
    """The nearest submodule `embeddings` beside the stack or above it."""
    names, parent = set(known), stack
    while parent:
        parent = parent.rpartition(".")[0]
        if _join(parent, "embeddings") in names:
            return _join(parent, "embeddings")
    raise UsageError("no submodule named embeddings is found beside its layers", where=_name(module))


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _name(module: nn.Module) -> str:
    return type(module).__name__
