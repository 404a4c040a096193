"""Each step becomes a command line that the real parser accepts, with nothing of the step lost."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from deploycompress.cli.app import build
from deploycompress.flow.commands import arguments, near
from deploycompress.flow.placing import placed
from deploycompress.records.recipe import parse

TEXT = """
name: example
target: server-cpu
out: build
steps:
  - train: {model: "net.py:t", data: "net.py:d", output: a.safetensors}
  - train: {model: "net.py:t", data: "net.py:d", output: b.safetensors}
  - distill: {teacher: "n:t", teacher_checkpoint: a.safetensors, student: "n:s", data: "n:d", output: s.safetensors}
  - export:
      source: net.py:t
      checkpoint: a.safetensors
      output: m.onnx
      opset: 17
      exporter: legacy
      dynamic_batch: false
      input: ["x=float32[2,3]", "y=int64[2]"]
  - export: {source: "net.py:t", output: n.onnx}
  - optimize:
      model: m.onnx
      output: o.onnx
      data: random
      preprocess: p
      level: basic
      skip: [FoldAffine, StripUnused]
  - prune:
      model: o.onnx
      output: p.onnx
      ratio: 0.25
      max_drop: 1%
      allocate: global
      score: apoz
      calib: c
      preprocess: p
      tokenizer: t.json
      limit: 5
      exclude: [a, b]
      round_to: 8
      repair: false
      eval: net.py:e
      labels: l.csv
      metric: top1
      eval_limit: 6
      budget: 7
  - prune: {model: o.onnx, output: w.onnx, speedup: 1.5x, min_agreement: 0.9}
  - quantize:
      model: o.onnx
      output: q.onnx
      calib: c
      preprocess: p
      exclude: ["/head/*", b]
      limit: 7
      allow_slower: true
  - quantize: {model: o.onnx, output: r.onnx, dynamic: true}
  - quantize:
      model: o.onnx
      output: s.onnx
      layout: qoperator
      calibration: c.json
      tokenizer: t.json
      ranges: minmax
      eval: net.py:e
      labels: l.csv
      metric: net.py:m
      eval_limit: 9
      max_drop: 1%
      budget: 60
  - quantize: {model: o.onnx, output: t.onnx, form: dynamic, calib: c, min_agreement: 0.99}
  - quantize: {model: o.onnx, output: u.onnx, form: weights, bits: 2, block: 0, levels: ternary, algorithm: gptq}
  - quantize: {model: o.onnx, output: v.onnx, activation_bits: 16, calib: c}
  - bench:
      models: [m.onnx, q.onnx]
      eval: net.py:e
      preprocess: p
      labels: l
      providers: [cpu, cuda]
      threads: 2
      batch: 4
      rounds: 9
      json: r.json
      markdown: r.md
      html: r.html
"""


def lines(folder: Path) -> list[list[str]]:
    recipe, path = parse(TEXT), folder / "recipe.yaml"
    steps = placed(recipe, folder)
    return [arguments(step, number, recipe, path, "edge-arm64") for number, step in enumerate(steps, 1)]


def parsed(argv: list[str]) -> dict[str, object]:
    """What the command of `argv[0]` would be called with."""
    command = typer.main.get_command(build([])).commands[argv[0]]  # type: ignore[attr-defined]
    return dict(command.make_context(argv[0], list(argv[1:])).params)


def test_parser_accepts_every_step_and_gets_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = list(map(parsed, lines(tmp_path)))
    first, second, distilled, export, plain, optimize, pruned, faster, static, dynamic, *rest = calls
    kept, agreeing, packed, wide, bench = rest
    assert (str(first["recipe"]), first["step"]) == ("recipe.yaml", 1)
    assert second["step"] == 2
    assert distilled["step"] is None
    assert export == {
        "source": "net.py:t",
        "output": Path("build/m.onnx"),
        "checkpoint": Path("build/a.safetensors"),
        "trust_checkpoint": False,
        "opset": 17,
        "target": "edge-arm64",
        "exporter": "legacy",
        "inputs": ["x=float32[2,3]", "y=int64[2]"],
        "static_batch": True,
        "json_path": None,
    }
    assert (plain["checkpoint"], plain["opset"], plain["static_batch"]) == (None, None, False)
    assert (optimize["data"], optimize["preprocess"]) == ("random", "p")
    assert list(optimize["skip"]) == ["FoldAffine", "StripUnused"]  # type: ignore[call-overload]
    given = {"ratio": 0.25, "speedup": None, "max_drop": "1%", "min_agreement": None, "allocate": "global"}
    given |= {"score": "apoz", "calib": "c", "preprocess": "p", "tokenizer": Path("t.json"), "limit": 5}
    given |= {"round_to": 8, "no_repair": True, "eval_data": "net.py:e", "labels": Path("l.csv"), "metric": "top1"}
    given |= {"eval_limit": 6, "budget": 7.0, "exclude": ["a", "b"]}
    assert {name: pruned[name] for name in given} == given
    assert (faster["speedup"], faster["min_agreement"], faster["no_repair"]) == ("1.5x", "0.9", False)
    assert (static["calib"], static["limit"], static["allow_slower"], static["dynamic"]) == ("c", 7, True, False)
    assert list(static["exclude"]) == ["/head/*", "b"]  # type: ignore[call-overload]
    assert (dynamic["calib"], dynamic["dynamic"]) == (None, True)
    given = {"layout": "qoperator", "calibration": Path("c.json"), "tokenizer": Path("t.json"), "ranges": "minmax"}
    given |= {"eval_data": "net.py:e", "labels": Path("l.csv"), "metric": "net.py:m", "eval_limit": 9}
    given |= {"max_drop": "1%", "min_agreement": None, "budget": 60.0, "form": None}
    assert {name: kept[name] for name in given} == given
    given = {"form": "weights", "bits": 2, "block": 0, "levels": "ternary", "algorithm": "gptq"}
    assert {name: packed[name] for name in given} == given
    assert (wide["activation_bits"], packed["activation_bits"]) == (16, 8)
    assert (agreeing["form"], agreeing["min_agreement"], agreeing["max_drop"]) == ("dynamic", "0.99", None)
    assert list(bench["models"]) == [Path("build/m.onnx"), Path("build/q.onnx")]  # type: ignore[call-overload]
    shown = {
        "eval_data": "net.py:e",
        "preprocess": "p",
        "provider": "cpu,cuda",
        "threads": "2",
        "batch": "4",
        "rounds": 9,
    }
    shown |= {"json_path": Path("build/r.json"), "markdown": Path("build/r.md"), "html": Path("build/r.html")}
    assert {name: bench[name] for name in shown} == shown
    assert all(call["target"] == "edge-arm64" for call in (export, optimize, static, dynamic, bench))


def test_line_survives_the_shell(tmp_path: Path) -> None:
    for argv in lines(tmp_path):
        assert shlex.split(shlex.join(argv)) == argv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{here}/a/b.onnx", "a/b.onnx"),
        ("{here}/a.py:f", "a.py:f"),
        ("random", "random"),
        ("package.module:f", "package.module:f"),
        ("/elsewhere", "/elsewhere"),
        ("hf:org/name", "hf:org/name"),
    ],
)
def test_path_is_shown_as_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(text.format(here=tmp_path)) == expected
