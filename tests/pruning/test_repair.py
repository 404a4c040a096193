"""Least squares against numpy's own, the second-order choice against every subset, scores against their formulas."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.gram import Gram
from deploycompress.errors import UnsupportedError
from deploycompress.pruning import Group, choice, find, masks, remove, scores, second_order
from deploycompress.pruning.choice import counts
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.labels import Array
from deploycompress.pruning.mending import mend
from deploycompress.pruning.repair import repaired
from tests import zoo
from tests.passes.running import outputs
from tests.pruning import nets

_ROWS = 200


def moments(rows: np.ndarray) -> Gram:
    return Gram(len(rows), rows.sum(axis=0)[None], (rows.T @ rows)[None])


def test_repair_gives_the_least_squares_of_the_old_outputs_and_a_constant() -> None:
    """Damping chosen among a few shares of the diagonal: with noiseless rows the smallest, 1e-4, is best or near it."""
    before = zoo.normal(_ROWS, 6, dtype=np.float64) + 1
    after = before[:, [0, 2, 3, 5]] + 0.1 * zoo.normal(_ROWS, 4, seed=1, dtype=np.float64)
    weight = zoo.normal(6, 3, dtype=np.float64)
    both = moments(np.concatenate([before, after], axis=1))
    found = repaired(weight, weight[[0, 2, 3, 5]], both, both, has_bias=True)
    assert found is not None
    design = np.concatenate([after, np.ones((_ROWS, 1))], axis=1)
    best = np.linalg.lstsq(design, before @ weight, rcond=None)[0]
    np.testing.assert_allclose(found.weight, best[:4], atol=1e-3)
    np.testing.assert_allclose(found.shift, best[4], atol=1e-3)
    wrong = before @ weight - after @ found.weight - found.shift
    np.testing.assert_allclose(found.error_after, (wrong**2).sum() / ((before @ weight) ** 2).sum(), rtol=1e-9)
    assert found.error_after < found.error_before


def test_repair_that_does_not_help_on_other_samples_is_not_kept() -> None:
    weight = zoo.normal(2, 3, dtype=np.float64)
    fit = moments(np.repeat(zoo.normal(_ROWS, 2, dtype=np.float64), 2, axis=1)[:, [0, 2, 3, 1]])
    held_out = moments(np.tile(zoo.normal(_ROWS, 2, seed=2, dtype=np.float64), 2))
    assert repaired(weight, weight, fit, held_out, has_bias=True) is None


def hidden(units: int = 5) -> ir.Model:
    """A linear layer, Relu, and another."""
    return zoo.model(
        "g (float[N,4] x) => (float[N,3] y) { h = Gemm(x, w, b) r = Relu(h) y = Gemm(r, u, c) }",
        w=zoo.normal(4, units),
        b=zoo.normal(units),
        u=zoo.normal(units, 3),
        c=zoo.normal(3),
    )


def feeds(count: int = 12, seed: int = 0) -> list[dict[str, np.ndarray]]:
    return [{"x": zoo.normal(20, 4, seed=seed + n)} for n in range(count)]


def grams(model: ir.Model, group: Group) -> dict[LayerInput, Gram]:
    return dict(collect(model, [], feeds(), grams=[reader.rows for reader in consumers(group)]).grams)


def weakest(groups: Sequence[Group], ratio: float) -> dict[Group, Array]:
    """The units with the smallest weights, this share of every group."""
    curves = choice.curves(groups, "l2")
    return {group: curves[group].order[:count] for group, count in counts(groups, ratio, 1).items()}


def test_the_second_order_choice_of_one_is_the_best_of_all_after_least_squares() -> None:
    model = hidden()
    group = find(model).groups[0]
    readers, found = consumers(group), grams(model, group)
    curve = second_order.curve(readers, found, group.units)
    gone = curve.order
    products = next(iter(found.values())).products[0]
    damped = products + 1e-3 * np.diagonal(products).mean() * np.eye(5)
    weight = readers[0].matrix

    def error(removed: tuple[int, ...]) -> float:
        """Of the best weights without these rows: trace of W' H W minus what the rows left explain."""
        left = [n for n in range(5) if n not in removed]
        best = np.linalg.solve(damped[np.ix_(left, left)], damped[left] @ weight)
        return float(np.trace(weight.T @ damped @ weight) - np.trace((damped[left] @ weight).T @ best))

    assert gone[0] == min(range(5), key=lambda unit: error((unit,)))
    assert gone[1] == min((n for n in range(5) if n != gone[0]), key=lambda unit: error((int(gone[0]), unit)))
    energy = float(np.trace(weight.T @ damped @ weight))
    exact = [error(tuple(gone[:count])) / energy for count in range(5)]
    np.testing.assert_allclose(curve.errors, exact, rtol=1e-9, atol=1e-12)
    given = second_order.curve(readers, found, group.units, np.asarray([3, 0, 4, 1, 2]))
    assert given.order.tolist() == [3, 0, 4, 1]
    np.testing.assert_allclose(given.errors[2], error((3, 0)) / energy, rtol=1e-9)


def test_of_two_features_that_stand_in_for_each_other_the_second_order_keeps_one() -> None:
    model = hidden()
    for name in ("w", "b"):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        data = value.const_value.numpy().copy()
        data[..., 1] = data[..., 0]
        value.const_value = ir.tensor(data, name=name)
    group = find(model).groups[0]
    order = second_order.curve(consumers(group), grams(model, group), group.units).order.tolist()
    assert order[0] in (0, 1)
    assert order[1] not in (0, 1)


def test_mending_brings_the_outputs_nearer_to_those_before() -> None:
    model = hidden(24)
    grouping = find(model)
    kept = masks(grouping, weakest(grouping.groups, 0.3))
    cut = remove(model, kept)
    mended, repairs = mend(model, cut, kept, feeds(seed=20), feeds(4, seed=50))
    assert [repair.is_kept for repair in repairs] == [True]
    unseen = feeds(1, seed=90)[0]
    expected = outputs(model, unseen)["y"]
    wrong, left = (float(((outputs(each, unseen)["y"] - expected) ** 2).sum()) for each in (cut, mended))
    assert left < 0.5 * wrong


def test_mending_convolutions_fits_their_kernels_and_biases() -> None:
    model = nets.residual()
    grouping = find(model)
    kept = masks(grouping, weakest(grouping.groups, 0.4))
    cut = remove(model, kept)
    fit = [{"x": zoo.normal(4, 3, 8, 8, seed=n)} for n in range(8)]
    mended, repairs = mend(model, cut, kept, fit, [{"x": zoo.normal(8, 3, 8, 8, seed=40)}])
    assert {repair.layer for repair in repairs} == {"c", "e", "y"}
    unseen = {"x": zoo.normal(8, 3, 8, 8, seed=60)}
    expected = outputs(model, unseen)["y"]
    wrong, left = (float(((outputs(each, unseen)["y"] - expected) ** 2).sum()) for each in (cut, mended))
    assert left < wrong


def test_scores_are_their_formulas() -> None:
    group = find(hidden()).groups[0]
    weights = [zoo.normal(4, 5), zoo.normal(5)[None], zoo.normal(5, 3).T]
    for power in (1, 2):
        expected = sum((np.abs(part.astype(np.float64)) ** power).sum(axis=0) for part in weights)
        np.testing.assert_allclose(scores.magnitude(group, power), expected, rtol=1e-6)
    squares = scores.magnitude(group, 2)
    lamp = [square / squares[squares >= square].sum() for square in squares]
    np.testing.assert_allclose(scores.lamp(group), lamp, rtol=1e-12)
    assert scores.lamp(group).max() == 1
    found = grams(hidden(), group)
    seen = np.concatenate([np.maximum(feed["x"] @ zoo.normal(4, 5) + zoo.normal(5), 0) for feed in feeds()])
    wanda = np.abs(zoo.normal(5, 3)).sum(axis=1) * np.sqrt((seen.astype(np.float64) ** 2).sum(axis=0))
    np.testing.assert_allclose(scores.activation(group, found), wanda, rtol=1e-5)
    assert np.array_equal(scores.random(group, 3), scores.random(group, 3))
    assert not np.array_equal(scores.random(group, 3), scores.random(group, 4))


def test_the_scale_of_a_batch_norm_is_a_score_where_there_is_one() -> None:
    expanded, projected = find(nets.depthwise()).groups
    np.testing.assert_allclose(scores.batch_norm(expanded), zoo.batch_norm(8)["g"], rtol=1e-6)
    with pytest.raises(UnsupportedError, match="the group of 'w2' runs through no BatchNormalization"):
        scores.batch_norm(projected)


def test_channels_are_kept_in_round_numbers_and_one_at_least() -> None:
    stream, inner = find(nets.residual()).groups
    for ratio, round_to in itertools.product((0.1, 0.5, 0.9, 0.99), (1, 2, 4)):
        found = counts((stream, inner), ratio, round_to)
        for group in (stream, inner):
            left = group.units - found.get(group, 0)
            assert left >= 1
            assert left % round_to == 0 or left == group.units
            assert found.get(group, 0) <= ratio * group.units
