"""A network half old, half new: what runs when, what is frozen, what is left at the end."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.replacing.modules import Replaceable, combine, replaceables, separate


class Net(nn.Module):
    """Stem, blocks in a ModuleList called with a second argument and returning tuples, head."""

    def __init__(self, blocks: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x)
        for block in self.blocks:
            (h,) = block(h, 0.5)
        return self.head(h)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, scale: float) -> tuple[torch.Tensor]:
        return (x + scale * self.drop(torch.tanh(self.inner(x))),)


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def combined(sizes: tuple[int, ...] = ()) -> tuple[nn.Module, nn.Module]:
    old, new = Net(4, 0), Net(2, 1)
    combine(old, new, "blocks", sizes)
    return old, new


def test_nothing_replaced_is_the_predecessor_even_while_training() -> None:
    old, new = combined()
    expected = copy.deepcopy(old).eval()(X)
    for part in replaceables(new.train()):
        part.replaced = False
    assert torch.equal(new(X), expected)  # no dropout in the old modules


def test_all_replaced_is_the_successor_and_so_is_evaluation() -> None:
    _, new = combined()
    for part in replaceables(new.eval()):
        part.replaced = False
    mixed = new(X)
    alone = separate(copy.deepcopy(new))
    assert torch.equal(mixed, alone(X))
    assert not any(isinstance(module, Replaceable) for module in alone.modules())
    assert alone.state_dict().keys() == Net(2).state_dict().keys()
    assert all(parameter.requires_grad for parameter in alone.parameters())


def test_successor_starts_as_the_first_modules() -> None:
    old, new = combined()
    for number, part in enumerate(replaceables(new)):
        torch.testing.assert_close(part.successor.state_dict(), old.blocks[number].state_dict())  # type: ignore[index, union-attr]
    torch.testing.assert_close(new.head.state_dict(), old.head.state_dict())  # type: ignore[union-attr]


def test_only_the_new_modules_train_and_the_old_ones_keep_their_bytes() -> None:
    old, new = combined()
    before = copy.deepcopy(old.state_dict())
    trained = [name for name, parameter in new.named_parameters() if parameter.requires_grad]
    assert trained == [f"blocks.{n}.successor.inner.{p}" for n in (0, 1) for p in ("weight", "bias")]
    optimizer = torch.optim.SGD([p for p in new.parameters() if p.requires_grad], lr=0.1)
    first, second = replaceables(new.train())
    first.replaced, second.replaced = True, False  # the gradient reaches the first through the frozen old ones
    new(X).square().mean().backward()
    assert first.successor.inner.weight.grad.abs().sum() > 0  # type: ignore[union-attr, operator]
    optimizer.step()
    assert all(torch.equal(old.state_dict()[name], tensor) for name, tensor in before.items())


def test_uneven_shares_run_the_modules_they_name() -> None:
    old, new = combined((3, 1))
    first, second = replaceables(new)
    assert (len(first.predecessor), len(second.predecessor)) == (3, 1)
    for part in replaceables(new.train()):
        part.replaced = False
    assert torch.equal(new(X), old.eval()(X))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((2, 1), r"sizes \[2, 1\] do not share 4 modules out to 2; give 2 numbers"), ((4, 0), "at least 1")],
)
def test_shares_that_do_not_add_up_are_refused(sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        combined(sizes)


def test_unequal_shares_need_sizes() -> None:
    with pytest.raises(UsageError, match="3 modules cannot be shared out equally to 2; give sizes"):
        combine(Net(3), Net(2), "blocks")


def test_networks_that_differ_elsewhere_are_refused() -> None:
    other = Net(2)
    other.head = nn.Linear(6, 4)
    with pytest.raises(UsageError, match=r"differ outside of blocks: head.bias, head.weight"):
        combine(Net(4), other, "blocks")


def test_unknown_list_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown list of modules 'block'; did you mean blocks"):
        combine(Net(4), Net(2), "block")
    with pytest.raises(UsageError, match="stem is a Linear; name a ModuleList or Sequential"):
        combine(Net(4), Net(2), "stem")
