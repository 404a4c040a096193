"""model -> the smallest IR version and opsets that mean the same; and what in it needs more than a target grants.

Opset: an operator's schema stays in force until the next `since_version`, so with every operator's schema looked up at
the imported opset n, the opset can be lowered to `max(since_version)` over the operators used: each finds the same
schema there. A domain whose operators are not all known (custom domains) keeps its version; unused imports go. The
standard domain is never lowered below 13: nothing in use asks for less (ONNX Runtime takes 13 since 1.6, of 2020), and
per-channel QuantizeLinear begins there.

IR: the largest of what the imported opsets were released with and what the constructs used were introduced in.

Source: onnx/docs/Versioning.md; onnx.proto, enum Version (which construct came with which IR version);
onnx.helper.VERSION_TABLE (which opset was released with which IR version).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx.defs
import onnx_ir as ir

from deploycompress.errors import UnsupportedError
from deploycompress.model.tensors import dtype_name, slots

# Element types later than IR 4, which is the floor here: initializers are not listed as inputs.
_DTYPE_IR: dict[ir.DataType, int] = {
    ir.DataType.FLOAT8E4M3FN: 9,
    ir.DataType.FLOAT8E4M3FNUZ: 9,
    ir.DataType.FLOAT8E5M2: 9,
    ir.DataType.FLOAT8E5M2FNUZ: 9,
    ir.DataType.INT4: 10,
    ir.DataType.UINT4: 10,
    ir.DataType.FLOAT4E2M1: 11,
    ir.DataType.FLOAT8E8M0: 12,
    ir.DataType.INT2: 13,
    ir.DataType.UINT2: 13,
    ir.DataType.FLOAT6E2M3: 14,
    ir.DataType.FLOAT6E3M2: 14,
}
_FLOOR_IR = 4
_FLOOR_OPSET = 13


@dataclass(frozen=True)
class Versions:
    """IR version and opset imports by domain ("" is the standard one)."""

    ir_version: int
    opsets: dict[str, int]


@dataclass(frozen=True)
class Need:
    """Something in a model that needs at least this opset or IR version."""

    what: str
    version: int


def sufficient(model: ir.Model) -> Versions:
    """The smallest versions under which every node of `model` keeps its schema."""
    opsets = _opsets(model)
    return Versions(max(_opset_ir(opsets), *(need.version for need in ir_needs(model))), opsets)


def check(model: ir.Model, *, max_opset: int | None = None, max_ir_version: int | None = None) -> None:
    """Checks that `model` can be stamped within the limits of a target.

    Raises:
        UnsupportedError: It cannot; the first operator or construct that needs more is named.
    """
    if max_opset is not None:
        for need in opset_needs(model):
            if need.version > max_opset:
                raise UnsupportedError(
                    f"{need.what} needs opset {need.version}, the target allows {max_opset}",
                    remedy="export with a lower opset, or choose a target that allows more",
                )
        if model.functions and model.opset_imports.get("", 0) > max_opset:
            raise UnsupportedError(
                f"the model has functions, so its opset {model.opset_imports['']} stays; the target allows {max_opset}",
                remedy="inline the functions first",
            )
    if max_ir_version is not None:
        needs = [*ir_needs(model), Need("the imported opset", _opset_ir(_opsets(model)))]
        for need in sorted(needs, key=lambda need: -need.version):
            if need.version > max_ir_version:
                raise UnsupportedError(
                    f"{need.what} needs IR version {need.version}, the target allows {max_ir_version}"
                )


def opset_needs(model: ir.Model) -> list[Need]:
    """The standard operators of `model`, each with the opset that its schema came with; highest first."""
    imported = model.opset_imports.get("", 0)
    found: dict[str, int] = {}
    for node in _all_nodes(model):
        if node.domain == "":
            since = _since_version(node, imported)
            found.setdefault(node.op_type, imported if since is None else since)
    return [Need(name, version) for name, version in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def ir_needs(model: ir.Model) -> list[Need]:
    """The constructs of `model` that need a certain IR version."""
    needs = [Need("initializers that are not inputs", _FLOOR_IR)]
    if model.functions:
        needs.append(Need("model-local functions", 8))
    if any(function.attributes for function in model.functions.values()):
        needs.append(Need("default attributes of functions", 9))
    if any(function.overload for function in model.functions.values()):
        needs.append(Need("overloads of functions", 10))
    if model.device_configurations:
        needs.append(Need("device configurations", 11))
    for value in _all_values(model):
        if "quant_parameter_tensor_names" in value.meta:
            needs.append(Need(f"the quantization annotation of {value.name!r}", 5))
        if isinstance(value.type, ir.OptionalType | ir.SparseTensorType):
            needs.append(Need(f"the optional or sparse value {value.name!r}", 8))
        elif isinstance(value.type, ir.TensorType) and value.type.dtype in _DTYPE_IR:
            needs.append(Need(f"{dtype_name(value.type.dtype)} in {value.name!r}", _DTYPE_IR[value.type.dtype]))
    for slot in slots(model):
        if slot.tensor.dtype in _DTYPE_IR:
            needs.append(Need(f"{dtype_name(slot.tensor.dtype)} in {slot.tensor.name!r}", _DTYPE_IR[slot.tensor.dtype]))
    return needs


def _opsets(model: ir.Model) -> dict[str, int]:
    used = {node.domain for node in _all_nodes(model)} | {
        domain for function in model.functions.values() for domain in function.opset_imports
    }
    kept = {domain: version for domain, version in model.opset_imports.items() if domain in used}
    if not model.functions:  # a function imports its own opsets, which must agree with the model's
        kept = {domain: _lowest(model, domain, version) for domain, version in kept.items()}
    return kept or dict(model.opset_imports)


def _lowest(model: ir.Model, domain: str, imported: int) -> int:
    """The lowest version of `domain` at which all of its operators used keep their schema."""
    if (domain or "ai.onnx", imported) not in onnx.helper.OP_SET_ID_VERSION_MAP:
        return imported  # not a released standard opset: what it means is not known here
    since = [_since_version(node, imported) for node in _all_nodes(model) if node.domain == domain]
    known = [version for version in since if version is not None]
    if not known or len(known) < len(since):
        return imported
    return max(known) if domain else max(*known, min(imported, _FLOOR_OPSET))


def _since_version(node: ir.Node, imported: int) -> int | None:
    """The version that the schema of `node` in force at opset `imported` came with; None where it is not known."""
    try:
        return int(onnx.defs.get_schema(node.op_type, imported, node.domain).since_version)
    except onnx.defs.SchemaError:
        return None


def _opset_ir(opsets: dict[str, int]) -> int:
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return int(onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True))


def _all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _all_values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
    for node in _all_nodes(model):
        yield from node.outputs
