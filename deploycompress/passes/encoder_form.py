"""Encoder as exported ==> last layer for the token that is read alone (SliceEarly), rows as a matrix (RowsToMatrix).

One step, so that both are judged together: what slicing saves grows with the length of the sequence, which the feeds a
step is timed on need not have, while the Gather it writes counts as a node. Source: the two modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.rows_to_matrix import RowsToMatrix
from deploycompress.passes.slice_early import SliceEarly


@dataclass(frozen=True)
class EncoderForm:
    """Brings transformers with a head on one token, and linear layers with a bias, into their fast form."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found, after = Findings(), model
        for step in (SliceEarly(), RowsToMatrix()):
            result = step(after)
            after = result.model
            found.changes += result.changes
            found.refusals += result.refusals
        return found.result(model, after)
