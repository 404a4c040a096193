"""Cut models answer as their masked models do, and as zeros in the producers do where those say it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.pruning import find, masks, remove
from tests import zoo
from tests.passes.running import checks, feed, outputs, proto
from tests.pruning import nets
from tests.pruning.running import chosen, halved, parameters

EVERY_NET = {**nets.CONVOLUTIONAL, **nets.ATTENTIONS}


@pytest.mark.parametrize("name", EVERY_NET)
@pytest.mark.parametrize("seed", range(3))
def test_half_of_every_group_removed_answers_as_the_masked_model(name: str, seed: int) -> None:
    model = EVERY_NET[name]()
    before = proto(model)
    _, after = halved(model, seed=seed)
    assert parameters(after) < 0.8 * parameters(model)
    assert proto(model) == before


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_of_the_zoo_is_cut_exactly_or_left_alone(name: str) -> None:
    halved(zoo.MODELS[name]())


def test_zeros_in_the_producers_of_a_channel_are_what_removal_means() -> None:
    """ReLU and sums keep zeros, so zero rows of the weights and biases are the whole mask: an oracle without masks."""
    model = nets.residual()
    zeroed = model.clone()
    gone = {"w0": [1, 5], "b0": [1, 5], "w2": [1, 5], "b2": [1, 5], "w1": [0, 2, 3], "b1": [0, 2, 3]}
    for name, rows in gone.items():
        value = zeroed.graph.initializers[name]
        assert value.const_value is not None
        data = value.const_value.numpy().copy()
        data[rows] = 0
        value.const_value = ir.tensor(data, name=name)
    grouping = find(model)
    stream, inner = grouping.groups
    removed = {stream: np.asarray([1, 5]), inner: np.asarray([0, 2, 3])}
    after = remove(model, masks(grouping, removed))
    shapes = {name: tuple(value.shape) for name, value in after.graph.initializers.items() if value.shape is not None}
    assert shapes["w0"] == (6, 3, 3, 3)
    assert shapes["w1"] == (3, 6, 3, 3)
    assert shapes["wh"] == (6, 5)
    inputs = feed(model)
    # 72 products a sum, three layers deep: 2^-24 each, relative to the largest value.
    np.testing.assert_allclose(outputs(after, inputs)["y"], outputs(zeroed, inputs)["y"], rtol=0, atol=1e-4)


def test_numbers_of_heads_and_groups_follow_the_cut() -> None:
    _, after = halved(nets.ATTENTIONS["attention_23_grouped_query"]())
    attention = next(node for node in after.graph if node.op_type == "Attention")
    assert attention.attributes["q_num_heads"].as_int() == 2
    assert attention.attributes["kv_num_heads"].as_int() == 1
    _, after = halved(nets.grouped())
    assert [node.attributes["group"].as_int() for node in after.graph if "group" in node.attributes] == [2, 1]


def test_a_computed_target_of_a_view_is_told_the_new_length() -> None:
    model = zoo.model(
        "g (float[N,S,4] x) => (float[N,S,2] y) { a = MatMul(x, w) s = Shape(x) l = Slice(s, i0, i2)"
        " t = Concat<axis=0>(l, two, three) b = Reshape(a, t) c = Transpose<perm=[0,2,1,3]>(b) m = MatMul(c, k)"
        " d = Transpose<perm=[0,2,1,3]>(m) u = Concat<axis=0>(l, six) e = Reshape(d, u) y = MatMul(e, v) }",
        w=zoo.normal(4, 6),
        k=zoo.normal(3, 3),
        v=zoo.normal(6, 2),
        **nets.integers(i0=[0], i2=[2], two=[2], three=[3], six=[6]),
    )
    grouping, after = halved(model, free=3)
    assert [group.units for group in grouping.groups] == [2]
    assert [value.const_value.shape.numpy() for value in after.graph.initializers.values() if value.name == "w"] == [
        (4, 3)
    ]


def test_weights_on_disk_are_cut_as_they_are_written(tmp_path: Path) -> None:
    models.save(nets.residual(), tmp_path / "whole.onnx", external_data=True)
    model = models.load(tmp_path / "whole.onnx")
    grouping = find(model)
    after = remove(model, masks(grouping, chosen(grouping)))
    weight = after.graph.initializers["w1"].const_value
    assert isinstance(weight, ir.LazyTensor)
    models.save(after, tmp_path / "cut.onnx")
    inputs = feed(model)
    expected = outputs(halved(nets.residual())[1], inputs)["y"]
    saved = models.load(tmp_path / "cut.onnx")
    assert checks(saved) is None
    np.testing.assert_array_equal(outputs(saved, inputs)["y"], expected)


def test_what_the_runtime_fuses_of_an_encoder_is_cut_as_a_whole() -> None:
    """Tables, normalized sums and the mask in one operator; attention; sums normalized with what skips a layer."""
    model = zoo.model(
        "g (int32[N,6] ids, int32[N,6] mask) => (float[N,5] y) {"
        " e, count = com.microsoft.EmbedLayerNormalization(ids, , words, places, , scale, shift, mask)"
        " c = com.microsoft.Attention<num_heads=4>(e, qkv, bias, count) o = MatMul(c, wo)"
        " s, , , t = com.microsoft.SkipLayerNormalization(o, e, scale, shift) u = MatMul(s, wu)"
        " v = com.microsoft.BiasGelu(u, bu) d = MatMul(v, wd)"
        " z = com.microsoft.SkipLayerNormalization(d, t, scale, shift)"
        " f = Gather<axis=1>(z, first) y = MatMul(f, wh) }",
        imports=', "com.microsoft" : 1',
        words=zoo.normal(9, 16),
        places=zoo.normal(6, 16),
        scale=zoo.positive(16),
        shift=zoo.normal(16),
        qkv=zoo.normal(16, 48) / 4,
        bias=zoo.normal(48),
        wo=zoo.normal(16, 16) / 4,
        wu=zoo.normal(16, 24) / 4,
        bu=zoo.normal(24),
        wd=zoo.normal(24, 16) / 4,
        wh=zoo.normal(16, 5),
        **nets.integers(first=0),  # type: ignore[arg-type]
    )
    grouping, after = halved(model)
    assert [(group.units, group.width) for group in grouping.groups] == [(4, 12), (24, 1)]
    attention = next(node for node in after.graph if node.op_type == "Attention")
    assert attention.attributes["num_heads"].as_int() == 2
