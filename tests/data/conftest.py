"""Signatures for these tests, and the shared data where it is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploycompress.records.signature import Signature, TensorSpec

Dim = int | str | None


@pytest.fixture(scope="session")
def takes() -> Callable[..., Signature]:
    """Builds a signature: `takes(x=("float32", "n", 3))`."""

    def build(**inputs: tuple[str | Dim, ...]) -> Signature:
        specs = (TensorSpec(name, str(dtype), tuple(dims)) for name, (dtype, *dims) in inputs.items())
        return Signature(tuple(specs), ())

    return build


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three 8x8 pictures in each of the classes cat, dog and emu; every pixel of a picture is the same."""
    folder = tmp_path / "pictures"
    for number, name in enumerate(("cat", "dog", "emu")):
        (folder / name).mkdir(parents=True)
        for index in range(3):
            pixels = np.full((8, 8, 3), 10 * number + index, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder
