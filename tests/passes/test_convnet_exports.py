"""Every pass on convolutional nets as torch exports them: outputs stay, and the forms the passes are for are found."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.convnets import NAMES, OPSETS, Exporter, exported, feed
from deploycompress.flow.agreement import difference
from deploycompress.flow.source import open_source
from deploycompress.passes import graph, pipelines
from tests.passes.running import outputs

# torch.export takes seconds a net; the two whose graphs differ most from those of the tracer.
EXPORTS: tuple[tuple[str, Exporter], ...] = (
    *((name, "legacy") for name in NAMES),
    ("convnext", "dynamo"),
    ("unet", "dynamo"),
)
# What is left of an export: operators that must be gone, and how many nodes there are at most.
LEFT = {
    "mobilenet-v2-tf": ({"Pad", "Constant"}, 27),
    "mobilenet-v3-written": ({"Clip", "Div", "Constant"}, 35),
    "unet": ({"Shape", "Slice", "Constant"}, 17),
    "convnext": ({"MatMul", "Identity"}, 43),
    "channels-last": (set(), 10),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_every_pass_keeps_the_outputs_of_an_export(name: str, exporter: Exporter) -> None:
    model = open_source(exported(name, exporter, OPSETS[exporter]))
    feeds = [feed(name, 1), feed(name, 3, seed=1)]
    expected = [outputs(model, inputs) for inputs in feeds]
    for step in pipelines.EVERY_PASS:
        result = step(model)
        if not result.changes:
            continue
        model = result.model
        for inputs, reference in zip(feeds, expected, strict=True):
            assert difference(reference, outputs(model, inputs)) is None, step
    gone, most = LEFT.get(name, (set(), len(graph.nodes(model))))
    operators = Counter(node.op_type for node in graph.nodes(model))
    assert not gone & set(operators)
    assert sum(operators.values()) <= most
