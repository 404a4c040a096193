"""A side network beside a frozen encoder: what it reads and leaves alone, where its weights come from, its files."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.records.recipe import Hyperparameters
from deploycompress.runtime.session import Session
from deploycompress.training import exporters
from deploycompress.training.arrays import Arrays
from deploycompress.training.example import from_example
from deploycompress.training.ladder.building import ladder
from deploycompress.training.ladder.side import Ladder
from deploycompress.training.ladder.slicing import cut, fisher, matrices, residual_dims
from deploycompress.training.loop import fit
from deploycompress.training.objective import LabelsOnly
from deploycompress.training.quiet import quiet

IDS = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(IDS)
MASK[1, 4:] = 0


def encoder() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64
    )
    return transformers.BertModel(config, add_pooling_layer=False)


def small(**settings: object) -> Ladder:
    return ladder(encoder(), reduction=4, classes=3, **settings)  # type: ignore[arg-type]


def importance(net: nn.Module) -> dict[str, torch.Tensor]:
    def loss(row: int) -> torch.Tensor:
        return net(input_ids=IDS[row : row + 1]).last_hidden_state.square().mean()

    net.eval()
    names = matrices("encoder.layer", 3, "embeddings.word_embeddings.weight")
    return fisher(net, [lambda row=row: loss(row) for row in range(3)], names)  # type: ignore[misc]


def test_gradients_reach_the_side_alone() -> None:
    net = small().train()
    out = net(IDS, MASK)
    seen, stack = set(), [out.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [above for above, _ in node.next_functions]
    leaves = {id(node.variable) for node in seen if hasattr(node, "variable")}
    assert not leaves & {id(parameter) for parameter in net.taps.parameters()}
    out.square().sum().backward()
    assert all(parameter.grad is None for parameter in net.taps.parameters())
    assert all(parameter.grad is not None for parameter in net.side.parameters())
    assert not net.taps.backbone.training  # or dropout would make noise of its states


def test_gates_start_in_the_middle_and_a_closed_one_shuts_the_encoder_out() -> None:
    net = small().eval()
    assert net.side.gates().tolist() == [0.5, 0.5, 0.5]
    states = net.taps(input_ids=IDS, attention_mask=MASK)
    other = [states[0], *(state + 1 for state in states[1:])]
    assert not torch.equal(net.side(MASK, *states), net.side(MASK, *other))
    with torch.no_grad():
        net.side.alpha.fill_(torch.inf)
    assert torch.equal(net.side(MASK, *states), net.side(MASK, *other))


def test_sum_without_gates_and_the_last_state_are_as_written() -> None:
    net = small(fuse="add", merge_last=True).eval()
    side, states = net.side, net.taps(input_ids=IDS, attention_mask=MASK)
    hidden = side.down[0](states[0])
    for block, down, state in zip(side.blocks, side.down[1:], states[1:], strict=True):
        hidden = block(hidden + down(state), MASK > 0)
    raised = side.up(side.norm(hidden)) + states[-1]
    means = torch.stack([row[keep > 0].mean(0) for row, keep in zip(raised, MASK, strict=True)])
    torch.testing.assert_close(net(IDS, MASK), side.head(means), rtol=1e-5, atol=1e-6)


def test_padding_does_not_change_the_answer() -> None:
    net = small().eval()
    short = net(IDS[1:2, :4], MASK[1:2, :4])
    # Softmax over masked scores and float32 sums of other lengths.
    torch.testing.assert_close(net(IDS[1:2], MASK[1:2]), short, rtol=1e-4, atol=1e-5)


def test_block_cut_with_nothing_left_out_is_the_layer() -> None:
    net = encoder().eval()
    layer, scores = net.encoder.layer[1], importance(net)
    block = cut(layer, lambda name: scores[f"encoder.layer.1.{name}"], torch.arange(32), 4, 1)
    x = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(2))
    expected = layer(x)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(block(x, torch.ones(3, 7, dtype=torch.bool)), expected, rtol=1e-4, atol=1e-5)


def test_blocks_are_cut_where_the_importance_lies() -> None:
    net = encoder().eval()
    scores = {name: tensor * 0 for name, tensor in importance(net).items()}
    dims = torch.arange(3, 32, 4)  # 8 of 32
    scores["embeddings.word_embeddings.weight"][:, dims] = 1.0
    rows = torch.arange(32).view(4, 8)[:, [1, 6]].flatten()
    for name in ("query", "key", "value"):  # importances whose product leaves float32
        scores[f"encoder.layer.0.attention.self.{name}.weight"][rows] = 1e-30
    scores["encoder.layer.0.intermediate.dense.weight"][10:26] = 1.0
    assert torch.equal(residual_dims(scores["embeddings.word_embeddings.weight"], 8), dims)
    layer = net.encoder.layer[0]
    block = cut(layer, lambda name: scores[f"encoder.layer.0.{name}"], dims, 4, 4)
    own = layer.attention
    assert torch.equal(block.query.weight, own.self.query.weight[rows][:, dims])
    assert torch.equal(block.output.weight, own.output.dense.weight[dims][:, rows])
    assert torch.equal(block.down.weight, layer.output.dense.weight[dims][:, 10:26])
    assert torch.equal(block.norm.weight, layer.output.LayerNorm.weight[dims])


def test_importance_is_the_sum_of_squared_gradients_of_single_samples() -> None:
    net = encoder()
    name = "encoder.layer.2.intermediate.dense.weight"
    net.requires_grad_(False)
    found = importance(net)[name]
    assert not any(parameter.requires_grad for parameter in net.parameters())
    expected = torch.zeros_like(found)
    net.requires_grad_(True)
    for row in range(3):
        net.zero_grad()
        net(input_ids=IDS[row : row + 1]).last_hidden_state.square().mean().backward()
        expected += net.get_parameter(name).grad.square()  # type: ignore[union-attr]
    torch.testing.assert_close(found, expected)


def test_widths_that_cannot_be_divided_are_refused() -> None:
    net = encoder()
    scores = importance(net)
    with pytest.raises(UsageError, match="heads of 8 and 64 neurons cannot be divided by 3"):
        cut(net.encoder.layer[0], lambda name: scores[f"encoder.layer.0.{name}"], torch.arange(10), 4, 3)

    with pytest.raises(UsageError, match="32 dims in 4 heads and 64 neurons cannot be divided by 5; choose"):
        ladder(net, reduction=5)


def test_dropped_layers_have_no_rung() -> None:
    net = small(keep=(0, 2))
    assert net.taps.names == ("embeddings", "encoder.layer.0", "encoder.layer.2")
    assert len(net.side.blocks) == 2


def test_training_leaves_the_encoder_as_it_was(tmp_path: Path) -> None:
    net = small(importance=importance(encoder()))
    before = copy.deepcopy(net.taps.state_dict())
    first = copy.deepcopy(net.side.state_dict())
    data = Arrays(("input_ids", "attention_mask"), (IDS, MASK), torch.tensor([0, 1, 2]), "")
    hyper = Hyperparameters(epochs=2, batch_size=3, lr=1e-3)
    fit(net, data, LabelsOnly(), hyper, folder=tmp_path, identity="ladder")
    torch.testing.assert_close(net.taps.state_dict(), before, rtol=0, atol=0)
    assert not torch.equal(net.side.state_dict()["alpha"], first["alpha"])


def test_merged_and_split_files_give_the_same_answer(tmp_path: Path) -> None:
    net = small().eval()
    example = {"input_ids": IDS, "attention_mask": MASK}
    states = net.taps(**example)
    names = ("embeddings", "first", "second", "third")
    with quiet():
        inputs = from_example(example, dynamic_batch=True)
        exporters.export("legacy", net, inputs, ("logits",), tmp_path / "merged.onnx", 17)
        exporters.export("legacy", net.taps, inputs, names, tmp_path / "backbone.onnx", 17)
        lent = from_example((MASK, *states), dynamic_batch=True)
        exporters.export("legacy", net.side, lent, ("logits",), tmp_path / "side.onnx", 17)
    feed = {name: tensor.numpy() for name, tensor in example.items()}
    merged = Session(tmp_path / "merged.onnx").run(feed)["logits"]
    side = Session(tmp_path / "side.onnx")
    lent_by_name = Session(tmp_path / "backbone.onnx").run(feed)
    values = [MASK.numpy(), *(lent_by_name[name] for name in names)]
    split = side.run(dict(zip(side.signature.input_names, values, strict=True)))["logits"]
    # The same float32 operators, fused in other places; dropout is off.
    np.testing.assert_allclose(split, merged, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(merged, net(IDS, MASK).detach().numpy(), rtol=1e-4, atol=1e-5)
