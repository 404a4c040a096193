"""float model + samples + tensor names -> Statistics, in one streaming pass with constant memory.

The tensors are made the outputs of a copy of the graph (weights stay where they are), one session runs every sample,
and while it runs the next one, a second thread folds the outputs of the last into the statistics and drops them. The
state is O(tensors x bins), whatever the number of samples. Gram matrices that exceed the memory budget are spread over
several passes, each finished matrix in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress import model as models
from deploycompress.calibration import padding
from deploycompress.calibration.budget import gram_passes, spilled
from deploycompress.calibration.gram import Gram, LayerInput, RunningGram
from deploycompress.calibration.statistics import RunningTensor, Statistics
from deploycompress.calibration.taps import tap
from deploycompress.errors import DataRejectedError, ModelRejectedError
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed, Session, SessionConfig

Settled = Callable[[Statistics, Statistics], bool]

_FIRST_LOOK = 16  # samples after which, and after each doubling of which, `settled` is asked


def collect(
    model: ir.Model,
    tensors: Sequence[str],
    feeds: Iterable[Mapping[str, Any]],
    *,
    weights_dir: Path | None = None,
    config: SessionConfig | None = None,
    channel_axes: Mapping[str, int] | None = None,
    grams: Collection[LayerInput] = (),
    gram_rows: int | None = None,
    memory_bytes: int | None = None,
    settled: Settled | None = None,
    track: Track = silent,
) -> Statistics:
    """Statistics of `tensors` over `feeds`; positions that an attention mask calls padding are left out.

    Args:
        model: The float graph; it is not changed.
        tensors: Names of graph inputs or of values produced in the graph or in a control-flow body.
        feeds: One mapping of input name to array per sample; re-iterable where `memory_bytes` is given.
        weights_dir: Folder of the external data, where the model has any.
        config: Threads and providers of the session.
        channel_axes: Axis of the channels, for tensors whose channel sums and magnitudes are wanted too.
        grams: Layer inputs whose `X^T X` is wanted.
        gram_rows: Add about so many rows of a sample to each, evenly spread, instead of all.
        memory_bytes: What the Gram matrices of one pass over the samples may take together.
        settled: Given the statistics of half the samples so far and of all of them, after 16, 32, 64, ... samples;
            collection ends when it says so.
        track: Shows the progress.

    Raises:
        UnknownNameError: A name is neither an input nor produced anywhere in the model.
        DataRejectedError: `feeds` is empty.
        UsageError: One Gram matrix alone exceeds `memory_bytes`.
    """
    passes = gram_passes(grams, memory_bytes)
    names, axes = list(dict.fromkeys(tensors)), channel_axes or {}
    collector = _Collector(model, names, passes[0], weights_dir, config, axes, gram_rows)
    statistics = collector.over(feeds, settled, track)
    if statistics.samples == 0:
        raise DataRejectedError("the calibration set is empty", remedy="give at least one sample")
    found = dict(statistics.grams)
    for more in passes[1:]:
        found = {layer: spilled(gram) for layer, gram in found.items()}
        collector = _Collector(model, [], more, weights_dir, config, {}, gram_rows)
        found.update(collector.over(islice(feeds, statistics.samples), None, track).grams)
    return Statistics(statistics.tensors, statistics.samples, found, statistics.left)


class _Collector:
    """One pass: the tapped session and everything seen through it so far."""

    def __init__(
        self,
        model: ir.Model,
        names: list[str],
        layers: Collection[LayerInput],
        weights_dir: Path | None,
        config: SessionConfig | None,
        channel_axes: Mapping[str, int],
        gram_rows: int | None,
    ) -> None:
        self._model, self._weights_dir = model, weights_dir
        self._config = config
        self._running = {layer: RunningGram(layer, gram_rows) for layer in layers}
        self._found = {name: RunningTensor(channel_axes.get(name)) for name in names}
        self._left: dict[str, str] = {}
        self._token_axes: dict[str, tuple[int, ...]] | None = None
        self._open()

    def over(self, feeds: Iterable[Feed], settled: Settled | None, track: Track) -> Statistics:
        """Statistics over `feeds`, or the first of them that settle."""
        samples, look, before = 0, _FIRST_LOOK, None
        folding: Future[None] | None = None
        with ThreadPoolExecutor(1) as folder:
            for feed in track(feeds, "calibrating"):
                try:
                    outputs = self._run(feed)
                except ModelRejectedError as error:
                    if folding is not None:
                        folding.result()
                    self._give_up_loops(error)
                    outputs = self._run(feed)
                if folding is not None:
                    folding.result()
                folding = folder.submit(self._fold, feed, outputs)
                samples += 1
                if settled is None or samples not in (look, look // 2):
                    continue
                folding.result()
                now = self._statistics(samples)
                if samples == look:
                    if before is not None and settled(before, now):
                        break
                    look *= 2
                before = now
            if folding is not None:
                folding.result()
        return self._statistics(samples)

    def _open(self) -> None:
        """Opens the session that gives every tensor still wanted."""
        inputs = {str(value.name) for value in self._model.graph.inputs}
        wanted = dict.fromkeys([*self._found, *(layer.tensor for layer in self._running)])
        copy, self._taps = tap(self._model, [name for name in wanted if name not in inputs])
        self._session = Session(models.serialize(copy), self._config, weights_dir=self._weights_dir)
        self._outputs = [tapped.output for tapped in self._taps.values()] or None

    def _run(self, feed: Feed) -> dict[str, Any]:
        outputs = self._session.run(feed, self._outputs)
        if self._token_axes is None and (mask := padding.mask_of(feed)) is not None:
            self._token_axes = self._find_tokens(feed, mask, outputs)
        return outputs

    def _give_up_loops(self, error: ModelRejectedError) -> None:
        """Goes on without the taps out of loops: turns that differ in shape cannot be stacked.

        Raises:
            ModelRejectedError: There are no such taps; with the cause given.
        """
        looped = [name for name, tapped in self._taps.items() if tapped.depth]
        if not looped:
            remedy = "deploycompress doctor --calib DATA --model MODEL says which sample it is"
            raise ModelRejectedError(error.what, where=error.where, remedy=remedy) from error
        for name in looped:
            self._left[name] = f"it cannot be stacked over the turns of its loop: {error.what}"
            self._found.pop(name, None)
        self._running = {layer: running for layer, running in self._running.items() if layer.tensor not in looped}
        self._open()

    def _find_tokens(self, feed: Feed, mask: NDArray[np.bool_], outputs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Token axes of everything wanted: a graph input counts them as the mask does."""
        shapes = {name: np.shape(outputs[name]) for name in self._outputs or ()}
        by_output = padding.token_axes(self._session, feed, mask, shapes)
        found = {name: by_output[tapped.output] for name, tapped in self._taps.items() if not tapped.depth}
        return found | {name: (1,) for name, given in feed.items() if np.shape(given)[:2] == mask.shape}

    def _fold(self, feed: Feed, outputs: dict[str, Any]) -> None:
        """Adds one sample to everything that is wanted of it."""
        mask = padding.mask_of(feed)
        layers: dict[str, list[RunningGram]] = {}
        for layer, running in self._running.items():
            layers.setdefault(layer.tensor, []).append(running)
        for name in dict.fromkeys([*self._found, *layers]):
            tapped = self._taps.get(name)
            values = np.asarray(feed[name]) if tapped is None else tapped.values(np.asarray(outputs[tapped.output]))
            axes = (self._token_axes or {}).get(name, ())
            for part in (values,) if mask is None else padding.real(values, mask, axes):
                if name in self._found:
                    self._found[name].add(part)
                for running in layers.get(name, ()):
                    running.add(part)

    def _statistics(self, samples: int) -> Statistics:
        grams: dict[LayerInput, Gram] = {layer: running.result() for layer, running in self._running.items()}
        found = {name: running.result() for name, running in self._found.items()}
        return Statistics(found, samples, grams, dict(self._left))
