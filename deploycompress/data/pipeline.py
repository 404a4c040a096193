"""decoded picture -> array of one input, with every choice settled by the preprocessing and the input shape.

`y = (x / divisor - mean) / std`, after bringing the picture to the size of the model (see `preprocess`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from PIL import Image

from deploycompress.data.preprocess import Preprocess
from deploycompress.data.source import Unusable
from deploycompress.errors import UnsupportedError
from deploycompress.records.signature import TensorSpec

_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Pipeline:
    """A `Preprocess` settled for one model input: no field is left to the model."""

    spec: TensorSpec
    preprocess: Preprocess

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """The array of one sample, without a batch axis: float32 or the integer type of the input.

        Raises:
            Unusable: The size is wrong and no resizing was asked for.
        """
        p = self.preprocess
        picture = self._sized(picture.convert("L" if p.color == "gray" else "RGB"))
        pixels = np.asarray(picture)
        pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        if p.color == "bgr":
            pixels = pixels[..., ::-1]
        if self.spec.dtype == "uint8":
            array = pixels
        else:
            mean, std = np.asarray(p.mean, np.float32), np.asarray(p.std, np.float32)
            array = (pixels.astype(np.float32) / np.float32(p.divisor) - mean) / std
        return np.ascontiguousarray(array.transpose(2, 0, 1) if p.layout == "nchw" else array)

    def _sized(self, picture: Image.Image) -> Image.Image:
        p = self.preprocess
        if p.size is None or picture.size == (p.size[1], p.size[0]):
            return picture
        height, width = p.size
        if p.resize == "none":
            raise Unusable(
                f"the picture is {picture.height}x{picture.width}, the model takes {height}x{width}, and the "
                "preprocessing does not resize (resize: stretch or crop does)"
            )
        filter_ = _INTERPOLATION[p.interpolation]
        if p.resize == "stretch":
            return picture.resize((width, height), filter_)
        shorter = p.shorter_side_px or round(min(height, width) * 8 / 7)
        ratio = shorter / min(picture.size)
        wide, high = max(width, round(picture.width * ratio)), max(height, round(picture.height * ratio))
        if (wide, high) != picture.size:
            picture = picture.resize((wide, high), filter_)
        left, top = round((wide - width) / 2), round((high - height) / 2)
        return picture.crop((left, top, left + width, top + height))


def settle(preprocess: Preprocess, spec: TensorSpec) -> Pipeline:
    """Fills in what the input shape of the model says.

    Raises:
        UnsupportedError: The input is not an image of one or three channels, or contradicts the preprocessing.
    """
    shape = spec.shape or ()
    if len(shape) != 4:
        raise UnsupportedError(f"{spec} is not an image input", remedy="give arrays (.npz) instead of pictures")
    layout = preprocess.layout
    if layout == "model":
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first == last:
            raise UnsupportedError(f"{spec} does not say where its channels are", remedy="set layout: nchw or nhwc")
        layout = "nchw" if first else "nhwc"
    channels, height, width = (shape[1], *shape[2:]) if layout == "nchw" else (shape[3], shape[1], shape[2])
    color = preprocess.color
    if color == "model":
        color = "gray" if channels == 1 else "rgb"
    count = 1 if color == "gray" else 3
    if isinstance(channels, int) and channels != count:
        raise UnsupportedError(f"{spec} has {channels} channels, {color} has {count}", remedy="check color and layout")
    for name in ("mean", "std"):
        if len(getattr(preprocess, name)) not in {1, count}:
            raise UnsupportedError(f"{name} has {len(getattr(preprocess, name))} numbers for {count} channels")
    size = preprocess.size
    if isinstance(height, int) and isinstance(width, int):
        if size is not None and size != (height, width):
            raise UnsupportedError(
                f"size is {size[0]}x{size[1]}, the model takes {height}x{width}", remedy="leave it out"
            )
        size = (height, width)
    elif size is None and preprocess.resize != "none":
        raise UnsupportedError(f"{spec} leaves the size open", remedy="set size: [height, width] in a preprocess file")
    plain = preprocess.divisor == 1 and set(preprocess.mean) == {0.0} and set(preprocess.std) == {1.0}
    if spec.dtype not in {"float32", "float16", "float64"} and not (spec.dtype == "uint8" and plain):
        raise UnsupportedError(f"{spec} cannot take scaled pictures", remedy="use --preprocess raw with a uint8 input")
    return Pipeline(spec, dataclasses.replace(preprocess, layout=layout, color=color, size=size))
