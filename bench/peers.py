"""model file, peer -> simplified file, or how the peer failed. Each runs in a process of its own, with a time limit.

Peers: onnxslim and onnxsim by their command lines, default options (`pip install -e '.[bench]' -c constraints.txt`).
The processes are forked from one that has imported both, so that importing is paid once.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path

PEERS = ("onnxslim", "onnxsim")
_LIMIT_S = 180.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([*PEERS, "onnxruntime"])


def simplify(peer: str, source: Path, output: Path) -> str:
    """Writes what `peer` makes of `source` to `output`; returns "" or, in a few words, how it failed."""
    output.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        child = _FORKS.Process(target=_run, args=(peer, source, output, said))
        child.start()
        child.join(_LIMIT_S)
        if child.exitcode is None:
            child.kill()
            child.join()
            return f"no end after {_LIMIT_S:g} s"
        if child.exitcode < 0:
            return f"crashed ({signal.Signals(-child.exitcode).name})"
        if child.exitcode > 0 or not output.is_file():
            lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
            return f"failed: {lines[-1][:80]}" if lines else f"failed with exit code {child.exitcode}"
    return ""


def _run(peer: str, source: Path, output: Path, said: Path) -> None:
    """Runs the command line of `peer` in this process; its last words on stderr go to the file `said`."""
    for stream, number in ((os.devnull, 1), (said, 2)):
        file = os.open(stream, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    sys.argv = [peer, str(source), str(output)]
    runpy.run_module(peer, run_name="__main__", alter_sys=True)
