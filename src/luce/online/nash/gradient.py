"""Nash-MD as it is run on language models: policy gradients against an opponent that is a mixture
with the reference (Munos et al., 2023, arXiv:2312.00886, section 7)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular import TabularPolicy
from luce.numerics import segment_sum
from luce.objectives.policy_gradient import kl_shaped_reward, reinforce_sequence
from luce.online.nash.game import Game


def nash_md_gradient(
    game: Game,
    mixture: float = 0.125,
    rate: float | None = None,
    duels: int | None = None,
    seed: int = 0,
) -> Iterator[TabularPolicy]:
    """Duels of y ~ π against y′ ~ ρ ∝ π^{1−β} π_ref^β, and REINFORCE with the reward
    P(y ≻ y′) − ½ − τ log π/π_ref(y).

    π comes to the best answer to ρ, so ρ comes to the equilibrium at the price τ/(1 − β): τ is
    (1 − β) η here, and the policies are ρ. β = 0 is self-play.

    Args:
        mixture: β in [0, 1); the paper has 0.125.
        rate: of the gradient steps on the logits; by default what makes them `game.damping` of the
            way for the likeliest action, which is stable.
        duels: how many a step sees, with a winner each; None for the expectation over all.
        seed: of the duels.
    """
    if not 0 <= mixture < 1:
        raise LuceError(f"mixture: {mixture:g} must lie in [0, 1).")
    tau = (1 - mixture) * game.priced()
    if rate is None:
        rate = game.damping / (tau * game.equilibrium.probability.max().item())
    generator = torch.Generator().manual_seed(seed)
    policy = game.reference
    n = len(policy.log_prob)
    # every response twice: once as a winner, once as a loser
    twice = torch.arange(n).repeat(2)
    reward = torch.cat([torch.ones(n), torch.zeros(n)]).to(policy.log_prob) - 0.5
    while True:
        opponent = game.near(policy, mixture)
        yield opponent
        won, lost = game.duels(policy, opponent, duels, generator)
        shares = torch.cat([won.sum(1), lost.sum(1)])
        logits = policy.log_prob.detach().requires_grad_()
        y = policy.outcomes.normalize(logits).responses(game.reference).take(twice)
        shaped = kl_shaped_reward(reward, y.policy, y.reference_tokens, y.lengths, tau)
        advantage: Tensor = segment_sum(shaped, y.lengths)
        cost = (shares * reinforce_sequence(y.policy, y.lengths, advantage)).sum()
        (slope,) = torch.autograd.grad(cost, logits)
        policy = policy.outcomes.normalize(policy.log_prob - rate * slope)
