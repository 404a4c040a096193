"""Small nets, one for each structure that ties channels or heads together."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests import zoo
from tests.zoo import batch_norm, model, normal, positive

HEAD = "z = GlobalAveragePool({last}) f = Flatten(z) y = Gemm(f, wh)"


def integers(**values: list[int]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, np.int64) for name, value in values.items()}


def residual() -> ir.Model:
    """A stem, one residual block; the stream and the inner channels are two groups."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(a)"
        " c = Conv<pads=[1,1,1,1]>(r, w1, b1) d = Relu(c) e = Conv<pads=[1,1,1,1]>(d, w2, b2) s = Add(r, e)"
        f" {HEAD.format(last='s')} }}",
        w0=normal(8, 3, 3, 3),
        b0=normal(8),
        w1=normal(6, 8, 3, 3),
        b1=normal(6),
        w2=normal(8, 6, 3, 3),
        b2=normal(8, seed=1),
        wh=normal(8, 5),
    )


def depthwise() -> ir.Model:
    """Expand, BatchNorm, depthwise, project."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0) n = BatchNormalization(a, g, b, m, v)"
        " r = Clip(n, zero, six) c = Conv<group=8, pads=[1,1,1,1]>(r, w1, b1) d = PRelu(c, slope) e = Conv(d, w2)"
        f" {HEAD.format(last='e')} }}",
        w0=normal(8, 3, 1, 1),
        **batch_norm(8),
        zero=np.float32(0),
        six=np.float32(6),
        w1=normal(8, 1, 3, 3),
        b1=normal(8),
        slope=normal(8, 1, 1),
        w2=normal(4, 8, 1, 1),
        wh=normal(4, 5),
    )


def squeeze_excite() -> ir.Model:
    """Channels gated by a small net on their means."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0, b0) p = GlobalAveragePool(a) q = Conv(p, w1, b1)"
        f" r = Relu(q) t = Conv(r, w2, b2) u = Sigmoid(t) s = Mul(a, u) {HEAD.format(last='s')} }}",
        w0=normal(8, 3, 1, 1),
        b0=normal(8),
        w1=normal(4, 8, 1, 1),
        b1=normal(4),
        w2=normal(8, 4, 1, 1),
        b2=normal(8, seed=1),
        wh=normal(8, 5),
    )


def shared_concat() -> ir.Model:
    """A branch read twice: joined with another one, and added to what comes of them."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0) c = Conv(x, w1) j = Concat<axis=1>(a, c)"
        f" d = Conv(j, w2, b2) s = Add(a, d) {HEAD.format(last='s')} }}",
        w0=normal(6, 3, 1, 1),
        w1=normal(4, 3, 1, 1),
        w2=normal(6, 10, 1, 1),
        b2=normal(6),
        wh=normal(6, 5),
    )


def padded_shortcut() -> ir.Model:
    """Option A of ResNet: the shortcut skips every second pixel and gets channels of zeros on both sides."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0) r = Relu(a) c = Conv<strides=[2,2]>(r, w1, b1)"
        " k = Slice(r, starts, ends, axes, steps) p = Pad(k, pads) s = Add(c, p)"
        f" {HEAD.format(last='s')} }}",
        w0=normal(4, 3, 1, 1),
        w1=normal(8, 4, 1, 1),
        b1=normal(8),
        wh=normal(8, 5),
        **integers(starts=[0, 0], ends=[9, 9], axes=[2, 3], steps=[2, 2], pads=[0, 2, 0, 0, 0, 2, 0, 0]),
    )


def grouped() -> ir.Model:
    """A convolution in four groups of two channels, a transposed one in two, a group norm of two."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0, b0) c = Conv<group=4>(a, w1, b1)"
        " t = ConvTranspose<group=2>(c, w2, b2) n = GroupNormalization<num_groups=2>(t, gs, gb)"
        f" {HEAD.format(last='n')} }}",
        opset=21,
        w0=normal(8, 3, 1, 1),
        b0=normal(8),
        w1=normal(12, 2, 3, 3),
        b1=normal(12),
        w2=normal(12, 4, 2, 2),
        b2=normal(8, seed=1),
        gs=positive(8),
        gb=normal(8, seed=2),
        wh=normal(8, 5),
    )


def shuffled() -> ir.Model:
    """Channels shuffled in two groups, split, one half convolved."""
    return model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv(x, w0, b0) r = Reshape(a, two) t ="
        " Transpose<perm=[0,2,1,3,4]>(r) h = Reshape(t, one) l, m = Split<axis=1>(h, halves) c = Conv(m, w1, b1)"
        f" j = Concat<axis=1>(l, c) {HEAD.format(last='j')} }}",
        w0=normal(8, 3, 1, 1),
        b0=normal(8),
        w1=normal(4, 4, 1, 1),
        b1=normal(4),
        wh=normal(8, 5),
        **integers(two=[0, 2, 4, 8, 8], one=[0, 8, 8, 8], halves=[4, 4]),
    )


def flattened() -> ir.Model:
    """Channels times pixels into a linear layer, picked channels into another."""
    return model(
        "g (float[N,3,4,4] x) => (float[N,5] y, float[N,2] z) { a = Conv(x, w0, b0) r = Relu(a) f = Flatten(r)"
        " h = Gemm<transB=1>(f, w1, b1) t = Tanh(h) y = MatMul(t, w2) p = Gather<axis=1>(t, picked)"
        " z = MatMul(p, w3) }",
        w0=normal(6, 3, 1, 1),
        b0=normal(6),
        w1=normal(8, 96),
        b1=normal(8),
        w2=normal(8, 5),
        w3=normal(4, 2),
        picked=np.asarray([6, 1, 3, 4]),
    )


_BLOCK = (
    " n{i} = LayerNormalization({x}, g{i}, h{i}) {attention} s{i} = Add({x}, o{i})"
    " k{i} = LayerNormalization(s{i}, g{i}, h{i}) u{i} = MatMul(k{i}, wu{i}) v{i} = Add(u{i}, bu{i}) r{i} = Relu(v{i})"
    " d{i} = MatMul(r{i}, wd{i}) e{i} = Add(s{i}, d{i})"
)
SEPARATE = (
    " q{i} = MatMul(n{i}, wq{i}) kk{i} = MatMul(n{i}, wk{i}) vv{i} = MatMul(n{i}, wv{i}) qb{i} = Add(q{i}, bq{i})"
    " q1{i} = Reshape(qb{i}, heads) q2{i} = Transpose<perm=[0,2,1,3]>(q1{i}) k1{i} = Reshape(kk{i}, heads)"
    " k2{i} = Transpose<perm=[0,2,3,1]>(k1{i}) v1{i} = Reshape(vv{i}, heads) v2{i} = Transpose<perm=[0,2,1,3]>(v1{i})"
    " a{i} = MatMul(q2{i}, k2{i}) p{i} = Softmax(a{i}) c{i} = MatMul(p{i}, v2{i})"
    " c1{i} = Transpose<perm=[0,2,1,3]>(c{i}) c2{i} = Reshape(c1{i}, flat) o{i} = MatMul(c2{i}, wo{i})"
)
MERGED = (
    " q{i} = MatMul(n{i}, wqkv{i}) q1{i} = Reshape(q{i}, three) q2{i} = Transpose<perm=[2,0,3,1,4]>(q1{i})"
    " qq{i} = Gather<axis=0>(q2{i}, first) kk{i} = Gather<axis=0>(q2{i}, second) vv{i} = Gather<axis=0>(q2{i}, third)"
    " kt{i} = Transpose<perm=[0,1,3,2]>(kk{i}) a{i} = MatMul(qq{i}, kt{i}) p{i} = Softmax(a{i})"
    " c{i} = MatMul(p{i}, vv{i}) c1{i} = Transpose<perm=[0,2,1,3]>(c{i}) c2{i} = Reshape(c1{i}, flat)"
    " o{i} = MatMul(c2{i}, wo{i})"
)
BATCHED = (
    " q{i} = MatMul(n{i}, wq{i}) kk{i} = MatMul(n{i}, wk{i}) vv{i} = MatMul(n{i}, wv{i}) q1{i} = Reshape(q{i}, heads)"
    " q2{i} = Transpose<perm=[0,2,1,3]>(q1{i}) q3{i} = Reshape(q2{i}, rows) k1{i} = Reshape(kk{i}, heads)"
    " k2{i} = Transpose<perm=[0,2,1,3]>(k1{i}) k3{i} = Reshape(k2{i}, rows) k4{i} = Transpose<perm=[0,2,1]>(k3{i})"
    " v1{i} = Reshape(vv{i}, heads) v2{i} = Transpose<perm=[0,2,1,3]>(v1{i}) v3{i} = Reshape(v2{i}, rows)"
    " a{i} = MatMul(q3{i}, k4{i}) p{i} = Softmax(a{i}) c{i} = MatMul(p{i}, v3{i}) c0{i} = Reshape(c{i}, apart)"
    " c1{i} = Transpose<perm=[0,2,1,3]>(c0{i}) c2{i} = Reshape(c1{i}, flat) o{i} = MatMul(c2{i}, wo{i})"
)
SHARED_KEYS = (
    " q{i} = MatMul(n{i}, wq{i}) kk{i} = MatMul(n{i}, wk2{i}) vv{i} = MatMul(n{i}, wv2{i}) q1{i} = Reshape(q{i}, heads)"
    " q2{i} = Transpose<perm=[0,2,1,3]>(q1{i}) k1{i} = Reshape(kk{i}, few) k2{i} = Transpose<perm=[0,2,1,3]>(k1{i})"
    " ku{i} = Unsqueeze(k2{i}, second_axis) ke{i} = Expand(ku{i}, twice) k3{i} = Reshape(ke{i}, all)"
    " k4{i} = Transpose<perm=[0,1,3,2]>(k3{i}) v1{i} = Reshape(vv{i}, few) v2{i} = Transpose<perm=[0,2,1,3]>(v1{i})"
    " vu{i} = Unsqueeze(v2{i}, second_axis) ve{i} = Expand(vu{i}, twice) v3{i} = Reshape(ve{i}, all)"
    " a{i} = MatMul(q2{i}, k4{i}) p{i} = Softmax(a{i}) c{i} = MatMul(p{i}, v3{i})"
    " c1{i} = Transpose<perm=[0,2,1,3]>(c{i}) c2{i} = Reshape(c1{i}, flat) o{i} = MatMul(c2{i}, wo{i})"
)
FUSED = " q{i} = MatMul(n{i}, wq{i}) kk{i} = MatMul(n{i}, wk{i}) vv{i} = MatMul(n{i}, wv{i})"
ATTENTION_23 = FUSED + " c{i} = Attention<q_num_heads=4, kv_num_heads=4>(q{i}, kk{i}, vv{i}) o{i} = MatMul(c{i}, wo{i})"
ATTENTION_23_SHARED = (
    " q{i} = MatMul(n{i}, wq{i}) kk{i} = MatMul(n{i}, wk2{i}) vv{i} = MatMul(n{i}, wv2{i})"
    " c{i} = Attention<q_num_heads=4, kv_num_heads=2>(q{i}, kk{i}, vv{i}) o{i} = MatMul(c{i}, wo{i})"
)
MULTI_HEAD = FUSED + (
    " c{i} = com.microsoft.MultiHeadAttention<num_heads=4>(q{i}, kk{i}, vv{i}, bm{i}) o{i} = MatMul(c{i}, wo{i})"
)
ROTATED = FUSED + (
    " qr{i} = com.microsoft.RotaryEmbedding<num_heads=4>(q{i}, places, cosines, sines)"
    " kr{i} = com.microsoft.RotaryEmbedding(kk{i}, places, cosines, sines)"
    " c{i} = com.microsoft.MultiHeadAttention<num_heads=4>(qr{i}, kr{i}, vv{i}) o{i} = MatMul(c{i}, wo{i})"
)
FUSED_GROUPED = (
    " q{i} = MatMul(n{i}, wqr{i}) kk{i} = MatMul(n{i}, wkr{i}) vv{i} = MatMul(n{i}, wvr{i})"
    " c{i} = com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2, do_rotary=1>"
    "(q{i}, kk{i}, vv{i}, , , lasts, total, cosines16, sines16) o{i} = MatMul(c{i}, wor{i})"
)
MERGED_FUSED = " c{i} = com.microsoft.Attention<num_heads=4>(n{i}, wqkv{i}, bm{i}) o{i} = MatMul(c{i}, wo{i})"


def transformer(attention: str, opset: int = 17, imports: str = "") -> ir.Model:
    """Pre-norm: token embedding, one block of width 16 with four heads of four, a head of five classes."""
    block = _BLOCK.replace("{attention}", attention).format(i=0, x="x0")
    weights = {
        "table": normal(9, 16),
        "position": normal(1, 6, 16),
        "g0": positive(16),
        "h0": normal(16),
        "bq0": normal(16, seed=2),
        "wu0": normal(16, 24) / 4,
        "bu0": normal(24),
        "wd0": normal(24, 16) / 4,
        "wo0": normal(16, 16, seed=4) / 4,
        "wqkv0": normal(16, 48) / 4,
        "bm0": normal(48),
        "wk20": normal(16, 8, seed=1) / 4,
        "wv20": normal(16, 8, seed=2) / 4,
        "wh": normal(16, 5),
        **{f"w{name}0": normal(16, 16, seed=seed) / 4 for seed, name in enumerate("qkv")},
        **integers(
            heads=[0, 0, 4, 4],
            few=[0, 0, 2, 4],
            flat=[0, 0, 16],
            three=[0, 0, 3, 4, 4],
            rows=[-1, 6, 4],
            apart=[-1, 4, 6, 4],
            second_axis=[2],
            twice=[1, 1, 2, 1, 1],
            all=[0, 4, 6, 4],
            first=0,
            second=1,
            third=2,
            places=[[0, 1, 2, 3, 4, 5]] * 2,
        ),
        "cosines": np.cos(np.outer(np.arange(6), [1.0, 0.1])).astype(np.float32),
        "sines": np.sin(np.outer(np.arange(6), [1.0, 0.1])).astype(np.float32),
        "cosines16": np.cos(np.outer(np.arange(6), 0.5 ** np.arange(8))).astype(np.float32),
        "sines16": np.sin(np.outer(np.arange(6), 0.5 ** np.arange(8))).astype(np.float32),
        "wqr0": normal(16, 64) / 4,
        "wkr0": normal(16, 32, seed=1) / 4,
        "wvr0": normal(16, 32, seed=2) / 4,
        "wor0": normal(64, 16, seed=4) / 4,
        "lasts": np.full(2, 5, np.int32),
        "total": np.asarray(6, np.int32),
    }
    text = (
        "g (int64[N,6] ids) => (float[N,6,5] y) { t = Gather(table, ids) x0 = Add(t, position)"
        f" {block} l = LayerNormalization(e0, g0, h0) y = MatMul(l, wh) }}"
    )
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: data for name, data in weights.items() if name in words}
    return zoo.model(text, opset=opset, imports=imports, ir_version=10, **used)


ATTENTIONS = {
    "separate": lambda: transformer(SEPARATE),
    "merged": lambda: transformer(MERGED),
    "batched": lambda: transformer(BATCHED),
    "grouped_query": lambda: transformer(SHARED_KEYS),
    "attention_23": lambda: transformer(ATTENTION_23, opset=23),
    "attention_23_grouped_query": lambda: transformer(ATTENTION_23_SHARED, opset=23),
    "multi_head": lambda: transformer(MULTI_HEAD, imports=', "com.microsoft" : 1'),
    "rotated_fused": lambda: transformer(ROTATED, imports=', "com.microsoft" : 1'),
    "grouped_query_fused": lambda: transformer(FUSED_GROUPED, imports=', "com.microsoft" : 1'),
    "merged_fused": lambda: transformer(MERGED_FUSED, imports=', "com.microsoft" : 1'),
}
CONVOLUTIONAL = {
    build.__name__: build
    for build in (residual, depthwise, squeeze_excite, shared_concat, padded_shortcut, grouped, shuffled, flattened)
}
