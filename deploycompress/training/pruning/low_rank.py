"""Linear(n, m), samples -> Linear(n, k, no bias), Linear(k, m), to be trained on from the nearest factors.

    k = floor(share m n / (m + n));  A B nearest to W in what the layer gives on the samples (`factorization.low_rank`)

Layers that would not get smaller, and the last one, stay whole.

Source: Wang et al., SVD-LLM, 2024 (arXiv:2403.07378), section 3 and its code (rank by share of the parameters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.factorization.low_rank import whitened
from deploycompress.training.network import logits


@torch.no_grad()
def factorise(
    module: nn.Module,
    share: float,
    names: tuple[str, ...],
    inputs: tuple[torch.Tensor, ...],
    exclude: Sequence[str] = (),
) -> tuple[str, ...]:
    """Puts two thin layers in the place of each Linear, in place; the names of those replaced.

    Args:
        module: A trained network.
        share: Weights of the two layers over those of the one.
        names: Keywords of the inputs; empty where there is one, passed by position.
        inputs: Samples whose activations the factors are fitted to.
        exclude: Layers to leave alone.

    Raises:
        UnknownNameError: An excluded name is no Linear layer.
        UsageError: Nothing is left to factorise.
    """
    layers = {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}
    for name in exclude:
        if name not in layers:
            raise UnknownNameError("Linear layer", name, layers)
    chosen = {name: layers[name] for name in list(layers)[:-1] if name not in exclude}
    products = _products(module, chosen, names, inputs)
    for name, gram in products.items():
        layer = layers[name]
        rank = int(share * layer.weight.numel() / sum(layer.weight.shape))
        if rank < 1:
            continue
        first, second = whitened(layer.weight.T.double().numpy(), gram.numpy()).cut(rank)
        inner, outer = _pair(layer, rank)
        inner.weight.copy_(torch.from_numpy(first.T))
        outer.weight.copy_(torch.from_numpy(second.T))
        if layer.bias is not None:
            outer.bias.copy_(layer.bias)
        module.set_submodule(name, nn.Sequential(inner, outer))
    done = tuple(name for name in products if isinstance(module.get_submodule(name), nn.Sequential))
    if not done:
        raise UsageError("there is no Linear layer to factorise", remedy="leave low_rank out, or take a larger share")
    return done


def refactorise(module: nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Puts two layers where `state` has two and `module` a Linear, in place; whether there are any."""
    found = False
    for name, layer in list(module.named_modules()):
        thin = state.get(f"{name}.0.weight")
        if type(layer) is nn.Linear and f"{name}.1.weight" in state and thin is not None and thin.ndim == 2:
            module.set_submodule(name, nn.Sequential(*_pair(layer, thin.shape[0])))
            found = True
    return found


def _pair(layer: nn.Linear, rank: int) -> tuple[nn.Linear, nn.Linear]:
    return (
        nn.Linear(layer.in_features, rank, bias=False),
        nn.Linear(rank, layer.out_features, bias=layer.bias is not None),
    )


def _products(
    module: nn.Module, layers: Mapping[str, nn.Linear], names: tuple[str, ...], inputs: tuple[torch.Tensor, ...]
) -> dict[str, torch.Tensor]:
    """X^T X in float64 of what each layer reads."""
    sums: dict[str, torch.Tensor] = {}

    def watch(name: str):  # type: ignore[no-untyped-def] # noqa: ANN202 - a hook
        def hook(_layer: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            rows = arguments[0].flatten(0, -2).double()
            sums[name] = sums.get(name, torch.zeros(())) + rows.T @ rows

        return hook

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    training = module.training
    try:
        logits(module.eval(), names, inputs)
    finally:
        for handle in handles:
            handle.remove()
        module.train(training)
    return sums
