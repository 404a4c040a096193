"""Factories give a module and perhaps an example; logits are found in what it returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training import network

HEAD = "import torch\nfrom torch import nn\n"


def factory(folder: Path, body: str) -> str:
    (folder / "model.py").write_text(HEAD + body)
    return "model.py:build"


def test_factory_gives_module_without_example(tmp_path: Path) -> None:
    module, example = network.build(factory(tmp_path, "def build():\n    return nn.Linear(2, 3)\n"), base=tmp_path)
    assert isinstance(module, nn.Linear)
    assert example is None


def test_factory_may_give_an_example(tmp_path: Path) -> None:
    body = "def build():\n    return nn.Linear(2, 3), torch.ones(2, 2)\n"
    _, example = network.build(factory(tmp_path, body), base=tmp_path)
    assert torch.equal(example, torch.ones(2, 2))  # type: ignore[arg-type]


def test_module_may_offer_an_example(tmp_path: Path) -> None:
    body = (
        "class build(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(2, 3)\n"
        "    def example_inputs(self):\n        return torch.ones(2, 2)\n"
    )
    _, example = network.build(factory(tmp_path, body), base=tmp_path)
    assert torch.equal(example, torch.ones(2, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def build():\n    return 3\n", r"it made a int; return a torch\.nn\.Module"),
        ("build = 3\n", "it made a int"),
        ("def build():\n    raise KeyError('depth')\n", "calling it raised KeyError: 'depth'"),
        ("def build(depth):\n    return nn.Linear(2, depth)\n", "calling it raised TypeError: .*depth"),
    ],
)
def test_wrong_factory_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        network.build(factory(tmp_path, body), base=tmp_path)


class Returns(nn.Module):
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> object:
        return self.output


class Structured:
    logits = torch.ones(2, 3)


@pytest.mark.parametrize("output", [torch.ones(2, 3), (torch.ones(2, 3), None), Structured()])
def test_logits_are_found(output: object) -> None:
    assert torch.equal(network.logits(Returns(output), (), (torch.ones(2),)), torch.ones(2, 3))


@pytest.mark.parametrize("output", [None, torch.ones(2), (), "text"])
def test_output_without_logits_is_refused(output: object) -> None:
    with pytest.raises(UsageError, match=r"Returns returns a .*; return logits of \[batch, classes\]"):
        network.logits(Returns(output), (), (torch.ones(2),))
