"""Factors of axes through views, ties and picks: labels end where the elements they stand for do."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import FIXED, Factor, Layout
from deploycompress.pruning.indexing import elements, take
from deploycompress.pruning.labels import Labels
from deploycompress.pruning.rules.views import reshaped
from deploycompress.pruning.ties import tie


def gone(layout: Layout, removed: np.ndarray) -> np.ndarray:
    """Which elements of a value go where the labels in `removed` do: a mask of its shape."""
    mask = np.zeros(layout.shape, bool)
    factors = [factor for axis in layout.axes for factor in axis]
    flat = mask.reshape([factor.length for factor in factors])
    places = {factor.name: n for n, factor in enumerate(factors) if factor.name != FIXED}
    for block in layout.blocks:
        order = sorted(range(len(block.names)), key=lambda n: places[block.names[n]])
        labels = np.transpose(block.labels, order)
        shape = [1] * len(factors)
        for n in order:
            shape[places[block.names[n]]] = block.labels.shape[n]
        flat |= np.isin(labels, removed).reshape(shape)
    return mask


_SHAPES = st.permutations([2, 2, 3, 5, 2]).flatmap(
    lambda lengths: st.lists(st.booleans(), min_size=4, max_size=4).map(
        lambda cuts: [math.prod(part) for part in _parts(lengths, cuts)]
    )
)


def _parts(lengths: list[int], cuts: list[bool]) -> list[list[int]]:
    parts = [[lengths[0]]]
    for length, cut in zip(lengths[1:], cuts, strict=True):
        parts.append([length]) if cut else parts[-1].append(length)
    return parts


@given(st.lists(_SHAPES, min_size=1, max_size=4), st.data())
def test_a_chain_of_views_moves_no_label_from_its_element(shapes: list[list[int]], data: st.DataObject) -> None:
    """The oracle is numpy: the mask of the elements, reshaped. What a view cuts across stays whole instead."""
    labels = Labels()
    name = labels.name()
    block = ax.Block(labels.fresh(10), (name,))
    layout = Layout(((Factor(12, why="batch"),), (Factor(10, name),)), (block,))
    expected_of = layout
    for shape in shapes:
        layout = reshaped(layout, shape, labels)
        assert layout.shape == tuple(shape)
    frozen = {int(label) for found, _ in labels.frozen for label in found}
    free = [label for label in range(10) if label not in frozen]
    roots = labels.roots()
    for label in data.draw(st.lists(st.sampled_from(free), max_size=4)) if free else []:
        together = np.flatnonzero(roots == roots[label])
        mask = gone(expected_of, together).reshape(shapes[-1])
        np.testing.assert_array_equal(gone(layout, together), mask)


def test_heads_come_back_out_of_an_axis_they_share_with_the_batch() -> None:
    labels = Labels()
    start = ax.labelled([384], labels)
    layout = Layout(((Factor(11, why="batch"),), (Factor(37, why="sequence"),), start.axes[0]), start.blocks)
    apart = reshaped(layout, [11, 37, 12, 32], labels)
    moved = Layout(tuple(apart.axes[n] for n in (0, 2, 1, 3)), apart.blocks)
    merged = reshaped(moved, [132, 37, 32], labels)
    assert [factor.length for factor in merged.axes[0]] == [11, 12]
    back = reshaped(merged, [11, 12, 37, 32], labels)
    assert np.array_equal(back.blocks[0].labels, np.arange(384).reshape(12, 32))


def test_a_scale_for_each_place_in_a_head_leaves_whole_heads() -> None:
    labels = Labels()
    heads = reshaped(ax.labelled([12], labels), [3, 4], labels)
    left, right = tie(heads, ax.labelled([4], labels), [(1, 0)], labels)
    assert (ax.is_fixed(left.axes[1]), ax.is_fixed(left.axes[0]), ax.is_fixed(right.axes[0])) == (True, False, True)
    assert labels.roots()[:12].tolist() == [0] * 4 + [4] * 4 + [8] * 4


def test_axes_cut_differently_freeze_each_other() -> None:
    labels = Labels()
    layout, other = (
        Layout((tuple(Factor(n, why="batch") if fixed else axis.axes[0][0] for n, fixed, axis in parts),), (block,))
        for parts, block in (_uneven(labels, [3, 4], 0), _uneven(labels, [4, 3], 1))
    )
    tie(layout, other, [(0, 0)], labels)
    assert len(labels.frozen) == 2


def _uneven(labels: Labels, lengths: list[int], named: int) -> tuple[list[tuple[int, bool, Layout]], ax.Block]:
    vector = ax.labelled([lengths[named]], labels)
    return [(n, place != named, vector) for place, n in enumerate(lengths)], vector.blocks[0]


def test_picked_elements_bring_their_labels() -> None:
    labels = Labels()
    layout = ax.labelled([5, 3], labels)
    picked = take(layout, 0, np.asarray([4, 0, 0]), labels)
    found = elements(picked, 0, labels)[1]
    assert found is not None
    assert found.tolist() == [4, 0, 0]
    assert picked.shape == (3, 3)


def test_products_of_lengths_are_cut_where_each_divides_the_next() -> None:
    for lengths in itertools.product((1, 2, 3), repeat=3):
        assert math.prod(ax.between(ax.boundaries(lengths)) or []) == math.prod(lengths)
    assert ax.between({3, 4, 12}) is None
