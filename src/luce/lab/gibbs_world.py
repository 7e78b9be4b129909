"""Small worlds of rewards and what is exact in them: Gibbs's distribution along the temperature."""

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from luce.models.tabular import (
    KlBandit,
    TabularPolicy,
    actions,
    fit_pairs,
    minimize,
    scores_annotator,
)
from luce.objectives import OBJECTIVES

ACTIONS = 8
BETAS = tuple(0.05 * 1.3**k for k in range(24))
"""Temperatures of the curves, 0.05 to 21."""
TRAINED = (0.25, 1.0, 4.0)
"""Temperatures at which policies are trained."""
BASES = (1.5, 2.0, math.e, 4.0, 10.0)
"""Of the annotator's powers, in the place of e."""
LABELS = 30_000
"""Hard labels of a run on samples."""


@dataclass(frozen=True)
class Curves:
    """Exact numbers along `BETAS`, of one world.

    Attributes:
        value: J* = β log Z, which is minus the free energy F = U − β S.
        reward: E_π*[r], minus the energy U.
        kl: KL(π* ‖ π₀), minus the entropy S relative to π₀, nats.
        capacity: Var_π*(r)/β², the heat capacity.
        value_slope, reward_slope: dJ*/dβ and dE_π*[r]/dβ, by automatic differentiation.
        direct: J(π*), reward less β times KL.
    """

    value: Float[Tensor, " betas"] = field(repr=False)
    reward: Float[Tensor, " betas"] = field(repr=False)
    kl: Float[Tensor, " betas"] = field(repr=False)
    capacity: Float[Tensor, " betas"] = field(repr=False)
    value_slope: Float[Tensor, " betas"] = field(repr=False)
    reward_slope: Float[Tensor, " betas"] = field(repr=False)
    direct: Float[Tensor, " betas"] = field(repr=False)


@dataclass(frozen=True)
class Seen:
    """One world, and what was found in it.

    Attributes:
        world: r and π₀; its β is 1.
        curves: along the temperature.
        roads: (road, β) → total variation of what was trained from π₀ exp(r/β)/Z.
        shifted: likewise of DPO, β = 1, whose annotator's reward is shifted by a constant, and
            how far labels, log Z − shift/β, and the optimum are from what they were.
        bases: base → TV of DPO at β = 1 from Gibbs at the temperature 1/log a; its E[r]; TV of DPO
            at β = log a from π₀ exp(r)/Z.
        other: base → how far P of rewards r/log a is from that of the base e.
        gap: J* − J(π) − β KL(π ‖ π*) of policies at random, the largest size; and the least
            J* − J(π) of them.
    """

    world: KlBandit = field(repr=False)
    curves: Curves
    roads: dict[tuple[str, float], float]
    shifted: dict[str, float]
    bases: dict[float, tuple[float, float, float]]
    other: dict[float, float]
    gap: tuple[float, float]


def drawn(seed: int) -> KlBandit:
    """Normal rewards of sd 1, and a softmax of normal numbers for π₀."""
    generator = torch.Generator().manual_seed(seed)
    reward, scores = torch.randn(2, ACTIONS, generator=generator, dtype=torch.float64)
    return KlBandit(actions(ACTIONS).normalize(scores), reward, 1.0)


def gibbs(reference: TabularPolicy, reward: Float[Tensor, " n"], beta: float) -> TabularPolicy:
    """π₀ exp(r/β)/Z."""
    return KlBandit(reference, reward, beta).optimum()


def see(world: KlBandit, seed: int) -> Seen:
    """Everything of one world."""
    r, ref = world.reward, world.reference
    best = {beta: gibbs(ref, r, beta) for beta in TRAINED}
    roads = {
        (road, beta): policy.total_variation(best[beta])
        for beta in TRAINED
        for road, policy in roads_at(replace(world, beta=beta), seed).items()
    }
    bases = {}
    for base in BASES:
        likes, heat = scores_annotator(math.log(base) * r), math.log(base)
        same = dpo(likes, ref, 1.0)
        scaled = dpo(likes, ref, heat)
        bases[base] = (
            same.total_variation(gibbs(ref, r, 1 / heat)),
            same.expectation(r).item(),
            scaled.total_variation(best[1.0]),
        )
    other = {base: _of_base(base, r / math.log(base), scores_annotator(r)) for base in BASES}
    return Seen(world, curves(world), roads, shifted(world, seed), bases, other, gap(world, seed))


def curves(world: KlBandit) -> Curves:
    """By closed forms, and by differentiating them."""
    rows = []
    for beta in BETAS:
        bandit = replace(world, beta=beta)
        best = bandit.optimum()
        heat = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
        scores = world.reference.log_prob + world.reward / heat
        value = heat * torch.logsumexp(scores, 0)
        reward = (scores.softmax(0) * world.reward).sum()
        slopes = [torch.autograd.grad(x, heat, retain_graph=True)[0] for x in (value, reward)]
        rows.append(
            (
                bandit.best_value,
                best.expectation(world.reward),
                best.kl(world.reference),
                best.variance(world.reward) / beta**2,
                *slopes,
                bandit.value(best),
            )
        )
    return Curves(*(torch.stack(column) for column in zip(*rows, strict=True)))


def roads_at(world: KlBandit, seed: int) -> dict[str, TabularPolicy]:
    """Ways to train a policy at the world's temperature."""
    ref, r, beta = world.reference, world.reward, world.beta
    # J is flat where an action has next to no mass left; how far the end is from theory is checked
    (logits,) = minimize(
        lambda x: -world.value(ref.outcomes.normalize(x)), [ref.log_prob], tolerance=None
    )
    found = {
        "J itself": ref.outcomes.normalize(logits),
        "DPO": dpo(scores_annotator(r), ref, beta),
    }
    generator = torch.Generator().manual_seed(1000 + seed)
    a, b = torch.randint(ACTIONS, (2, LABELS), generator=generator)
    won = torch.rand(LABELS, generator=generator, dtype=torch.float64) < (r[a] - r[b]).sigmoid()
    # the loss is linear in the label: the share of wins of each pair says what all its labels say
    wins = torch.zeros(ACTIONS, ACTIONS, dtype=torch.float64)
    wins.index_put_((a, b), won.double(), accumulate=True)
    wins.index_put_((b, a), (~won).double(), accumulate=True)
    asked = wins + wins.T
    found["DPO, hard labels"] = dpo(wins / asked, ref, beta, asked)
    return found


def dpo(
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy,
    beta: float,
    proposal: Float[Tensor, "n n"] | None = None,
) -> TabularPolicy:
    """What DPO ends at on pairs with these labels, asked as often as `proposal` says, by default
    all alike."""
    objective = OBJECTIVES["dpo"](beta=beta)
    return fit_pairs(
        objective, preference, reference.outcomes, reference, proposal, start=reference
    )


def shifted(world: KlBandit, seed: int, shift: Tensor | None = None) -> dict[str, float]:
    """What a shift of r by a function of the prompt changes; here a constant, one prompt being one
    world."""
    r, ref = world.reward, world.reference
    shift = torch.tensor(3.0 + seed, dtype=torch.float64) if shift is None else shift
    moved = replace(world, reward=r + shift)
    likes = scores_annotator(moved.reward)
    rise = moved.log_partition - world.log_partition - shift.mean() / world.beta
    return {
        "labels": (likes - scores_annotator(r)).abs().max().item(),
        "log Z": rise.abs().item(),
        "the optimum": moved.optimum().total_variation(world.optimum()),
        "DPO": dpo(likes, ref, world.beta).total_variation(world.optimum()),
    }


def _of_base(base: float, reward: Tensor, other: Tensor) -> float:
    """How far a^r(i)/(a^r(i) + a^r(j)) is from another annotator."""
    powers = base**reward
    return (powers[:, None] / (powers[:, None] + powers) - other).abs().max().item()


def gap(world: KlBandit, seed: int) -> tuple[float, float]:
    """Of 50 policies at random."""
    generator = torch.Generator().manual_seed(seed)
    best, errors, least = world.optimum(), [], math.inf
    for _ in range(50):
        logits = torch.randn(ACTIONS, generator=generator, dtype=torch.float64)
        policy = world.reference.outcomes.normalize(logits)
        regret = (world.best_value - world.value(policy)).item()
        errors.append(abs(regret - world.beta * policy.kl(best).item()))
        least = min(least, regret)
    return max(errors), least
