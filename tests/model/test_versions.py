"""Versions stamped are the smallest that change nothing; a target that allows less is told what needs more."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UnsupportedError
from deploycompress.model import versions

RELEASED = onnx.helper.OP_SET_ID_VERSION_MAP
NEWEST = max(version for domain, version in RELEASED if domain == "ai.onnx")


def parse(text: str) -> ir.Model:
    return ir.serde.deserialize_model(onnx.parser.parse_model(text))


def graph(opset: int, body: str, ir_version: int = 10, more: str = "") -> ir.Model:
    return parse(
        f'<ir_version: {ir_version}, opset_import: ["": {opset}{more}]> g (float[n] x) => (float[n] y) {{{body}}}'
    )


def test_opset_goes_down_to_the_newest_schema_in_use() -> None:
    # LayerNormalization began in 17 and Gelu in 20; nothing else in 20..22 concerns these nodes
    found = versions.sufficient(graph(22, "h = Gelu(x)  y = Neg(h)"))
    assert found == versions.Versions(9, {"": 20})  # opset 20 was released with IR 9


def test_opset_never_goes_below_thirteen_nor_up() -> None:
    assert versions.sufficient(graph(20, "y = Neg(x)")).opsets == {"": 13}
    assert versions.sufficient(graph(11, "y = Neg(x)")).opsets == {"": 11}


def test_unused_imports_are_dropped_and_custom_ones_kept() -> None:
    more = ', "com.microsoft": 1, "ai.onnx.ml": 3, "mine": 7'
    found = versions.sufficient(graph(17, "h = mine.Op(x)  y = com.microsoft.Gelu(h)", more=more))
    assert found.opsets == {"com.microsoft": 1, "mine": 7}


def test_domain_used_only_in_a_subgraph_is_kept() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (bool c, float[n] x) => (float[n] y) {
        y = If(c) <then_branch = t () => (float[n] z) {z = mine.Op(x)}, else_branch = e () => (float[n] w) {w = Neg(x)}>
    }""")
    assert versions.sufficient(model).opsets == {"": 16, "mine": 1}  # If: 16 is the last change up to 17


def test_unknown_operator_of_the_standard_domain_pins_the_opset() -> None:
    assert versions.sufficient(graph(20, "h = Unheard(x)  y = Neg(h)")).opsets == {"": 20}


def test_opset_that_was_never_released_is_left_alone() -> None:
    assert versions.sufficient(graph(NEWEST + 1000, "y = Neg(x)")).opsets == {"": NEWEST + 1000}


@given(st.sampled_from(["Neg", "Relu", "Gelu", "Mish", "HardSwish", "Softmax", "Identity"]), st.integers(7, NEWEST))
def test_every_schema_in_force_stays_in_force(op: str, opset: int) -> None:
    try:
        before = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return  # the operator does not exist yet at this opset
    lowered = versions.sufficient(graph(opset, f"y = {op}(x)")).opsets[""]
    after = onnx.defs.get_schema(op, lowered, "")
    assert lowered <= opset
    assert (after.since_version, after.doc) == (before.since_version, before.doc)


def test_model_with_functions_keeps_its_opset_and_needs_ir_8() -> None:
    model = parse("""<ir_version: 10, opset_import: ["": 17, "local": 1]> g (float[n] x) => (float[n] y)
        {y = local.F(x)} <domain: "local", opset_import: ["": 17]> F (a) => (b) {b = Neg(a)}""")
    assert versions.sufficient(model) == versions.Versions(8, {"": 17, "local": 1})


@pytest.mark.parametrize(
    ("dtype", "ir_version"),
    [("FLOAT8E4M3FN", 9), ("INT4", 10), ("FLOAT4E2M1", 11), ("FLOAT8E8M0", 12), ("UINT2", 13), ("BFLOAT16", 7)],
)
def test_element_type_of_a_weight_raises_the_ir_version(dtype: str, ir_version: int) -> None:
    model = graph(13, "y = Neg(x)")
    kind = ir.DataType[dtype]
    tensor = ir.Tensor(np.zeros(2, kind.numpy()), dtype=kind, name="w")
    model.graph.register_initializer(ir.Value(name="w", const_value=tensor))
    assert versions.sufficient(model).ir_version == ir_version  # 7 came with opset 13


def test_optional_value_needs_ir_8() -> None:
    model = parse("""<ir_version: 10, opset_import: ["": 15]> g (optional(float[n]) x) => (bool y)
        {y = OptionalHasElement(x)}""")
    assert versions.Need("the optional or sparse value 'x'", 8) in versions.ir_needs(model)
    assert versions.sufficient(model).ir_version == 8


def test_target_with_a_lower_opset_is_told_which_operator() -> None:
    model = graph(20, "h = Gelu(x)  y = Neg(h)")
    versions.check(model, max_opset=20, max_ir_version=9)
    with pytest.raises(UnsupportedError, match="Gelu needs opset 20, the target allows 17; export with a lower opset"):
        versions.check(model, max_opset=17)


def test_target_with_a_lower_ir_version_is_told_what() -> None:
    with pytest.raises(UnsupportedError, match="the imported opset needs IR version 9, the target allows 8"):
        versions.check(graph(20, "y = Gelu(x)"), max_ir_version=8)


def test_target_with_a_lower_opset_is_told_to_inline_functions() -> None:
    model = parse("""<ir_version: 10, opset_import: ["": 17, "local": 1]> g (float[n] x) => (float[n] y)
        {y = local.F(x)} <domain: "local", opset_import: ["": 17]> F (a) => (b) {b = Neg(a)}""")
    with pytest.raises(UnsupportedError, match=r"has functions, so its opset 17 stays.*inline the functions first"):
        versions.check(model, max_opset=15)
