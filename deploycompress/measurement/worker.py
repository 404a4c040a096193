"""JSON commands on standard input -> JSON answers on standard output, about one model in a process of its own.

`python -m deploycompress.measurement.worker` is the child side; `process.Worker` starts it and speaks to it. The
commands are `open`, `warm_up`, `block`, `stream` and `finish`; one line each, one line back.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, TextIO

import numpy as np

from deploycompress.errors import DeployCompressError
from deploycompress.measurement.timing import run_times, warm_up
from deploycompress.measurement.usage import peak_memory_bytes, waited_ns
from deploycompress.runtime.session import Feed, Session, SessionConfig, onnxruntime

Answer = dict[str, Any]


class Server:
    """Holds the open model between the commands."""

    def open(self, command: Answer) -> Answer:
        """Opens the model and runs the first feed once; both are timed apart."""
        if command["pin"] and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, command["pin"])
        onnxruntime()  # the import is not part of loading a model
        self.model, self.config = Path(command["model"]), SessionConfig(**command["config"])
        self.feeds = read_feeds(Path(command["feeds"]), command["names"])
        empty = peak_memory_bytes()
        start = perf_counter_ns()
        self.session = Session(self.model, self.config)
        loaded = perf_counter_ns()
        self.session.run(self.feeds[0])
        ran = perf_counter_ns()
        self.runners: list[Callable[[], object]] = [self.session.runner(feed) for feed in self.feeds]
        return {"load_ms": (loaded - start) / 1e6, "first_run_ms": (ran - loaded) / 1e6, "empty_bytes": empty}

    def warm_up(self, command: Answer) -> Answer:
        """Runs one feed until its time is stable; every shape has its own first-run costs."""
        return {"run_ns": warm_up(self.runners[command["feed"]], int(command["budget_ms"] * 1e6))}

    def block(self, command: Answer) -> Answer:
        """Times runs of one feed in a row."""
        run, times = self.runners[command["feed"]], list[int]()
        run()  # not counted, as in `timed_block`
        return self._observed(lambda: times.extend(run_times(run, command["runs"]))) | {"times_ns": times}

    def stream(self, command: Answer) -> Answer:
        """Runs one feed over and over for a while, and says how often and how long."""
        run, count = self.runners[command["feed"]], 0
        stop = perf_counter_ns() + int(command["budget_ms"] * 1e6)

        def runs() -> None:
            nonlocal count
            while perf_counter_ns() < stop:
                run()
                count += 1

        return self._observed(runs) | {"runs": count}

    def _observed(self, work: Callable[[], None]) -> Answer:
        """Does `work`; the time it took, the processor time, and the time its threads waited for a processor."""
        wall, queued, cpu = perf_counter_ns(), waited_ns(), process_time_ns()
        work()
        cpu, after, wall = process_time_ns() - cpu, waited_ns(), perf_counter_ns() - wall
        waited = None if queued is None or after is None else after - queued
        if waited is None and self.session.threads == 1:  # one thread never sleeps within a run
            waited = max(0, wall - cpu)
        return {"wall_ns": wall, "cpu_ns": cpu, "waited_ns": waited}

    def finish(self, command: Answer) -> Answer:
        """Peak memory, then where the nodes ran, from a second session with profiling on."""
        peak = peak_memory_bytes()
        with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
            profiled = Session(self.model, self.config, profile_dir=Path(folder))
            for _ in range(command["runs"]):
                profiled.run(self.feeds[0])
            placement = profiled.profile().placement(self.config.providers, profiled.threads)
        return {"peak_bytes": peak, "placement": asdict(placement)}


def write_feeds(feeds: list[Feed], path: Path) -> list[list[str]]:
    """Writes feeds as `.npz` (no pickles) and returns the input names of each, which may be any text."""
    arrays = {f"{i}_{j}": np.asarray(array) for i, feed in enumerate(feeds) for j, array in enumerate(feed.values())}
    text = {key: array.astype(np.str_) if array.dtype == object else array for key, array in arrays.items()}
    np.savez(path, allow_pickle=False, **text)
    return [list(feed) for feed in feeds]


def read_feeds(path: Path, names: list[list[str]]) -> list[dict[str, Any]]:
    """The feeds that `write_feeds` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return [{name: _text(stored[f"{i}_{j}"]) for j, name in enumerate(inputs)} for i, inputs in enumerate(names)]


def serve(commands: TextIO, answers: TextIO) -> None:
    """Answers commands until the input ends."""
    server = Server()
    known = {name: getattr(server, name) for name in ("open", "warm_up", "block", "stream", "finish")}
    for line in commands:
        command = json.loads(line)
        try:
            answer = known[command["do"]](command)
        except DeployCompressError as error:
            answer = {"error": error.what, "remedy": error.remedy, "exit_code": error.exit_code}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Keeps standard output for answers alone: whatever a library prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends us by closing our input
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


def _text(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(object) if array.dtype.kind == "U" else array


if __name__ == "__main__":
    main()
