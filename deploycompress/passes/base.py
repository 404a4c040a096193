"""model -> model', with every change named and every refusal explained.

A pass is a frozen dataclass: its fields are its parameters, its `repr` reproduces it, calling it rewrites a copy. The
input model is never touched, and where nothing changed the result *is* the input. Weights are shared with the input,
never copied. Models are those of `model.load`: IR version 4 or newer, so that an initializer need not be an input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import onnx_ir as ir

from deploycompress.records.steps import Change, Refusal


@dataclass(frozen=True)
class PassResult:
    """The rewritten model (the input itself where `changes` is empty) and what happened on the way."""

    model: ir.Model
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


@runtime_checkable
class Pass(Protocol):
    """One rewrite of the whole model; `exact` means outputs stay equal up to rounding."""

    exact: ClassVar[bool]

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`, control-flow bodies included."""
        ...


@dataclass
class Findings:
    """What a running pass collects; `result` closes it."""

    changes: list[Change] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def changed(self, where: str, what: str) -> None:
        """Records a rewrite at tensor `where`."""
        self.changes.append(Change(where, what))

    def refused(self, where: str, reason: str) -> None:
        """Records a place left alone, once."""
        refusal = Refusal(where, reason)
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def result(self, before: ir.Model, after: ir.Model) -> PassResult:
        """The result of the pass: `before` itself where nothing changed."""
        return PassResult(after if self.changes else before, tuple(self.changes), tuple(self.refusals))
