"""The exact optimum of SLiC over densities: a hinge on log-probabilities, and a likelihood.

It is convex and has corners. The hinge is rounded over a width that shrinks to 0.01 nats; Newton's
steps go along.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from luce.lab.pbde_world import World
from luce.models.tabular import TabularPolicy, pairs_of
from luce.objectives import OBJECTIVES
from luce.types import Demonstrations, Responses

WIDTHS = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Nats over which the corner is rounded, step by step."""


def slic_optimum(world: World, delta: float, lam: float) -> TabularPolicy:
    """argmin E[max(0, δ − log π(w)/π(l))] − λ E_{π_pre}[log π] for the Luce annotator p* and pairs
    from π_pre. With δ = λ = 0 it is the uniform density, which alone costs nothing."""
    space, pre = world.space, world.pretrained.probability
    cost = 2 * torch.outer(pre, pre) * world.one_person
    if delta == 0 and lam == 0:
        return space.uniform()
    omega = world.pretrained.log_prob.clone()
    for width in WIDTHS:
        omega = _newton(omega, cost, delta, width, lam, pre, space.measure.log())
    return space.normalize(omega)


def _newton(
    omega: Tensor, cost: Tensor, delta: float, width: float, lam: float, pre: Tensor, log_m: Tensor
) -> Float[Tensor, " points"]:
    def total(omega: Tensor) -> Tensor:
        short = (delta - omega.unsqueeze(1) + omega) / width
        rounded = width * torch.nn.functional.softplus(short)
        return (cost * rounded).sum() + lam * (torch.logsumexp(omega + log_m, 0) - pre @ omega)

    identity = torch.eye(len(omega), dtype=omega.dtype)
    for _ in range(200):
        s = torch.sigmoid((delta - omega.unsqueeze(1) + omega) / width)
        push, bend = -cost * s, cost * s * (1 - s) / width
        p = (omega + log_m).softmax(0)
        gradient = push.sum(1) - push.sum(0) + lam * (p - pre)
        if gradient.abs().max() < 1e-11:
            break
        bend = bend + bend.T
        hessian = torch.diag(bend.sum(1)) - bend + lam * (torch.diag(p) - torch.outer(p, p))
        damping = 1e-12 + 1e-3 * gradient.abs().max()
        step = torch.linalg.solve(hessian + damping * identity, gradient)
        size, here = 1.0, total(omega)
        while total(omega - size * step) > here - 1e-4 * size * (gradient @ step):
            size /= 2
            if size < 1e-6:
                return omega - omega.mean()
        omega = omega - size * step
        omega = omega - omega.mean()
    return omega


def slic_cost(world: World, policy: TabularPolicy, delta: float, lam: float) -> float:
    """What the policy costs in the population, by the product's own objective."""
    n = len(world.space)
    a, b = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    pre = world.pretrained.probability
    pairs = pairs_of(policy, a, b, world.one_person[a, b])
    hinge = (
        torch.outer(pre, pre).flatten() * OBJECTIVES["slic"](delta=delta, lam=0.0)(pairs)
    ).sum()
    every = Responses(policy.log_prob, torch.ones(n, dtype=torch.int64))
    imitation = (pre * OBJECTIVES["nll"]()(Demonstrations(every))).sum()
    return (hinge + lam * imitation).item()
