"""a report -> the same command run again, in a process of its own, and the report it made.

Options that name output files are left out, so that nothing of the first run is overwritten.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from deploycompress.errors import EnvironmentLacksError, InputRejectedError, UnsupportedError
from deploycompress.records.report import Report
from deploycompress.report import json

_WRITES = ("--json", "--markdown", "--html", "--junit")


def arguments(report: Report) -> list[str]:
    """Arguments of `deploycompress` that made the report, without those that write files.

    Raises:
        UnsupportedError: The report does not say, or another command than bench made it.
    """
    words = shlex.split(report.command)
    if words[:2] != ["deploycompress", "bench"]:
        said = f"it was made by {report.command!r}" if report.command else "it does not say which command made it"
        raise UnsupportedError(f"only reports of bench can be replayed, and {said}", remedy="run the command by hand")
    kept, skip = ["bench"], False
    for word in words[2:]:
        if not skip and word.partition("=")[0] not in _WRITES:
            kept.append(word)
        skip = not skip and word in _WRITES
    return kept


def replay(report: Report) -> Report:
    """The report of the command run again, from the working folder.

    Raises:
        UnsupportedError: See `arguments`.
        InputRejectedError: A model or the samples are no longer usable.
        EnvironmentLacksError: The command ended without a report for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "deploycompress", *arguments(report), "--json", str(path)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if not path.is_file():
            failure = InputRejectedError if done.returncode == InputRejectedError.exit_code else EnvironmentLacksError
            raise failure(
                f"the command ended with exit code {done.returncode} and without a report",
                where=shlex.join(["deploycompress", *arguments(report)]),
                remedy="run it from the folder it was first run from",
            )
        return json.read(path)
