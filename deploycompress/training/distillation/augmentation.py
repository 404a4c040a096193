"""token ids -> copies in which some words are replaced by near ones, for a teacher to label.

A word is replaced with a probability by one of its nearest neighbours (cosine) in a table of word embeddings. Tokens
that may not move (special ones, pieces of words) are said by the caller.

Source: Jiao et al. 2020, TinyBERT, arXiv:1909.10351, algorithm 1: probability 0.4, 15 candidates; there a masked
language model proposes the candidates of whole words and GloVe those of pieced ones, here one table serves all.
"""

from __future__ import annotations

import torch
from torch.nn import functional

CANDIDATES, PROBABILITY = 15, 0.4
_ROWS = 2048


def neighbours(embeddings: torch.Tensor, replaceable: torch.Tensor, count: int = CANDIDATES) -> torch.Tensor:
    """The nearest replaceable tokens of every token, itself left out, int64 [vocabulary, count].

    Args:
        embeddings: [vocabulary, width].
        replaceable: Booleans, [vocabulary]: whole words; at least count + 1 of them.
        count: Neighbours per token.
    """
    unit, numbers = functional.normalize(embeddings.float(), dim=1), torch.arange(len(embeddings))
    found = []
    for rows in torch.split(numbers, _ROWS):
        likeness = unit[rows] @ unit.T
        likeness[:, ~replaceable] = -torch.inf
        likeness[torch.arange(len(rows)), rows] = -torch.inf
        found.append(likeness.topk(count).indices)
    return torch.cat(found)


def augmented(
    ids: torch.Tensor,
    near: torch.Tensor,
    replaceable: torch.Tensor,
    *,
    copies: int,
    generator: torch.Generator,
    probability: float = PROBABILITY,
) -> torch.Tensor:
    """Copies of every row with replaced words, int64 [copies * rows, tokens]; copy c of row r is row c * rows + r.

    Args:
        ids: Token ids, int64 [rows, tokens]; padding counts as not replaceable.
        near: Neighbours of every token, [vocabulary, candidates].
        replaceable: Booleans, [vocabulary].
        copies: How many of each row.
        generator: Of the draws.
        probability: Of a word to be replaced.
    """
    repeated = ids.repeat(copies, 1)
    drawn = torch.rand(repeated.shape, generator=generator) < probability
    choice = torch.randint(near.shape[1], repeated.shape, generator=generator)
    return torch.where(drawn & replaceable[repeated], near[repeated, choice], repeated)
