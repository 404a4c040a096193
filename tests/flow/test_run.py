"""A run does each step once, goes on after a failure, and does again what changed and what hangs on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploycompress.errors import DeployCompressError, EnvironmentLacksError, InputRejectedError, UsageError
from deploycompress.flow.run import RunResult, StepRun, run

RECIPE = """
name: example
target: server-cpu
out: build
steps:
  - export: {source: "net.py:f", output: m.onnx}
  - optimize: {model: m.onnx, output: o.onnx, data: samples}
  - bench: {models: [m.onnx, o.onnx], json: r.json}
"""


class Workshop:
    """A folder with a recipe, and commands that write what they read: outputs change when and only when inputs do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done, self.fails = folder, list[str](), dict[str, int]()
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(RECIPE)
        (folder / "net.py").write_text("f = 1\n")
        (folder / "samples").mkdir()
        (folder / "samples" / "a.npy").write_bytes(b"1")

    def execute(self, arguments: Sequence[str]) -> int:
        kind, *rest = arguments
        self.done.append(kind)
        if kind in self.fails:
            return self.fails[kind]
        out = self.folder / "build"
        out.mkdir(exist_ok=True)
        if kind == "export":
            (out / "m.onnx").write_text((self.folder / "net.py").read_text())
        elif kind == "optimize":
            (out / "o.onnx").write_text((out / "m.onnx").read_text().strip() + " ".join(rest))
        else:
            (out / "r.json").write_text("{}")
        return 0

    def run(self, **more: bool) -> tuple[list[str], RunResult]:
        self.done.clear()
        result = run(self.recipe, execute=self.execute, **more)
        return list(self.done), result


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_steps_run_in_order_once(shop: Workshop) -> None:
    assert shop.run()[0] == ["export", "optimize", "bench"]
    done, result = shop.run()
    assert done == []
    assert all(step.unchanged for step in result.steps)


def test_every_step_is_announced_with_a_command_to_paste(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.folder)
    told: list[StepRun] = []
    run(shop.recipe, execute=shop.execute, announce=told.append)
    assert [step.command for step in told] == [
        "deploycompress export net.py:f --output build/m.onnx --target server-cpu",
        "deploycompress optimize build/m.onnx --output build/o.onnx --data samples --target server-cpu",
        "deploycompress bench build/m.onnx build/o.onnx --json build/r.json --target server-cpu",
    ]
    assert [(step.number, step.of) for step in told] == [(1, 3), (2, 3), (3, 3)]


def edit_code(shop: Workshop) -> None:
    (shop.folder / "net.py").write_text("f = 2\n")


def touch_code(shop: Workshop) -> None:
    (shop.folder / "net.py").write_text("f = 1\n\n")


def add_sample(shop: Workshop) -> None:
    (shop.folder / "samples" / "b.npy").write_bytes(b"2")


def damage_result(shop: Workshop) -> None:
    (shop.folder / "build" / "o.onnx").write_text("damaged")


def remove_report(shop: Workshop) -> None:
    (shop.folder / "build" / "r.json").unlink()


def skip_a_pass(shop: Workshop) -> None:
    shop.recipe.write_text(RECIPE.replace("data: samples", "data: samples, skip: [x]"))


def retarget(shop: Workshop) -> None:
    shop.recipe.write_text(RECIPE.replace("server-cpu", "edge-arm64"))


def forget(shop: Workshop) -> None:
    (shop.folder / "build" / ".deploycompress" / "state.json").write_text('{"version": 1, "steps": ')


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edit_code, ["export", "optimize", "bench"]),
        (touch_code, ["export", "optimize", "bench"]),
        (add_sample, ["optimize"]),  # its output comes out the same, so the benchmark stands
        (damage_result, ["optimize"]),
        (remove_report, ["bench"]),
        (skip_a_pass, ["optimize", "bench"]),
        (retarget, ["export", "optimize", "bench"]),
        (forget, ["export", "optimize", "bench"]),
    ],
)
def test_changed_step_and_what_hangs_on_it_run_again(
    shop: Workshop, change: Callable[[Workshop], None], expected: list[str]
) -> None:
    shop.run()
    change(shop)
    assert shop.run()[0] == expected
    assert shop.run()[0] == []


def test_restart_does_everything(shop: Workshop) -> None:
    shop.run()
    assert shop.run(from_scratch=True)[0] == ["export", "optimize", "bench"]


@pytest.mark.parametrize(
    ("code", "kind"), [(2, UsageError), (4, InputRejectedError), (5, EnvironmentLacksError), (70, DeployCompressError)]
)
def test_failed_step_stops_the_run_with_its_exit_code_and_the_next_run_goes_on(
    shop: Workshop, code: int, kind: type[DeployCompressError]
) -> None:
    shop.fails["optimize"] = code
    with pytest.raises(kind, match=f"step 2 of 3 ended with exit code {code}; .*goes on from"):
        shop.run()
    assert shop.done == ["export", "optimize"]
    shop.fails.clear()
    assert shop.run()[0] == ["optimize", "bench"]


def test_killed_step_is_named(shop: Workshop) -> None:
    shop.fails["bench"] = -9
    with pytest.raises(EnvironmentLacksError, match="step 3 of 3 was killed by signal 9"):
        shop.run()


def test_step_that_left_no_file_runs_again(shop: Workshop) -> None:
    shop.run()
    state = json.loads((shop.folder / "build" / ".deploycompress" / "state.json").read_text())
    assert set(state["steps"]) == {"1 export", "2 optimize", "3 bench"}
    (shop.folder / "build" / "m.onnx").unlink()
    assert shop.run()[0] == ["export"]


def test_auto_target_is_resolved_once_and_shown(shop: Workshop) -> None:
    shop.recipe.write_text(RECIPE.replace("server-cpu", "auto"))
    _, result = shop.run()
    assert result.target != "auto"
    assert all(f"--target {result.target}" in step.command for step in result.steps)


def test_unknown_target_is_refused_before_anything_runs(shop: Workshop) -> None:
    shop.recipe.write_text(RECIPE.replace("server-cpu", "server-cqu"))
    with pytest.raises(UsageError, match="unknown target 'server-cqu'; did you mean server-cpu"):
        shop.run()
    assert shop.done == []
