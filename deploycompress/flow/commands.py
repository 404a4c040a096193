"""recipe step -> the public command line that does it, ready to paste into a shell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploycompress.records.recipe import Bench, Distill, Export, Optimize, Prune, Quantize, Recipe, Step, Train


def arguments(step: Step, number: int, recipe: Recipe, recipe_path: Path, target: str) -> list[str]:
    """Arguments of `deploycompress` for one step whose paths are whole (see `flow.placing`).

    Args:
        step: The step.
        number: Its place in the recipe, from 1.
        recipe: All steps.
        recipe_path: The file that holds them: training reads its parameters from there.
        target: Name or file of the target profile.
    """
    if isinstance(step, Train | Distill):
        alone = sum(other.kind == step.kind for other in recipe.steps) == 1
        return [step.kind, near(str(recipe_path)), *([] if alone else ["--step", str(number)])]
    if isinstance(step, Export):
        return ["export", near(step.source), *_export(step), "--target", near(target)]
    if isinstance(step, Optimize):
        named = {"--output": step.output, "--data": step.data, "--preprocess": step.preprocess}
        level = [] if step.level == "full" else ["--level", step.level]
        skip = _each("--skip", step.skip)
        return ["optimize", near(step.model), *_options(named), *level, *skip, "--target", near(target)]
    if isinstance(step, Prune):
        return ["prune", near(step.model), *_prune(step), "--target", near(target)]
    if isinstance(step, Quantize):
        return ["quantize", near(step.model), *_quantize(step), "--target", near(target)]
    return ["bench", *map(near, step.models), *_bench(step), "--target", near(target)]


def _export(step: Export) -> list[str]:
    return [
        *_options({"--output": step.output, "--checkpoint": step.checkpoint, "--opset": step.opset}),
        *([] if step.exporter == "auto" else ["--exporter", step.exporter]),
        *([] if step.dynamic_batch else ["--static-batch"]),
        *_each("--input", step.input),
    ]


def _prune(step: Prune) -> list[str]:
    return [
        *_options({"--output": step.output, "--ratio": step.ratio, "--speedup": step.speedup}),
        *_options({"--max-drop": step.max_drop, "--min-agreement": step.min_agreement}),
        *_options({"--allocate": step.allocate, "--score": step.score, "--calib": step.calib}),
        *_options({"--preprocess": step.preprocess, "--tokenizer": step.tokenizer, "--limit": step.limit}),
        *_each("--exclude", step.exclude),
        *_options({"--round-to": step.round_to}),
        *([] if step.repair else ["--no-repair"]),
        *_options({"--eval": step.eval, "--labels": step.labels, "--metric": step.metric}),
        *_options({"--eval-limit": step.eval_limit, "--budget": step.budget}),
    ]


def _quantize(step: Quantize) -> list[str]:
    return [
        *_options({"--output": step.output, "--calib": step.calib, "--calibration": step.calibration}),
        *_options({"--preprocess": step.preprocess, "--tokenizer": step.tokenizer}),
        *([] if step.form == "static" else ["--form", step.form]),
        *(["--dynamic"] if step.dynamic else []),
        *([] if step.layout == "qdq" else ["--layout", step.layout]),
        *([] if step.activation_bits == 8 else ["--activation-bits", str(step.activation_bits)]),
        *_options({"--bits": step.bits, "--block": step.block}),
        *([] if step.levels == "uniform" else ["--levels", step.levels]),
        *([] if step.algorithm == "nearest" else ["--algorithm", step.algorithm]),
        *([] if step.ranges == "mse" else ["--ranges", step.ranges]),
        *_options({"--limit": step.limit, "--eval": step.eval, "--labels": step.labels, "--metric": step.metric}),
        *_options({"--eval-limit": step.eval_limit, "--max-drop": step.max_drop}),
        *_options({"--min-agreement": step.min_agreement, "--budget": step.budget}),
        *_each("--exclude", step.exclude),
        *(["--allow-slower"] if step.allow_slower else []),
    ]


def _bench(step: Bench) -> list[str]:
    return _options(
        {
            "--eval": step.eval,
            "--preprocess": step.preprocess,
            "--labels": step.labels,
            "--provider": ",".join(step.providers) or None,
            "--threads": step.threads,
            "--batch": None if step.batch == 1 else step.batch,
            "--rounds": step.rounds,
            "--json": step.json_path,
            "--markdown": step.markdown,
            "--html": step.html,
        }
    )


def near(text: str) -> str:
    """A path as seen from the working folder where that is shorter; any other text as it is."""
    place, colon, name = text.rpartition(":")
    path = place if colon and place.endswith(".py") else text
    if not Path(path).is_absolute():
        return text
    relative = os.path.relpath(path)
    shorter = relative if len(relative) < len(path) else path
    return f"{shorter}:{name}" if path is not text else shorter


def _options(values: Mapping[str, object]) -> list[str]:
    return [part for option, value in values.items() if value is not None for part in (option, near(str(value)))]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (option, value)]
