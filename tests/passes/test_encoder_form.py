"""Both rewrites of encoders in one step."""

from __future__ import annotations

from deploycompress.passes.constant_targets import ConstantTargets
from deploycompress.passes.encoder_form import EncoderForm
from tests import zoo
from tests.passes.running import same_outputs_on
from tests.passes.test_slice_early import feeds


def test_encoder_is_sliced_first_and_has_fewer_nodes_in_the_end() -> None:
    before = ConstantTargets(trust_symbols=True)(zoo.encoder()).model
    result = EncoderForm()(before)
    assert len(result.model.graph) < len(before.graph)
    wheres = [change.where for change in result.changes]
    assert wheres.count("fm") == 2  # narrowed, then made a matrix: slicing sees the axes only before
    for batch, sequence in ((1, 5), (3, 4)):
        same_outputs_on(before, result.model, feeds(batch, sequence))


def test_refusals_of_both_are_handed_on() -> None:
    model = zoo.model(
        "g (float[N,2,4] x) => (float[N,4] y) { h = MatMul(x, w) c = CumSum(h, one) y = Gather<axis=1>(c, first) }",
        w=zoo.normal(4, 4),
        one=zoo.np.asarray(1, zoo.np.int64),
        first=zoo.np.asarray(0, zoo.np.int64),
    )
    result = EncoderForm()(model)
    assert result.model is model
    assert [refusal.reason for refusal in result.refusals] == ["one position is read, but CumSum needs more"]
