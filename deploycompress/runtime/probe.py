"""model file -> loads in a process of its own, so that a file which crashes the runtime cannot crash us.

`python -m deploycompress.runtime.probe MODEL` prints the signature as JSON; `probe(path)` runs that command.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploycompress.errors import DeployCompressError, ModelRejectedError
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.runtime.session import Session, SessionConfig


def probe(model: Path, *, timeout_s: float = 300.0) -> Signature:
    """Opens `model` in a child process and returns what it takes and gives.

    Raises:
        ModelRejectedError: It does not load, crashes ONNX Runtime, or takes longer than `timeout_s` seconds.
    """
    command = [sys.executable, "-m", "deploycompress.runtime.probe", str(model)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelRejectedError(f"loading took over {timeout_s:.0f} s", where=str(model)) from error
    if done.returncode < 0:
        raise ModelRejectedError(
            f"it crashes ONNX Runtime (signal {-done.returncode})",
            where=str(model),
            remedy="the file is damaged or hostile",
        )
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (json.JSONDecodeError, IndexError) as error:
        raise ModelRejectedError(f"probing it failed: {done.stderr.strip()[-300:]}", where=str(model)) from error
    if "error" in answer:
        raise ModelRejectedError(answer["error"], where=str(model))
    return Signature(_specs(answer["inputs"]), _specs(answer["outputs"]))


def _specs(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(item["name"], item["dtype"], None if item["shape"] is None else tuple(item["shape"]))
        for item in items
    )


def main() -> None:
    """Child side: one JSON line on standard output."""
    try:
        session = Session(Path(sys.argv[1]), SessionConfig(threads=1))
        answer = asdict(session.signature)
    except DeployCompressError as error:
        answer = {"error": error.what}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
