"""`prune` from file to file: exact, rounded, repaired, listed, and one clear line for what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import prune, targets
from deploycompress.cli.prune import verdict
from deploycompress.errors import InvalidOutputError, UnknownNameError, UnsupportedError, UsageError
from deploycompress.flow import cutting
from deploycompress.flow.prune import groups
from tests import zoo
from tests.passes.running import feed, outputs, proto
from tests.pruning import nets

TARGET = targets.load("server-cpu-avx2")


def hidden() -> ir.Model:
    """Two linear layers with 24 features between them, among which 12 are weak."""
    weak = np.where(np.arange(24) % 2, 1, 0.05).astype(np.float32)
    return zoo.model(
        "g (float[N,8] x) => (float[N,4] y) { h = Gemm(x, w, b) r = Relu(h) y = Gemm(r, u, c) }",
        w=zoo.normal(8, 24) * weak,
        b=zoo.normal(24) * weak,
        u=zoo.normal(24, 4),
        c=zoo.normal(4),
    )


def written(folder: Path, model: ir.Model) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(proto(model))
    return path


def samples(folder: Path, count: int = 40) -> str:
    path = folder / "data"
    path.mkdir()
    np.savez(path / "x.npz", x=zoo.normal(count, 8, seed=5))
    return str(path)


def test_half_of_the_channels_go_and_the_file_says_so(tmp_path: Path) -> None:
    source = written(tmp_path, nets.residual())
    result = prune(source, tmp_path / "out.onnx", target=TARGET, ratio=0.5, measure=False)
    assert {row.name: (row.units, row.removed) for row in result.groups if not row.refusals} == {
        "w0": (8, 4),
        "w1": (6, 3),
    }
    after = models.load(tmp_path / "out.onnx")
    assert after.graph.initializers["w1"].const_value.shape.numpy() == (3, 4, 3, 3)  # type: ignore[union-attr]
    # 8x3x9 + 8 + 6x8x9 + 6 + 8x6x9 + 8 + 8x5 before; 4x3x9 + 4 + 3x4x9 + 3 + 4x3x9 + 4 + 4x5 after.
    assert (result.parameters_before, result.parameters_after) == (1142, 355)
    # 64 places of 9x3x8, 9x8x6 and 9x6x8, and 8x5; then of 9x3x4, 9x4x3 and 9x3x4, and 4x5.
    assert (result.macs_before, result.macs_after) == (64 * 1080 + 40, 64 * 324 + 20)
    assert result.exact_on >= 2
    assert verdict(result).endswith("what it means for accuracy is not known: give --eval")
    assert "no samples: nothing was repaired" in result.notes[0]


def test_samples_decide_repair_and_judge(tmp_path: Path) -> None:
    source = written(tmp_path, hidden())
    data = samples(tmp_path)
    plain = prune(source, tmp_path / "a.onnx", target=TARGET, ratio=0.5, calib=data, repair=False, measure=False)
    result = prune(source, tmp_path / "b.onnx", target=TARGET, ratio=0.5, calib=data, measure=False)
    assert (result.score, result.compared_on, result.samples) == ("second-order", "held-out samples", 40)
    assert [row.removed for row in result.groups if row.removed] == [12]
    assert [repair.is_kept for repair in result.repairs] == [True]
    assert result.fidelity.sqnr_db > plain.fidelity.sqnr_db
    random = prune(
        source, tmp_path / "c.onnx", target=TARGET, ratio=0.5, calib=data, score="random", repair=False, measure=False
    )
    assert plain.fidelity.sqnr_db > random.fidelity.sqnr_db + 10


def test_channels_are_kept_in_round_numbers(tmp_path: Path) -> None:
    source = written(tmp_path, nets.residual())
    result = prune(source, tmp_path / "o.onnx", target=TARGET, ratio=0.5, round_to=4, measure=False)
    assert [(row.name, row.units - row.removed) for row in result.groups if row.removed] == [("w0", 4), ("w1", 4)]


def test_an_excluded_layer_keeps_its_inputs_and_outputs(tmp_path: Path) -> None:
    source = written(tmp_path, nets.shared_concat())
    listed = groups(source, target=TARGET, exclude=["c"])
    assert [row.name for row in listed.groups] == ["w0"]
    assert [
        row.members for row in listed.refused if row.refusals == ("it runs through a layer that was excluded",)
    ] == [("w1:0", "w2:1")]


def test_the_list_names_every_group_and_every_reason(tmp_path: Path) -> None:
    listed = groups(written(tmp_path, nets.residual()), target=TARGET)
    assert [(row.name, row.units, row.members) for row in listed.groups] == [
        ("w0", 8, ("w0:0", "b0:0", "w1:1", "w2:0", "b2:0", "wh:0")),
        ("w1", 6, ("w1:0", "b1:0", "w2:1")),
    ]
    assert {row.members[0]: row.refusals for row in listed.refused} == {
        "w0:1": ("it is fed by the graph input 'x'",),
        "wh:1": ("it is the graph output 'y'",),
    }


def test_the_batch_norm_score_leaves_the_norms_where_they_are(tmp_path: Path) -> None:
    model = zoo.model(
        "g (float[N,3,6,6] x) => (float[N,2] y) { a = Conv(x, w) n = BatchNormalization(a, g, b, m, v) r = Relu(n)"
        " z = GlobalAveragePool(r) f = Flatten(z) y = Gemm(f, u) }",
        w=zoo.normal(8, 3, 3, 3),
        **zoo.batch_norm(8),
        u=zoo.normal(8, 2),
    )
    source = written(tmp_path, model)
    result = prune(source, tmp_path / "out.onnx", target=TARGET, ratio=0.5, score="batchnorm", measure=False)
    assert "FoldBatchNormalization" not in result.rewrites
    scale = models.load(tmp_path / "out.onnx").graph.initializers["g"].const_value
    before = zoo.batch_norm(8)["g"]
    assert scale is not None
    np.testing.assert_array_equal(scale.numpy(), before[before >= np.sort(before)[4]])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"ratio": 1.5}, UsageError, "the ratio must lie between 0 and 1, not 1.5"),
        ({"ratio": 0.5, "score": "activation"}, UsageError, "the score activation needs samples"),
        ({"ratio": 0.5, "round_to": 0}, UsageError, "channels cannot be kept in multiples of 0"),
        ({"ratio": 0.01}, UnsupportedError, "nothing can go: the 2 groups are too small for this ratio"),
        ({"ratio": 0.5, "exclude": ["nowhere"]}, UnknownNameError, "unknown node or tensor 'nowhere'"),
        ({"ratio": 0.5, "score": "batchnorm"}, UnsupportedError, "the group of 'w0' runs through no BatchNorm"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    source = written(tmp_path, nets.residual())
    with pytest.raises(error, match=said):
        prune(source, tmp_path / "out.onnx", target=TARGET, measure=False, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out.onnx").exists()


def test_a_model_without_anything_to_remove_is_refused_with_the_reasons(tmp_path: Path) -> None:
    model = zoo.model("g (float[N,4] x) => (float[N,3] y) { y = MatMul(x, w) }", w=zoo.normal(4, 3))
    with pytest.raises(UnsupportedError, match=r"nothing of it may be removed .*graph input 'x'"):
        prune(written(tmp_path, model), tmp_path / "out.onnx", target=TARGET, ratio=0.5, measure=False)


def test_a_cut_that_answers_otherwise_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cutting.remove

    def wrong(model: ir.Model, kept: cutting.Masks) -> ir.Model:
        after = real(model, kept)
        bias = after.graph.initializers["b1"]
        assert bias.const_value is not None
        bias.const_value = ir.tensor(bias.const_value.numpy() + 1, name="b1")
        return after

    monkeypatch.setattr(cutting, "remove", wrong)
    with pytest.raises(InvalidOutputError, match="does not answer as the masked one does: output 'y' differs"):
        prune(written(tmp_path, nets.residual()), tmp_path / "out.onnx", target=TARGET, ratio=0.5, measure=False)
    assert not (tmp_path / "out.onnx").exists()


def test_transformers_lose_heads_and_still_run(tmp_path: Path) -> None:
    source = written(tmp_path, nets.ATTENTIONS["merged"]())
    result = prune(source, tmp_path / "out.onnx", target=TARGET, ratio=0.5, measure=False)
    assert {(row.units, row.removed) for row in result.groups if row.removed} == {(4, 2), (16, 8), (24, 12)}
    after = models.load(tmp_path / "out.onnx")
    assert outputs(after, feed(after))["y"].shape == (2, 6, 5)
