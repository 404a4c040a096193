"""rows -> a text table no wider than the terminal; long cells wrap."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Sequence

_NARROWEST = 60


def render(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as text; columns of numbers align right, long cells wrap, nothing is cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [[str(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, header in enumerate(headers):
        numeric = bool(cells) and all(row[column].replace(".", "").rstrip("%").isdigit() for row in cells)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    stream = io.StringIO()
    width = max(_NARROWEST, shutil.get_terminal_size((120, 40)).columns)
    Console(file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
