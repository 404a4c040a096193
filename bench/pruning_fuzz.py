"""Random graphs and every fused form of attention: half of each group removed, compared with the masked model.

    python bench/pruning_fuzz.py [graphs] [first seed]

graphs: nets of up to ten random steps (convolutions, normalizations, splits, shuffles, gates, views; see
tests/pruning/test_random_graphs.py), of which a random share of every group goes; every tenth is a transformer in one
of the forms of tests/pruning/nets.py with other units removed. A wrong output, a model that does not run and an
exception are told apart, with the seed that gives them again. heads: transformers as exported, and as ONNX Runtime's
own transformer optimizer fuses them, after the rewrites that compute shapes once.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import exported
import numpy as np
import onnx_ir as ir
from shared import REPOSITORY, WORK, markdown

sys.path.insert(0, str(REPOSITORY))

from deploycompress.errors import DeployCompressError
from deploycompress.flow.agreement import difference
from deploycompress.flow.source import open_source
from deploycompress.passes.pipelines import PREPARE, SIMPLIFY
from deploycompress.pruning import Grouping, find, masked, masks, remove
from deploycompress.runtime.session import Feed
from tests.passes.running import checks, feed, outputs
from tests.pruning import nets
from tests.pruning.running import chosen
from tests.pruning.test_random_graphs import build

GRAPHS = 1000
EVERY = 10  # one in so many is a transformer
MODEL_TYPES = {"bert": "bert", "vit": "vit", "gpt": "gpt2", "llama": "gpt2"}


def drawn(seed: int) -> ir.Model:
    """The graph of a seed."""
    rng = np.random.default_rng(seed)
    if seed % EVERY == 0:
        return nets.ATTENTIONS[sorted(nets.ATTENTIONS)[seed // EVERY % len(nets.ATTENTIONS)]]()
    steps = [
        (bool(rng.integers(2)), *map(int, rng.integers(0, (64, 10, 10))), int(rng.choice([4, 8])))
        for _ in range(int(rng.integers(2, 11)))
    ]
    return build(steps)


def outcome(model: ir.Model, seed: int, inputs: Feed) -> tuple[str, Grouping | None]:
    """What became of a model: "exact", "nothing to remove", or what is wrong."""
    share = float(np.random.default_rng(seed).uniform(0.1, 0.9))
    try:
        grouping = find(model)
        if not grouping.groups:
            return "nothing to remove", grouping
        kept = masks(grouping, chosen(grouping, share, seed))
        after = remove(model, kept)
        invalid = None if checks(model) else checks(after)  # the checker does not know all that the runtime runs
        if invalid is not None:
            return f"invalid: {invalid}", grouping
        wrong = difference(outputs(masked(model, kept), inputs), outputs(after, inputs))
    except DeployCompressError as error:
        return f"does not run: {error.what}", None
    except Exception as error:  # noqa: BLE001 - a crash is what is counted
        return f"crash: {type(error).__name__}: {error}", None
    return "exact" if wrong is None else f"wrong: {wrong}", grouping


def fuzz(graphs: int, first: int) -> str:
    """How many graphs had which outcome."""
    found: Counter[str] = Counter()
    for seed in range(first, first + graphs):
        model = drawn(seed)
        said, _ = outcome(model, seed, feed(model, seed=seed))
        found[said.partition(":")[0]] += 1
        if ":" in said:
            print(f"seed {seed}: {said}", flush=True)
    kinds = ("exact", "nothing to remove", "wrong", "does not run", "invalid", "crash")
    return markdown(["graphs", *kinds], [[graphs, *(found[kind] for kind in kinds)]])


def heads() -> str:
    """A row for each transformer, exported and fused."""
    rows = []
    for name in MODEL_TYPES:
        path = exported.exported(name, "legacy", 18, tiny=True)
        for form, source in (("as exported", path), ("fused by ONNX Runtime", _fused(name, path))):
            model = open_source(source)
            for step in PREPARE + SIMPLIFY:
                model = step(model).model
            inputs = exported.feeds(name, 2, 6, tiny=True)
            said, grouping = outcome(model, 0, {key: inputs[key] for key in (v.name for v in model.graph.inputs)})
            groups = () if grouping is None else grouping.groups
            fused = Counter(node.op_type for node in model.graph if node.domain == "com.microsoft")
            rows.append(
                [
                    name,
                    form,
                    ", ".join(f"{count} {operator}" for operator, count in sorted(fused.items())) or "-",
                    ", ".join(f"{group.units} of {group.width}" for group in groups) or "none",
                    said,
                ]
            )
    return markdown(["model", "form", "fused operators", "groups: units of width", "pruned against masked"], rows)


def _fused(name: str, path: Path) -> Path:
    from onnxruntime.transformers.optimizer import optimize_model

    made = optimize_model(str(path), MODEL_TYPES[name], num_heads=exported.TINY.heads, hidden_size=exported.TINY.hidden)
    output = WORK / f"{path.stem}.fused.onnx"
    made.save_model_to_file(str(output))
    return output


def main() -> None:
    """Prints both tables, and keeps them in build/bench."""
    WORK.mkdir(parents=True, exist_ok=True)
    graphs, first = (int(each) for each in (*sys.argv[1:], *(GRAPHS, 1)[len(sys.argv) - 1 :]))
    for name, table in (("heads", heads()), ("fuzz", fuzz(graphs, first))):
        (WORK / f"pruning-{name}.md").write_text(table + "\n")
        print(f"{table}\n", flush=True)


if __name__ == "__main__":
    main()
