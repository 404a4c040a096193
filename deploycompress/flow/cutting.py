"""model, units to remove -> the cut model, compared with the masked one, and repaired from samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError
from deploycompress.flow.agreement import difference
from deploycompress.flow.executed import named
from deploycompress.flow.given import Given
from deploycompress.flow.held_out import Part, shared_out
from deploycompress.flow.rewritten import rewritten
from deploycompress.flow.selection import nodes_named
from deploycompress.passes.pipelines import for_target
from deploycompress.pruning import Group, Grouping, find, masked, masks, remove
from deploycompress.pruning.labels import Array
from deploycompress.pruning.mending import LayerRepair, mend
from deploycompress.pruning.removal import Masks
from deploycompress.quantization.candidates import key
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Session
from deploycompress.targets import Target

_FOLDS = ("FoldBatchNormalization", "FoldAffine")


@dataclass(frozen=True)
class Subject:
    """What is pruned, and with what.

    Attributes:
        given: The model as given and its samples.
        floats: It after the exact rewrites, every node with a name of its own.
        rewrites: Their names.
        grouping: The groups of `floats`.
        free: Those that may be cut.
        kept_whole: Those that the user excluded.
        fit: Samples that scores and repairs are fitted on; None where there are too few.
        held_out: Others, that decide.
        notes: What is to be known about the samples.
    """

    given: Given
    floats: ir.Model
    rewrites: tuple[str, ...]
    grouping: Grouping
    free: tuple[Group, ...]
    kept_whole: tuple[Group, ...]
    fit: Part | None
    held_out: Part | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pruned:
    """A cut model.

    Attributes:
        model: The graph.
        gone: Numbers of the units that went, by group.
        repairs: What became of every layer behind a cut; empty where nothing was repaired.
    """

    model: ir.Model
    gone: Mapping[Group, Array]
    repairs: tuple[LayerRepair, ...]


def subject(given: Given, target: Target, *, keep_norms: bool) -> Subject:
    """The groups of a model after the exact rewrites for the target, and the samples shared out."""
    steps = [step for step in for_target(target) if not (keep_norms and type(step).__name__ in _FOLDS)]
    found, rewrites = rewritten(given, steps)
    floats = named(found)
    grouping = find(floats)
    excluded = nodes_named(given.model, floats, given.excluded)
    kept_whole = tuple(group for group in grouping.groups if _runs_through(group, excluded))
    fit, held_out, notes = shared_out(given.samples)
    return Subject(
        given=given,
        floats=floats,
        rewrites=rewrites,
        grouping=grouping,
        free=tuple(group for group in grouping.groups if group not in kept_whole),
        kept_whole=kept_whole,
        fit=fit,
        held_out=held_out,
        notes=notes,
    )


def _runs_through(group: Group, excluded: Sequence[str] | frozenset[str] | set[str]) -> bool:
    return any(key(use.node) in excluded for member in group.members for use in member.weight.uses())


def cut(found: Subject, gone: Mapping[Group, Array]) -> Pruned:
    """The model without these units; nothing is compared or repaired."""
    return Pruned(remove(found.floats, masks(found.grouping, gone)), gone, ())


def checked(found: Subject, pruned: Pruned) -> Pruned:
    """The same, where it answers as the masked model does on every feed.

    Raises:
        InvalidOutputError: It does not, or does not run.
    """
    folder = models.weights_dir(found.floats)
    kept = masks(found.grouping, pruned.gone)
    try:
        reference, cut_session = (
            Session(models.serialize(each), found.given.config, weights_dir=folder)
            for each in (masked(found.floats, kept), pruned.model)
        )
        for feed in found.given.feeds:
            wrong = difference(reference.run(feed), cut_session.run(feed))
            if wrong is not None:
                raise InvalidOutputError(f"the cut model does not answer as the masked one does: {wrong}")
    except ModelRejectedError as error:
        raise InvalidOutputError(f"the cut model does not run: {error.what}") from error
    return pruned


def repaired(found: Subject, pruned: Pruned, track: Track) -> Pruned:
    """The same with every layer behind a cut refitted, where there are samples and it helps."""
    if found.fit is None or found.held_out is None:
        return pruned
    kept: Masks = masks(found.grouping, pruned.gone)
    model, repairs = mend(
        found.floats,
        pruned.model,
        kept,
        found.fit,
        found.held_out,
        weights_dir=models.weights_dir(found.floats),
        config=found.given.config,
        track=track,
    )
    return Pruned(model, pruned.gone, repairs)


def opened(found: Subject, pruned: Pruned) -> Session:
    """A session of a cut model that is not written yet."""
    return Session(models.serialize(pruned.model), found.given.config, weights_dir=models.weights_dir(found.floats))
