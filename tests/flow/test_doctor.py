"""Wheels that fight over one folder are named with the commands that end the fight."""

from __future__ import annotations

from deploycompress.flow.doctor import diagnose, runtime_wheels


def test_two_wheels_of_one_folder_are_a_failure_with_both_commands() -> None:
    (finding,) = runtime_wheels({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"})
    assert finding.status == "failure"
    assert finding.remedy == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"


def test_one_wheel_is_fine() -> None:
    (finding,) = runtime_wheels({"onnxruntime": "1.31.1", "numpy": "2"})
    assert (finding.status, finding.detail) == ("ok", "onnxruntime 1.31.1")


def test_no_wheel_names_the_extra() -> None:
    (finding,) = runtime_wheels({})
    assert finding.remedy == "pip install 'deploycompress[cpu]'"


def test_the_retired_tools_are_remarked_on() -> None:
    findings = list(runtime_wheels({"onnxruntime": "1.31.1", "onnxruntime-tools": "1.7.0"}))
    assert findings[1].status == "warning"
    assert "onnxruntime.transformers" in findings[1].detail


def test_this_machine_is_healthy_and_has_a_target() -> None:
    diagnosis = diagnose()
    assert diagnosis.healthy
    assert {"target", "threads", "execution providers", "temporary files"} <= {f.name for f in diagnosis.findings}
