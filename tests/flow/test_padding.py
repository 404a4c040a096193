"""The padded-batch check: passes, tells a model that is itself sensitive, and catches scales found per batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.flow.padding import PaddedBatch, attention_mask, padded_batch
from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Session
from tests.flow.test_quantize import TARGET, saved
from tests.zoo import model, normal

TOKENS, WIDTH = 50, 16
FEED = {
    "ids": np.random.default_rng(3).integers(1, TOKENS, (1, 12)),
    "attention_mask": np.ones((1, 12), np.int64),
}


def pooled_net(pad_row: float = 1.0, masked: bool = True) -> ir.Model:
    """Token vectors through a layer, averaged over the tokens that the mask keeps (or over all), and a classifier."""
    weights = "Unsqueeze(m, last)" if masked else "Add(zeros, one)"
    table = normal(TOKENS, WIDTH)
    table[0] *= pad_row
    return model(
        f"""g (int64[N,T] ids, int64[N,T] attention_mask) => (float[N,5] y) {{
            e = Gather(table, ids)
            h = MatMul(e, w0)
            m = Cast<to=1>(attention_mask)
            u = Unsqueeze(m, last)
            zeros = Mul(u, zero)
            keep = {weights}
            k = Mul(h, keep)
            s = ReduceSum<keepdims=0>(k, middle)
            n = ReduceSum<keepdims=0>(keep, middle)
            p = Div(s, n)
            y = MatMul(p, w1) }}""",
        table=table,
        w0=normal(WIDTH, WIDTH),
        w1=normal(WIDTH, 5),
        zero=np.zeros((), np.float32),
        one=np.ones((), np.float32),
        last=np.array([2]),
        middle=np.array([1]),
    )


def checked(net: ir.Model, folder: Path, form: Format) -> PaddedBatch:
    source, samples = saved(net, folder), folder / "samples.py"
    samples.write_text(
        "import numpy as np\n"
        "def feeds():\n"
        "    rng = np.random.default_rng(0)\n"
        f"    ids = [rng.integers(1, {TOKENS}, 12) for _ in range(16)]\n"
        "    return [{'ids': i, 'attention_mask': np.ones(12, np.int64)} for i in ids]\n"
    )
    result = quantize(source, folder / "int8.onnx", target=TARGET, form=form, calib=f"{samples}:feeds", measure=False)
    assert result.padded is not None
    return result.padded


def test_static_scales_give_the_same_row_in_a_batch(tmp_path: Path) -> None:
    found = checked(pooled_net(), tmp_path, Format())
    assert found.holds
    assert (found.mask, found.lengths) == ("attention_mask", (12, 6))
    assert found.float_shift < 1e-6
    assert found.shift < 1e-6 < found.error
    assert "padding moves a row by" in str(found)


def test_scales_found_per_batch_depend_on_what_fills_it(tmp_path: Path) -> None:
    # The vector of the padding token is a thousand times larger: the scale of the batch has no room for the others.
    found = checked(pooled_net(pad_row=1000.0), tmp_path, Format("dynamic"))
    assert not found.holds
    assert found.float_shift < 1e-6
    assert found.shift > 10 * found.error
    assert str(found).endswith("run samples of different length one by one")


def test_a_model_that_ignores_its_mask_is_not_blamed_on_quantization(tmp_path: Path) -> None:
    found = checked(pooled_net(masked=False), tmp_path, Format())
    assert found.float_shift > 0.1
    assert found.holds
    assert str(found).endswith("the float model itself is sensitive to padding")


def test_a_model_without_a_mask_is_not_checked() -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(8, 4))
    session = Session(models.serialize(net))
    assert padded_batch(session, session, session.signature, {"x": normal(1, 8)}) is None


@pytest.mark.parametrize("shape", ["[1,T]", "[N,12]"])
def test_fixed_lengths_leave_no_room(shape: str) -> None:
    net = model(f"g (int64{shape} attention_mask) => (int64{shape} y) {{ y = Identity(attention_mask) }}")
    assert attention_mask(Session(models.serialize(net)).signature) is None
