"""What a calibration file says in words: which model, which samples, how they were read, the scalars of each tensor.

`X.calib.json` holds a `Header`; the arrays it describes are in `X.calib.npz` beside it, which it knows by its sha256.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deploycompress.calibration.gram import LayerInput
from deploycompress.calibration.histogram import LARGEST_EXPONENT, SMALLEST_EXPONENT

SCHEMA_VERSION: Literal[2] = 2

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Stamp(BaseModel):
    """The two keys by which a calibration file of any version is known."""

    format: Literal["deploycompress calibration"]
    schema_version: int


class DataOrigin(_Frozen):
    """The samples, all of them, whether this file saw all or a share.

    Attributes:
        source: The file, folder or function as it was named.
        fingerprint: sha256 over every feed (see `data.Samples`).
        feeds: Number of feeds; one sample each, but for models of a fixed batch.
        valid_for_accuracy: False for random data.
        preprocess: How images became inputs, every field of `data.preprocess.Preprocess`; None for other samples.
        tokenizer_sha256: Of the tokenizer file; None where there was none.
    """

    source: str
    fingerprint: _Sha256
    feeds: int = Field(ge=1)
    valid_for_accuracy: bool
    preprocess: dict[str, Any] | None = None
    tokenizer_sha256: _Sha256 | None = None


class Shard(_Frozen):
    """Share `index` of `count`, from 1: the feeds k = 0, 1, ... with `k % count == index - 1`."""

    index: int = Field(ge=1)
    count: int = Field(ge=1)

    @model_validator(mode="after")
    def _within(self) -> Shard:
        if self.index > self.count:
            raise ValueError(f"shard {self.index} of {self.count} does not exist")
        return self

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def positions(self, feeds: int) -> range:
        """The feeds of this share among so many."""
        return range(self.index - 1, feeds, self.count)


class Origin(_Frozen):
    """What statistics were made from; two files that differ here do not belong together.

    Attributes:
        package_version: Version of deploycompress.
        model: The model file as it was named.
        model_sha256: Over the file and its external data.
        target: Name of the target profile, whose rules decide which tensors are looked at.
        rewrites: Exact rewrites that were applied first; the names of tensors depend on them.
        data: The samples.
        shard: The share of the samples this file saw; None for all.
        ended: Why no more samples were looked at.
    """

    package_version: str
    model: str
    model_sha256: _Sha256
    target: str
    rewrites: tuple[str, ...]
    data: DataOrigin
    shard: Shard | None = None
    ended: str = "every sample was used"


class TensorEntry(_Frozen):
    """The scalars of one tensor (see `TensorStatistics`) and the lengths of its arrays.

    Attributes:
        name: Of the tensor.
        count: Finite elements.
        low: Smallest of them; "Infinity" where there is none.
        high: Largest of them; "-Infinity" where there is none.
        nonfinite: NaN and infinite elements.
        exponent: Log2 of the range of the histogram.
        channels: Channels whose sums and extremes are stored; None for none.
    """

    name: str
    count: _Count
    low: float
    high: float
    nonfinite: _Count
    exponent: int = Field(ge=SMALLEST_EXPONENT, le=LARGEST_EXPONENT)
    channels: _Count | None = None

    @field_validator("low", "high", mode="after")
    @classmethod
    def _a_number(cls, value: float) -> float:
        if math.isnan(value):
            raise ValueError("it is NaN")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> TensorEntry:
        empty = (self.low, self.high) == (math.inf, -math.inf)
        if empty != (self.count == 0) or (not empty and not -math.inf < self.low <= self.high < math.inf):
            raise ValueError(f"{self.count} elements between {self.low} and {self.high} cannot be")
        return self


class GramEntry(_Frozen):
    """The layer whose input a Gram matrix describes, and the number of rows."""

    layer: LayerInput
    count: _Count


class Header(_Frozen):
    """Everything but the arrays.

    Attributes:
        format: Says that this is a calibration file.
        schema_version: Layout of this document.
        arrays_sha256: Of the npz file.
        origin: What was looked at.
        samples: Number of feeds seen.
        tensors: In the order of the rows of the array `histograms`.
        grams: In the order of the arrays `gram_sums/0`, `gram_products/0`, ...
        left: Tensors that could not be looked at, with the reason.
    """

    format: Literal["deploycompress calibration"] = "deploycompress calibration"
    schema_version: Literal[2] = SCHEMA_VERSION
    arrays_sha256: _Sha256
    origin: Origin
    samples: int = Field(ge=1)
    tensors: tuple[TensorEntry, ...]
    grams: tuple[GramEntry, ...] = ()
    left: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Header:
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) < len(names):
            raise ValueError("a tensor occurs twice")
        data, shard = self.origin.data, self.origin.shard
        there = data.feeds if shard is None else len(shard.positions(data.feeds))
        if self.samples > there:
            raise ValueError(f"it claims {self.samples} samples where there are {there}")
        return self
