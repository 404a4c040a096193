"""scores before the soft-max and true classes or tokens -> negative log-likelihood per token (nats), and perplexity.

nll = -sum log softmax(scores)[label] / tokens; perplexity = exp(nll). A label is a class number, or an array of token
numbers with one for each place of the output, where -100 marks a place that does not count.

Source: Jelinek et al., "Perplexity: a measure of the difficulty of speech recognition tasks", 1977; -100 is the
`ignore_index` of torch.nn.CrossEntropyLoss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.metrics.metric import Array, Floats, Label, Metric, finite

IGNORED = -100


def _losses(output: Array, labels: Sequence[Label], metric: str) -> Floats:
    """[samples, 2]: summed loss and number of tokens."""
    if output.ndim < 2 or output.shape[-1] < 2 or len(output) != len(labels):
        raise UnsupportedError(
            f"{metric} needs scores [samples, ..., classes], and the output is {output.dtype}{list(output.shape)}"
        )
    tokens = np.stack([_tokens(label, output.shape[1:-1], metric) for label in labels])
    counted = tokens != IGNORED
    classes = output.shape[-1]
    if not counted.any(axis=tuple(range(1, counted.ndim))).all():
        raise UnsupportedError(f"{metric} needs at least one token that counts in every sample")
    wrong = tokens[counted & ((tokens < 0) | (tokens >= classes))]
    if wrong.size:
        raise DataRejectedError(f"label {wrong[0]} is no class of the model, which has {classes} (0 to {classes - 1})")
    scores = finite(output, metric)
    peak = scores.max(axis=-1, keepdims=True)
    norm = np.log(np.exp(scores - peak).sum(axis=-1)) + peak[..., 0]
    picked = np.take_along_axis(scores, np.where(counted, tokens, 0)[..., None], axis=-1)[..., 0]
    losses = np.where(counted, norm - picked, 0.0).reshape(len(labels), -1)
    return np.stack([losses.sum(axis=1), counted.reshape(len(labels), -1).sum(axis=1)], axis=1)


def _tokens(label: Label, shape: tuple[int, ...], metric: str) -> Array:
    array = np.asarray(np.nan if label is None else label)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.all(array == np.floor(array))))
    if not whole or array.shape != shape:
        said = "none" if label is None else f"{array.dtype}{list(array.shape)}"
        raise UnsupportedError(f"{metric} needs labels int{list(shape)} for this output, and one is {said}")
    return array.astype(np.int64)


def _per_token(table: Array, weights: Floats) -> Floats:
    return np.asarray(weights @ table[:, 0] / (weights @ table[:, 1]))


NLL = Metric("nll", lambda output, labels: _losses(output, labels, "nll"), _per_token, unit="", higher_is_better=False)
PERPLEXITY = Metric(
    "perplexity",
    lambda output, labels: _losses(output, labels, "perplexity"),
    lambda table, weights: np.exp(_per_token(table, weights)),
    unit="",
    higher_is_better=False,
)
