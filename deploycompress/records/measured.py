"""Measured quantities with their uncertainty; a value that was not measured is absent, never zero."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval in the unit of the quantity it belongs to."""

    low: float
    high: float
    level: float = 0.95

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval."""
        return value < self.low or value > self.high


@dataclass(frozen=True)
class Latency:
    """Wall-clock time of one run, from interleaved rounds in processes of its own (milliseconds).

    Attributes:
        median_ms: Median over all runs.
        median_interval: Confidence interval of the median.
        p95_ms: 95th percentile over all runs.
        p95_interval: Confidence interval of the 95th percentile.
        load_ms: Time to create the session (median over the processes); not part of the runs.
        first_run_ms: Time of the first run after loading (median over the processes); not part of the runs.
        rounds: Number of interleaved rounds.
        runs: Number of timed runs.
        batch_size: Samples per run.
        launches: Number of fresh processes the rounds are spread over.
        min_ms: Fastest run.
        max_ms: Slowest run.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        drift: Relative change from the first to the last round (0.1 for 10 % slower), or None where too few rounds ran.
        stable: False where the times drifted; such a row says UNSTABLE.
        cpu_ms: Processor time of one run, all threads together (median over the rounds).
        waited_share: Share of the time in which the threads were ready and other work held the processor, or None where
            the operating system does not tell.
    """

    median_ms: float
    median_interval: Interval
    p95_ms: float
    p95_interval: Interval
    load_ms: float
    first_run_ms: float
    rounds: int
    runs: int
    batch_size: int
    launches: int = 1
    min_ms: float | None = None
    max_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    drift: float | None = None
    stable: bool = True
    cpu_ms: float | None = None
    waited_share: float | None = None


Unit = Literal["%", "dB", ""]
"""Of a metric: "%" for a share of 1 (0.81 is shown as 81 %), decibels, or a plain number."""


@dataclass(frozen=True)
class ClassFigure:
    """One class of a classifier.

    Attributes:
        label: Number of the class.
        count: Samples with that label.
        value: Share of them that are right, or F1 of the class where the metric is an F1.
        drop: `baseline value - value`; None for the baseline itself.
    """

    label: int
    count: int
    value: float
    drop: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """A metric on labelled samples; `drop` says how much worse than the baseline, paired sample by sample.

    Attributes:
        metric: Name of the metric, e.g. "top-1".
        value: The metric; a share is one of 1 (0.81 for 81 %).
        interval: Confidence interval of `value`.
        count: Number of samples.
        drop: How much worse than the baseline: `baseline value - value`, or the reverse of it for a loss; None for the
            baseline itself.
        drop_interval: Confidence interval of `drop`.
        lost: Samples that the baseline gets right and this model wrong.
        gained: Samples that the baseline gets wrong and this model right.
        p_value: Exact McNemar test that losing and gaining are equally likely.
        unit: Of `value` and `drop`.
        higher_is_better: False for a loss.
        classes: Figures by class, where there are classes.
    """

    metric: str
    value: float
    interval: Interval
    count: int
    drop: float | None = None
    drop_interval: Interval | None = None
    lost: int | None = None
    gained: int | None = None
    p_value: float | None = None
    unit: Unit = "%"
    higher_is_better: bool = True
    classes: tuple[ClassFigure, ...] = ()

    def against(self, drop: float, interval: Interval) -> Accuracy:
        """This with its drop."""
        return replace(self, drop=drop, drop_interval=interval)

    def with_flips(self, lost: int, gained: int, p_value: float) -> Accuracy:
        """This with what became of single samples."""
        return replace(self, lost=lost, gained=gained, p_value=p_value)


@dataclass(frozen=True)
class Flip:
    """A sample that only one of two models gets right.

    Attributes:
        name: Where it came from.
        change: "right to wrong" or "wrong to right", from the baseline to this model.
    """

    name: str
    change: Literal["right to wrong", "wrong to right"]


@dataclass(frozen=True)
class OutputFidelity:
    """One output against the same of the baseline; see `Fidelity`."""

    name: str
    sqnr_db: float
    max_abs: float
    cosine: float | None


@dataclass(frozen=True)
class Fidelity:
    """How close the outputs are to those of the baseline, without labels.

    Attributes:
        sqnr_db: `10 log10(sum ref^2 / sum (ref - out)^2)` over all outputs and samples, in decibels; inf when equal.
        max_abs: Largest absolute difference.
        max_rel: `max_abs` over the largest absolute value of the reference.
        agreement: Share of samples with the same arg-max of the first output, or None where that has no meaning.
        count: Number of samples.
        cosine: Cosine between all reference and all candidate outputs, 0 where one alone has a NaN or infinity, or
            None where one of them is all zero.
        outputs: The same by output.
    """

    sqnr_db: float
    max_abs: float
    max_rel: float
    agreement: float | None
    count: int
    cosine: float | None = None
    outputs: tuple[OutputFidelity, ...] = ()


@dataclass(frozen=True)
class ModelSize:
    """What a model weighs on disk and on the wire.

    Attributes:
        size_bytes: The file and its external data.
        download_bytes: The same after zlib, or None where it was not compressed.
    """

    size_bytes: int
    download_bytes: int | None


@dataclass(frozen=True)
class LayerBytes:
    """A node and the bytes of the tensors that are stored for it."""

    name: str
    op_type: str
    size_bytes: int


@dataclass(frozen=True)
class Contents:
    """Where the bytes of a model file lie.

    Attributes:
        bytes_by_dtype: Of stored tensors by element type, largest first.
        layers: Of stored tensors by the node that reads them, largest first.
        duplicated_bytes: Of tensors that are stored once more elsewhere in the file.
        orphaned_bytes: Of tensors that no node reads, and of external data that no tensor refers to.
    """

    bytes_by_dtype: dict[str, int]
    layers: tuple[LayerBytes, ...]
    duplicated_bytes: int
    orphaned_bytes: int


@dataclass(frozen=True)
class LayerFigure:
    """One node of the graph that ONNX Runtime executed, after its own fusions.

    Attributes:
        name: Its name there.
        op_type: Operator.
        kind: "int8", "float", "conversion" or "other".
        time_us: Time in one run (us).
        operations: Multiplications and additions of a convolution or product; None for other nodes.
        of_peak: Share of this machine's measured peak that they reach.
        note: Why it stayed float in a quantized model, or what it converts; empty elsewhere.
    """

    name: str
    op_type: str
    kind: str
    time_us: float
    operations: int | None = None
    of_peak: float | None = None
    note: str = ""


@dataclass(frozen=True)
class LayerError:
    """A tensor that a model and its baseline both compute, and how close they are there.

    Attributes:
        name: Of the tensor.
        op_type: Operator of the baseline that makes it.
        sqnr_db: `10 log10(sum ref^2 / sum (ref - out)^2)` over the samples, in decibels; inf where equal.
    """

    name: str
    op_type: str
    sqnr_db: float


@dataclass(frozen=True)
class Placement:
    """Where the nodes really ran: the effective execution providers, never the requested ones.

    Attributes:
        requested: Providers asked for, in order.
        nodes: Nodes per effective provider.
        time_share: Share of kernel time per effective provider (sums to 1), empty where it was not profiled.
        threads: Intra-op threads in use.
    """

    requested: tuple[str, ...]
    nodes: dict[str, int]
    threads: int
    time_share: dict[str, float] = field(default_factory=dict)

    @property
    def effective(self) -> str:
        """Name of the provider that ran the graph, or "A + B" where several shared it."""
        names = [name.removesuffix("ExecutionProvider") for name, count in self.nodes.items() if count]
        return " + ".join(names) if names else "none"


Verdict = Literal["FASTER", "SLOWER", "NO DIFFERENCE", "TOO NOISY"]
"""TOO NOISY: nothing was shown, and a difference of five percent might not have shown either."""


@dataclass(frozen=True)
class Comparison:
    """Latency of a candidate against the baseline, from rounds measured side by side.

    Attributes:
        speedup: Typical `baseline / candidate` over the rounds; above 1 the candidate is faster.
        interval: Confidence interval of `speedup`.
        verdict: FASTER or SLOWER only where the effect is large enough to mean something and the interval bears it out.
        rounds: Number of paired rounds behind it.
    """

    speedup: float
    interval: Interval
    verdict: Verdict
    rounds: int | None = None


@dataclass(frozen=True)
class Throughput:
    """Samples a second of several processes of one model that run at once.

    Attributes:
        instances: How many.
        samples_per_s: Of all of them together, median over the windows.
        interval: Confidence interval of it.
        windows: Stretches of time that were counted.
        comparison: Against the baseline run the same way; None for the baseline itself.
    """

    instances: int
    samples_per_s: float
    interval: Interval
    windows: int
    comparison: Comparison | None = None
