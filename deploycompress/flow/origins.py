"""calibration file + what `quantize` was given -> its statistics, or the one line that says why they do not fit.

Checked in order of cost: share, model, preprocessing and tokenizer where given, samples where given, rewrites.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploycompress import model as models
from deploycompress.calibration import Statistics, files, shards
from deploycompress.calibration.files import Calibration
from deploycompress.calibration.header import DataOrigin
from deploycompress.data import Samples
from deploycompress.data import preprocess as presets
from deploycompress.errors import CalibrationRejectedError
from deploycompress.records.files import sha256

_AGAIN = "make it again with deploycompress calibrate"


def data_origin(samples: Samples, preprocess: str | None, tokenizer: Path | None) -> DataOrigin:
    """What a calibration file says about its samples."""
    return DataOrigin(
        source=samples.source,
        fingerprint=samples.fingerprint,
        feeds=len(samples),
        valid_for_accuracy=samples.valid_for_accuracy,
        preprocess=_fields(preprocess),
        tokenizer_sha256=None if tokenizer is None else sha256(tokenizer),
    )


@dataclass(frozen=True)
class Saved:
    """A calibration file that is known to be of this model."""

    path: Path
    calibration: Calibration

    @property
    def rewrites(self) -> tuple[str, ...]:
        """What was done to the model before its tensors were looked at."""
        return self.calibration.origin.rewrites

    def data_of(self, given: DataOrigin | None) -> DataOrigin:
        """The samples it was made from, which must be those `given`, where some are.

        Raises:
            CalibrationRejectedError: Names what differs.
        """
        made = self.calibration.origin.data
        what = "" if given is None else shards.data_difference(made, given)
        if given is not None and what:
            raise CalibrationRejectedError(
                f"it was made from {what} ({made.feeds} samples of {made.source}, fingerprint {made.fingerprint[:12]}; "
                f"{given.source} gives {given.feeds}, {given.fingerprint[:12]})",
                where=str(self.path),
                remedy="give the same --calib, --preprocess and --limit, or leave --calib out",
            )
        return made


def load_for(path: Path, source: Path, preprocess: str | None, tokenizer: Path | None) -> Saved:
    """The calibration at `path`, made for the model `source`.

    Raises:
        CalibrationRejectedError: It is unusable, a share, or of another model, preprocessing or tokenizer.
    """
    calibration = files.load(path)
    origin = calibration.origin
    if origin.shard is not None:
        remedy = "join all shares with deploycompress calibrate --merge"
        what = f"it holds share {origin.shard} of the samples alone"
        raise CalibrationRejectedError(what, where=str(path), remedy=remedy)
    found, what = models.fingerprint(source), ""
    if found != origin.model_sha256:
        what = f"for another model, {origin.model} (sha256 {origin.model_sha256[:12]}, {source} has {found[:12]})"
    elif preprocess is not None and _fields(preprocess) != origin.data.preprocess:
        what = f"with another preprocessing than {preprocess}: {_differences(origin.data.preprocess, preprocess)}"
    elif tokenizer is not None and sha256(tokenizer) != origin.data.tokenizer_sha256:
        what = f"with another tokenizer than {tokenizer}"
    if what:
        raise CalibrationRejectedError(f"it was made {what}", where=str(path), remedy=f"give the same, or {_AGAIN}")
    return Saved(path, calibration)


@dataclass(frozen=True)
class FromFile:
    """An `Gather` that looks statistics up.

    Attributes:
        saved: The file.
        rewrites: What was done to the model here; the names of tensors depend on it.
    """

    saved: Saved
    rewrites: tuple[str, ...]

    def __call__(self, tensors: Sequence[str], samples: int | None = None) -> Statistics:
        """See `Gather`; a file has seen what it has seen, so `samples` changes nothing.

        Raises:
            CalibrationRejectedError: The graph was rewritten otherwise, or the file lacks a tensor.
        """
        del samples
        statistics, origin = self.saved.calibration.statistics, self.saved.calibration.origin
        lost = [name for name in origin.rewrites if name not in self.rewrites]
        absent = [name for name in tensors if name not in statistics]
        if lost:
            what = f"it was made after the rewrite {lost[0]}, which cannot be kept here"
            raise CalibrationRejectedError(what, where=str(self.saved.path), remedy=f"give its --calib, or {_AGAIN}")
        if absent:
            reason = f" ({statistics.left[absent[0]]})" if absent[0] in statistics.left else ""
            what = f"it has no statistics of tensor {absent[0]!r}{reason}; it was made for target {origin.target}"
            raise CalibrationRejectedError(what, where=str(self.saved.path), remedy=f"{_AGAIN} for this one")
        return statistics


def _fields(preprocess: str | None) -> dict[str, object] | None:
    """Every field of a preprocessing, as JSON holds them; a preset and a file of equal fields are equal."""
    fields: dict[str, object] | None = None
    if preprocess is not None:
        fields = json.loads(json.dumps(asdict(presets.find(preprocess))))
    return fields


def _differences(made: Mapping[str, object] | None, preprocess: str) -> str:
    """The fields in which a preprocessing differs from what a file was made with."""
    here = _fields(preprocess) or {}
    if made is None:
        return "none"
    return ", ".join(f"{key} {made.get(key)}, not {value}" for key, value in here.items() if made.get(key) != value)
