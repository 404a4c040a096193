"""decoded picture -> the array that a model was trained on: `y = (x / divisor - mean) / std`, x in 0..255.

The preprocessing is part of the model and cannot be seen in its file, so it is never guessed: the user names a preset
or a file with the fields of `Preprocess`. Only what the model's input shape leaves no choice about (height, width,
channels first or last, one or three channels) is read from there.

Source of the presets: torchvision.transforms for ImageNet (resize to 8/7 of the crop, centre crop, means and deviations
of the training set); Krizhevsky 2009 for the CIFAR-10 statistics; Howard 2017 (MobileNet) for -1..1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from deploycompress.errors import UnknownNameError, UsageError

_CHOICES: dict[str, tuple[str, ...]] = {
    "resize": ("none", "stretch", "crop"),
    "interpolation": ("nearest", "bilinear", "bicubic", "lanczos"),
    "layout": ("model", "nchw", "nhwc"),
    "color": ("model", "rgb", "bgr", "gray"),
}


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an input.

    Attributes:
        divisor: What the values 0..255 are divided by.
        mean: Subtracted after that, per channel.
        std: What is divided by last, per channel.
        resize: "none" (the picture must have the size of the model), "stretch" to the size, or "crop": the shorter side
            is resized to `shorter_side_px` and the centre is cut out. A picture of the right size is never touched.
        size: Height and width in pixels; those of the model's input where it has numbers.
        shorter_side_px: For "crop"; 8/7 of the smaller of height and width where it is not given.
        interpolation: How to resize: nearest, bilinear, bicubic, lanczos.
        layout: Channels first (nchw) or last (nhwc); "model" reads it from the input shape.
        color: rgb, bgr or gray; "model" means gray for one channel and rgb for three.
    """

    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Literal["none", "stretch", "crop"] = "none"
    size: tuple[int, int] | None = None
    shorter_side_px: int | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    layout: Literal["model", "nchw", "nhwc"] = "model"
    color: Literal["model", "rgb", "bgr", "gray"] = "model"


PRESETS: dict[str, Preprocess] = {
    "raw": Preprocess(),
    "unit": Preprocess(divisor=255.0),
    "minus-one-one": Preprocess(divisor=127.5, mean=(1.0,), resize="crop"),
    "imagenet": Preprocess(divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize="crop"),
    "cifar10": Preprocess(divisor=255.0, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
}


def find(named: str | None) -> Preprocess:
    """The preset of this name, or the fields of the YAML or JSON file of this path.

    Raises:
        UsageError: Nothing was named, the file cannot be read, or a field has an impossible value.
        UnknownNameError: There is no such preset, or the file has an unknown field.
    """
    if named is None:
        raise UsageError(
            "images need to be told how the model was trained to see them",
            remedy=f"--preprocess {'|'.join(PRESETS)} or a YAML file",
        )
    if named in PRESETS:
        return PRESETS[named]
    path = Path(named)
    if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
        raise UnknownNameError("preprocess preset", named, PRESETS)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"the preprocessing cannot be read: {error}", where=named) from error
    return parse(content, named)


def parse(content: object, where: str) -> Preprocess:
    """A `Preprocess` from plain data.

    Raises:
        UsageError: A field has an impossible value.
        UnknownNameError: There is no such field.
    """
    if not isinstance(content, dict):
        raise UsageError("it must be a mapping of fields", where=where, remedy="for example: divisor: 255")
    known = {field.name for field in fields(Preprocess)}
    for key in content:
        if key not in known:
            raise UnknownNameError("preprocess field", str(key), known, where=where)
    values = {key: _value(key, value, where) for key, value in content.items()}
    made = Preprocess(**values)
    if made.divisor == 0 or 0 in made.std:
        raise UsageError("divisor and std must not be zero", where=where)
    return made


def _value(key: str, value: Any, where: str) -> Any:  # noqa: ANN401 - fields have various types
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise UsageError(f"{key} is {value!r}", where=where, remedy=f"choose from {', '.join(_CHOICES[key])}")
        return value
    numbers = value if isinstance(value, list | tuple) else [value]
    whole = key in {"size", "shorter_side_px"}
    good = all(isinstance(n, int if whole else int | float) and not isinstance(n, bool) for n in numbers)
    if key == "size" and len(numbers) == 1:
        numbers = [numbers[0], numbers[0]]
    lengths = {"size": {2}, "shorter_side_px": {1}, "divisor": {1}}.get(key, {1, 3})
    if not good or len(numbers) not in lengths or (whole and min(numbers) < 1):
        raise UsageError(f"{key} is {value!r}", where=where, remedy="see the fields of Preprocess in the documentation")
    if key == "size":
        return tuple(numbers)
    if key in {"mean", "std"}:
        return tuple(float(n) for n in numbers)
    return numbers[0] if whole else float(numbers[0])
