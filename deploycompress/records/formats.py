"""--form and the options that belong to it -> what the weights and activations of a model are to become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deploycompress.errors import UnknownNameError, UsageError

Kind = Literal["static", "dynamic", "weights", "fp16", "bf16"]
Layout = Literal["qdq", "qoperator"]
Levels = Literal["uniform", "ternary", "binary"]
Algorithm = Literal["nearest", "gptq", "awq", "adaround"]
Bits = Literal[8, 4, 2]
ActivationBits = Literal[8, 16]
_DEFAULT_BLOCK = 32


@dataclass(frozen=True)
class Format:
    """What a quantized model is to look like.

    Attributes:
        kind: "static" int8 with activation scales from calibration, "dynamic" int8 with scales found at run time,
            "weights" in few bits while activations stay float, or half precision: "fp16" or "bf16".
        layout: Whether static int8 is written with QuantizeLinear and DequantizeLinear around float operators ("qdq"),
            or with operators that take and give codes ("qoperator").
        activation_bits: Width of static activations; 16 where the target takes it.
        bits: Width of the codes of the weights form; None for 4, or 2 where the levels are fewer.
        block: Weights along the inner axis that share a scale; 0 for one scale a channel, None for 32.
        levels: Which values the codes stand for.
        algorithm: How weights are rounded; all but "nearest" need samples.
    """

    kind: Kind = "static"
    layout: Layout = "qdq"
    activation_bits: ActivationBits = 8
    bits: Bits | None = None
    block: int | None = None
    levels: Levels = "uniform"
    algorithm: Algorithm = "nearest"

    def __post_init__(self) -> None:
        """Refuses options that do not belong to the form.

        Raises:
            UnknownNameError: A form or option has another name.
            UsageError: They contradict each other.
        """
        _known(self.kind, get_args(Kind), "form", "--form")
        _known(self.layout, get_args(Layout), "layout", "--layout")
        _known(self.levels, get_args(Levels), "levels", "--levels")
        _known(self.algorithm, get_args(Algorithm), "algorithm", "--algorithm")
        _one_of(self.activation_bits, get_args(ActivationBits), "--activation-bits")
        if self.bits is not None:
            _one_of(self.bits, get_args(Bits), "--bits")
        self._only_for("static", layout="qdq", activation_bits=8)
        self._only_for("weights", bits=None, block=None, levels="uniform", algorithm="nearest")
        if self.levels != "uniform" and self.bits not in (None, 2, 4):
            raise UsageError(
                f"{self.levels} weights are stored in 2 bits, or in 4 for an older opset; not in {self.bits}",
                remedy="leave --bits out",
            )

    def _only_for(self, kind: Kind, **defaults: object) -> None:
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default and self.kind != kind:
                option = f"--{name.replace('_', '-')} {value}"
                remedy = f"leave it out, or use --form {kind}"
                raise UsageError(f"{option} belongs to --form {kind}, not to {self.name}", remedy=remedy)

    @property
    def name(self) -> str:
        """As reports say it."""
        if self.kind == "weights":
            rounded = "" if self.algorithm == "nearest" else f" ({self.algorithm})"
            levels = f"{self.width}-bit" if self.levels == "uniform" else self.levels
            return f"{levels} weights{rounded}"
        if self.is_half:
            return "float16" if self.kind == "fp16" else "bfloat16"
        return f"{self.kind} int8" + (" with 16-bit activations" if self.activation_bits == 16 else "")

    @property
    def is_half(self) -> bool:
        """Whether it is half precision."""
        return self.kind in ("fp16", "bf16")

    @property
    def width(self) -> Bits:
        """Bits of a weight."""
        if self.kind != "weights":
            return 8
        return self.bits or (4 if self.levels == "uniform" else 2)

    @property
    def block_size(self) -> int | None:
        """Weights that share a scale; None for a whole channel."""
        return (_DEFAULT_BLOCK if self.block is None else self.block) or None

    @property
    def calibrates(self) -> bool:
        """Whether it needs samples."""
        return self.kind == "static" or self.algorithm != "nearest"

    @property
    def suffix(self) -> str:
        """What the name of the file ends in, before `.onnx`."""
        if self.is_half:
            return self.kind
        return f"int{self.width}" if self.levels == "uniform" else self.levels


def _known(text: str, names: tuple[str, ...], kind: str, option: str) -> None:
    if text not in names:
        raise UnknownNameError(kind, text, names, where=option)


def _one_of(number: int, numbers: tuple[int, ...], option: str) -> None:
    if number not in numbers:
        raise UsageError(f"{number} is none of {', '.join(map(str, numbers))}", where=option)
