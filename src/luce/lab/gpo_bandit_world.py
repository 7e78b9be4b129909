"""Azar's bandit of three actions: softmax policies trained by Adam on certain pairs, for all
losses, data sets, β and seeds at once.

[IPO] Azar et al. (2023), arXiv:2310.12036, section 5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from luce.objectives.losses import MarginLoss

RATE, BATCH, STEPS = 0.01, 9, 18_000
"""Adam's learning rate, pairs in a batch, steps."""
DATA: dict[str, tuple[tuple[int, int], ...]] = {
    "order": ((0, 1), (1, 2), (0, 2)),
    "cycle": ((0, 1), (1, 2), (2, 0)),
    "one pair": ((0, 1), (1, 0)),
}
"""Data set → the (chosen, rejected) it is drawn from, each alike. a, b, c are 0, 1, 2; of the last
one c is never seen."""


@dataclass(frozen=True)
class Trained:
    """Policies over training.

    Attributes:
        steps: at which they were looked at; the last is the end.
        probability: π(a), π(b), π(c); dimensions: loss, data set, β, seed.
        full_batch: the same at the end of training on the whole data set at each step.
    """

    steps: tuple[int, ...]
    probability: Float[Tensor, "looks losses data betas seeds 3"]
    full_batch: Float[Tensor, "losses data betas 3"]


def train(
    losses: Mapping[str, MarginLoss], betas: Sequence[float], seeds: int, looks: Sequence[int]
) -> Trained:
    """Train from the uniform policy, which is the reference too. Under it ρ = θ_w − θ_l: the
    normalizer cancels, and the gradient in θ is β f′(βρ) times the number of such pairs. Beside
    the seeds runs one more policy on the full batch."""
    phis = [loss.phi for loss in losses.values()]
    counts = torch.Generator().manual_seed(0)
    most = max(map(len, DATA.values()))
    first, second, shares = _pairs(most)
    beta = torch.tensor(list(betas), dtype=torch.float64)[:, None, None]
    theta = torch.zeros(len(phis), len(DATA), len(betas), seeds + 1, 3, dtype=torch.float64)
    optimizer = torch.optim.Adam([theta], lr=RATE)
    index = [
        pick[None, :, None, None, :].expand(*theta.shape[:-1], most) for pick in (first, second)
    ]
    full = shares[:, None, None, :].expand(len(DATA), len(betas), 1, most)
    seen = []
    for step in range(1, STEPS + 1):
        drawn = torch.multinomial(shares, seeds * BATCH, True, generator=counts)
        number = torch.nn.functional.one_hot(drawn.view(len(DATA), seeds, BATCH), most).sum(2)
        share = torch.cat([(number / BATCH)[:, None].expand(-1, len(betas), -1, -1), full], 2)
        z = (beta * (theta.gather(-1, index[0]) - theta.gather(-1, index[1]))).requires_grad_()
        cost = torch.stack([phi(part).sum() for phi, part in zip(phis, z, strict=True)]).sum()
        (slope,) = torch.autograd.grad(cost, z)
        push = beta * slope * share
        gradient = torch.zeros_like(theta).scatter_add_(-1, index[0], push)
        theta.grad = gradient.scatter_add_(-1, index[1], -push)
        optimizer.step()
        if step in looks:
            seen.append(theta.softmax(-1))
    end = theta.softmax(-1)
    by_look = torch.stack([*seen, end])[..., :seeds, :]
    return Trained((*looks, STEPS), by_look, end[..., seeds, :])


def _pairs(most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Chosen, rejected and the share of each kind of pair, by data set; kinds that a data set lacks
    have the share 0."""
    rows = [[*pairs, *[(0, 1)] * (most - len(pairs))] for pairs in DATA.values()]
    kinds = torch.tensor(rows)
    share = [[1 / len(p)] * len(p) + [0.0] * (most - len(p)) for p in DATA.values()]
    return kinds[..., 0], kinds[..., 1], torch.tensor(share, dtype=torch.float64)
