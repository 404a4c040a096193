"""Small ONNX-text models, one for each situation a graph rewrite must survive. `MODELS[name]()` builds a fresh one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper


def model(text: str, ir_version: int = 8, opset: int = 17, imports: str = "", **weights: np.ndarray) -> ir.Model:
    """A model from the text of its graph and its initializers by name."""
    proto = onnx.parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}{imports}]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())
    return ir.from_proto(proto)


def with_outputs(given: ir.Model, *names: str) -> ir.Model:
    """A copy that also gives the values of these names."""
    copy = given.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    for name in names:
        copy.graph.outputs.append(values[name])
        values[name].shape = None
        values[name].type = values[name].type or ir.TensorType(ir.DataType.FLOAT)
    return copy


def shared_folder() -> Path:
    """Folder of the shared models and data; it may be absent."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("DEPLOYCOMPRESS_SHARED", beside)) / "data"


def normal(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Standard normal values, the same ones every time."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def positive(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Values in 0.5 .. 1.5."""
    return (np.random.default_rng([seed, *shape]).random(shape) + 0.5).astype(dtype)


def batch_norm(channels: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """The four parameters of a BatchNormalization, called g, b, m, v."""
    return {
        "g": positive(channels, seed=1, dtype=dtype),
        "b": normal(channels, seed=2, dtype=dtype),
        "m": normal(channels, seed=3, dtype=dtype),
        "v": positive(channels, seed=4, dtype=dtype),
    }


def conv_batchnorm(bias: bool = True, group: int = 1) -> ir.Model:
    channels = 4 if group == 4 else 6
    weights = {"w": normal(channels, 4 // group, 3, 3)}
    if bias:
        weights["c"] = normal(channels)
    conv = f"Conv<pads=[1,1,1,1], group={group}>(x, w{', c' if bias else ''})"
    return model(
        f"g (float[N,4,5,5] x) => (float[N,{channels},5,5] y) {{"
        f" h = {conv} n = BatchNormalization(h, g, b, m, v) y = Relu(n) }}",
        **weights,
        **batch_norm(channels),
    )


def conv_transpose_batchnorm() -> ir.Model:
    return model(
        "g (float[1,4,5,5] x) => (float[1,6,7,7] y) {"
        " h = ConvTranspose<group=2>(x, w) y = BatchNormalization(h, g, b, m, v) }",
        w=normal(4, 3, 3, 3),
        **batch_norm(6),
    )


def gemm_batchnorm(transposed: bool = True) -> ir.Model:
    return model(
        f"g (float[N,4] x) => (float[N,6] y) {{ h = Gemm<transB={int(transposed)}, alpha=0.5, beta=2.0>(x, w, c)"
        " y = BatchNormalization(h, g, b, m, v) }",
        w=normal(6, 4) if transposed else normal(4, 6),
        c=normal(6),
        **batch_norm(6),
    )


def float16_conv_batchnorm() -> ir.Model:
    return model(
        "g (float16[1,4,5,5] x) => (float16[1,6,3,3] y) { h = Conv(x, w) y = BatchNormalization(h, g, b, m, v) }",
        w=normal(6, 4, 3, 3, dtype=np.float16),
        **batch_norm(6, np.float16),
    )


def conv_affine() -> ir.Model:
    return model(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) {"
        " h = Conv(x, w, c) m = Mul(h, s) a = Add(t, m) d = Div(a, two) y = Sub(t, d) }",
        w=normal(4, 3, 3, 3),
        c=normal(4),
        s=positive(1, 4, 1, 1),
        t=normal(4, 1, 1),
        two=np.float32(2),
    )


def shared_weight_batchnorm() -> ir.Model:
    return model(
        "g (float[1,4,5,5] x) => (float[1,4,5,5] y) { h = Conv<pads=[1,1,1,1]>(x, w)"
        " n = BatchNormalization(h, g, b, m, v) k = Conv<pads=[1,1,1,1]>(n, w) y = BatchNormalization(k, g, b, m, v) }",
        w=normal(4, 4, 3, 3),
        **batch_norm(4),
    )


def pad_conv_pool() -> ir.Model:
    return model(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { p = Pad(x, pads) h = Conv(p, w) q = Pad(h, pads)"
        " y = AveragePool<kernel_shape=[3,3], strides=[2,2]>(q) }",
        pads=np.asarray([0, 0, 1, 1, 0, 0, 1, 2], np.int64),
        w=normal(4, 3, 3, 3),
    )


def matmul_add() -> ir.Model:
    return model(
        "g (float[N,4] x) => (float[N,3] y) { h = MatMul(x, w) a = Add(c, h) k = MatMul(a, u) y = Add(k, d) }",
        w=normal(4, 5),
        c=normal(5),
        u=normal(5, 3),
        d=normal(1, 3),
    )


def shape_arithmetic() -> ir.Model:
    return model(
        "g (float[N,4,6] x) => (float[N,24] y, int64[1] size) { s = Shape(x) first = Constant<value = int64 {1}>()"
        " second = Constant<value = int64 {2}>() a = Gather<axis=0>(s, first) b = Gather<axis=0>(s, second)"
        " ab = Mul(a, b) axes = Constant<value_ints = [0]>() size = Unsqueeze(ab, axes)"
        " minus = Constant<value = int64[1] {-1}>() target = Concat<axis=0>(minus, size) y = Reshape(x, target) }"
    )


def constants() -> ir.Model:
    return model(
        "g (float[4] x) => (float[4] y) { a = Constant<value_floats = [1.0, 2.0, 3.0, 4.0]>()"
        " b = Constant<value_float = 2.5>() c = Mul(a, b) d = Sqrt(c) big = Constant<value = int64[1] {100000}>()"
        " e = ConstantOfShape(big) m = ReduceSum<keepdims=0>(e) f = Add(d, m) y = Add(x, f) }"
    )


def noops() -> ir.Model:
    return model(
        "g (float[N,4,6] x) => (float[N,4,6] y, float[N,4,6] z) { a = Identity(x) b = Cast<to=1>(a)"
        " c = Transpose<perm=[0,1,2]>(b) d = Concat<axis=0>(c) e = Reshape(d, keep) f = Slice(e, zero, end, one)"
        " h = Pad(f, nopads) i = Dropout(h) y = Relu(i) z = Identity(x) }",
        keep=np.asarray([0, -1, 6], np.int64),
        zero=np.asarray([0], np.int64),
        end=np.asarray([2**40], np.int64),
        one=np.asarray([1], np.int64),
        nopads=np.zeros(6, np.int64),
    )


def view_chains() -> ir.Model:
    """Views after views, an elementwise operator between two, a result read twice, and chains inside a branch."""
    return model(
        "g (float[1,1,6] x, bool flag) => (float[6,1,1] y, float[2,3] z, float[1,6] o) {"
        " a = Squeeze(x, one) b = Transpose<perm=[1,0]>(a) c = Sigmoid(b) y = Unsqueeze(c, two)"
        " d = Reshape(x, six) e = Reshape(d, flat) z = Reshape(e, pair)"
        " o = If(flag) <then_branch = t () => (float[1,6] p) { f = Reshape(x, flat) p = Reshape(f, six) },"
        " else_branch = e () => (float[1,6] q) { h = Reshape(e, six) i = Unsqueeze(h, one) j = Squeeze(i, one)"
        " q = Neg(j) }> }",
        one=np.asarray([1], np.int64),
        two=np.asarray([2], np.int64),
        six=np.asarray([1, 6], np.int64),
        flat=np.asarray([-1], np.int64),
        pair=np.asarray([2, 3], np.int64),
    )


def computed_targets() -> ir.Model:
    """What torch writes for view, flatten and expand of a batch whose size is free."""
    return model(
        "g (float[N,S,4,6] x, float[N,1,6] v) => (float[?,?,?] y, float[?,?] f, float[?,?,?] w) {"
        " s = Shape(x) n = Gather(s, zero) m = Gather(s, first) k = Concat<axis=0>(n, m, merged) y = Reshape(x, k)"
        " q = Concat<axis=0>(n, minus) f = Reshape(x, q)"
        " t = Shape(v) c = Gather(t, zero) e = Concat<axis=0>(c, wide, six) w = Expand(v, e) }",
        zero=np.asarray([0], np.int64),
        first=np.asarray([1], np.int64),
        merged=np.asarray([24], np.int64),
        minus=np.asarray([-1], np.int64),
        wide=np.asarray([5], np.int64),
        six=np.asarray([6], np.int64),
    )


def decided_branches() -> ir.Model:
    """Conditions that are constant, one If inside the other, a branch with a weight of its own, and outer values."""
    built = model(
        "g (float[2,4] x) => (float[2,4] y, float[2,4] z) { h = Relu(x)"
        " y = If(yes) <then_branch = t () => (float[2,4] a) { k = Add(h, own) a = If(no) <then_branch = u () =>"
        " (float[2,4] c) { c = Neg(k) }, else_branch = v () => (float[2,4] d) { d = Exp(k) }> },"
        " else_branch = e () => (float[2,4] b) { b = Sub(h, h) }> m = If(no) <then_branch = p () => (float[2,4] q) {"
        " q = Abs(h) }, else_branch = r () => (float[2,4] s) { s = Sqrt(h) }> z = Neg(m) }",
        yes=np.bool_(True),
        no=np.bool_(False),
        own=normal(4),
    )
    body = next(node for node in built.graph if node.outputs[0].name == "y").attributes["then_branch"].as_graph()
    body.register_initializer(built.graph.initializers.pop("own"))
    return built


def cast_chains() -> ir.Model:
    return model(
        "g (float[N,4] x, uint8[N,4] i) => (float[N,4] y, float[N,4] z, int32[N,4] n, float[N,4] h) {"
        " a = Cast<to=11>(x) b = Cast<to=1>(a) y = Relu(b) c = Cast<to=5>(i) d = Cast<to=7>(c) z = Cast<to=1>(d)"
        " e = Cast<to=11>(x) n = Cast<to=6>(e) f = Cast<to=10>(x) h = Cast<to=1>(f) }"
    )


def if_captures() -> ir.Model:
    return model(
        "g (float[2,4] x, bool flag) => (float[2,4] y) { h = MatMul(x, w) i = Identity(h)"
        " y = If(flag) <then_branch = t () => (float[2,4] a) {"
        "  k = Constant<value_float = 3.0>() j = Mul(i, k) a = Identity(j) },"
        " else_branch = e () => (float[2,4] b) { b = Identity(i) }> }",
        w=normal(4, 4),
    )


def if_folds() -> ir.Model:
    return model(
        "g (float[1,4,5,5] x, bool flag) => (float[1,4,5,5] y) {"
        " y = If(flag) <then_branch = t () => (float[1,4,5,5] a) {"
        "  h = Conv<pads=[1,1,1,1]>(x, w) a = BatchNormalization(h, g, b, m, v) },"
        " else_branch = e () => (float[1,4,5,5] o) { k = Conv<pads=[1,1,1,1]>(x, u) o = Mul(k, s) }> }",
        w=normal(4, 4, 3, 3),
        u=normal(4, 4, 3, 3, seed=1),
        s=positive(4, 1, 1),
        **batch_norm(4),
    )


def loop() -> ir.Model:
    return model(
        "g (float[4] x) => (float[4] y, float[3,4] each) { trips = Constant<value = int64 {3}>()"
        " go = Constant<value = bool {1}>() y, each = Loop(trips, go, x) <body = b (int64 i, bool c, float[4] s)"
        " => (bool d, float[4] t, float[4] u) { d = Identity(c) two = Constant<value_float = 2.0>() m = Mul(s, two)"
        " t = Add(m, x) u = Identity(t) }> }"
    )


def scan() -> ir.Model:
    return model(
        "g (float[4] init, float[3,4] xs) => (float[4] y, float[3,4] ys) {"
        " y, ys = Scan(init, xs) <num_scan_inputs = 1, body = b (float[4] s, float[4] v) =>"
        " (float[4] t, float[4] o) { a = Add(s, v) k = Identity(bias) t = Add(a, k) o = Identity(t) }> }",
        bias=normal(4),
    )


def shadowed() -> ir.Model:
    """Both branches call their value h, and so does the graph around them."""
    return model(
        "g (float[4] x, bool flag) => (float[4] y) { z = Relu(x)"
        " k = If(flag) <then_branch = t () => (float[4] a) { h = Neg(z) i = Identity(h) a = Abs(i) },"
        " else_branch = e () => (float[4] b) { h = Sqrt(z) i = Identity(h) b = Exp(i) }> y = Identity(k) }"
    )


def duplicates() -> ir.Model:
    """Equal weights, equal expressions (one of them a graph output), nodes and a weight that nothing needs."""
    return model(
        "g (float[N,4] x) => (float[N,4] y, float[N,4] r) { a = MatMul(x, w) b = MatMul(x, u) c = Relu(a) d = Relu(b)"
        " y = Add(c, d) r = Relu(a) nothing = Neg(x) never = Add(nothing, unread) }",
        w=normal(4, 4),
        u=normal(4, 4),
        unread=normal(4),
    )


def functions() -> ir.Model:
    return ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17, "local" : 1, "com.microsoft" : 1]>\n'
        "g (float[N,4] x) => (float[N,4] y) { h = local.twice(x) y = local.shift<by = 1.5>(h) }\n"
        '<domain: "local", opset_import: ["" : 17, "local" : 1]> twice (a) => (c) { c = Add(a, a) }\n'
        '<domain: "local", opset_import: ["" : 17, "local" : 1]> shift <by> (a) => (c)'
        " { k = Constant<value_float : float = @by>() c = Add(a, k) }\n"
        '<domain: "local", opset_import: ["" : 17]> unused (a) => (c) { c = Neg(a) }\n'
    )


def overridable() -> ir.Model:
    """w is an initializer and an input: a default the caller may replace."""
    built = conv_batchnorm(bias=False)
    built.graph.inputs.append(built.graph.initializers["w"])
    return built


def quantized() -> ir.Model:
    return model(
        "g (float[N,4] x) => (float[N,3] y) { q = QuantizeLinear(x, s, zp) d = DequantizeLinear(q, s, zp)"
        " w = DequantizeLinear(wq, ws, wzp) y = MatMul(d, w) }",
        s=np.float32(0.05),
        zp=np.uint8(128),
        wq=np.random.default_rng(0).integers(-127, 127, (4, 3)).astype(np.int8),
        ws=np.float32(0.01),
        wzp=np.int8(0),
    )


def encoder(outputs: str = "float[N,3] y", head: str = "t = Gather<axis=1>(n, first) y = Gemm(t, wh)") -> ir.Model:
    """One post-norm transformer layer of 2 heads as exporters write it, and what `head` makes of its last state n."""
    linear = "{0}m = MatMul({1}, w{0}) {0} = Add({0}m, b{0}) "
    return model(
        f"g (float[N,S,8] x, float[N,1,1,S] mask) => ({outputs}) {{"
        " sx = Shape(x) bx = Gather<axis=0>(sx, i0) lx = Gather<axis=0>(sx, i1)"
        " heads = Concat<axis=0>(bx, minus, two, four) full = Concat<axis=0>(bx, lx, eight)"
        + linear.format("q", "x")
        + linear.format("k", "x")
        + linear.format("v", "x")
        + " q4 = Reshape(q, heads) k4 = Reshape(k, heads) v4 = Reshape(v, heads) qt = Transpose<perm=[0,2,1,3]>(q4)"
        " kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4) raw = MatMul(qt, kt)"
        " scaled = Div(raw, root) masked = Add(scaled, mask) p = Softmax<axis=-1>(masked) c = MatMul(p, vt)"
        " ct = Transpose<perm=[0,2,1,3]>(c) c3 = Reshape(ct, full) "
        + linear.format("o", "c3")
        + " r = Add(o, x) l = LayerNormalization(r, g1, b1) "
        + linear.format("f", "l")
        + " a = Relu(f) "
        + linear.format("d", "a")
        + f" e = Add(d, l) n = LayerNormalization(e, g2, b2) {head} }}",
        **{f"w{name}": normal(8, 8, seed=seed) / 3 for seed, name in enumerate("qkvo")},
        **{f"b{name}": normal(8, seed=seed) for seed, name in enumerate("qkvo12d")},
        wf=normal(8, 12) / 3,
        bf=normal(12),
        wd=normal(12, 8) / 3,
        wh=normal(8, 3) / 3,
        g1=positive(8, seed=1),
        g2=positive(8, seed=2),
        root=np.float32(2),
        first=np.asarray(0, np.int64),
        **{
            name: np.asarray([length], np.int64)
            for name, length in {"i0": 0, "i1": 1, "minus": -1, "two": 2, "four": 4, "eight": 8}.items()
        },
    )


def sdpa_keys(last: str = "Concat<axis=0>(b, two, four, s)") -> ir.Model:
    """Keys [N,S,8] of two heads of four, transposed as the dynamo exporter writes scaled_dot_product_attention."""
    return model(
        "g (float[N,S,8] x) => (float[N,?,4,?] y) { shape = Shape(x) b = Slice(shape, i0, i1) s = Slice(shape, i1, two)"
        " t = Concat<axis=0>(b, s, two, four) r = Reshape(x, t) h = Transpose<perm=[0,2,1,3]>(r)"
        " f = Concat<axis=0>(minus, s, four) k = Reshape(h, f) w = Transpose<perm=[0,2,1]>(k)"
        f" l = {last} y = Reshape(w, l) }}",
        **{n: np.asarray([v], np.int64) for n, v in {"i0": 0, "i1": 1, "two": 2, "four": 4, "minus": -1}.items()},
    )


def mean_pool() -> ir.Model:
    return model(
        "g (float[N,3,5,5] x) => (float[N,3,1,1] y, float[N,3] z) {"
        " y = ReduceMean<axes=[2,3]>(x) z = ReduceMean<axes=[2,3], keepdims=0>(x) }"
    )


def gelu(order: str, opset: int = 17) -> ir.Model:
    """GELU by erf and by tanh, the last factors in the order of an exporter: "x * (gate / 2)" or "(x * gate) / 2"."""
    last = {
        "x * (gate / 2)": "{n}h = Mul({n}g, half) {n} = Mul(x, {n}h)",
        "(x * gate) / 2": "{n}h = Mul(x, {n}g) {n} = Mul({n}h, half)",
    }
    return model(
        "g (float[N,3,4] x) => (float[N,3,4] y) { d = Div(x, root) r = Erf(d) ag = Add(r, one) "
        + last[order].format(n="a")
        + " s = Mul(x, x) c = Mul(s, x) t = Mul(cubic, c) u = Add(x, t) v = Mul(slope, u) w = Tanh(v) bg = Add(one, w) "
        + last[order].format(n="b")
        + " y = Add(a, b) }",
        opset=opset,
        root=np.float32(2**0.5),
        one=np.float32(1),
        half=np.float32(0.5),
        cubic=np.float32(0.044715),
        slope=np.float32((2 / np.pi) ** 0.5),
    )


def written_activations() -> ir.Model:
    """HardSwish after a Conv, divided last and divided first, and a HardSigmoid gate, all spelt out."""
    return model(
        "g (float[1,3,6,6] x) => (float[1,3,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w) a = Add(h, three)"
        " b = Clip(a, zero, six) c = Mul(h, b) d = Div(c, six) e = Add(three, d) f = Clip(e, zero, six)"
        " i = Mul(f, sixth) j = Mul(i, d) k = Conv<pads=[1,1,1,1]>(x, u) l = Add(k, three) m = Clip(l, zero, six)"
        " n = Div(m, six) y = Mul(j, n) }",
        w=normal(3, 3, 3, 3),
        u=normal(3, 3, 3, 3, seed=1),
        zero=np.float32(0),
        three=np.float32(3),
        six=np.float32(6),
        sixth=np.float32(1 / 6),
    )


def clamps() -> ir.Model:
    """Relu6 in four ways, a Relu in three, and two bounds that exclude each other."""
    return model(
        "g (float[2,5] x) => (float[2,5] y, float[2,5] z) { a = Relu(x) b = Clip(a, , six) c = Max(b, zero)"
        " d = Neg(c) e = Min(two, d) f = Max(low, e) i = Relu(f) j = Abs(x) k = Clip(j, zero) y = Sub(i, k)"
        " l = Clip(x, two, six) m = Clip(l, low, zero) z = Relu(m) }",
        zero=np.float32(0),
        two=np.float32(2),
        six=np.float32(6),
        low=np.float32(-3),
    )


def resize_to_shape() -> ir.Model:
    """Up-sampling to a size whose free axes come from Shape, in the main graph and in a branch."""
    return model(
        "g (float[N,2,3,4] x, bool flag) => (float[N,2,A,B] y) { s = Shape(x) n = Slice(s, zero, two)"
        ' z = Concat<axis=0>(n, hw) h = Resize<mode="linear">(x, , , z) y = If(flag) <then_branch = t () =>'
        ' (float[N,2,A,B] a) { m = Shape<end=2>(h) q = Concat<axis=0>(m, more) a = Resize<mode="nearest">(h, , , q) },'
        " else_branch = e () => (float[N,2,A,B] b) { b = Neg(h) }> }",
        zero=np.asarray([0], np.int64),
        two=np.asarray([2], np.int64),
        hw=np.asarray([6, 6], np.int64),
        more=np.asarray([9, 12], np.int64),
    )


def channels_last() -> ir.Model:
    """What a converter of a channels-last graph writes: each Conv between two transposes, the rest in between."""
    to_first, to_last = "Transpose<perm=[0,3,1,2]>", "Transpose<perm=[0,2,3,1]>"
    return model(
        f"g (float[N,5,5,3] x) => (float[N,5,5,6] y) {{ a = {to_first}(x) b = Conv<pads=[1,1,1,1]>(a, w)"
        f" c = {to_last}(b) d = Add(c, bias) e = Relu(d) f = {to_first}(e) h = Conv<pads=[1,1,1,1]>(f, u)"
        f" i = {to_last}(h) j = Concat<axis=3>(i, e) k = Identity(j) l = {to_first}(k)"
        f" m = Sigmoid(l) y = {to_last}(m) }}",
        w=normal(3, 3, 3, 3),
        u=normal(3, 3, 3, 3, seed=1),
        bias=normal(3),
    )


def layer_scale() -> ir.Model:
    """A linear layer on channels-last values, scaled by channel, and a product divided by a number."""
    return model(
        "g (float[N,3,4] x) => (float[N,3,5] y) { h = MatMul(x, w) a = Add(c, h) m = Mul(s, a) k = MatMul(m, u)"
        " y = Div(k, root) }",
        w=normal(4, 5),
        c=normal(5),
        s=positive(5),
        u=normal(5, 5),
        root=np.float32(2),
    )


def pointwise_mlp() -> ir.Model:
    """The block of ConvNeXt without its norm: two linear layers on channels-last values, transposed back."""
    return model(
        "g (float[N,4,3,3] x) => (float[N,4,3,3] y) { t = Transpose<perm=[0,2,3,1]>(x) h = MatMul(t, w) a = Add(h, c)"
        " r = Relu(a) k = MatMul(r, u) z = Transpose<perm=[0,3,1,2]>(k) y = Add(x, z) }",
        w=normal(4, 6),
        c=normal(6),
        u=normal(6, 4),
    )


def optional_inputs() -> ir.Model:
    """An omitted input in the middle (Resize without roi), an omitted output (Y of an LSTM)."""
    return model(
        "g (float[1,1,4,4] x, float[3,2,4] s) => (float[1,1,8,8] y, float[1,2,3] h) {"
        ' y = Resize<mode="nearest">(x, , scales) , h = LSTM<hidden_size=3>(s, w, r) }',
        scales=np.asarray([1, 1, 2, 2], np.float32),
        w=normal(1, 12, 4),
        r=normal(1, 12, 3),
    )


def embeddings(behind: bool = True) -> ir.Model:
    """Words, token types that are all 0, and positions; the type is added before the positions, or behind them."""
    order = "(word, kind) y = Add(a, place)" if behind else "(word, place) y = Add(a, kind)"
    return model(
        f"""g (int64[B,S] ids) => (float[B,S,8] y) {{
            word = Gather(words, ids)
            shape = Shape(ids)
            length = Slice(shape, one, two)
            zeros = Expand(zero, shape)
            kind = Gather(types, zeros)
            upto = Slice(range, first, length, one)
            place = Gather(positions, upto)
            a = Add{order}
        }}""",
        words=normal(9, 8),
        types=normal(2, 8, seed=1),
        positions=normal(6, 8, seed=2),
        range=np.arange(6)[None],
        zero=np.array([0]),
        first=np.array([0]),
        one=np.array([1]),
        two=np.array([2]),
    )


MODELS: dict[str, Callable[[], ir.Model]] = {
    "embeddings": embeddings,
    "embeddings_type_last": lambda: embeddings(behind=False),
    "conv_batchnorm": conv_batchnorm,
    "conv_batchnorm_no_bias": lambda: conv_batchnorm(bias=False),
    "grouped_conv_batchnorm": lambda: conv_batchnorm(group=2),
    "depthwise_conv_batchnorm": lambda: conv_batchnorm(bias=False, group=4),
    "conv_transpose_batchnorm": conv_transpose_batchnorm,
    "gemm_batchnorm": gemm_batchnorm,
    "gemm_batchnorm_plain": lambda: gemm_batchnorm(transposed=False),
    "float16_conv_batchnorm": float16_conv_batchnorm,
    "conv_affine": conv_affine,
    "shared_weight_batchnorm": shared_weight_batchnorm,
    "pad_conv_pool": pad_conv_pool,
    "matmul_add": matmul_add,
    "shape_arithmetic": shape_arithmetic,
    "constants": constants,
    "noops": noops,
    "view_chains": view_chains,
    "computed_targets": computed_targets,
    "decided_branches": decided_branches,
    "cast_chains": cast_chains,
    "if_captures": if_captures,
    "if_folds": if_folds,
    "loop": loop,
    "scan": scan,
    "shadowed": shadowed,
    "duplicates": duplicates,
    "functions": functions,
    "overridable": overridable,
    "quantized": quantized,
    "encoder": encoder,
    "sdpa_keys": sdpa_keys,
    "encoder_features": lambda: encoder("float[N,S,8] n", ""),
    "mean_pool": mean_pool,
    "optional_inputs": optional_inputs,
    "gelu_half_inside": lambda: gelu("x * (gate / 2)"),
    "gelu_half_last": lambda: gelu("(x * gate) / 2"),
    "gelu_opset_20": lambda: gelu("x * (gate / 2)", opset=20),
    "written_activations": written_activations,
    "clamps": clamps,
    "resize_to_shape": resize_to_shape,
    "channels_last": channels_last,
    "layer_scale": layer_scale,
    "pointwise_mlp": pointwise_mlp,
}
