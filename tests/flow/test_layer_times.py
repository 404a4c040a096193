"""Tags against what ONNX Runtime executes: every layer is found in both graphs, whatever fuses."""

from __future__ import annotations

from deploycompress.flow.executed import named
from deploycompress.flow.layer_times import LayerTimes, profiled, tagged, tags, untagged
from deploycompress.runtime.session import NodeTime, SessionConfig
from tests.quantization.nets import quantized
from tests.zoo import model, normal


def test_every_layer_is_timed_in_both_forms_whatever_fuses() -> None:
    net = named(
        model(
            """g (float[1,3,16,16] x) => (float[1,5] y) {
                c0 = Conv<pads=[1,1,1,1]>(x, w0, b0)  r0 = Relu(c0)
                c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)  r1 = Clip(c1, low, high)
                c2 = Conv(r1, w2)  p = GlobalAveragePool(c2)  f = Flatten(p)  y = Gemm(f, w3, b3) }""",
            w0=normal(16, 3, 3, 3),
            b0=normal(16),
            w1=normal(16, 16, 3, 3),
            b1=normal(16),
            w2=normal(8, 16, 1, 1),
            w3=normal(8, 5),
            b3=normal(5),
            low=normal(1)[0] * 0,
            high=normal(1)[0] * 0 + 6,
        )
    )
    feed, config = {"x": normal(1, 3, 16, 16)}, SessionConfig(threads=1)
    tag_of = tags(net)
    layers = {tag_of[str(node.name)]: node for node in net.graph if node.op_type in ("Conv", "Gemm")}
    before, after = profiled((tagged(net, tag_of, floats=True), tagged(quantized(net)[1], tag_of)), feed, config)
    for times in (before, after):
        assert layers.keys() <= times.by_tag.keys()
        assert [times.elements[tag] for tag in layers] == [16 * 16 * 16, 16 * 16 * 16, 8 * 16 * 16, 5]
        assert all(time_us > 0 for time_us in times.by_tag.values())
    assert before.conversions == {}
    assert {name.split("_quantized/")[0] for name in after.conversions if name.endswith("/QuantizeLinear")} == {"x"}


def test_what_the_runtime_adds_belongs_to_the_nearest_layer() -> None:
    executed = model(
        """g (float[1,8,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
            i = Neg(x)  c = Conv(i, w)  o = Neg(c)  y, s = Split<axis=1,num_outputs=2>(o)
            t = Neg(s)  z = Conv(t, v) }""",
        w=normal(8, 8, 1, 1),
        v=normal(4, 4, 1, 1),
    )
    names = ["in", "tagged000001_nchwc", "out", "tagged000002", "transpose", "tagged000003"]
    for node, name in zip(executed.graph, names, strict=True):
        node.name = name
    found = untagged(executed)
    assert found == {"in": "tagged000001", "out": "tagged000001", "transpose": "tagged000003"}
    times = LayerTimes()
    for name, op_type, least_us in (
        ("tagged000001_nchwc", "Conv", 10.0),
        ("out", "ReorderOutput", 4.0),
        ("alone", "Add", 99.0),
    ):
        times.add(NodeTime(name, op_type, "P", 50.0, (), ((1, 8, 8, 8),), least_us), found)
    assert times.by_tag == {"tagged000001": 14.0}
    assert times.layouts == {"out": (4.0, 512)}
