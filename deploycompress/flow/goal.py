"""What a quantized model must keep of the float one: a limit, and the samples it is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress.errors import UsageError

_HEADS = ("Gemm", "MatMul")
_BEHIND_HEADS = ("Softmax", "LogSoftmax", "Add", "Reshape", "Squeeze", "Flatten", "Identity", "Cast")


@dataclass(frozen=True)
class Goal:
    """What a quantized model must keep of the float one; exactly one of the two limits is given.

    Attributes:
        max_drop: The most that the metric may lose, in its unit (0.01 for one point of a share).
        min_agreement: The least share of equal decisions; of outputs that are no class scores, the least cosine.
        eval_data: Evaluation samples (see `data.open`); None for the calibration samples, without labels.
        metric: Name of the metric, or `module:function`; None for what fits the labels.
        labels: File of labels.
        output: Name of the output that `max_drop` is about; None for the first.
        limit: At most so many evaluation samples.
        budget_s: Seconds that the search for layers to promote or to leave float may take.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    eval_data: str | None = None
    metric: str | None = None
    labels: Path | None = None
    output: str | None = None
    limit: int | None = None
    budget_s: float = 300.0

    @property
    def asked(self) -> str:
        """The limit as it is typed."""
        if self.max_drop is not None:
            return f"--max-drop {100 * self.max_drop:g}%"
        return f"--min-agreement {100 * (self.min_agreement or 0):g}%"

    def check(self) -> None:
        """Refuses limits that contradict, or cannot be measured.

        Raises:
            UsageError: Both limits or none, or a drop without labelled samples.
        """
        if self.max_drop is not None and self.min_agreement is not None:
            raise UsageError("--max-drop and --min-agreement are two limits", remedy="leave one of them out")
        if self.max_drop is None and self.min_agreement is None:
            raise UsageError(
                "evaluation samples need a limit", remedy="give --max-drop 1% (of the metric) or --min-agreement 99%"
            )
        if self.max_drop is not None and self.eval_data is None:
            raise UsageError("--max-drop needs labelled samples", remedy="add --eval DATA, or use --min-agreement 99%")
        if self.min_agreement is not None and self.output is not None:
            raise UsageError("the output to judge belongs to --max-drop; --min-agreement looks at the first")
        if self.min_agreement is not None and self.metric is not None:
            raise UsageError("--metric belongs to --max-drop", remedy="--min-agreement needs no labels and no metric")


def gives_class_scores(floats: ir.Model) -> bool:
    """Whether the first output holds scores among which the largest decides.

    It has to be [batch, classes] or [batch, positions, classes], and a layer with weights must have made it: hidden
    states come from a normalization, feature maps have more axes.
    """
    output = floats.graph.outputs[0]
    rank = None if output.shape is None else len(output.shape)
    if rank is not None and rank not in (2, 3):
        return False
    node = output.producer()
    while node is not None and node.op_type in _BEHIND_HEADS:
        source = next((value for value in node.inputs if value is not None and value.producer() is not None), None)
        node = None if source is None else source.producer()
    return node is not None and (node.op_type in _HEADS or (node.op_type == "Conv" and rank == 2))
