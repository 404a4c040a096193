"""Example inputs: names, element types, and which axes may change."""

from __future__ import annotations

import pytest
import torch

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.example import from_example, from_specs


def test_tensor_is_called_input_and_its_batch_may_change() -> None:
    inputs = from_example(torch.ones(4, 3), dynamic_batch=True)
    assert inputs.names == ("input",)
    assert inputs.symbols == ({0: "batch"},)
    assert inputs.sizes == {"batch": 4}


def test_batch_of_one_is_doubled() -> None:
    inputs = from_example((torch.ones(1, 3), torch.zeros(1, 2)), dynamic_batch=True)
    assert [tensor.shape[0] for tensor in inputs.tensors] == [2, 2]
    assert inputs.names == ("input_0", "input_1")


def test_static_batch_leaves_the_example_alone() -> None:
    inputs = from_example(torch.ones(1, 3), dynamic_batch=False)
    assert inputs.tensors[0].shape == (1, 3)
    assert inputs.sizes == {}


def test_dict_is_called_by_keyword() -> None:
    inputs = from_example({"a": torch.ones(2, 3), "b": torch.ones(2)}, dynamic_batch=True)
    assert inputs.by_keyword
    assert inputs.names == ("a", "b")


def test_unequal_leading_axes_are_no_batch() -> None:
    assert from_example((torch.ones(2, 3), torch.ones(5)), dynamic_batch=True).sizes == {}


@pytest.mark.parametrize("example", [(), {}, (torch.ones(1), 3)])
def test_example_without_tensors_is_refused(example: object) -> None:
    with pytest.raises(UsageError, match="an example is a tensor, a tuple of tensors, or a dict"):
        from_example(example, dynamic_batch=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "shape", "symbols"),
    [
        ("x=float32[2,3,8,8]", (2, 3, 8, 8), {0: "batch"}),
        ("x=float32[1, 3]", (2, 3), {0: "batch"}),
        ("x=float32[batch,seq=16]", (2, 16), {0: "batch", 1: "seq"}),
        ("x=int64[batch=4,seq]", (4, 8), {0: "batch", 1: "seq"}),
        ("x=float32[n=3,5]", (3, 5), {0: "n"}),
        ("x=bool[]", (), {}),
    ],
)
def test_specification_is_read(spec: str, shape: tuple[int, ...], symbols: dict[int, str]) -> None:
    inputs = from_specs([spec], keywords=(), dynamic_batch=True)
    assert inputs.tensors[0].shape == shape
    assert inputs.symbols[0] == symbols
    assert inputs.names == ("x",)


def test_static_specification_has_no_symbol() -> None:
    inputs = from_specs(["x=float32[1,3]"], keywords=(), dynamic_batch=False)
    assert inputs.tensors[0].shape == (1, 3)
    assert inputs.sizes == {}


def test_names_of_forward_are_passed_by_keyword() -> None:
    specs = ["mask=bool[2,3]", "ids=int64[2,3]"]
    assert from_specs(specs, keywords=("ids", "mask"), dynamic_batch=True).by_keyword
    assert not from_specs(specs, keywords=("x", "y"), dynamic_batch=True).by_keyword


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("float32[2,3]", r"'float32\[2,3\]' is no input; write name=dtype\[sizes\]"),
        ("x=float32", "is no input"),
        ("x=float32[2,-1]", "'-1' in .* is neither a size nor a symbol"),
        ("x=float32[2,seq=a]", "'seq=a' in .* is neither a size nor a symbol"),
    ],
)
def test_wrong_specification_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_specs([spec], keywords=(), dynamic_batch=True)


def test_unknown_element_type_lists_nearest() -> None:
    with pytest.raises(UnknownNameError, match="x: unknown element type 'float23'; did you mean float"):
        from_specs(["x=float23[2]"], keywords=(), dynamic_batch=True)


def test_varied_inputs_have_the_new_sizes_and_the_spread_of_the_example() -> None:
    example = {
        "x": 5 + 3 * torch.randn(50, 40),
        "ids": torch.randint(7, 12, (50, 40)),
        "mask": torch.ones(50, 40).long(),
    }
    inputs = from_example(example, dynamic_batch=True)
    x, ids, mask = inputs.varied({"batch": 30})
    assert x.shape == (30, 40)
    # 1,200 draws: the mean is known to 3 / sqrt(1200) = 0.09, the spread to 2 %; bounds at five times that.
    assert x.mean().item() == pytest.approx(5, abs=0.6)
    assert x.std().item() == pytest.approx(3, rel=0.15)
    assert set(ids.unique().tolist()) == {7, 8, 9, 10, 11}
    assert set(mask.unique().tolist()) == {1}
    assert not torch.equal(inputs.varied({}, seed=1)[0], inputs.varied({}, seed=2)[0])
