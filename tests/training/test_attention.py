"""Scores from the query and key layers are those of the attention that torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.attention import relations, scores, split_heads

Q, K, V = (torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(seed)) for seed in range(3))


def test_softmax_of_the_scores_is_the_attention_of_torch() -> None:
    ours = scores(Q, K, 3).softmax(-1) @ split_heads(V, 3)
    theirs = torch.nn.functional.scaled_dot_product_attention(*(split_heads(x, 3) for x in (Q, K, V)))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)  # sums of 5 float32 products in another order


def test_scores_match_a_float64_reference() -> None:
    q, k = Q.double().numpy().reshape(2, 5, 3, 4), K.double().numpy().reshape(2, 5, 3, 4)
    expected = np.einsum("bihd,bjhd->bhij", q, k) / 2
    np.testing.assert_allclose(scores(Q, K, 3).numpy(), expected, rtol=0, atol=1e-5)  # float32 sums of 4 products


def test_relations_of_other_widths_have_one_shape_and_do_not_see_rotations() -> None:
    wide = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    assert relations(wide, 3).shape == relations(Q, 3).shape == (2, 3, 5, 5)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(5)))[0]
    # One head, so that the rotation does not mix heads; float32 products of 12 terms.
    torch.testing.assert_close(relations(Q @ rotation, 1), relations(Q, 1), rtol=1e-4, atol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UsageError, match="5 heads do not divide a width of 12"):
        scores(Q, K, 5)
