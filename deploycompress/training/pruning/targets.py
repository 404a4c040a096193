"""network -> the weights that are pruned: those of Linear and convolution layers but the first and the last.

Biases, normalisation scales and embeddings have the name `weight` too and are no matrices of connections; the first
layer reads few inputs and the last decides: each is pruned only where it is asked for.

Source: Han et al. 2015 (arXiv:1506.02626), section 3; Gale et al. 2019 (arXiv:1902.09574), appendix.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from deploycompress.errors import UnknownNameError, UsageError

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module, *, edges: bool = False, exclude: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """The weights to prune by the name of their layer; one that layers share appears once.

    Args:
        model: Any network.
        edges: Whether the first and the last layer (in order of definition) are pruned too.
        exclude: Layers to leave alone.

    Raises:
        UnknownNameError: An excluded name is no layer.
        UsageError: Nothing is left.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _KINDS)]
    for name in exclude:
        if name not in dict(layers):
            raise UnknownNameError("layer", name, dict(layers))
    inner = layers if edges else layers[1:-1]
    found: dict[str, nn.Parameter] = {}
    for name, module in inner:
        weight = module.weight
        if name not in exclude and not any(weight is other for other in found.values()):
            found[name] = weight  # type: ignore[assignment]
    if not found:
        raise UsageError("there is no layer to prune", remedy="edges: true prunes the first and the last layer too")
    return found
