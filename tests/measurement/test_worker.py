from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from deploycompress.measurement.worker import write_feeds


def test_what_a_library_prints_does_not_reach_the_answers(tmp_path: Path) -> None:
    # sitecustomize is imported by every Python process that finds it. Its thread stands for a chatty library: once the
    # worker is up it prints through the descriptor, as C++ does.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def chat():\n"
        "    while 'deploycompress.measurement.timing' not in sys.modules:\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(0.3)\n"
        "    while True:\n"
        "        os.write(1, b'chatter\\n')\n"
        "        time.sleep(0.001)\n"
        "threading.Thread(target=chat, daemon=True).start()\n"
    )
    feeds = tmp_path / "feeds.npz"
    names = write_feeds([], feeds)
    model = str(tmp_path / "none.onnx")
    command = {"do": "open", "model": model, "config": {}, "feeds": str(feeds), "names": names, "pin": []}
    with subprocess.Popen(
        [sys.executable, "-m", "deploycompress.measurement.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    ) as child:
        assert child.stdin is not None
        time.sleep(1.5)  # the worker waits for its first command while the library prints
        out, err = child.communicate(json.dumps(command) + "\n", timeout=60)
    assert "chatter" in err
    assert "cannot load" in json.loads(out)["error"]
