"""samples -> labels: from a table of files, or from the sub-folders that the files lie in.

A table is a .csv with the file in the first column and the class index (or a score) in the second; further columns and
a header are ignored. Sub-folders are classes in sorted order, 0 .. n-1, unless their names are the numbers themselves.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploycompress.data.source import Label, Unusable
from deploycompress.errors import DataRejectedError

BESIDE = "labels.csv"
_CLASSES_SHOWN = 4


@dataclass(frozen=True)
class Labels:
    """Labels by file.

    Attributes:
        table: Label by file name, where a table was given or lies beside the samples; None where there is none.
        folders: Label by sub-folder.
        notes: Where the labels come from.
        path: The table, which is not itself a sample.
    """

    table: Mapping[str, Label] | None = None
    folders: Mapping[Path, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def of(self, file: Path) -> Label:
        """The label of a file; None where nothing labels any.

        Raises:
            Unusable: There is a table of labels without this file.
        """
        if self.table is None:
            return self.folders.get(file.parent)
        for key in (file.name, file.stem):
            if key in self.table:
                return self.table[key]
        raise Unusable("it has no label in the table")


def find(folder: Path, files: Sequence[Path], given: Path | None) -> Labels:
    """The labels of `files`: from the table `given`, one lying beside them, or their sub-folders.

    Raises:
        DataRejectedError: The table cannot be read.
    """
    beside = (folder / BESIDE, folder.parent / f"{folder.name}_labels.csv")
    table = given or next((path for path in beside if path.is_file()), None)
    if table is not None:
        return Labels(read_table(table), notes=(f"labels from {table.name}",), path=table)
    parents = {path.parent for path in files}
    if len(parents) < 2 or folder in parents:
        return Labels()
    names = sorted(parents, key=lambda path: path.as_posix())
    if len({path.name for path in names}) == len(names) and all(path.name.isdecimal() for path in names):
        classes = {path: int(path.name) for path in names}
    else:
        classes = {path: number for number, path in enumerate(names)}
    shown = ", ".join(f"{path.name} = {number}" for path, number in list(classes.items())[:_CLASSES_SHOWN])
    more = ", ..." if len(classes) > _CLASSES_SHOWN else ""
    return Labels(folders=classes, notes=(f"labels from {len(classes)} sub-folders: {shown}{more}",))


def read_table(path: Path) -> dict[str, Label]:
    """Labels by file name (and by name without suffix), from `file,<class index>[,...]` rows.

    Raises:
        DataRejectedError: It cannot be read, or a row has no number in its second column.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataRejectedError(f"the labels cannot be read: {error}", where=str(path)) from error
    table: dict[str, Label] = {}
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        label = _number(row[1].strip()) if len(row) > 1 else None
        if label is None:
            if number == 1:
                continue  # a header
            raise DataRejectedError(
                f"line {number} has no class index in its second column",
                where=str(path),
                remedy="write file,<class index> on every line",
            )
        name = Path(row[0].strip()).name
        for key in (name, Path(name).stem):
            if table.setdefault(key, label) != label and key == name:
                raise DataRejectedError(f"line {number} labels {name!r} a second time, differently", where=str(path))
    if not table:
        raise DataRejectedError("there is no label in it", where=str(path), remedy="write file,<class index> lines")
    return table


def _number(text: str) -> Label:
    try:
        return int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else None
