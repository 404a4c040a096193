"""Labels come from a table or from sub-folders, and the message says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.data import labels
from deploycompress.data.source import Unusable
from deploycompress.errors import DataRejectedError


def make(folder: Path, *names: str) -> list[Path]:
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return files


def test_sub_folders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    files = make(tmp_path, "dog/1.png", "cat/1.png", "emu/1.png")
    found = labels.find(tmp_path, files, None)
    assert [found.of(file) for file in files] == [1, 0, 2]
    assert found.notes == ("labels from 3 sub-folders: cat = 0, dog = 1, emu = 2",)


def test_sub_folders_named_by_numbers_are_those_numbers(tmp_path: Path) -> None:
    files = make(tmp_path, "2/a.png", "10/a.png")  # sorted as text, 10 would come first and be class 0
    found = labels.find(tmp_path, files, None)
    assert [found.of(file) for file in files] == [2, 10]


def test_single_sub_folder_is_not_a_class(tmp_path: Path) -> None:
    (file,) = make(tmp_path, "images/a.png")
    assert labels.find(tmp_path, [file], None).of(file) is None


@pytest.mark.parametrize("place", ["set/labels.csv", "set_labels.csv"])
def test_table_beside_the_samples_is_used_before_sub_folders(tmp_path: Path, place: str) -> None:
    files = make(tmp_path / "set", "a/1.png", "b/2.png")
    (tmp_path / place).write_text("file,class_index,more\n1.png,7,x\n2.png,3.5,y\n\n")
    found = labels.find(tmp_path / "set", files, None)
    assert [found.of(file) for file in files] == [7, 3.5]
    assert found.path == tmp_path / place


def test_table_may_lack_a_header_and_suffixes(tmp_path: Path) -> None:
    (file,) = make(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text("\ufeffa,4\n", encoding="utf-8")
    assert labels.find(tmp_path, [file], tmp_path / "t.csv").of(file) == 4


def test_file_missing_from_the_table_is_unusable(tmp_path: Path) -> None:
    (file,) = make(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text("b.png,4\n")
    with pytest.raises(Unusable, match="no label in the table"):
        labels.find(tmp_path, [file], tmp_path / "t.csv").of(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("file,label\na.png,cat\n", r"line 2 has no class index in its second column; write file,<class index>"),
        ("a.png,1\na.png,2\n", "line 2 labels 'a.png' a second time"),
        ("file,label\n", "there is no label in it"),
        ("a.png,1\nb.png,nan\n", "line 2 has no class index"),
    ],
)
def test_table_that_cannot_be_right_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataRejectedError, match=reason):
        labels.read_table(tmp_path / "t.csv")


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError, match=r"t\.csv: the labels cannot be read"):
        labels.read_table(tmp_path / "t.csv")
