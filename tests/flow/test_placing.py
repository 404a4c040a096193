"""What a step writes lies in `out`; what it reads is an earlier output or lies beside the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.errors import UsageError
from deploycompress.flow.placing import placed, select
from deploycompress.records.recipe import Bench, Distill, Export, Quantize, Train, parse
from deploycompress.records.recipe_regimes import MultiTask

TEXT = """
name: example
target: server-cpu
out: ../build
steps:
  - train: {model: "net.py:teacher", data: "package.data:train", output: t.safetensors}
  - export: {source: "net.py:teacher", checkpoint: t.safetensors, output: m.onnx}
  - quantize: {model: m.onnx, output: q.onnx, calib: samples}
  - quantize: {model: m.onnx, output: r.onnx, calib: random, preprocess: imagenet}
  - bench: {models: [m.onnx, q.onnx, other.onnx], eval: "net.py:data", json: r.json}
"""


def steps(folder: Path) -> tuple[object, ...]:
    (folder / "recipes" / "samples").mkdir(parents=True)
    (folder / "recipes" / "other.onnx").write_text("")
    return placed(parse(TEXT), folder / "recipes")


def test_every_path_is_whole(tmp_path: Path) -> None:
    train, export, quantize, random, bench = steps(tmp_path)
    assert isinstance(train, Train)
    assert isinstance(export, Export)
    assert isinstance(quantize, Quantize)
    assert isinstance(random, Quantize)
    assert isinstance(bench, Bench)
    out, beside = tmp_path / "build", tmp_path / "recipes"
    assert train.model == f"{beside}/net.py:teacher"
    assert train.data == "package.data:train"
    assert train.output == str(out / "t.safetensors")
    assert export.checkpoint == train.output
    assert (quantize.model, quantize.calib) == (export.output, str(beside / "samples"))
    assert (random.calib, random.preprocess) == ("random", "imagenet")
    assert bench.models == (export.output, quantize.output, str(beside / "other.onnx"))
    assert bench.json_path == str(out / "r.json")
    assert bench.eval == f"{beside}/net.py:data"


def test_output_of_a_later_step_is_not_read_before_it_exists(tmp_path: Path) -> None:
    text = TEXT.replace("checkpoint: t.safetensors", "checkpoint: q.onnx")
    (tmp_path / "q.onnx").write_text("")
    export = placed(parse(text), tmp_path)[1]
    assert isinstance(export, Export)
    assert export.checkpoint == str(tmp_path / "q.onnx")


def test_steps_of_a_kind_are_selected_by_number_or_all(tmp_path: Path) -> None:
    recipe = parse(TEXT)
    assert [step.output for step in select(recipe, tmp_path / "r.yaml", Quantize, None)] == [
        str(tmp_path.parent / "build" / name) for name in ("q.onnx", "r.onnx")
    ]
    assert len(select(recipe, tmp_path / "r.yaml", Quantize, 4)) == 1


@pytest.mark.parametrize(
    ("kind", "number", "message"),
    [
        (Train, 2, r"r\.yaml: step 2 is no train step; its steps are 1: train, 2: export, 3: quantize"),
        (Distill, None, r"r\.yaml: there is no distill step; its steps are 1: train"),
        (Train, 9, "step 9 is no train step"),
    ],
)
def test_absent_step_is_refused(tmp_path: Path, kind: type, number: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(parse(TEXT), tmp_path / "r.yaml", kind, number)


def test_paths_inside_a_method_are_whole(tmp_path: Path) -> None:
    text = """
name: example
target: server-cpu
out: ../build
steps:
  - train: {model: "net.py:teacher", data: "net.py:data", output: t.safetensors}
  - train: {model: "net.py:teacher", data: "net.py:data", output: u.safetensors, initial: t.safetensors}
  - distill:
      {teacher: "net.py:teacher", teacher_checkpoint: t.safetensors, student: "net.py:student", data: "net.py:data",
       output: s.safetensors,
       method: {multi_task: {teachers: ["net.py:other"], teacher_checkpoints: [u.safetensors]}}}
"""
    _, further, distill = placed(parse(text), tmp_path / "recipes")
    assert isinstance(further, Train)
    assert isinstance(distill, Distill)
    assert further.initial == str(tmp_path / "build" / "t.safetensors")
    assert distill.method == MultiTask(
        teachers=(f"{tmp_path}/recipes/net.py:other",), teacher_checkpoints=(f"{tmp_path}/build/u.safetensors",)
    )
