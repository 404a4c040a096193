"""pictures -> samples, by a preprocessing that the user names (see `preprocess`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from deploycompress.data.labels import Labels
from deploycompress.data.pipeline import Pipeline
from deploycompress.data.source import Files, Part, Raw, Unusable, relative_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def from_files(files: Sequence[Path], folder: Path, pipeline: Pipeline, labels: Labels) -> Files:
    """One sample a picture."""

    def part(path: Path) -> Part:
        name = relative_name(path, folder)

        def read(wanted: Sequence[int]) -> Iterator[Raw | Unusable]:
            del wanted
            yield Raw({pipeline.spec.name: pipeline(decode(path))}, labels.of(path), name)

        return Part(name, 1, read)

    return Files(tuple(part(path) for path in files), notes=labels.notes)


def decode(path: Path) -> Image.Image:
    """The decoded picture.

    Raises:
        Unusable: It is damaged, truncated, of a wrong kind, or decodes to an absurd size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                return picture.copy()
    except UnidentifiedImageError:
        raise Unusable("it is not a picture, or is damaged at the start") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Unusable(f"it is damaged or truncated ({' '.join(str(error).split())})") from error
