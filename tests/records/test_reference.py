"""References are resolved from files and modules; every way to get one wrong has its own sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploycompress.errors import EnvironmentLacksError, MissingExtraError, UnknownNameError, UsageError
from deploycompress.records.reference import is_reference, resolve


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("package.module:name", True),
        ("models/digits/model.py:teacher", True),
        ("C:\\models\\model.py:teacher", True),
        ("folder", False),
        ("folder/data.npz", False),
        ("a:b:c", False),
        ("module:", False),
        (":name", False),
        ("module:not a name", False),
    ],
)
def test_text_is_told_apart_from_reference(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


def test_file_reference_is_relative_to_base(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def build():\n    return 42\n")
    assert resolve("model.py:build", base=tmp_path)() == 42


def test_file_can_import_its_sibling_and_path_is_restored(tmp_path: Path) -> None:
    (tmp_path / "sibling_of_reference.py").write_text("VALUE = 7\n")
    (tmp_path / "main.py").write_text("from sibling_of_reference import VALUE\n")
    before = list(sys.path)
    assert resolve("main.py:VALUE", base=tmp_path) == 7
    assert sys.path == before


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("VALUE = 1\n")
    assert resolve("model.py:VALUE", base=tmp_path) == 1
    (tmp_path / "model.py").write_text("VALUE = 20\n")
    assert resolve("model.py:VALUE", base=tmp_path) == 20


def test_dataclass_in_file_resolves(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 3\n"
    )
    assert resolve("model.py:A", base=tmp_path)().x == 3


def test_module_in_base_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_reference.py").write_text("VALUE = 5\n")
    monkeypatch.delitem(sys.modules, "module_of_reference", raising=False)
    assert resolve("module_of_reference:VALUE", base=tmp_path) == 5


def test_installed_module_resolves() -> None:
    assert resolve("math:sqrt")(9.0) == 3.0


def test_wrong_form_names_the_forms() -> None:
    with pytest.raises(UsageError, match=r"'data' is not a reference; write module:function or path/file\.py:function"):
        resolve("data")


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.py: there is no such file; check the path in 'model\.py:build'"):
        resolve("model.py:build", base=tmp_path)


def test_absent_module_is_named() -> None:
    with pytest.raises(UsageError, match="there is no module 'surely_absent_module'"):
        resolve("surely_absent_module.part:f")


def test_unknown_name_lists_nearest(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import math as techier\ndef teacher():\n    pass\n")
    with pytest.raises(UnknownNameError, match=r"model\.py: unknown name 'techer'; did you mean teacher\?"):
        resolve("model.py:techer", base=tmp_path)


def test_missing_package_of_file_is_environment_error(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import surely_absent_package\n")
    with pytest.raises(EnvironmentLacksError, match="it imports 'surely_absent_package', which is not installed"):
        resolve("model.py:build", base=tmp_path)


def test_missing_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    with pytest.raises(MissingExtraError, match=r"torch is not installed; pip install 'deploycompress\[train\]'"):
        resolve("model.py:build", base=tmp_path)


def test_failing_import_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1 / 0\n")
    with pytest.raises(UsageError, match=r"model\.py: importing it raised ZeroDivisionError: division by zero"):
        resolve("model.py:build", base=tmp_path)
