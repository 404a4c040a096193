"""deploycompress: a trained network in, the fastest small ONNX file that keeps the accuracy out.

The functions of the public API are those of `flow`, one for each command; they are imported on first use, so that
`import deploycompress` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploycompress.flow.bench import bench as bench
    from deploycompress.flow.calibrate import calibrate as calibrate
    from deploycompress.flow.explain import explain as explain
    from deploycompress.flow.factorize import factorize as factorize
    from deploycompress.flow.optimize import optimize as optimize
    from deploycompress.flow.prune import prune as prune
    from deploycompress.flow.quantize import quantize as quantize
    from deploycompress.flow.run import run as run
    from deploycompress.flow.sparsify import sparsify as sparsify

__version__ = "0.1.0"
__all__ = ["bench", "calibrate", "explain", "factorize", "optimize", "prune", "quantize", "run", "sparsify"]


def __getattr__(name: str) -> object:
    """The function of that name, from the module of that name in `flow`."""
    if name in __all__:
        return getattr(importlib.import_module(f"deploycompress.flow.{name}"), name)
    raise AttributeError(f"module 'deploycompress' has no attribute {name!r}")
