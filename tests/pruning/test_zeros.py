"""APoZ against counts by numpy; dead units go first and their removal changes nothing."""

from __future__ import annotations

import numpy as np

from deploycompress.pruning import choice, find, masks, remove
from deploycompress.pruning.zeros import zeros
from tests import zoo
from tests.passes.running import outputs

_FEEDS = [{"x": zoo.normal(20, 4, seed=n)} for n in range(3)]
_X = np.concatenate([feed["x"] for feed in _FEEDS])


def test_zeros_behind_relu_are_counted_and_dead_units_go_first_for_nothing() -> None:
    bias = np.asarray([0, -100, 1, -100, 2, -1], np.float32)
    model = zoo.model(
        "g (float[N,4] x) => (float[N,3] y) { h = Gemm(x, w, b) r = Relu(h) y = Gemm(r, u, c) }",
        w=zoo.normal(4, 6),
        b=bias,
        u=zoo.normal(6, 3),
        c=zoo.normal(3),
    )
    grouping = find(model)
    group = grouping.groups[0]
    found = zeros(model, grouping.groups, _FEEDS)
    np.testing.assert_allclose(found[group], (_X @ zoo.normal(4, 6) + bias <= 0).mean(axis=0), atol=1e-12)
    order = choice.curves([group], "apoz", zeros=found)[group].order
    assert set(order[:2].tolist()) == {1, 3}
    cut = remove(model, masks(grouping, {group: order[:2]}))
    np.testing.assert_array_equal(outputs(cut, _FEEDS[0])["y"], outputs(model, _FEEDS[0])["y"])


def test_channels_and_almost_zeros() -> None:
    """Swish has no zeros: those within 1 % of the root mean square count; a channel counts over all its places."""
    model = zoo.model(
        "g (float[N,2,5,5] x) => (float[N,3,5,5] y) { a = Conv<kernel_shape=[1,1]>(x, w) s = Sigmoid(a) m = Mul(a, s)"
        " y = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(m, u) }",
        w=zoo.normal(4, 2, 1, 1),
        u=zoo.normal(3, 4, 3, 3),
    )
    feed = {"x": zoo.normal(6, 2, 5, 5)}
    grouping = find(model)
    found = zeros(model, grouping.groups, [feed])[grouping.groups[0]]
    made = np.einsum("oc,nchw->nohw", zoo.normal(4, 2, 1, 1)[:, :, 0, 0].astype(np.float64), feed["x"])
    made = made / (1 + np.exp(-made))
    least = 0.01 * np.sqrt(np.square(made).mean())
    np.testing.assert_allclose(found, (np.abs(made) <= least).mean(axis=(0, 2, 3)), atol=1e-12)
    assert found.max() > 0
