"""file that was written -> that it runs, how close it is, how fast, and what the runtime made of it; or no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnsupportedError
from deploycompress.flow import census
from deploycompress.flow.executed import execute
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.records.measured import Comparison, Fidelity
from deploycompress.runtime.session import Feed, Session


@dataclass(frozen=True)
class Checked:
    """What the file turned out to be.

    Attributes:
        int8_nodes: Nodes of the executed graph that compute in 8 bits.
        weights_dequantized: Weights turned back to float on every run (each one costs more than int8 gains).
        fidelity: Outputs against the float model.
        comparison: Latency against the float model; None where it was not timed.
    """

    int8_nodes: int
    weights_dequantized: int
    fidelity: Fidelity
    comparison: Comparison | None


def self_check(output: Path, original: Session, compared: Iterable[Feed], feed: Feed, *, timed: bool) -> Checked:
    """Runs the file that was written; removes it where it does not run.

    Args:
        output: The file.
        original: The float model.
        compared: What both are run on.
        feed: What is timed and profiled.
        timed: Whether latency is compared.

    Raises:
        InvalidOutputError: It does not load or run; it was removed.
    """
    config = original.config
    try:
        written = Session(output, config)
        meter = FidelityMeter()
        for each in compared:
            meter.add(original.run(each), written.run(each))
        executed = execute(models.load(output), feed, config, runs=1)
    except (ModelRejectedError, UnsupportedError) as error:
        output.unlink(missing_ok=True)
        raise InvalidOutputError(f"the quantized model does not run: {error.what}", where=str(output)) from error
    found = census.take(executed.model)
    return Checked(
        int8_nodes=sum(kind == "int8" for kind in found.kinds.values()),
        weights_dequantized=len(found.dequantized_weights),
        fidelity=meter.result(),
        comparison=quick_compare(original, written, feed) if timed else None,
    )
