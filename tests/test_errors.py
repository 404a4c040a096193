"""Messages say what, where and how to mend it, on one line; classes carry the exit codes of the contract."""

from __future__ import annotations

import pytest

from deploycompress import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.GateError, 1),
        (errors.UsageError, 2),
        (errors.UnsupportedError, 2),
        (errors.InvalidOutputError, 3),
        (errors.ModelRejectedError, 4),
        (errors.DataRejectedError, 4),
        (errors.CheckpointRejectedError, 4),
        (errors.EnvironmentLacksError, 5),
    ],
)
def test_exit_codes_follow_the_contract(kind: type[errors.DeployCompressError], code: int) -> None:
    assert kind("x").exit_code == code


def test_a_message_names_what_where_and_the_remedy_on_one_line() -> None:
    error = errors.ModelRejectedError("it is\n  empty", where="m.onnx", remedy="download it again")
    assert str(error) == "m.onnx: it is empty; download it again"


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = errors.UnknownNameError("pass", "FoldConstant", ["FoldConstants", "FoldAffine", "StripUnused"])
    assert str(error).startswith("unknown pass 'FoldConstant'; did you mean FoldConstants")


def test_a_missing_extra_names_the_command() -> None:
    assert str(errors.MissingExtraError("torch", "train")) == (
        "torch is not installed; pip install 'deploycompress[train]'"
    )
