"""The log is a line an epoch; TensorBoard's files hold the same figures where they are asked for."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from deploycompress.errors import MissingExtraError
from deploycompress.training import logs
from deploycompress.training.snapshot import Epoch

HISTORY = [Epoch(1, 0.1, 2.0, 1.5, 0.25, {"beta": 3.0}), Epoch(2, 0.05, 1.0, 1.25, 0.5, {"beta": 2.0})]


def test_line_holds_what_the_objective_had_to_say(tmp_path: Path) -> None:
    logs.write(HISTORY, tmp_path, tensorboard=False)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [Epoch(**line) for line in lines] == HISTORY
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_missing_tensorboard_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"deploycompress\[logs\]"):
        logs.write(HISTORY, tmp_path, tensorboard=True)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")
@pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports
def test_event_files_hold_the_figures_of_every_epoch(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done in (1, 2):
        logs.write(HISTORY[:done], tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("eval_accuracy")] == [(1, 0.25), (2, 0.5)]
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("beta")] == [(1, 3.0), (2, 2.0)]
