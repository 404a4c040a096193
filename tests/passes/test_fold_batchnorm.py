"""Conv | ConvTranspose | Gemm -> BatchNormalization ==> one node."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.fold_batchnorm import FoldBatchNormalization
from tests import zoo
from tests.passes.running import assert_same_outputs


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_conv_of_any_group_takes_the_normalization_in(group: int, bias: bool) -> None:
    before = zoo.conv_batchnorm(bias=bias, group=group)
    after = FoldBatchNormalization()(before).model
    assert ops(after) == ["Conv", "Relu"]
    assert_same_outputs(before, after)


def test_folded_conv_weights_equal_the_formula_in_float64() -> None:
    before = zoo.conv_batchnorm(bias=True, group=2)
    after = FoldBatchNormalization()(before).model
    w, c, g, b, m, v = (before.graph.initializers[n].const_value.numpy().astype(np.float64) for n in "wcgbmv")
    scale = g / np.sqrt(v + 1e-5)
    conv = next(iter(after.graph))
    # One rounding to float32 each: half a unit in the last place.
    np.testing.assert_allclose(conv.inputs[1].const_value.numpy(), w * scale[:, None, None, None], rtol=2**-24)
    np.testing.assert_allclose(conv.inputs[2].const_value.numpy(), (c - m) * scale + b, rtol=2**-24)


def test_grouped_conv_transpose_scales_the_channels_of_each_group() -> None:
    before = zoo.conv_transpose_batchnorm()
    after = FoldBatchNormalization()(before).model
    assert ops(after) == ["ConvTranspose"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize("transposed", [True, False])
def test_gemm_with_alpha_and_beta_takes_the_normalization_in(transposed: bool) -> None:
    before = zoo.gemm_batchnorm(transposed)
    after = FoldBatchNormalization()(before).model
    assert ops(after) == ["Gemm"]
    assert_same_outputs(before, after)


def test_output_keeps_its_name_where_the_normalization_was_a_graph_output() -> None:
    after = FoldBatchNormalization()(zoo.gemm_batchnorm()).model
    assert after.graph.outputs[0].name == "y"


def test_fold_inside_an_if_branch_reads_weights_of_the_outer_graph() -> None:
    before = zoo.if_folds()
    result = FoldBatchNormalization()(before)
    assert len(result.changes) == 1
    for seed in range(4):  # both branches
        assert_same_outputs(before, result.model, seed=seed)


def test_weight_that_two_convs_share_is_refused_by_name() -> None:
    result = FoldBatchNormalization()(zoo.shared_weight_batchnorm())
    assert result.changes == ()
    assert [str(r) for r in result.refusals] == [
        "n: weight 'w' is shared with 1 other uses",
        "y: weight 'w' is shared with 1 other uses",
    ]


def test_weight_the_caller_may_override_is_refused() -> None:
    result = FoldBatchNormalization()(zoo.overridable())
    assert [r.reason for r in result.refusals] == ["weight 'w' is a graph input"]


def test_conv_with_another_user_is_refused() -> None:
    model = zoo.model(
        "g (float[1,4,5,5] x) => (float[1,6,3,3] y, float[1,6,3,3] h) {"
        " h = Conv(x, w) y = BatchNormalization(h, g, b, m, v) }",
        w=zoo.normal(6, 4, 3, 3),
        **zoo.batch_norm(6),
    )
    assert [r.reason for r in FoldBatchNormalization()(model).refusals] == ["the Conv before it has other users"]


def test_training_form_is_refused() -> None:
    model = zoo.model(
        "g (float[2,4,5,5] x) => (float[2,6,3,3] y) { h = Conv(x, w)"
        " y, n, o = BatchNormalization<training_mode=1>(h, g, b, m, v) }",
        w=zoo.normal(6, 4, 3, 3),
        **zoo.batch_norm(6),
    )
    assert [r.reason for r in FoldBatchNormalization()(model).refusals] == ["it is in training form"]


def test_normalization_of_something_else_is_refused() -> None:
    model = zoo.model(
        "g (float[2,4,5,5] x) => (float[2,4,5,5] y) { h = Relu(x) y = BatchNormalization(h, g, b, m, v) }",
        **zoo.batch_norm(4),
    )
    reason = "its input comes from Relu, not from Conv, ConvTranspose or Gemm"
    assert [r.reason for r in FoldBatchNormalization()(model).refusals] == [reason]


def test_fold_that_overflows_float16_is_refused() -> None:
    parameters = zoo.batch_norm(6, np.float16) | {"v": np.full(6, 1e-6, np.float16), "g": np.full(6, 6e4, np.float16)}
    model = zoo.model(
        "g (float16[1,4,5,5] x) => (float16[1,6,3,3] y) { h = Conv(x, w) y = BatchNormalization(h, g, b, m, v) }",
        w=zoo.normal(6, 4, 3, 3, dtype=np.float16),
        **parameters,
    )
    result = FoldBatchNormalization()(model)
    assert [r.reason for r in result.refusals] == ["the folded weights overflow float16"]
    assert result.model is model
