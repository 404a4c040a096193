"""prompt and answer -> next-token samples whose loss counts the answer alone: L = -log p(answer | prompt).

Position t holds token t and is labelled with token t + 1; positions whose next token belongs to the prompt or to the
padding carry `IGNORED`. The end of the text is part of the answer.
Source: Kim & Rush 2016, arXiv:1606.07947, equation 4 (the teacher's answer in place of the distribution over answers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import torch

from deploycompress.errors import DataRejectedError
from deploycompress.training.arrays import Arrays
from deploycompress.training.losses import IGNORED

Encode = Callable[[str], list[int]]
"""text -> token ids, without special tokens."""


def samples(pairs: Iterable[tuple[str, str]], encode: Encode, *, end: int, longest: int) -> Arrays:
    """`input_ids`, `attention_mask` and labels, each [samples, tokens], padded to the longest sample with `end`.

    Args:
        pairs: (prompt, answer). The template around a prompt must be that of inference.
        encode: Of the student's tokenizer; the teacher's may differ.
        end: Token that ends a text.
        longest: Most tokens of a sample; longer ones are left out, for half an answer teaches to stop in the middle.

    Raises:
        DataRejectedError: No sample is short enough.
    """
    kept = []
    for prompt, answer in pairs:
        asked, said = encode(prompt), [*encode(answer), end]
        if len(asked) + len(said) <= longest:
            kept.append((asked, said))
    if not kept:
        raise DataRejectedError(f"no sample fits into {longest} tokens", remedy="allow longer ones")
    width = max(len(asked) + len(said) for asked, said in kept) - 1
    ids = torch.full((len(kept), width), end)
    labels = torch.full((len(kept), width), IGNORED)
    mask = torch.zeros((len(kept), width), dtype=torch.int64)
    for row, (asked, said) in enumerate(kept):
        text = torch.tensor(asked + said)
        ids[row, : len(text) - 1], mask[row, : len(text) - 1] = text[:-1], 1
        labels[row, max(len(asked) - 1, 0) : len(text) - 1] = text[max(len(asked), 1) :]
    fingerprint = hashlib.sha256(ids.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    return Arrays(("input_ids", "attention_mask"), (ids, mask), labels, fingerprint)
