"""Runs a model in ONNX Runtime on random feeds: the oracle of the pass tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from deploycompress.runtime.session import Session, SessionConfig

_PLAIN = SessionConfig(threads=1, optimization="none")


def proto(model: ir.Model) -> bytes:
    """Deterministic bytes of a model."""
    return ir.to_proto(model).SerializeToString(deterministic=True)


def feed(model: ir.Model, free: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; free axes get length `free`, integers are 0 or 1."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        assert value.shape is not None
        assert value.dtype is not None
        assert value.name is not None
        shape = [d if isinstance(d, int) else free for d in value.shape]
        dtype = value.dtype.numpy()
        if dtype.kind == "f":
            inputs[value.name] = rng.standard_normal(shape).astype(dtype)
        else:
            inputs[value.name] = rng.integers(0, 2, shape).astype(dtype)
    return inputs


def outputs(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    """Outputs without any of the runtime's own rewrites."""
    return Session(proto(model), _PLAIN).run(feeds)


def assert_same_outputs(before: ir.Model, after: ir.Model, *, free: int = 2, seed: int = 0) -> None:
    """Equal up to the rounding of one re-associated product per layer.

    Folding moves a multiplication from an activation to a weight: per layer one rounding, 2^-24 in float32 and 2^-11 in
    float16, relative to the largest value that enters the sum. The models of these tests have at most six layers, and
    sums may cancel to a tenth of their terms: 60 roundings.
    """
    same_outputs_on(before, after, feed(before, free, seed))


def same_outputs_on(before: ir.Model, after: ir.Model, feeds: dict[str, np.ndarray]) -> None:
    """`assert_same_outputs` on one feed."""
    expected, got = outputs(before, feeds), outputs(after, feeds)
    assert list(expected) == list(got)
    for name, value in expected.items():
        assert value.dtype == got[name].dtype
        assert value.shape == got[name].shape
        if value.dtype.kind != "f" or value.size == 0:
            np.testing.assert_array_equal(got[name], value, err_msg=name)
            continue
        unit = float(np.finfo(value.dtype).eps) / 2
        largest = float(np.abs(value.astype(np.float64)[np.isfinite(value)]).max(initial=0.0))
        np.testing.assert_allclose(got[name], value, rtol=0, atol=60 * unit * largest, err_msg=name)


def checks(model: ir.Model) -> str | None:
    """What the ONNX checker has against the model, or None."""
    try:
        onnx.checker.check_model(ir.to_proto(model), full_check=False)
    except onnx.checker.ValidationError as error:
        return str(error)
    return None
