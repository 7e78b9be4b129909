"""Solvers that learn from duels with the objectives that train language models.

A round of self-play: duels between responses of the policy (or of its mixture with the reference)
are judged, and an objective is minimized, or followed for a step, on these pairs. A `Method` says
with which objective, against which reference, and how far; so a published method is a sentence.

With `duels=None` a round sees the expectation over all duels: what happens is the method itself,
without noise. With a number it sees so many drawn duels with a winner each.

[IPO-MD] Calandriello et al. (2024), arXiv:2403.08635.   [INPO] Zhang et al. (2024),
arXiv:2407.00617.   [SPPO] Wu et al. (2024), arXiv:2405.00675.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular import TabularPolicy
from luce.objectives import presets
from luce.objectives.objective import Objective
from luce.online.nash.game import Game
from luce.types import CostFunction, Pairs

Cost: TypeAlias = Callable[[Tensor], Tensor]
Learner: TypeAlias = Callable[[Cost, Tensor], Tensor]
"""(cost of logits, logits) -> the logits after a round."""


def optimum(reach: float, steps: int = 200) -> Learner:
    """The logits that minimize a convex cost, by Newton's steps.

    Args:
        reach: how far apart the logits of two actions may be driven by a step: about 1 in units of
            the margin, which for DPO is 1/β.
        steps: how many are tried.

    Raises:
        LuceError: there is no optimum. The logistic loss has none where drawn duels between some
            actions have only one winner; use `descent` there, or more duels.
    """

    def learn(cost: Cost, logits: Tensor) -> Tensor:
        width, bent = 0.0, torch.zeros_like(logits, dtype=torch.bool)
        for _ in range(steps):
            step, bend = _newton_step(cost, logits)
            if bool((bent & (bend == 0)).any()):
                break  # the cost has gone flat for an action that is drawn
            bent = bend > 0
            width = (step.max() - step.min()).item()
            logits = logits - step * min(1.0, reach / max(width, 1e-300))
            if width <= 1e-8 * reach:
                return logits
        else:
            if width <= 1e-2 * reach:
                return logits  # rounding leaves no more digits of an action drawn once in 10^15
        raise LuceError(
            f"The cost of these duels has no smallest value, or not within {steps} steps: as where "
            "some response won every duel. Let the learner be `descent`, or draw more duels."
        )

    return learn


def newton(steps: int = 1) -> Learner:
    """Newton's steps with the exact Hessian. The first one ends at the minimum of a square of
    margins (IPO, INPO), and near that of a square of log-ratios (SPPO). An action that no duel saw
    keeps its logit."""

    def learn(cost: Cost, logits: Tensor) -> Tensor:
        for _ in range(steps):
            logits = logits - _newton_step(cost, logits)[0]
        return logits

    return learn


def _newton_step(cost: Cost, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The step, and how much the cost bends with each logit."""
    hessian = torch.autograd.functional.hessian(cost, logits)
    assert isinstance(hessian, Tensor)
    # in units of its own bend each action counts, however seldom it is drawn
    bend = hessian.diagonal().clamp(min=0)
    unit = torch.where(bend > 0, bend, 1.0).rsqrt() * (bend > 0)
    scaled = unit.unsqueeze(1) * hessian * unit
    inverse = torch.linalg.pinv(scaled, rtol=1e-11, hermitian=True)
    return unit * (inverse @ (unit * _gradient(cost, logits))), bend


def descent(rate: float, steps: int = 1) -> Learner:
    """Steps of gradient descent on the same duels."""

    def learn(cost: Cost, logits: Tensor) -> Tensor:
        for _ in range(steps):
            logits = logits - rate * _gradient(cost, logits)
        return logits

    return learn


def _gradient(cost: Cost, logits: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(cost(logits), logits)[0]


@dataclass(frozen=True)
class Method:
    """What one round makes of the policy.

    Attributes:
        objective: a cost of judged pairs; it may compare with a reference, and with the policy of
            the round before (`history`).
        learner: how far its cost is followed in a round.
        mixture: share of π_ref in the geometric mixture that both responses of a duel are drawn
            from; 0 is the policy itself. This mixture is the answer.
        anchor: share of π_ref in what the objective takes for its reference: 1 is π_ref itself, 0
            the policy of the round before.
    """

    objective: CostFunction
    learner: Learner = field(repr=False)
    mixture: float = 0.0
    anchor: float = 1.0


def self_play(
    game: Game, method: Method, duels: int | None = None, seed: int = 0
) -> Iterator[TabularPolicy]:
    """The policies of a method, round by round, from the reference on.

    Args:
        duels: how many a round sees; None for the expectation over all.
        seed: of the duels.
    """
    if method.objective.structure != "pair":
        raise LuceError(f"{method.objective.name}: self-play learns from pairs only.")
    generator = torch.Generator().manual_seed(seed)
    outcomes, policy = game.reference.outcomes, game.reference
    every = torch.arange(len(outcomes))
    winner, loser = torch.cartesian_prod(every, every).T
    if isinstance(method.objective, Objective):
        # a response against itself has no margin; its rounding would drown seldom duels
        winner, loser = winner[winner != loser], loser[winner != loser]
    while True:
        players = game.near(policy, method.mixture)
        yield players
        won, lost = game.duels(players, players, duels, generator)
        shares = (won + lost.T)[winner, loser]
        anchor, before = game.near(policy, method.anchor), policy.responses().policy

        def cost(
            logits: Tensor,
            shares: Float[Tensor, " pairs"] = shares,
            anchor: TabularPolicy = anchor,
            before: Float[Tensor, " tokens"] = before,
        ) -> Tensor:
            y = outcomes.normalize(logits).responses(anchor)
            if "history" in method.objective.needs:
                y = replace(y, columns={"history": before})
            pairs = Pairs(y.take(winner), y.take(loser))
            weight = shares * method.objective.weight(pairs).detach()
            return (weight * method.objective(pairs)).sum()

        policy = outcomes.normalize(method.learner(cost, policy.log_prob))


def iterated_dpo(game: Game, moving: bool = False, learner: Learner | None = None) -> Method:
    """DPO on duels of the policy, β = η: a Bradley-Terry reward fitted to the opponent of the
    moment. It is no solver: where preferences go round it cycles, and with a moving reference it
    collapses onto one response.

    Args:
        moving: compare with the policy of the round before instead of π_ref.
        learner: by default each round goes to the optimum.
    """
    beta = game.priced()
    return Method(presets.dpo(beta), learner or optimum(1 / beta), anchor=0.0 if moving else 1.0)


def online_ipo(game: Game, rate: float | None = None) -> Method:
    """IPO on duels of the policy, a gradient step a round, τ = η: at its fixed point
    π ∝ π_ref exp(P π/τ), which is the equilibrium at the price τ [IPO-MD, theorem 4.1].

    Going to the optimum each round would be the undamped `fixed_point`.

    Args:
        rate: of the steps, by default what makes them `game.damping` of the way for the likeliest
            action, which is stable.
    """
    return Method(presets.ipo(game.priced()), descent(_rate(game, rate)))


def ipo_md(game: Game, mixture: float = 0.5, rate: float | None = None) -> Method:
    """IPO-MD: IPO on duels of the mixture ρ ∝ π^{1−β} π_ref^β, a gradient step a round.

    At its fixed point π ∝ π_ref exp(P ρ/τ), so that ρ, not π, is an equilibrium: that at the price
    τ/(1 − β). Hence τ = (1 − β) η here, and the answer is ρ.

    Args:
        mixture: β in [0, 1); 0 is `online_ipo`.
        rate: as in `online_ipo`.
    """
    tau = (1 - _below_one("mixture", mixture)) * game.priced()
    return Method(presets.ipo(tau), descent(_rate(game, rate)), mixture)


def inpo(game: Game, step: float | None = None) -> Method:
    """INPO: each round goes to π_{t+1} ∝ π_ref^κ π_t^{1−κ} exp(κ P π_t/η), the damped fixed point.

    Args:
        step: κ, the paper's τ/η, with its τ the price here (its η is then `game.eta`/κ); by
            default `game.damping`.
    """
    kappa = game.damping if step is None else step
    return Method(presets.inpo(eta=game.priced() / kappa, tau_over_eta=kappa), newton())


def sppo(step: float) -> Method:
    """SPPO as published: log π/π_t is fitted to `step` · (P π_t − ½), step = 1/β.

    It plays the game without a price: see `multiplicative_weights`, which it follows to first order
    in the step. Measure it on a game with η = 0; its average is what comes near an equilibrium.
    """
    if not step > 0:
        raise LuceError(f"step: {step:g} must be greater than 0.")
    return Method(presets.sppo(beta=1 / step), newton(2), anchor=0.0)


def regularized_sppo(game: Game, step: float | None = None) -> Method:
    """SPPO towards the equilibrium at a price: the same cost, with the mixture
    ρ ∝ π_t^{1−κ} π_ref^κ in the place of π_t and 1/β = κ/η. Its fixed point is
    π ∝ π_ref exp(P π/η). (No published method, but SPPO with INPO's step.)

    Args:
        step: κ, by default `game.damping`.
    """
    kappa = game.damping if step is None else step
    return Method(presets.sppo(beta=game.priced() / kappa), newton(2), anchor=kappa)


def _rate(game: Game, rate: float | None) -> float:
    if rate is not None:
        return rate
    # the gradient of Σ μᵢ μⱼ (hᵢ − hⱼ)² by hᵢ is 4 μᵢ (hᵢ − mean h)
    return game.damping / (4 * game.equilibrium.probability.max().item())


def _below_one(name: str, share: float) -> float:
    if not 0 <= share < 1:
        raise LuceError(f"{name}: {share:g} must lie in [0, 1).")
    return share
