"""`factorize` from file to file: chosen within a limit, refitted, judged, and one clear line for what it cannot do."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import factorize, targets
from deploycompress import model as models
from deploycompress.cli.factorize import verdict
from deploycompress.errors import UnknownNameError, UnsupportedError, UsageError
from deploycompress.factorization import Layer
from deploycompress.flow.factor_choice import Options, Timed, best, front
from deploycompress.flow.factor_fit import Form
from deploycompress.flow.factor_times import fastest_us
from deploycompress.flow.factor_wish import Wish
from deploycompress.flow.goal import Goal
from tests import zoo
from tests.passes.running import proto

TARGET = targets.load("server-cpu-avx2")


def two_layers() -> ir.Model:
    """A layer of rank 4 and one of full rank, 32 features wide."""
    return zoo.model(
        "g (float[N,32] x) => (float[N,24] y) { h = Gemm(x, w, b) r = Relu(h) y = Gemm(r, u, c) }",
        w=zoo.normal(32, 4) @ zoo.normal(4, 32, seed=1) / 8,
        b=zoo.normal(32),
        u=zoo.normal(32, 24, seed=2),
        c=zoo.normal(24),
    )


def convolutional() -> ir.Model:
    """Two convolutions with a Relu between them and a head; the inner kernels are nearly separable."""
    return zoo.model(
        "g (float[N,8,10,10] x) => (float[N,6] y) { a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a)"
        " d = Conv<pads=[1,1,1,1], strides=[2,2]>(r, v) t = Relu(d) z = GlobalAveragePool(t) f = Flatten(z)"
        " y = Gemm(f, u) }",
        w=np.einsum("mr,rc,rk->mck", zoo.normal(16, 6), zoo.normal(6, 8, seed=1), zoo.normal(6, 9, seed=2)).reshape(
            16, 8, 3, 3
        )
        + 0.1 * zoo.normal(16, 8, 3, 3, seed=7),
        b=zoo.normal(16),
        v=zoo.normal(16, 16, 3, 3, seed=3) / 4,
        u=zoo.normal(16, 6),
    )


def written(folder: Path, model: ir.Model) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(proto(model))
    return path


def samples(folder: Path, *shape: int) -> str:
    path = folder / "data"
    path.mkdir()
    np.savez(path / "x.npz", x=zoo.normal(*shape, seed=5))
    return str(path)


def test_a_layer_of_low_rank_is_found_and_kept_exactly(tmp_path: Path) -> None:
    source = written(tmp_path, two_layers())
    result = factorize(source, tmp_path / "o.onnx", target=TARGET, wish=Wish(energy=0.999), measure=False)
    rows = {row.layer: row for row in result.layers}
    assert (rows["h"].method, rows["h"].ranks, rows["h"].parameters_after) == ("svd", (4,), 256)
    assert (rows["y"].method, rows["y"].parameters_after) == ("", 768)
    assert rows["y"].reason.startswith("no faster form is allowed: the nearest, svd 10, has 73 % of its parameters")
    assert (result.parameters_before, result.parameters_after) == (1848, 1080)
    assert (result.macs_before, result.macs_after) == (1792, 1024)
    assert result.fidelity.sqnr_db > 90  # float32
    assert verdict(result).startswith("1 layers factorized, parameters -41.6 %, multiplications -42.9 %")
    assert verdict(result).endswith("what it means for accuracy is not known: give --eval")


def test_samples_find_what_the_weights_do_not_show(tmp_path: Path) -> None:
    """Inputs lie in 4 of 32 directions: any weight is of rank 4 to them."""
    source = written(tmp_path, two_layers())
    path = tmp_path / "data"
    path.mkdir()
    np.savez(path / "x.npz", x=zoo.normal(64, 4) @ zoo.normal(4, 32, seed=9))
    common = {"target": TARGET, "wish": Wish(ratio=0.3), "measure": False, "calib": str(path)}
    found = factorize(source, tmp_path / "a.onnx", **common)  # type: ignore[arg-type]
    plain = factorize(source, tmp_path / "b.onnx", methods=["svd"], repair=False, **common)  # type: ignore[arg-type]
    assert {row.method for row in found.layers} == {"whitened"}
    assert found.compared_on == "held-out samples"
    assert found.fidelity.sqnr_db > plain.fidelity.sqnr_db + 3
    assert all(row.parameters_after <= 0.3 * row.parameters_before for row in found.layers)


def test_last_factors_are_fitted_behind_one_another(tmp_path: Path) -> None:
    source = written(tmp_path, convolutional())
    calib = samples(tmp_path, 48, 8, 10, 10)
    with_it, without = (
        factorize(
            source,
            tmp_path / f"{repair}.onnx",
            target=TARGET,
            wish=Wish(ratio=0.5),
            calib=calib,
            repair=repair,
            measure=False,
        )
        for repair in (True, False)
    )
    assert without.repaired == ()
    assert with_it.fidelity.sqnr_db > without.fidelity.sqnr_db
    pair = [last_weights(models.load(result.output)) for result in (with_it, without)]
    changed = {name for name in pair[0] if not np.array_equal(pair[0][name], pair[1][name])}
    assert set(with_it.repaired) == changed != set()


def last_weights(model: ir.Model) -> dict[str, np.ndarray]:
    """The weight of every layer, of factorized ones that of the last factor, by output name."""
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    return {str(node.outputs[0].name): node.inputs[1].const_value.numpy() for node in layers}  # type: ignore[union-attr]


def test_a_limit_on_agreement_is_kept_and_every_trial_told(tmp_path: Path) -> None:
    source = written(tmp_path, convolutional())
    goal = Goal(min_agreement=0.9)
    calib = samples(tmp_path, 64, 8, 10, 10)
    result = factorize(source, tmp_path / "o.onnx", target=TARGET, wish=Wish(goal=goal), calib=calib, measure=False)
    assert result.trials
    assert result.macs_after < result.macs_before
    assert {trial.met for trial in result.trials} == {True, False}


def test_layers_that_are_excluded_stay(tmp_path: Path) -> None:
    source = written(tmp_path, two_layers())
    result = factorize(source, tmp_path / "o.onnx", target=TARGET, wish=Wish(energy=0.5), exclude=["y"], measure=False)
    assert {row.layer: row.reason for row in result.layers if not row.method} == {"y": "it was excluded"}


def test_forms_are_timed_and_the_whole_is_compared(tmp_path: Path) -> None:
    model = zoo.model(
        "g (float[N,768] x) => (float[N,768] y) { y = Gemm(x, w) }",
        w=zoo.normal(768, 8) @ zoo.normal(8, 768, seed=1) / 100,
    )
    result = factorize(written(tmp_path, model), tmp_path / "o.onnx", target=TARGET, wish=Wish(energy=0.99))
    (row,) = result.layers
    assert row.method == "svd"
    assert row.time_before_us is not None
    assert row.time_after_us is not None
    assert row.time_after_us < row.time_before_us
    assert result.comparison is not None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"wish": Wish()}, UsageError, "how far is factorization to go"),
        ({"wish": Wish(energy=0.9, ratio=0.5)}, UsageError, "one thing decides how far factorization goes"),
        ({"wish": Wish(energy=1.5)}, UsageError, "--energy must lie between 0 and 1, not 1.5"),
        ({"wish": Wish(ratio=0.5), "methods": ["whitened"]}, UsageError, "the method whitened needs samples"),
        ({"wish": Wish(ratio=0.5), "exclude": ["nowhere"]}, UnknownNameError, "unknown node or tensor 'nowhere'"),
        ({"wish": Wish(ratio=0.01)}, UnsupportedError, "no faster form of any layer stays within --ratio 0.01"),
        ({"wish": Wish(ratio=0.5), "exclude": ["h", "y"]}, UnsupportedError, "no layer is faster in another form"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        factorize(
            written(tmp_path, two_layers()),
            tmp_path / "out.onnx",
            target=TARGET,
            measure=False,
            **options,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "out.onnx").exists()


def test_no_choice_of_equal_time_beats_a_step_of_the_front() -> None:
    """Brute force over all choices of three layers with four forms each."""
    rng = np.random.default_rng(0)
    options = []
    for number, node in enumerate(
        zoo.model(
            "g (float[N,8] x) => (float[N,8] y) { a = MatMul(x, u) c = MatMul(a, v) y = MatMul(c, w) }",
            **{name: zoo.normal(8, 8, seed=seed) for seed, name in enumerate("uvw")},
        ).graph
    ):
        layer = Layer.of(node)
        assert isinstance(layer, Layer)
        drawn = [
            Timed(Form("svd", (number, n), (), None, float(rng.uniform())), float(rng.uniform(1, 9))) for n in range(4)
        ]
        options.append(Options(layer, 10.0, tuple(best(drawn))))
    choices = [
        (sum(each[0] for each in choice), sum(each[1] for each in choice))
        for choice in itertools.product(
            *([(each.cost, 0.0), *((timed.cost, timed.form.error) for timed in each.forms)] for each in options)
        )
    ]
    steps = front(options)
    assert steps[0] == {}
    assert len(steps[-1]) == 3
    for step in steps:
        cost = sum(step[each.layer.name].cost if each.layer.name in step else each.cost for each in options)
        error = sum(timed.form.error for timed in step.values())
        assert error <= min(wrong for time, wrong in choices if time <= cost + 1e-9) + 1e-9


def test_the_shortest_of_the_rounds_counts() -> None:
    now = 0
    lengths = {0: itertools.cycle([9000, 4000, 7000]), 1: itertools.cycle([2000, 5000])}

    def run(which: int) -> None:
        nonlocal now
        now += next(lengths[which])

    assert fastest_us([lambda: run(0), lambda: run(1)], lambda: now) == [4.0, 2.0]
