"""the outcome of a command -> one versioned JSON document, from which every rendering is made.

The JSON holds all there is; terminal, Markdown and HTML show parts of it. Infinity is written as the string "Infinity".
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from deploycompress.records.environment import Environment
from deploycompress.records.measured import (
    Accuracy,
    Comparison,
    Contents,
    Fidelity,
    Flip,
    Latency,
    LayerError,
    LayerFigure,
    Placement,
    Throughput,
)
from deploycompress.records.steps import StepOutcome

MEASURED = "measured"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Row(_Frozen):
    """One model on one execution provider.

    Attributes:
        name: Short name, unique in the report unless the provider tells rows apart.
        path: The file as it was named.
        sha256: Over the file and its external data.
        size_bytes: The file and its external data.
        download_bytes: The same after zlib.
        smaller: Size of the baseline over size of this model.
        contents: Where its bytes lie.
        status: "measured", or "not measured: " and the reason.
        requested: Execution provider asked for; what really ran is in `placement`.
        latency: Run times.
        comparison: Latency against the baseline on the same provider.
        accuracy: The metric on labelled samples.
        top5: Top-5 on the same samples, where the metric is top-1.
        flips: Samples that only one of this model and the baseline gets right.
        fidelity: Outputs against those of the baseline.
        placement: Effective providers, nodes and time on each, threads.
        peak_memory_bytes: Peak of the process that ran it, interpreter and runtime included.
        model_memory_bytes: Growth of that peak since before the model was opened.
        layers: Where its time goes, in order of execution; empty where it was not asked for.
        layer_errors: How close it is to the baseline inside, in order of the graph; empty likewise.
        notes: What a reader should know: unstable times, contention, why a figure is absent.
    """

    name: str
    path: str
    sha256: str
    size_bytes: int = Field(ge=0)
    download_bytes: int | None = None
    smaller: float | None = None
    contents: Contents | None = None
    status: str
    requested: str
    latency: Latency | None = None
    comparison: Comparison | None = None
    accuracy: Accuracy | None = None
    top5: Accuracy | None = None
    flips: tuple[Flip, ...] = ()
    fidelity: Fidelity | None = None
    placement: Placement | None = None
    peak_memory_bytes: int | None = None
    model_memory_bytes: int | None = None
    layers: tuple[LayerFigure, ...] = ()
    layer_errors: tuple[LayerError, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether its latency was measured where it was asked for."""
        return self.status == MEASURED


class SweepRow(_Frozen):
    """One model at one setting of a sweep; `Row` tells what the fields mean.

    Attributes:
        name: Of the model.
        requested: Execution provider asked for.
        batch: Samples per run.
        sequence: Length of the free axis beside the batch; None where it was left as the samples have it.
        threads: Intra-op threads.
        status: "measured", or "not measured: " and the reason.
        latency: Run times.
        comparison: Latency against the baseline at the same setting.
        throughput: Samples a second of several processes at once, one entry for each number of them.
        placement: Effective providers.
        notes: What a reader should know.
    """

    name: str
    requested: str
    batch: int = Field(ge=1)
    sequence: int | None = Field(default=None, ge=1)
    threads: int = Field(ge=1)
    status: str
    latency: Latency | None = None
    comparison: Comparison | None = None
    throughput: tuple[Throughput, ...] = ()
    placement: Placement | None = None
    notes: tuple[str, ...] = ()


class TargetRow(_Frozen):
    """One model on one kind of device.

    Attributes:
        target: Name of the profile.
        kind: "server", "mobile" or "edge".
        model: Name of the row.
        status: "measured" on such a device, "estimated" from its peak rates, or "not measured: " and the reason.
        median_ms: Median where it was measured.
        floor_ms: Where it is estimated: the arithmetic alone at the peak of one core; it cannot be faster.
        source: Where an estimate comes from.
    """

    target: str
    kind: Literal["server", "mobile", "edge"]
    model: str
    status: str
    median_ms: float | None = None
    floor_ms: float | None = None
    source: str = ""


class SkippedSample(_Frozen):
    """A file that could not be used, and why."""

    path: str
    reason: str


class DataSource(_Frozen):
    """Data that a figure rests on.

    Attributes:
        role: What it served for.
        source: The file, folder or function as it was named, or "random".
        fingerprint: Hash over the samples.
        samples: Number of usable samples.
        valid_for_accuracy: False for random data.
        skipped: Files left out.
    """

    role: Literal["evaluation", "latency", "calibration", "training"]
    source: str
    fingerprint: str
    samples: int
    valid_for_accuracy: bool
    skipped: tuple[SkippedSample, ...] = ()


class Gate(_Frozen):
    """A limit the user set: `name` as on the command line, whether it was met, and the figures in words."""

    name: str
    met: bool
    detail: str


class Settings(_Frozen):
    """How the rows were measured; of a sweep, its first setting."""

    batch: int = Field(ge=1)
    sequence: int | None = Field(default=None, ge=1)
    threads: int = Field(ge=1)
    pinned: bool = False
    rounds: int = Field(ge=1)
    seconds: float = Field(ge=0)
    launches: int = Field(ge=1)


class Report(_Frozen):
    """What a command measured, on what, with what, and how to do it again.

    Attributes:
        schema_version: Version of this document's layout.
        package_version: Version of deploycompress.
        created: Date and time in ISO 8601, UTC.
        command: The exact command, shell-quoted.
        target: Name of the target profile.
        environment: Machine and software.
        settings: How the rows were measured.
        data: Data sources with fingerprints.
        steps: What was done to the model before measuring, in order.
        rows: The measurements; the first is the baseline.
        targets: Every model on every kind of device.
        sweep: Every model at every setting, the first one included; empty where there is one setting only.
        gates: Limits and whether they were met.
        notes: What a reader should know about all rows.
        verdict: The result in words, one line per model.
    """

    schema_version: Literal[1] = 1
    package_version: str
    created: str
    command: str
    target: str | None = None
    environment: Environment
    settings: Settings
    data: tuple[DataSource, ...] = ()
    steps: tuple[StepOutcome, ...] = ()
    rows: tuple[Row, ...] = Field(min_length=1)
    targets: tuple[TargetRow, ...] = ()
    sweep: tuple[SweepRow, ...] = ()
    gates: tuple[Gate, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: str

    @property
    def gates_met(self) -> bool:
        """Whether every limit was met."""
        return all(gate.met for gate in self.gates)


def schema() -> dict[str, Any]:
    """JSON Schema of a written report."""
    described = Report.model_json_schema(mode="serialization", schema_generator=_WrittenFloats)
    return {"$schema": _WrittenFloats.schema_dialect} | described


class _WrittenFloats(GenerateJsonSchema):
    """Describes floats as they are written: JSON has no infinity, so it becomes a string."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        number = super().float_schema(schema)
        return {"anyOf": [number, {"enum": ["Infinity", "-Infinity", "NaN"], "type": "string"}]}
