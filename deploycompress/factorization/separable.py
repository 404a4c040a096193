"""K [M, C, *kernel] -> depthwise [C d, 1, *kernel], pointwise [M, C d]: of every input channel d kernels are left.

    K[m, c, k] = sum over d of pointwise[m, (c, d)] depthwise[(c, d), k]

For each input channel the SVD of [kernel, M], cut to rank d. Exact where d reaches the number of places of the kernel.
Source: Guo et al., "Network Decoupling: From Regular to Depthwise Separable Convolutions", BMVC 2018, section 3;
cost of the form: Howard et al., "MobileNets", 2017.
"""

from __future__ import annotations

import math

import numpy as np

from deploycompress.factorization.factors import Factor, Factors, Kernel


def separable(kernel: Kernel, depth: int) -> Factors:
    """A depthwise factor with `depth` kernels for each input channel, and a pointwise one."""
    outputs, inputs, *lengths = kernel.shape
    places = math.prod(lengths)
    u, s, vt = np.linalg.svd(np.moveaxis(kernel, 1, 0).reshape(inputs, outputs, places), full_matrices=False)
    root = np.sqrt(s[:, :depth])
    pointwise = (u[:, :, :depth] * root[:, None]).transpose(1, 0, 2).reshape(outputs, -1)
    depthwise = (vt[:, :depth] * root[:, :, None]).reshape(-1, 1, *lengths)
    return (
        Factor(depthwise, tuple(range(len(lengths))), inputs),
        Factor(pointwise.reshape(*pointwise.shape, *(1,) * len(lengths))),
    )
