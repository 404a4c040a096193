"""model file -> a worker process that times it on command, always ended and reaped.

The parent's side of `worker`. A worker that dies, hangs or refuses becomes one error that names the model.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploycompress.errors import DeployCompressError, EnvironmentLacksError, ModelRejectedError
from deploycompress.measurement.contention import Load
from deploycompress.measurement.worker import write_feeds
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import Feed, SessionConfig

_PROFILED_RUNS = 5
_GRACE_S = 5.0


@dataclass(frozen=True)
class Opened:
    """What opening a model cost.

    Attributes:
        load_ms: Time to create the session, the import of the runtime excluded.
        first_run_ms: Time of the first run after that.
        empty_bytes: Peak memory of the process before it opened the model.
    """

    load_ms: float
    first_run_ms: float
    empty_bytes: int | None


@dataclass(frozen=True)
class Block:
    """Runs of one feed in a row.

    Attributes:
        times_ms: Time of each run.
        load: What they used and lost.
    """

    times_ms: tuple[float, ...]
    load: Load

    @property
    def cpu_ms(self) -> float:
        """Processor time of one run, all threads together."""
        return self.load.cpu_ms / len(self.times_ms)


@dataclass(frozen=True)
class Stream:
    """Runs of one feed in a row for a given time.

    Attributes:
        runs: How many were done.
        load: What they used and lost.
    """

    runs: int
    load: Load


@dataclass(frozen=True)
class Finished:
    """What is read off after the last run.

    Attributes:
        peak_bytes: Peak memory of the process, the Python interpreter and the runtime included.
        placement: Where the nodes ran.
    """

    peak_bytes: int | None
    placement: Placement


class Worker:
    """One model in a fresh process. Use as a context manager; leaving it ends the process.

    Args:
        model: Path of the ONNX file.
        config: How to open it.
        feeds: Inputs to run; all of one model's shapes.
        pin: CPUs the process is confined to; none leaves the choice to the kernel.
        timeout_s: Longest time for one command.
    """

    def __init__(
        self,
        model: Path,
        config: SessionConfig,
        feeds: Sequence[Feed],
        *,
        pin: Sequence[int] = (),
        timeout_s: float = 600.0,
    ) -> None:
        self._model, self._config, self._feeds = model, config, list(feeds)
        self._pin, self._timeout_s = list(pin), timeout_s

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="deploycompress-")
        self._log = (Path(self._folder.name) / "stderr").open("w+b")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "deploycompress.measurement.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._child.kill()
        try:
            self._child.communicate(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        self._log.close()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def open(self) -> Opened:
        """Opens the model.

        Raises:
            ModelRejectedError: It does not load, does not take the feed, or kills the process.
            EnvironmentLacksError: The provider is not installed, or memory ran out.
        """
        feeds = Path(self._folder.name) / "feeds.npz"
        names = write_feeds(self._feeds, feeds)
        config = asdict(self._config) | {"entries": dict(self._config.entries)}
        return Opened(
            **self._ask("open", model=str(self._model), config=config, feeds=str(feeds), names=names, pin=self._pin)
        )

    def warm_up(self, feed: int, budget_ms: float) -> int:
        """Runs feed number `feed` until its time is stable or the budget is spent; median time in nanoseconds."""
        return int(self._ask("warm_up", feed=feed, budget_ms=budget_ms)["run_ns"])

    def block(self, feed: int, runs: int) -> Block:
        """Times `runs` runs of feed number `feed`."""
        answer = self._ask("block", feed=feed, runs=runs)
        times = tuple(time / 1e6 for time in answer["times_ns"])
        return Block(times, _load(answer))

    def stream(self, feed: int, budget_ms: float) -> Stream:
        """Runs feed number `feed` over and over for `budget_ms`."""
        answer = self._ask("stream", feed=feed, budget_ms=budget_ms)
        return Stream(answer["runs"], _load(answer))

    def finish(self) -> Finished:
        """Peak memory and placement; call it after the last block."""
        answer = self._ask("finish", runs=_PROFILED_RUNS)
        placed = answer["placement"]
        placement = Placement(**(placed | {"requested": tuple(placed["requested"])}))
        return Finished(answer["peak_bytes"], placement)

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        late = threading.Timer(self._timeout_s, self._child.kill)
        late.start()
        line = ""
        try:
            assert self._child.stdin is not None
            assert self._child.stdout is not None
            self._child.stdin.write(json.dumps({"do": do} | arguments) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            hung = not late.is_alive()
            late.cancel()
        if not line:
            raise self._death(do, hung=hung)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _raised(answer, str(self._model))
        return answer

    def _death(self, do: str, *, hung: bool) -> DeployCompressError:
        code = self._child.wait()
        where = str(self._model)
        if hung:
            return ModelRejectedError(f"the worker did not answer {do!r} within {self._timeout_s:.0f} s", where=where)
        if code == -signal.SIGKILL:
            return EnvironmentLacksError(
                f"the process measuring it was killed (signal 9) during {do!r}",
                where=where,
                remedy="most likely memory ran out; measure fewer models at once or a smaller batch",
            )
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        cause = f"crashed (signal {-code})" if code < 0 else f"ended with code {code}"
        return ModelRejectedError(f"the process measuring it {cause} during {do!r}: {''.join(last)}", where=where)


def _load(answer: Mapping[str, Any]) -> Load:
    waited = answer["waited_ns"]
    return Load(answer["wall_ns"] / 1e6, answer["cpu_ns"] / 1e6, None if waited is None else waited / 1e6)


def _raised(answer: Mapping[str, Any], where: str) -> DeployCompressError:
    kind = EnvironmentLacksError if answer["exit_code"] == EnvironmentLacksError.exit_code else ModelRejectedError
    return kind(answer["error"], where=where, remedy=answer["remedy"])
