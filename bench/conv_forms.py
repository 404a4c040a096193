"""Two ways to write one thing, side by side: which of them the kernels of this machine run faster, and by how much.

    python bench/conv_forms.py

One thread, CPU time of it, interleaved. A form that is faster is a pass of `optimize`; one that is not is none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from cpu_time import cpu_compare
from onnx import numpy_helper
from shared import markdown

from deploycompress.flow.agreement import difference
from deploycompress.runtime.session import Session, SessionConfig

_RNG = np.random.default_rng(0)
_NUMBERS = {"root": 2**0.5, "one": 1, "half": 0.5, "three": 3, "six": 6, "zero": 0, "cubic": 0.044715}
_SCALARS = {name: np.float32(number) for name, number in (_NUMBERS | {"slope": (2 / np.pi) ** 0.5}).items()}


def normal(*shape: int) -> np.ndarray:
    """Weights that keep the size of the values."""
    return (_RNG.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)


def session(signature: str, body: str, weights: dict[str, np.ndarray], opset: int = 18, without: str = "") -> Session:
    """An open model from ONNX text; `without` names a fusion that ONNX Runtime shall leave out."""
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : {opset}]> g ({signature}) => (float y) {{ {body} }}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    used = {name for node in model.graph.node for name in node.input}
    known = _SCALARS | weights
    model.graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in sorted(used & set(known)))
    entries = {"optimization.disable_specified_optimizers": without} if without else {}
    return Session(model.SerializeToString(), SessionConfig(threads=1, entries=entries))


def pairs() -> Iterator[tuple[str, Session, Session, tuple[int, ...]]]:
    """(what, as it is, as it could be, input shape)."""
    dense = {"w": normal(64, 256), "b": normal(256)}
    head, erf = "m = MatMul(x, w) a = Add(m, b)", "d = Div(a, root) e = Erf(d) f = Add(e, one)"
    tanh = "p = Pow(a, three) q = Mul(cubic, p) r = Add(a, q) t = Mul(slope, r) e = Tanh(t) f = Add(e, one)"
    inside, before = "h = Mul(half, f) v = Mul(a, h) y = Neg(v)", "h = Mul(a, half) v = Mul(h, f) y = Neg(v)"
    tokens, shape = "float[N,128,64] x", (1, 128, 64)
    for name, gate, attribute in (("erf", erf, "none"), ("tanh", tanh, "tanh")):
        old = session(tokens, f"{head} {gate} {inside}", dense)
        yield (
            f"GELU by {name}: x (gate / 2) -> (x / 2) gate",
            old,
            session(tokens, f"{head} {gate} {before}", dense),
            shape,
        )
        operator = f'{head} v = Gelu<approximate="{attribute}">(a) y = Neg(v)'
        yield f"GELU by {name}: x (gate / 2) -> Gelu, opset 20", old, session(tokens, operator, dense, 20), shape
    image, shape = "float[N,32,28,28] x", (1, 32, 28, 28)
    convs = {"k": normal(32, 32, 3, 3), "p": normal(32, 32, 1, 1)}
    conv, last = "c = Conv<pads=[1,1,1,1]>(x, k)", "y = Conv(v, p)"
    spelt = f"{conv} a = Add(c, three) r = Clip(a, zero, six) m = Mul(c, r) v = Div(m, six) {last}"
    yield (
        "HardSwish spelt out -> operator",
        session(image, spelt, convs),
        session(image, f"{conv} v = HardSwish(c) {last}", convs),
        shape,
    )
    silu = f"{conv} s = Sigmoid(c) v = Mul(c, s) {last}"
    yield (
        "SiLU: fused by ONNX Runtime -> left in blocks",
        session(image, silu, convs),
        session(image, silu, convs, without="QuickGeluFusion"),
        shape,
    )
    for channels, side in ((64, 28), (240, 14), (672, 7)):
        inner = channels // 4
        weights = {
            "k": normal(channels, 1, 3, 3),
            "p": normal(channels, channels, 1, 1),
            "b": normal(inner),
            "e": normal(channels),
        }
        weights |= {
            "w": normal(inner, channels, 1, 1),
            "u": normal(channels, inner, 1, 1),
            "shape": np.asarray([0, channels, 1, 1]),
        }
        flat = weights | {"w": weights["w"][:, :, 0, 0], "u": weights["u"][:, :, 0, 0]}
        shape, image = (1, channels, side, side), f"float[N,{channels},{side},{side}] x"
        start = f"c = Conv<pads=[1,1,1,1], group={channels}>(x, k) d = Relu(c)"
        end = "s = Sigmoid(i) v = Mul(d, s) y = Conv(v, p)"
        by_conv = "h = Conv(g, w, b) r = Relu(h) i = Conv(r, u, e)"
        by_gemm = (
            "j = Flatten(g) h = Gemm<transB=1>(j, w, b) r = Relu(h) l = Gemm<transB=1>(r, u, e) i = Reshape(l, shape)"
        )
        pooled = session(image, f"{start} g = GlobalAveragePool(d) {by_conv} {end}", weights)
        mean = session(
            image, f"{start} g = ReduceMean(d, axes) {by_conv} {end}", weights | {"axes": np.asarray([2, 3])}
        )
        yield f"squeeze-excite {channels}x{side}x{side}: ReduceMean -> GlobalAveragePool", mean, pooled, shape
        gemm = session(image, f"{start} g = GlobalAveragePool(d) {by_gemm} {end}", flat)
        yield f"squeeze-excite {channels}x{side}x{side}: 1x1 Conv -> Gemm", pooled, gemm, shape
    for channels, side in ((64, 28), (96, 14), (384, 14)):
        weights = {
            "k": normal(channels, 1, 3, 3),
            "w": normal(channels, 4 * channels),
            "u": normal(4 * channels, channels),
        }
        weights |= {"b": normal(4 * channels), "e": normal(channels), "n": normal(channels)}
        kernels = weights | {name: np.ascontiguousarray(weights[name].T)[:, :, None, None] for name in ("w", "u")}
        shape, image = (1, channels, side, side), f"float[N,{channels},{side},{side}] x"
        start = (
            f"c = Conv<pads=[1,1,1,1], group={channels}>(x, k) t = Transpose<perm=[0,2,3,1]>(c)"
            " l = LayerNormalization(t, n, e)"
        )
        middle = "d = Div(a, root) z = Erf(d) f = Add(z, one) o = Mul(a, half) v = Mul(o, f)"
        layers = (
            f"{start} m = MatMul(l, w) a = Add(m, b) {middle} i = MatMul(v, u) j = Add(i, e)"
            " q = Transpose<perm=[0,3,1,2]>(j) y = Add(c, q)"
        )
        convolutions = (
            f"{start} q = Transpose<perm=[0,3,1,2]>(l) a = Conv(q, w, b) {middle} i = Conv(v, u, e) y = Add(c, i)"
        )
        old, new = session(image, layers, weights), session(image, convolutions, kernels)
        yield f"ConvNeXt block {channels}x{side}x{side}: MatMul -> 1x1 Conv", old, new, shape


def main() -> None:
    """Prints the table."""
    rows = []
    for what, old, new, shape in pairs():
        feed = {"x": _RNG.standard_normal(shape).astype(np.float32)}
        found = difference(old.run(feed), new.run(feed))
        speed = cpu_compare(old, new, feed)
        interval = f"[{speed.interval.low:.2f}, {speed.interval.high:.2f}]"
        rows.append((what, f"x{speed.speedup:.2f} {interval} {speed.verdict}", found or "equal"))
    print(markdown(("form", "speed", "outputs"), rows))


if __name__ == "__main__":
    main()
