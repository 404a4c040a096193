"""A Resize by computed sizes becomes a Resize by constant scales, where the scales are exact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.passes.resize_scales import ResizeByScales
from tests import zoo
from tests.passes.running import feed, outputs

WHOLE_SHAPE = "s = Shape(x) n = Slice(s, zero, two, zero) z = Concat<axis=0>(n, hw)"


def built(sizes: str, size: tuple[int, ...], options: str = "", *, shape: str = "N,3,6,4", opset: int = 17) -> ir.Model:
    """x -> sizes z -> Resize."""
    weights = {
        "zero": [0],
        "one": [1],
        "two": [2],
        "first": [0, 1],
        "scalar": 1,
        "three": [3],
        "four": [4],
        "nine": [9],
        "hw": list(size),
        "all": [2, 3, *size],
    }
    used = {name: np.asarray(value, np.int64) for name, value in weights.items() if name in sizes}
    mode = options or 'mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"'
    text = f"{sizes} y = Resize<{mode}>(x, , , z)"
    return zoo.model(f"g (float[{shape}] x) => (float[A,B,C,D] y) {{ {text} }}", opset=opset, **used)


def assert_equal_outputs(before: ir.Model, after: ir.Model) -> None:
    for free in (1, 2, 3):
        inputs = feed(before, free)
        np.testing.assert_array_equal(outputs(before, inputs)["y"], outputs(after, inputs)["y"])


@pytest.mark.parametrize(
    ("sizes", "opset"),
    [
        (WHOLE_SHAPE, 17),
        ("n = Shape<start=0, end=2>(x) z = Concat<axis=0>(n, hw)", 17),
        ("b = Shape<end=1>(x) n = Shape<start=1, end=-2>(x) z = Concat<axis=0>(b, n, hw)", 17),
        ("s = Shape(x) n = Gather(s, first) z = Concat<axis=0>(n, hw)", 17),
        (
            "s = Shape(x) b = Gather(s, zero) c = Gather(s, scalar) d = Unsqueeze(c, zero)"
            " z = Concat<axis=0>(b, d, hw)",
            17,
        ),
        ("s = Shape(x) c = Cast<to=7>(s) n = Slice(c, zero, two) z = Concat<axis=0>(n, hw)", 13),
    ],
)
def test_sizes_from_the_shape_of_the_image_become_scales(sizes: str, opset: int) -> None:
    before = built(sizes, (12, 6), opset=opset)
    result = ResizeByScales()(before)
    assert [node.op_type for node in result.model.graph] == ["Resize"]
    assert [tensor.const_value.numpy().tolist() for tensor in result.model.graph.initializers.values()] == [
        [1.0, 1.0, 2.0, 1.5]
    ]
    assert_equal_outputs(before, result.model)


def test_constant_sizes_of_a_fixed_image_become_scales() -> None:
    before = zoo.model(
        'g (float[2,3,6,4] x) => (float[2,3,3,8] y) { y = Resize<mode="linear">(x, , , all) }',
        all=np.asarray([2, 3, 3, 8], np.int64),
    )
    result = ResizeByScales()(before)
    assert len(result.changes) == 1
    assert_equal_outputs(before, result.model)


@pytest.mark.parametrize(
    ("sizes", "size", "shape", "options", "reason"),
    [
        (WHOLE_SHAPE, (12, 7), "N,3,6,5", "", "7 is not an exact multiple of 5 (axis 3)"),
        (WHOLE_SHAPE, (12, 8), "N,3,H,4", "", "the length of axis 2 is not known"),
        ("z = Abs(all)", (12, 8), "N,3,6,4", "", "its sizes are not known axis by axis"),
        ("o = Neg(x) s = Shape(o) z = Identity(s)", (12, 8), "N,3,6,4", "", "its sizes are not known axis by axis"),
        (
            WHOLE_SHAPE.replace("Shape(x)", "Shape(o)").replace("s =", "o = Transpose<perm=[1,0,2,3]>(x) s ="),
            (12, 8),
            "N,3,6,4",
            "",
            "its sizes are not known axis by axis",
        ),
        (
            WHOLE_SHAPE.replace("Slice(s, zero, two, zero)", "Slice(s, zero, four, zero, two)"),
            (12, 8),
            "N,3,6,4",
            "",
            "the size of axis 1 is the length of axis 2",
        ),
        (
            "s = Shape(x) n = Gather(s, nine) z = Concat<axis=0>(n, three, hw)",
            (12, 8),
            "N,3,6,4",
            "",
            "its sizes are not known axis by axis",
        ),
        (WHOLE_SHAPE, (12, 0), "N,3,6,4", "", "the length of axis 3 is not known"),
        (WHOLE_SHAPE, (12, 8), "N,3,0,4", "", "the length of axis 2 is not known"),
        (
            "s = Shape(x) n = Gather(s, one) z = Concat<axis=0>(n, scalar1, hw)",
            (12, 8),
            "N,3,6,4",
            "",
            "the size of axis 0 is the length of axis 1",
        ),
    ],
)
def test_sizes_that_are_not_certain_are_refused(
    sizes: str, size: tuple[int, ...], shape: str, options: str, reason: str
) -> None:
    before = built(sizes.replace("scalar1", "one"), size, options, shape=shape)
    result = ResizeByScales()(before)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]


def test_step_that_is_computed_is_refused() -> None:
    model = zoo.model(
        "g (float[N,3,6,4] x, int64[1] step) => (float[A,B,C,D] y) { s = Shape(x) n = Slice(s, zero, two, zero, step)"
        " z = Concat<axis=0>(n, hw) y = Resize(x, , , z) }",
        **{name: np.asarray(value, np.int64) for name, value in {"zero": [0], "two": [2], "hw": [12, 8]}.items()},
    )
    assert [r.reason for r in ResizeByScales()(model).refusals] == ["its sizes are not known axis by axis"]


def test_named_axes_are_refused() -> None:
    model = zoo.model(
        "g (float[1,1,4,4] x) => (float[1,1,8,8] y) { y = Resize<axes=[3,2,1,0]>(x, , , z) }",
        opset=18,
        z=np.asarray([8, 8, 1, 1], np.int64),
    )
    assert [r.reason for r in ResizeByScales()(model).refusals] == ["it keeps the aspect ratio, or names its axes"]


def test_crop_and_aspect_ratio_are_refused() -> None:
    crop = zoo.model(
        "g (float[1,1,4,4] x, float[8] roi) => (float[1,1,8,8] y) { y = Resize<coordinate_transformation_mode="
        '"tf_crop_and_resize">(x, roi, , z) }',
        z=np.asarray([1, 1, 8, 8], np.int64),
    )
    aspect = zoo.model(
        'g (float[1,1,4,4] x) => (float[1,1,8,8] y) { y = Resize<keep_aspect_ratio_policy="not_larger">(x, , , z) }',
        opset=18,
        z=np.asarray([1, 1, 8, 8], np.int64),
    )
    assert [r.reason for r in ResizeByScales()(crop).refusals] == ["it crops (tf_crop_and_resize)"]
    assert [r.reason for r in ResizeByScales()(aspect).refusals] == ["it keeps the aspect ratio, or names its axes"]


_MODES = [("nearest", mode) for mode in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
_MODES += [("linear", "floor"), ("cubic", "floor")]


@given(
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 18), st.integers(1, 18)),
    mode=st.sampled_from(_MODES),
    coordinates=st.sampled_from(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]),
)
def test_any_resize_gives_the_same_numbers(
    lengths: tuple[int, int], size: tuple[int, int], mode: tuple[str, str], coordinates: str
) -> None:
    options = f'mode="{mode[0]}", nearest_mode="{mode[1]}", coordinate_transformation_mode="{coordinates}"'
    before = built(WHOLE_SHAPE, size, options, shape=f"N,3,{lengths[0]},{lengths[1]}")
    result = ResizeByScales()(before)
    exact = all(
        Fraction(float(np.float32(out / length))) * length == out for out, length in zip(size, lengths, strict=True)
    )
    assert bool(result.changes) == exact
    assert_equal_outputs(before, result.model)
