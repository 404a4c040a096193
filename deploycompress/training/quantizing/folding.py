"""Conv2d -> BatchNorm2d  ==>  Conv2d with W' = W g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + beta.

Done before training with fake quantization: exporters fold normalisation into weights, and codes that were trained
would be lost. What follows what is read from a trace of the network (torch.fx).

Source: Jacob et al., CVPR 2018 (arXiv:1712.05877), section 3.2, equation 14.
"""

from __future__ import annotations

import torch.fx
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from deploycompress.errors import InputRejectedError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fold_norms(module: nn.Module) -> tuple[str, ...]:
    """Folds every BatchNorm into the layer it alone follows, in place; the names of those that are Identity now.

    Raises:
        InputRejectedError: The network has BatchNorm layers and cannot be traced.
    """
    if not any(isinstance(part, _NORMS) for part in module.modules()):
        return ()
    try:
        graph = torch.fx.Tracer().trace(module)
    except Exception as error:  # tracing runs the user's code with proxies: anything may come out
        raise InputRejectedError(
            f"its normalisation cannot be folded, the network cannot be traced ({type(error).__name__})",
            where=type(module).__name__,
            remedy="exclude the layers in front of BatchNorm from qat",
        ) from error
    calls = [node.target for node in graph.nodes if node.op == "call_module"]
    folded = []
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, torch.fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        layer, norm = module.get_submodule(str(source.target)), module.get_submodule(str(node.target))
        alone = calls.count(source.target) == calls.count(node.target) == 1
        if not (isinstance(norm, _NORMS) and norm.track_running_stats and alone):
            continue
        if isinstance(layer, nn.Conv2d):
            fused: nn.Module = fuse_conv_bn_eval(layer.eval(), norm.eval())
        elif isinstance(layer, nn.Linear):
            fused = fuse_linear_bn_eval(layer.eval(), norm.eval())
        else:
            continue
        for parameter in fused.parameters():  # torch makes the new bias one that is not trained
            parameter.requires_grad_(layer.weight.requires_grad)
        module.set_submodule(str(source.target), fused.train(module.training))
        module.set_submodule(str(node.target), nn.Identity())
        folded.append(str(node.target))
    return tuple(folded)
