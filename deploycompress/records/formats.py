"""--form and the options that belong to it -> what the weights and activations of a model are to become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deploycompress.errors import UnknownNameError, UsageError

Kind = Literal["static", "dynamic"]
Layout = Literal["qdq", "qoperator"]
_NAMES: dict[Kind, str] = {"static": "static int8", "dynamic": "dynamic int8"}


@dataclass(frozen=True)
class Format:
    """What a quantized model is to look like.

    Attributes:
        kind: "static" int8 with activation scales from calibration, or "dynamic" int8 with scales found at run time.
        layout: Whether static int8 is written with QuantizeLinear and DequantizeLinear around float operators ("qdq"),
            or with operators that take and give codes ("qoperator").
    """

    kind: Kind = "static"
    layout: Layout = "qdq"

    def __post_init__(self) -> None:
        """Refuses options that do not belong to the form.

        Raises:
            UnknownNameError: A form or option has another name.
            UsageError: They contradict each other.
        """
        _known(self.kind, get_args(Kind), "form", "--form")
        _known(self.layout, get_args(Layout), "layout", "--layout")
        if self.layout != "qdq" and self.kind != "static":
            remedy = "leave it out, or use --form static"
            raise UsageError(f"--layout {self.layout} belongs to static int8, not to {self.name}", remedy=remedy)

    @property
    def name(self) -> str:
        """As reports say it."""
        return _NAMES[self.kind]

    @property
    def calibrates(self) -> bool:
        """Whether its ranges come from samples."""
        return self.kind == "static"


def _known(text: str, names: tuple[str, ...], kind: str, option: str) -> None:
    if text not in names:
        raise UnknownNameError(kind, text, names, where=option)
