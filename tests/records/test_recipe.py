"""Recipes round-trip through YAML; every wrong key is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Bench, Distill, Export, Optimize, Quantize, Recipe, Train, dump, load, parse

WHOLE = """
name: example
target: server-cpu
out: ../build
steps:
  - train: {model: "model.py:teacher", data: "data.py:train", eval: "data.py:val", output: t.safetensors, epochs: 3}
  - distill:
      teacher: model.py:teacher
      teacher_checkpoint: t.safetensors
      student: model.py:student
      data: data.py:train
      output: s.safetensors
      temperature: 2
  - export: {source: "model.py:student", checkpoint: s.safetensors, output: s.onnx, opset: 18}
  - optimize: {model: s.onnx, output: s.opt.onnx, skip: [fold]}
  - quantize: {model: s.opt.onnx, output: s.int8.onnx, calib: calib, exclude: [head]}
  - bench: {models: [s.onnx, s.int8.onnx], eval: "data.py:test", json: r.json, html: r.html}
"""


def test_steps_keep_their_order_and_kinds() -> None:
    recipe = parse(WHOLE)
    assert [type(step) for step in recipe.steps] == [Train, Distill, Export, Optimize, Quantize, Bench]
    assert recipe.steps[1].outputs == ("s.safetensors",)
    assert recipe.steps[5].outputs == ("r.json", "r.html")


def test_recipe_round_trips_and_writes_only_what_was_set() -> None:
    recipe = parse(WHOLE)
    assert parse(dump(recipe)) == recipe
    assert yaml.safe_load(dump(recipe)) == yaml.safe_load(WHOLE)


@given(
    epochs=st.integers(1, 10**6),
    lr=st.floats(1e-9, 10.0),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    output=st.text(min_size=1).filter(lambda text: text.isprintable()),
)
def test_any_values_round_trip(epochs: int, lr: float, precision: str, output: str) -> None:
    step = Train.model_validate(
        {"model": "m:f", "data": "d:f", "output": output, "epochs": epochs, "lr": lr, "precision": precision}
    )
    recipe = Recipe(name="n", target="t", out="o", steps=(step,))
    assert parse(dump(recipe)) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs: 3", "epoch: 3"), r"recipe: step 1, train, epoch: unknown key 'epoch'; did you mean epochs"),
        (("target: server-cpu", "targe: server-cpu"), "the key is missing|unknown key 'targe'"),
        (("json: r.json", "jsn: r.json"), r"step 6, bench, jsn: unknown key 'jsn'; did you mean json\?"),
        (("- export:", "- exprt:"), r"step 3: unknown step 'exprt'; did you mean export"),
        (("epochs: 3", "epochs: 0"), r"step 1, train, epochs: Input should be greater than or equal to 1"),
        (("epochs: 3", "epochs: many"), r"step 1, train, epochs: Input should be a valid integer"),
        (('source: "model.py:student", ', ""), r"step 3, export, source: the key is missing"),
        (("output: s.int8.onnx", "output: s.onnx"), r"recipe: two steps write 's\.onnx'"),
    ],
)
def test_wrong_recipe_is_refused_by_name(change: tuple[str, str], message: str) -> None:
    assert change[0] in WHOLE
    with pytest.raises(UsageError, match=message):
        parse(WHOLE.replace(*change))


def test_unknown_key_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        parse(WHOLE.replace("skip:", "skp:"))


@pytest.mark.parametrize("steps", ["[train]", "[{train: }]", "[{train: {}, export: {}}]"])
def test_step_that_is_not_one_key_is_refused(steps: str) -> None:
    with pytest.raises(UsageError, match=r"step 1: (a step is one key|train has no parameters)"):
        parse(f"name: n\ntarget: t\nout: o\nsteps: {steps}\n")


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a recipe is a mapping with the keys name, target, out and steps"):
        parse(text)


def test_broken_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"r\.yaml: not valid YAML: .*line 2"):
        parse("name: n\n  steps: [", where="r.yaml")


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot read the recipe: No such file"):
        load(tmp_path / "absent.yaml")


def test_python_objects_in_yaml_are_not_built() -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        parse("name: !!python/object/apply:os.system ['true']\n")
