"""--form and the options that belong to it -> what the weights and activations of a model are to become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deploycompress.errors import UnknownNameError

Kind = Literal["static", "dynamic"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_NAMES: dict[Kind, str] = {"static": "static int8", "dynamic": "dynamic int8"}


@dataclass(frozen=True)
class Format:
    """What a quantized model is to look like.

    Attributes:
        kind: "static" int8 with activation scales from calibration, or "dynamic" int8 with scales found at run time.
    """

    kind: Kind = "static"

    @property
    def name(self) -> str:
        """As reports say it."""
        return _NAMES[self.kind]

    @property
    def calibrates(self) -> bool:
        """Whether its ranges come from samples."""
        return self.kind == "static"


def kind_named(text: str) -> Kind:
    """The form of that name.

    Raises:
        UnknownNameError: There is none; the nearest are given.
    """
    for kind in KINDS:
        if kind == text:
            return kind
    raise UnknownNameError("form", text, KINDS, where="--form")
