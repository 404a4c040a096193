"""Two networks learn beside each other, and neither pulls the other's gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch, few
from deploycompress.training.loop import fit
from deploycompress.training.regimes.mutual import Mutual
from tests.training.test_loop import HYPER, Killed, assert_same_weights, killed_after, network, spirals

DATA = spirals(16)
BATCH = few(DATA, 16)


def test_loss_is_two_cross_entropies_and_two_divergences() -> None:
    one, other = network(0).eval(), network(1).eval()
    p, q = (module(DATA.inputs[0]).double().log_softmax(-1) for module in (one, other))
    hard = sum(nn.functional.nll_loss(x, DATA.labels) for x in (p, q))
    soft = (q.exp() * (q - p)).sum(-1).mean() + (p.exp() * (p - q)).sum(-1).mean()
    assert Mutual(other)(one, BATCH).item() == pytest.approx((hard + soft).item(), rel=1e-5)


def test_gradient_of_a_network_is_that_of_its_own_two_terms() -> None:
    one, other = network(0).eval(), network(1).eval()
    Mutual(other)(one, BATCH).backward()
    twin = network(0).eval()
    z = twin(DATA.inputs[0])
    q = other(DATA.inputs[0]).detach().softmax(-1)
    (
        nn.functional.cross_entropy(z, DATA.labels) + nn.functional.kl_div(z.log_softmax(-1), q, reduction="batchmean")
    ).backward()
    for mine, expected in zip(one.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-4, atol=1e-6)  # float32, two orders of the sums


def test_killed_and_resumed_pair_equals_uninterrupted(tmp_path: Path) -> None:
    def run(folder: str, **more: object) -> tuple[nn.Module, nn.Module]:
        module, objective = network(0), Mutual(network(1))
        fit(module, DATA, objective, HYPER, folder=tmp_path / folder, identity="a", **more)  # type: ignore[arg-type]
        return module, objective.peer

    whole, peer = run("whole")
    with pytest.raises(Killed):
        run("killed", track=killed_after(2))
    resumed, again = run("killed")
    assert_same_weights(whole, resumed)
    assert_same_weights(peer, again)
    assert not torch.equal(next(peer.parameters()), next(network(1).parameters()))


def test_peer_of_other_classes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"teacher's logits are \(16, 5\)"):
        Mutual(nn.Linear(2, 5)).check(network().eval(), Batch((), DATA.inputs, DATA.labels, BATCH.rows))
