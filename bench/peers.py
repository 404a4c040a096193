"""model file, peer -> simplified file, or how the peer failed. Each runs in a process of its own, with a time limit.

Peers: onnxslim and onnxsim by their command lines, default options (`pip install -e '.[bench]' -c constraints.txt`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

PEERS = ("onnxslim", "onnxsim")
_LIMIT_S = 180.0


def simplify(peer: str, source: Path, output: Path) -> str:
    """Writes what `peer` makes of `source` to `output`; returns "" or, in a few words, how it failed."""
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", peer, str(source), str(output)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {_LIMIT_S:g} s"
    if done.returncode < 0:
        return f"crashed ({signal.Signals(-done.returncode).name})"
    if done.returncode > 0 or not output.is_file():
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return f"failed: {lines[-1][:80]}" if lines else f"failed with exit code {done.returncode}"
    return ""
