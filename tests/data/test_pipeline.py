"""Pictures become the numbers that the formula says, in the layout of the model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deploycompress.data.pipeline import settle
from deploycompress.data.preprocess import PRESETS, Preprocess
from deploycompress.data.source import Unusable
from deploycompress.errors import UnsupportedError
from deploycompress.records.signature import TensorSpec


def image_input(*dims: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec("x", dtype, dims)


NCHW = image_input("n", 3, 8, 6)
NHWC = image_input("n", 8, 6, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_preset_is_its_formula(preset: str) -> None:
    p = PRESETS[preset]
    found = settle(p, NCHW)(Image.fromarray(PIXELS))
    expected = (PIXELS.astype(np.float64) / p.divisor - np.array(p.mean)) / np.array(p.std)
    assert found.dtype == np.float32
    # float32 against float64 on values below 255: three roundings of 2^-24 relative each
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


def test_minus_one_one_maps_the_ends_to_the_ends() -> None:
    ends = Image.fromarray(np.array([[[0, 255, 51]] * 6] * 8, np.uint8))
    np.testing.assert_allclose(settle(PRESETS["minus-one-one"], NHWC)(ends)[0, 0], [-1, 1, -0.6], atol=1e-6)


def test_layout_is_that_of_the_model() -> None:
    first = settle(PRESETS["raw"], NCHW)(Image.fromarray(PIXELS))
    last = settle(PRESETS["raw"], NHWC)(Image.fromarray(PIXELS))
    np.testing.assert_array_equal(last, PIXELS)
    np.testing.assert_array_equal(first.transpose(1, 2, 0), PIXELS)


def test_bgr_turns_the_channels_round() -> None:
    found = settle(Preprocess(color="bgr"), NHWC)(Image.fromarray(PIXELS))
    np.testing.assert_array_equal(found, PIXELS[..., ::-1])


def test_one_channel_means_gray_and_palette_pictures_become_colours() -> None:
    gray = settle(PRESETS["raw"], image_input("n", 1, 8, 6))(Image.fromarray(PIXELS))
    np.testing.assert_array_equal(gray[0], np.asarray(Image.fromarray(PIXELS).convert("L")))
    flat = Image.new("P", (6, 8))
    flat.putpalette([9, 8, 7] * 256)
    np.testing.assert_array_equal(settle(PRESETS["raw"], NHWC)(flat)[0, 0], [9, 8, 7])


def test_uint8_input_gets_the_pixels_unchanged() -> None:
    found = settle(PRESETS["raw"], image_input("n", 8, 6, 3, dtype="uint8"))(Image.fromarray(PIXELS))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


def test_picture_of_another_size_is_explained_where_no_resizing_was_asked() -> None:
    with pytest.raises(Unusable, match="the picture is 4x5, the model takes 8x6, and the preprocessing does not"):
        settle(PRESETS["raw"], NCHW)(Image.new("RGB", (5, 4)))


def test_crop_takes_the_centre_after_resizing_the_shorter_side() -> None:
    # 14 x 28, the left half black: the shorter side becomes 8/7 of 7 = 8, so 8 x 16; the centre starts at column 4.5
    pixels = np.zeros((14, 28, 3), np.uint8)
    pixels[:, 14:] = 255
    spec = image_input("n", 7, 7, 3)
    found = settle(Preprocess(resize="crop", interpolation="nearest"), spec)(Image.fromarray(pixels))[..., 0]
    columns = np.where(np.arange(16) < 8, 0, 255)[4:11]
    np.testing.assert_array_equal(found, np.tile(columns, (7, 1)))


def test_crop_of_the_256_pixel_form_is_the_central_224() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    found = settle(Preprocess(resize="crop"), image_input("n", 224, 224, 3))(Image.fromarray(pixels))
    np.testing.assert_array_equal(found, pixels[16:240, 16:240])


def test_stretch_gives_the_size_of_the_model() -> None:
    assert settle(Preprocess(resize="stretch"), NCHW)(Image.new("RGB", (50, 4))).shape == (3, 8, 6)


def test_free_size_keeps_each_picture() -> None:
    assert settle(PRESETS["unit"], image_input("n", 3, None, None))(Image.new("RGB", (5, 4))).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("spec", "preprocess", "reason"),
    [
        (image_input("n", 3), PRESETS["raw"], "is not an image input"),
        (image_input("n", 16, 8, 8), PRESETS["raw"], "does not say where its channels are; set layout"),
        (image_input("n", 3, 8, 3), PRESETS["raw"], "does not say where its channels are"),
        (NCHW, Preprocess(color="gray"), "has 3 channels, gray has 1"),
        (image_input("n", 1, 8, 8), PRESETS["imagenet"], "mean has 3 numbers for 1 channels"),
        (NCHW, Preprocess(size=(9, 9)), "size is 9x9, the model takes 8x6; leave it out"),
        (image_input("n", 3, None, None), PRESETS["imagenet"], "leaves the size open; set size"),
        (image_input("n", 3, 8, 8, dtype="uint8"), PRESETS["unit"], "cannot take scaled pictures"),
    ],
)
def test_contradiction_between_model_and_preprocessing_is_told(
    spec: TensorSpec, preprocess: Preprocess, reason: str
) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        settle(preprocess, spec)
