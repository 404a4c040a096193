from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_what_a_library_prints_does_not_reach_the_answers(tmp_path: Path) -> None:
    # sitecustomize is imported by every Python process that finds it; the thread stands for a chatty library, and it
    # prints through the descriptor as C++ does.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def chat():\n"
        "    while True:\n"
        "        os.write(1, b'chatter\\n')\n"
        "        time.sleep(0.01)\n"
        "def later():\n"
        "    time.sleep(1.0)\n"
        "    chat()\n"
        "threading.Thread(target=later, daemon=True).start()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "deploycompress.measurement.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    command = {"do": "open", "model": "none.onnx", "config": {}, "feeds": "none.npz", "names": [], "pin": []}
    assert child.stderr is not None
    assert child.stderr.readline() == "chatter\n"  # the library speaks, and to standard error
    command["feeds"] = str(tmp_path / "feeds.npz")
    from deploycompress.measurement.worker import write_feeds

    write_feeds([], tmp_path / "feeds.npz")
    child.stdin.write(json.dumps(command) + "\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    child.kill()
    child.communicate()
    assert "none.onnx" in json.loads(answer)["error"] or "cannot load" in json.loads(answer)["error"]
