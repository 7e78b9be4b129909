"""Rounds of comparisons on linear worlds, with nothing approximated but the data.

Each round asks `comparisons` Bradley–Terry questions, fits a ridge likelihood to all answers so
far, and tilts a reference by the fitted reward. What is measured is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.models.tabular import LinearWorld, fit_theta
from luce.online.explore.explorers import BestWorst, Candidates, Enhancer, Explorer, TwoSamples
from luce.online.explore.uncertainty import Covariance

RIDGE = 1e-2
"""Of the likelihood unless said otherwise, and λ of Σ."""


@dataclass(frozen=True)
class Strategy:
    """Where the pairs of a round come from, and what the next policy starts from.

    Attributes:
        label: in figures and tables.
        explorer: makes it, given (dimension of the features, worlds).
        n: responses sampled for each prompt.
        source: who samples them: π₀ throughout, or the policy of the last round.
        candidates: what the explorer chooses from: the samples, or the first of them and then
            every action there is.
        reference: what the fitted reward tilts: π₀, or the policy of the last round.
    """

    label: str
    explorer: Callable[[int, tuple[int, ...]], Explorer] = field(repr=False)
    n: int = 2
    source: Literal["initial", "current"] = "current"
    candidates: Literal["samples", "actions"] = "samples"
    reference: Literal["initial", "previous_round"] = "initial"


@dataclass(frozen=True)
class Trajectory:
    """What each round left, one number a world.

    Attributes:
        comparisons: asked so far, after each round.
        regret: J(π*) − J(π_MLE) for π_MLE ∝ π₀ exp(r̂/η): how good the data are.
        deployed_regret: J(π*) − J(π_t) of the policy itself; the same with a fixed reference.
        deployed_kl: KL(π_t ‖ π₀), nats.
        deployed_reward: E_π_t[r*].
        theta: of r̂.
    """

    comparisons: Int[Tensor, " rounds"] = field(repr=False)
    regret: Float[Tensor, "rounds worlds"] = field(repr=False)
    deployed_regret: Float[Tensor, "rounds worlds"] = field(repr=False)
    deployed_kl: Float[Tensor, "rounds worlds"] = field(repr=False)
    deployed_reward: Float[Tensor, "rounds worlds"] = field(repr=False)
    theta: Float[Tensor, "rounds worlds d"] = field(repr=False)


def _two_samples(d: int, worlds: tuple[int, ...]) -> Explorer:
    return TwoSamples()


def _best_worst(d: int, worlds: tuple[int, ...]) -> Explorer:
    return BestWorst()


def _enhancer(d: int, worlds: tuple[int, ...]) -> Explorer:
    return Enhancer(Covariance(d, RIDGE, worlds))


STRATEGIES: dict[str, Strategy] = {
    "offline": Strategy("offline, two samples of π₀", _two_samples, source="initial"),
    "two_samples": Strategy("online, two samples", _two_samples),
    "best_worst": Strategy("online, best and worst of 8", _best_worst, n=8),
    "enhancer_actions": Strategy("enhancer, all actions", _enhancer, candidates="actions"),
    "enhancer_samples": Strategy("enhancer, 8 samples", _enhancer, n=8),
    "moving": Strategy("two samples, moving reference", _two_samples, reference="previous_round"),
}
"""Ways to spend comparisons."""


def learn(
    world: LinearWorld,
    strategy: Strategy,
    seed: int,
    rounds: int = 12,
    comparisons: int = 50,
    ridge: float = RIDGE,
) -> Trajectory:
    """Learn in rounds, in all worlds at once.

    Args:
        world: one batch of worlds, along a single leading axis.
        strategy: how pairs are chosen.
        seed: of samples, labels and ties.
        rounds: T.
        comparisons: m, asked in each round and world.
        ridge: of the likelihood.
    """
    generator = torch.Generator().manual_seed(seed)
    worlds, d = world.theta.shape
    explorer = strategy.explorer(d, (worlds,))
    reward, theta = world.reward, torch.zeros_like(world.theta)
    policy = world.reference
    asked: list[Tensor] = []
    answers: list[Tensor] = []
    found: list[tuple[Tensor, ...]] = []
    for _ in range(rounds):
        source = world.reference if strategy.source == "initial" else policy
        context = torch.randint(reward.shape[1], (worlds, comparisons), generator=generator)
        action = _candidates(source, context, strategy, generator)
        candidates = Candidates(
            _at(world.rewards(theta), context, action), _features(world, context, action)
        )
        pairs = explorer.choose(candidates, generator)
        explorer.observe(candidates, pairs)
        gold = _at(reward, context, action.take_along_dim(pairs, -1))
        chance = (gold[..., 0] - gold[..., 1]).sigmoid()
        drawn = torch.rand(chance.shape, generator=generator, dtype=chance.dtype)
        asked.append(candidates.compared(pairs))
        answers.append((drawn < chance).to(chance.dtype))
        theta = fit_theta(torch.cat(asked, 1), torch.cat(answers, 1), ridge)
        fitted = world.tilt(world.rewards(theta))
        moving = strategy.reference == "previous_round"
        policy = world.tilt(world.rewards(theta), policy) if moving else fitted
        found.append(
            (
                world.regret(fitted),
                world.regret(policy),
                world.kl(policy),
                world.expected_reward(policy),
                theta,
            )
        )
    counts = comparisons * torch.arange(1, rounds + 1)
    return Trajectory(counts, *(torch.stack(column) for column in zip(*found, strict=True)))


def _candidates(
    source: Tensor, context: Tensor, strategy: Strategy, generator: torch.Generator
) -> Tensor:
    """Actions on offer for each context drawn: (worlds, comparisons, n)."""
    actions = source.shape[-1]
    probability = source.take_along_dim(context.unsqueeze(-1), 1).exp()
    n = 1 if strategy.candidates == "actions" else strategy.n
    drawn = torch.multinomial(
        probability.reshape(-1, actions), n, replacement=True, generator=generator
    ).reshape(*context.shape, n)
    if strategy.candidates == "samples":
        return drawn
    every = torch.arange(actions).expand(*context.shape, actions)
    return torch.cat([drawn, every], -1)


def _at(values: Tensor, context: Tensor, action: Tensor) -> Tensor:
    """values[world, context, action]."""
    return values.take_along_dim(context.unsqueeze(-1), 1).take_along_dim(action, -1)


def _features(world: LinearWorld, context: Tensor, action: Tensor) -> Tensor:
    """φ(x, a) of each, (worlds, comparisons, n, d)."""
    number = torch.arange(len(context)).reshape(-1, 1, 1)
    return world.features[number, context.unsqueeze(-1), action]
