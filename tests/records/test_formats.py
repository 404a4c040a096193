"""Forms and their options: what belongs together, and the nearest name of what does not exist."""

from __future__ import annotations

from typing import Any

import pytest

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.formats import Format


@pytest.mark.parametrize(
    ("options", "name", "calibrates", "suffix"),
    [
        ({}, "static int8", True, "int8"),
        ({"activation_bits": 16}, "static int8 with 16-bit activations", True, "int8"),
        ({"kind": "dynamic"}, "dynamic int8", False, "int8"),
        ({"kind": "weights"}, "4-bit weights", False, "int4"),
        ({"kind": "weights", "bits": 8, "algorithm": "gptq"}, "8-bit weights (gptq)", True, "int8"),
        ({"kind": "fp16"}, "float16", False, "fp16"),
        ({"kind": "bf16"}, "bfloat16", False, "bf16"),
        ({"kind": "weights", "levels": "ternary"}, "ternary weights", False, "ternary"),
    ],
)
def test_a_form_says_its_name_and_whether_it_needs_samples(
    options: dict[str, Any], name: str, calibrates: bool, suffix: str
) -> None:
    form = Format(**options)
    assert (form.name, form.calibrates, form.suffix) == (name, calibrates, suffix)


def test_defaults_depend_on_the_levels() -> None:
    assert (Format("weights").width, Format("weights").block_size) == (4, 32)
    assert (Format("weights", levels="binary").width, Format("weights", block=0).block_size) == (2, None)
    assert Format().width == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "statik"}, "--form: unknown form 'statik'; did you mean static"),
        ({"layout": "qopertor"}, "--layout: unknown layout 'qopertor'; did you mean qoperator"),
        ({"algorithm": "gtpq"}, "--algorithm: unknown algorithm 'gtpq'; did you mean gptq"),
        ({"levels": "ternery"}, "--levels: unknown levels 'ternery'; did you mean ternary"),
    ],
)
def test_names_that_do_not_exist_are_refused_with_the_nearest(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        Format(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "dynamic", "layout": "qoperator"},
            "--layout qoperator belongs to --form static, not to dynamic int8",
        ),
        ({"kind": "weights", "activation_bits": 16}, "--activation-bits 16 belongs to --form static, not to 4-bit"),
        ({"bits": 4}, "--bits 4 belongs to --form weights, not to static int8; leave it out, or use --form weights"),
        ({"block": 64}, "--block 64 belongs to --form weights"),
        ({"algorithm": "gptq"}, "--algorithm gptq belongs to --form weights"),
        ({"kind": "weights", "bits": 3}, "--bits: 3 is none of 8, 4, 2"),
        ({"activation_bits": 4}, "--activation-bits: 4 is none of 8, 16"),
        (
            {"kind": "weights", "bits": 8, "levels": "ternary"},
            "ternary weights are stored in 2 bits, or in 4 for an older opset; not in 8; leave",
        ),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Format(**options)
