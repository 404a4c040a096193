"""`{name: {parameters}}` in a recipe <-> a frozen record that knows its name as `kind`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Frozen(BaseModel):
    """A part of a recipe: not changed once read, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(Frozen):
    """A named part inside a step; every subclass has its name as the default of `kind`.

    Attributes:
        reads: Keys that hold a path or a `file.py:function`.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def placed(self, read: Callable[[str], str]) -> Self:
        """The part with its paths made whole by `read`."""
        changes: dict[str, str | tuple[str, ...]] = {}
        for name in self.reads:
            value = getattr(self, name)
            changes[name] = read(value) if isinstance(value, str) else tuple(read(text) for text in value)
        return self.model_copy(update=changes)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        parameters = handler(self)
        parameters.pop("kind", None)
        return {type(self).model_fields["kind"].default: parameters}


def flatten(part: str, example: str, *, bare: bool = False) -> Callable[[object], object]:
    """The validator `{train: {...}}` -> `{kind: train, ...}`, the form that pydantic tells apart.

    Args:
        part: What the mapping is, for messages.
        example: How one is written.
        bare: Whether the name alone stands for the part with its defaults.
    """

    def validator(value: object) -> object:
        if isinstance(value, Frozen):
            return value
        if bare and isinstance(value, str):
            return {"kind": value}
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError(f"{part} is one key with its parameters below it, e.g. {example}")
        kind, parameters = next(iter(value.items()))
        if not isinstance(parameters, dict):
            raise ValueError(f"{kind} has no parameters below it")  # noqa: TRY004 - pydantic wants ValueError
        return {**parameters, "kind": kind}

    return validator


def by_name(union: Any) -> dict[str, type[Block]]:  # noqa: ANN401 - a union of types
    """{kind: class} of a union of blocks."""
    members = get_args(union) or (union,)
    return {member.model_fields["kind"].default: member for member in members}
