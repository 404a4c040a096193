"""Transformers and convolutional nets as torch's two exporters write them: every group found, cut exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bench import convnets, exported
from deploycompress.flow.agreement import difference
from deploycompress.flow.source import open_source
from deploycompress.passes.pipelines import for_target
from deploycompress.pruning import Grouping, find, masked, masks, remove
from deploycompress.targets import load
from tests.passes.running import outputs
from tests.pruning.running import chosen, parameters

# Groups after the exact rewrites: heads twice, hidden features twice, and the stream; of BERT the pooler.
TRANSFORMERS = {"bert": 6, "vit": 5, "gpt": 5, "llama": 5}
EXPORTS: tuple[tuple[str, exported.Exporter, exported.Attention], ...] = (
    *((name, "legacy", "eager") for name in TRANSFORMERS),
    ("bert", "dynamo", "sdpa"),
    ("llama", "dynamo", "eager"),
)
# Percent of the parameters that 50 % of every group's channels are, at least.
CONVOLUTIONAL = {"resnet": 74, "vgg": 74, "mobilenet-v2": 69, "efficientnet": 65, "densenet": 72, "convnext": 69}


def prepared(path: Path) -> ir.Model:
    """The model after the exact rewrites of `optimize`."""
    model = open_source(path)
    for step in for_target(load("server-cpu-avx2")):
        model = step(model).model
    return model


def cut(model: ir.Model, feeds: list[dict[str, np.ndarray]]) -> tuple[Grouping, ir.Model]:
    grouping = find(model)
    kept = masks(grouping, chosen(grouping))
    after, reference = remove(model, kept), masked(model, kept)
    for feed in feeds:
        found = difference(outputs(reference, feed), outputs(after, feed))
        assert found is None, found
    return grouping, after


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exporter", "attention"), EXPORTS)
def test_heads_features_and_stream_of_an_exported_transformer_are_cut_exactly(
    name: str, exporter: exported.Exporter, attention: exported.Attention
) -> None:
    model = prepared(exported.exported(name, exporter, 18, attention, tiny=True))
    feeds = [exported.feeds(name, 1, 9, tiny=True), exported.feeds(name, 3, 12, tiny=True, seed=1)]
    grouping, after = cut(model, feeds)
    assert len(grouping.groups) == TRANSFORMERS[name]
    assert sorted(group.units for group in grouping.groups)[:2] == [2 if name == "llama" else 4] * 2
    assert parameters(after) < 0.4 * parameters(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_half_of_the_channels_of_an_exported_net_are_cut_exactly(name: str) -> None:
    model = prepared(convnets.exported(name, "legacy", 17))
    _, after = cut(model, [convnets.feed(name, 1), convnets.feed(name, 3, seed=1)])
    assert 100 * (1 - parameters(after) / parameters(model)) > CONVOLUTIONAL[name]
