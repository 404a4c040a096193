"""Do the times that `explain` gives to nodes add up to the time of a run? -> Markdown table.

    python bench/explain_sums.py [--repeats 15]

Each repeat is one `explain` with one thread. The sum leaves out what the profiler adds (flow/profiler_cost.py); the run
it is compared with is one without the profiler.
"""

from __future__ import annotations

import argparse

import numpy as np
from exported import exported
from shared import MOBILENET, RESNET20, markdown

from deploycompress import targets
from deploycompress.flow.explain import explain

NEAR = 0.1


def main() -> None:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=15)
    given = options.parse_args()
    target = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
    models = {
        "MobileNetV1-0.25": MOBILENET,
        "ResNet-20": RESNET20,
        "BERT-like, 6 layers of 384, 1 x 128": exported("bert"),
    }
    rows = []
    for name, path in models.items():
        found = [explain(path, target=target, runs=40) for _ in range(given.repeats)]
        ratios = np.array([each.time_us / each.latency_us for each in found])
        rows.append(
            [
                name,
                found[0].executed_nodes,
                f"{np.median([each.latency_us for each in found]) / 1e3:.2f} ms",
                f"{np.median(ratios):.2f}",
                f"{ratios.min():.2f} to {ratios.max():.2f}",
                f"{int((abs(ratios - 1) <= NEAR).sum())} of {len(ratios)}",
            ]
        )
        print(rows[-1], flush=True)
    print(markdown(["model", "nodes", "one run", "sum / run, median", "least to most", "within 10 %"], rows))


if __name__ == "__main__":
    main()
