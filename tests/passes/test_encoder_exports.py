"""Every pass on small transformers as torch exports them: outputs stay, padded batches too; products become Gemm."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.exported import NAMES, Attention, Exporter, exported, feeds
from deploycompress.flow.agreement import difference
from deploycompress.flow.source import open_source
from deploycompress.passes import graph, pipelines
from tests.passes.running import outputs

# torch.export takes seconds a model; the two whose graphs differ most from those of the tracer.
EXPORTS: tuple[tuple[str, Exporter, Attention], ...] = (
    *((name, "legacy", "eager") for name in NAMES),
    ("bert", "legacy", "sdpa"),
    ("bert", "dynamo", "sdpa"),
    ("llama", "dynamo", "eager"),
    ("untyped-bert", "dynamo", "eager"),
)
# Linear layers with a bias, two layers deep: query, key, value, output, two of the feed-forward part; and the heads.
GEMMS = {"bert": 14, "untyped-bert": 14, "bert-features": 13, "distilbert": 14, "roberta": 14, "vit": 13}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exporter", "attention"), EXPORTS)
def test_every_pass_keeps_the_outputs_of_an_export(name: str, exporter: Exporter, attention: Attention) -> None:
    model = open_source(exported(name, exporter, 18, attention, tiny=True))
    given = [feeds(name, 1, 9, tiny=True), feeds(name, 3, 12, tiny=True, seed=1)]
    expected = [outputs(model, feed) for feed in given]
    before, fired = len(graph.nodes(model)), set[str]()
    for step in pipelines.EVERY_PASS:
        result = step(model)
        if not result.changes:
            continue
        model = result.model
        fired.add(type(step).__name__)
        for feed, reference in zip(given, expected, strict=True):
            assert difference(reference, outputs(model, feed)) is None, step
    operators = Counter(node.op_type for node in graph.nodes(model))
    assert sum(operators.values()) < before
    assert operators["Gemm"] == GEMMS.get(name, operators["Gemm"])
    assert "Constant" not in operators
    assert ("FoldEmbeddings" in fired) == (name in ("untyped-bert", "roberta"))
