"""How often the 95 % intervals hold the truth, where the truth is known because the data are simulated.

    python bench/coverage.py [--repeats 1000] [--part accuracy|latency] [--metric NAME]

Accuracy: pairs of models whose answers go together, as those of a float model and its int8 form do; the interval is
that of the drop. The true drop is that of two million samples.
Latency: five processes; each has a level of its own (standard deviation of its logarithm), and rounds follow one
another (AR(1) with a tenth of the time as standard deviation); the interval is that of the median and of p95. The
true quantiles are those of four million runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from shared import WORK, markdown

from deploycompress.measurement.accuracy import drop_interval
from deploycompress.measurement.metrics.choice import named
from deploycompress.measurement.sections import quantile_interval

Rng = np.random.Generator
Pair = tuple[np.ndarray, np.ndarray]

LAUNCHES = 5
DRAWS = 1000  # half of what `bench` takes: the ends move by a few percent of the width
CLASSIFIERS = ((0.6, 0.02, 0.01), (0.8, 0.06, 0.04), (0.95, 0.01, 0.003))  # right before, lost, gained
NOISES = ((0.0, 0.0), (0.02, 0.0), (0.02, 0.6), (0.02, 0.9))  # level of a process, correlation of rounds


def decided(rng: Rng, n: int, classes: int, first: float, right: float, lost: float, gained: float) -> Pair:
    """Tables (label, answer) of a model and its baseline; class 0 is `first` times as frequent as each other."""
    prior = np.array([first, *[1.0] * (classes - 1)])
    labels = rng.choice(classes, size=n, p=prior / prior.sum())
    wrong = lambda: (labels + rng.integers(1, classes, n)) % classes  # noqa: E731
    hit, moved = rng.random(n) < right, rng.random(n)
    before = np.where(hit, labels, wrong())
    after = np.where(hit & (moved < lost / right), wrong(), before)
    after = np.where(~hit & (moved < gained / (1 - right)), labels, after)
    return np.stack([labels, after], axis=1).astype(float), np.stack([labels, before], axis=1).astype(float)


def correlated(rng: Rng, n: int) -> Pair:
    """Tables (prediction, label): the model adds an error of its own to that of its baseline."""
    labels = rng.normal(size=n)
    before = labels + 0.6 * rng.normal(size=n)
    after = before + 0.2 * rng.normal(size=n)
    return np.stack([after, labels], axis=1), np.stack([before, labels], axis=1)


def losses(rng: Rng, n: int) -> Pair:
    """Tables (summed loss, tokens) of texts of 20 to 60 tokens, with losses far from normal."""
    tokens = rng.integers(20, 60, n).astype(float)
    before = rng.gamma(0.5, 4.0, n) * tokens
    after = before * np.exp(0.02 + 0.05 * rng.normal(size=n))
    return np.stack([after, tokens], axis=1), np.stack([before, tokens], axis=1)


def drops(repeats: int, only: str | None) -> str:
    """The table of accuracy."""
    cases: list[tuple[str, str, Callable[[Rng, int], Pair]]] = []
    for right, lost, gained in CLASSIFIERS:
        said = f"{100 * right:g} % right, {100 * lost:g} % lost, {100 * gained:g} % gained"
        for name, classes, first in (("top-1", 10, 1.0), ("f1-macro", 10, 1.0), ("f1", 2, 9.0), ("matthews", 2, 9.0)):
            shape = "10 equal classes" if classes == 10 else "2 classes, 9 to 1"
            cases.append(
                (
                    name,
                    f"{shape}; {said}",
                    lambda rng, n, c=classes, f=first, p=(right, lost, gained): decided(rng, n, c, f, *p),
                )
            )
    cases += [("pearson", "errors of 0.6, 0.2 more", correlated), ("nll", "gamma losses, 2 % more", losses)]
    rows = []
    for name, said, draw in sorted(cases, key=lambda case: case[0] != "top-1"):
        if only not in (None, name):
            continue
        metric = replace(named(name), draws=DRAWS)
        cells = []
        table, baseline = draw(np.random.default_rng(5), 2_000_000)
        sign = 1 if metric.higher_is_better else -1
        truth = sign * (metric.of(baseline) - metric.of(table))
        for n in (200, 1000, 5000) if name == "top-1" else (200, 1000):
            rng, covered = np.random.default_rng(n), 0
            for seed in range(repeats):
                covered += not drop_interval(metric, *draw(rng, n), seed=seed).excludes(truth)
            cells.append(f"{100 * covered / repeats:.1f}")
        rows.append([name, said, *cells, *[""] * (3 - len(cells))])
        print(rows[-1], flush=True)
    return markdown(["metric", "pairs", "n = 200", "n = 1,000", "n = 5,000"], rows)


def times(rng: Rng, kind: str, launches: int, rounds: int, runs: int, level: float, phi: float) -> np.ndarray:
    """[launches * rounds, runs] times."""
    shape = (launches, rounds, runs)
    slow = rng.normal(size=(launches, rounds))
    for t in range(1, rounds):
        slow[:, t] = phi * slow[:, t - 1] + math.sqrt(1 - phi * phi) * slow[:, t]
    if kind == "lognormal":
        own = np.exp(0.3 * rng.normal(size=shape))
    elif kind == "gamma":
        own = rng.gamma(4.0, size=shape)
    else:
        fast = 1 + 0.05 * rng.normal(size=shape)
        own = np.where(rng.random(shape) < 0.8, fast, 1.6 + 0.1 * rng.normal(size=shape))
    factors = np.exp(level * rng.normal(size=(launches, 1)) + (0.1 if phi else 0.0) * slow)
    return np.asarray((factors[..., None] * own).reshape(launches * rounds, runs))


def quantiles(repeats: int) -> str:
    """The table of latency."""
    rows = []
    for kind in ("lognormal", "gamma", "bimodal"):
        for level, phi in NOISES:
            whole = times(np.random.default_rng(99), kind, 10_000, 20, 20, level, phi)
            truth = {q: float(np.quantile(whole, q)) for q in (0.5, 0.95)}
            cells = []
            for rounds, runs in ((6, 4), (6, 20), (40, 10)):
                rng, covered = np.random.default_rng(rounds * runs), dict.fromkeys(truth, 0)
                for _ in range(repeats):
                    table = times(rng, kind, LAUNCHES, rounds, runs, level, phi)
                    for q, true in truth.items():
                        covered[q] += not quantile_interval(table, q, sections=LAUNCHES).excludes(true)
                cells.append(" / ".join(f"{100 * count / repeats:.1f}" for count in covered.values()))
            rows.append([kind, f"{100 * level:g} %", phi, *cells])
            print(rows[-1], flush=True)
    heads = ["times", "between processes", "between rounds", "5 x 6 rounds of 4 runs", "5 x 6 of 20", "5 x 40 of 10"]
    return markdown(heads, rows)


def main() -> None:
    """Prints the tables and keeps them in build/bench/coverage-*.md."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=1000)
    options.add_argument("--metric", help="of the accuracy part, this alone")
    options.add_argument("--part", choices=("accuracy", "latency"))
    given = options.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    for part, measure in (
        ("accuracy", lambda: drops(given.repeats, given.metric)),
        ("latency", lambda: quantiles(given.repeats)),
    ):
        if given.part in (None, part):
            table = measure()
            (WORK / f"coverage-{part}.md").write_text(table + "\n")
            print(table)


if __name__ == "__main__":
    main()
