"""weights -> how much each one matters; the least go first.

    magnitude  |w|
    LAMP       w_u^2 / sum of w_v^2 over the v of its layer with |w_v| >= |w_u|; the largest of a layer has 1
    movement   - sum over updates of w dL/dw: weights that training moves away from zero matter (kept by the objective)

Source: Han et al. 2015 (arXiv:1506.02626); Lee et al., LAMP, ICLR 2021 (arXiv:2010.07611), equation 1; Sanh et al.,
Movement Pruning 2020 (arXiv:2005.07683), equation 2.
"""

from __future__ import annotations

import torch


def magnitude(weight: torch.Tensor) -> torch.Tensor:
    """|w|, of the shape of the weight."""
    return weight.detach().abs()


def lamp(weight: torch.Tensor) -> torch.Tensor:
    """LAMP scores in (0, 1] (0 for zeros), of the shape of the weight; comparable between layers."""
    squares = weight.detach().double().flatten().square()
    ascending, order = squares.sort(stable=True)
    remaining = ascending.flip(0).cumsum(0).flip(0)  # of this weight and all larger ones
    scores = torch.empty_like(squares)
    scores[order] = torch.where(ascending > 0, ascending / remaining, 0.0)
    return scores.reshape(weight.shape).to(torch.float64)


def movement(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """What one update adds to the movement score: -w dL/dw."""
    return -(weight.detach() * gradient)
