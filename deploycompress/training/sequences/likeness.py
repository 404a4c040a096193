"""two texts -> ROUGE-L in [0, 1]; prompts -> those that are not alike; candidates -> the one nearest to a reference.

ROUGE-L is the F1 of the longest common subsequence of words.
Source: Lin 2004, "ROUGE", section 3.1 with beta = 1; Wang et al. 2023, "Self-Instruct", arXiv:2212.10560, section 2.2
(new prompts are kept below 0.7); Kim & Rush 2016, arXiv:1606.07947, section 3.3 (sequence-level interpolation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def rouge_l(first: str, second: str) -> float:
    """F1 of the longest common subsequence; 1 for equal texts, 0 where no word is shared or one text is empty."""
    a, b = first.lower().split(), second.lower().split()
    if not a or not b:
        return float(a == b)
    row = [0] * (len(b) + 1)
    for word in a:
        corner = 0
        for place, other in enumerate(b, 1):
            corner, row[place] = row[place], corner + 1 if word == other else max(row[place], row[place - 1])
    return 2 * row[-1] / (len(a) + len(b))


def distinct(prompts: Iterable[str], *, below: float = 0.7) -> list[str]:
    """The prompts in order, without those that are alike to one kept before; quadratic in their number."""
    kept: list[str] = []
    for prompt in prompts:
        if all(rouge_l(prompt, other) < below for other in kept):
            kept.append(prompt)
    return kept


def closest(candidates: Sequence[str], reference: str) -> str:
    """Of a teacher's candidates the one nearest to the reference; the first of equals."""
    return max(candidates, key=lambda candidate: rouge_l(candidate, reference))
