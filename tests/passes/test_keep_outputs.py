"""Outputs that are not kept go, with what only they needed."""

from __future__ import annotations

from deploycompress.passes.keep_outputs import KeepOutputs
from tests import zoo
from tests.passes.running import feed, outputs


def test_kept_output_stays_equal_and_what_only_the_others_needed_goes() -> None:
    before = zoo.encoder("float[N,S,8] n, float[N,3] y", "t = Gather<axis=1>(n, first) y = Gemm(t, wh)")
    result = KeepOutputs(("n",))(before)
    assert [value.name for value in result.model.graph.outputs] == ["n"]
    assert [value.name for value in before.graph.outputs] == ["n", "y"]
    assert "Gemm" not in [node.op_type for node in result.model.graph]
    assert "wh" not in result.model.graph.initializers
    feeds = feed(before)
    assert (outputs(result.model, feeds)["n"] == outputs(before, feeds)["n"]).all()


def test_all_kept_is_no_change_and_none_kept_is_refused() -> None:
    model = zoo.encoder()
    assert KeepOutputs(("y",))(model).model is model
    result = KeepOutputs(("logits",))(model)
    assert result.model is model
    assert [refusal.reason for refusal in result.refusals] == ["none of its outputs is logits"]
