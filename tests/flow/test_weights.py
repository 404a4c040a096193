"""The maker of the weight-only form: any opset, every algorithm, exclusions, moments collected once."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.errors import UnsupportedError
from deploycompress.flow.weights import Weights
from deploycompress.quantization.plan import layer_inputs
from deploycompress.quantization.spec import Rounding
from deploycompress.quantization.weight_only import weight_spec
from deploycompress.runtime.session import Session, SessionConfig
from tests.passes.running import outputs
from tests.quantization.test_weight_only import EXACT, TARGET, two_products
from tests.zoo import normal


@pytest.mark.parametrize("rounding", ["nearest", "gptq", "adaround", "awq"])
def test_every_algorithm_makes_a_model_of_an_old_opset_that_runs(rounding: Rounding) -> None:
    net = two_products(opset=17)
    feeds = [{"x": normal(60, 72, seed=seed)} for seed in range(3)]
    seen = collect(net, [], feeds, grams=layer_inputs(net), config=SessionConfig(threads=1))
    made = Weights(net, TARGET, weight_spec(rounding=rounding), statistics=seen)({})
    feed = {"x": normal(20, 72, seed=9)}
    got, expected = Session(models.serialize(made.model), EXACT).run(feed)["y"], outputs(net, feed)["y"]
    # 4 bits of two layers: measured 0.06 to 0.11 of the spread of the outputs.
    assert np.std(got - expected) < 0.2 * np.std(expected)
    assert {planned.form for planned in made.plan.nodes.values()} == {"weight-only"}
    assert made.samples == (0 if rounding == "nearest" else 3)
    assert ("rescaled" in made.plan.nodes["m"].reason) == (rounding == "awq")


def test_excluded_layers_stay_float() -> None:
    made = Weights(two_products(opset=17), TARGET, weight_spec())({"m": 32})
    assert "w0" in made.model.graph.initializers
    assert made.plan.nodes["m"].reason == "excluded by the user"


def test_an_algorithm_that_needs_samples_says_so() -> None:
    with pytest.raises(UnsupportedError, match="gptq needs samples"):
        Weights(two_products(), TARGET, weight_spec(rounding="gptq"))({})


@pytest.mark.parametrize(
    ("bits", "levels", "symmetric"), [(8, "uniform", True), (4, "uniform", False), (2, "ternary", True)]
)
def test_the_default_zero_point_is_fitted_where_codes_are_few(bits: int, levels: str, symmetric: bool) -> None:
    assert weight_spec(bits, levels=levels).symmetric == symmetric  # type: ignore[arg-type]
