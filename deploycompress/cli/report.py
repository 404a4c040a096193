"""`deploycompress report`: render a stored report, compare two, or run one again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from deploycompress.cli import console
from deploycompress.errors import GateError

if TYPE_CHECKING:
    from deploycompress.records.compared import Compared

_SHOW = "show"


class _ShowsByDefault(TyperGroup):
    """`report result.json` is `report show result.json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's context
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)


report = typer.Typer(
    name="report",
    cls=_ShowsByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Render a stored report, compare two, or run one again.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Stored = Annotated[Path, typer.Argument(help="Report that bench wrote with --json.", show_default=False)]
FailIfWorse = Annotated[bool, typer.Option("--fail-if-worse", help="Exit 1 if a figure became worse.")]


@report.command(_SHOW)
def show(
    result: Stored,
    html: Annotated[Path | None, typer.Option(help="Write it as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit XML.")] = None,
    json_path: console.JsonOption = None,
) -> None:
    """Show a report in the terminal, or write it in another form (the default: report result.json)."""
    from deploycompress.cli.reports import write
    from deploycompress.report import json

    console.show_settings("report", {"report": result})
    write(json.read(result), json_path=json_path, markdown=markdown, html=html, junit=junit)


@report.command("compare")
def compare_two(
    old: Stored,
    new: Stored,
    fail_if_worse: FailIfWorse = False,
    json_path: console.JsonOption = None,
) -> None:
    """Compare two reports model by model and figure by figure: better, worse, or no difference."""
    from deploycompress.flow.compare import compare
    from deploycompress.report import json

    console.show_settings("report compare", {"old": old, "new": new})
    _conclude(compare(json.read(old), json.read(new)), fail_if_worse, json_path)


@report.command("replay")
def replay_one(
    result: Stored,
    fail_if_worse: FailIfWorse = False,
    json_path: console.JsonOption = None,
) -> None:
    """Run the command of a report again, from the same folder, and compare."""
    from deploycompress.flow.compare import compare
    from deploycompress.flow.replay import arguments, replay
    from deploycompress.report import json

    before = json.read(result)
    console.show_settings("report replay", {"report": result, "command": shlex.join(arguments(before))})
    _conclude(compare(before, replay(before)), fail_if_worse, json_path)


def _conclude(found: Compared, fail_if_worse: bool, json_path: Path | None) -> None:
    from deploycompress.cli.tables import render

    write = console.stderr if str(json_path) == "-" else console.stdout
    rows = [(d.model, d.figure, d.old, d.new, d.change, d.judgement) for d in found.differences]
    write(render(("model", "figure", "old", "new", "new - old or new / old", "judgement"), rows))
    for note in found.notes:
        write(f"note: {note}")
    write(found.verdict)
    console.write_json(found, json_path)
    if fail_if_worse and found.worse:
        raise GateError(f"{len(found.worse)} figures became worse: {found.verdict}")
