"""The `deploycompress` command: every error on one line with the exit code of its class, no traceback without --debug.

Exit codes: 0 done, 1 a gate was not met, 2 usage, 3 an invalid model was produced (and removed), 4 input rejected,
5 the environment lacks something, 70 a defect of ours, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from deploycompress import __version__
from deploycompress.cli.console import stderr
from deploycompress.errors import DeployCompressError

_INTERRUPTED = 130
COMMANDS = (
    "train",
    "distill",
    "export",
    "optimize",
    "prune",
    "factorize",
    "calibrate",
    "quantize",
    "bench",
    "explain",
    "run",
    "report",
    "doctor",
    "targets",
)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that `arguments` name, or with all where they name none of them.

    Reading the options of a command takes time, so only those that are needed are read.
    """
    app = typer.Typer(
        name="deploycompress",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: importing rich would double its time
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        found = getattr(importlib.import_module(f"deploycompress.cli.{name}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command()(found)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"deploycompress {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A PyTorch or ONNX model in; the fastest, smallest ONNX file that keeps the accuracy out, with proof."""
    del version, debug  # read from argv in main, before any parsing can fail


def main() -> None:
    """Console entry point."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        build(arguments)(args=arguments, prog_name="deploycompress")
    except DeployCompressError as error:
        if debug:
            raise
        stderr(f"error: {error}")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has made this of a KeyboardInterrupt, without a word
            stderr("interrupted")
        raise
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        said = " ".join(str(error).split())
        stderr(f"internal error: {type(error).__name__}: {said}; please report it with the output of --debug")
        sys.exit(70)
