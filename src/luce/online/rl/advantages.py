"""How good each sampled token turned out to be, by each method: numbers, no gradients.

The mathematics stands in `luce.objectives.policy_gradient`; here a method chooses from it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.numerics import segment_sum
from luce.objectives.policy_gradient import (
    dr_grpo,
    gae,
    grpo,
    kl_shaped_reward,
    rewards_to_go,
    rloo,
    terminal_reward,
    to_tokens,
)
from luce.online.rl.methods import DrGrpo, Grpo, Method, Ppo, Reinforce, Rloo

WHITEN_EPS = 1e-8


@dataclass(frozen=True)
class Drawn:
    """The samples of a round: responses back to back, groups of one prompt back to back.

    Attributes:
        reward: r(x, y) of each response, from the scorer.
        ended: whether it ended by itself.
        lengths, sizes: tokens of each response; responses to each prompt.
        behavior: log π of each token under the policy that sampled it, nats.
        reference: the same under the reference, or None.
        value: V(x, y_<t) of the critic at that time, or None.
    """

    reward: Float[Tensor, " responses"]
    ended: Bool[Tensor, " responses"]
    lengths: Int[Tensor, " responses"]
    sizes: Int[Tensor, " groups"]
    behavior: Float[Tensor, " tokens"]
    reference: Float[Tensor, " tokens"] | None = None
    value: Float[Tensor, " tokens"] | None = None


@dataclass(frozen=True)
class Credit:
    """What the tokens of a round are credited with.

    Attributes:
        advantage: A of each token.
        returns: what the critic is fitted to, advantage + value before whitening; None without one.
        total: R of each response, everything included that enters the reward.
    """

    advantage: Float[Tensor, " tokens"]
    returns: Float[Tensor, " tokens"] | None
    total: Float[Tensor, " responses"]


def token_rewards(method: Method, drawn: Drawn) -> Float[Tensor, " tokens"]:
    """The reward on the last token, less the penalty of a response that did not end; and on every
    token the price of the KL, where it enters the reward, and the worth of entropy.

    −α log π on every token is a KL price to a reference whose log-probabilities are 0.

    Raises:
        LuceError: the KL has a price, and there are no reference log-probabilities.
    """
    reward = drawn.reward
    if method.missing_eos_penalty is not None:
        reward = torch.where(drawn.ended, reward, reward - method.missing_eos_penalty)
    found = terminal_reward(reward, drawn.lengths)
    nothing = torch.zeros_like(reward)
    if method.beta > 0 and method.kl == "in_reward":
        if drawn.reference is None:
            raise LuceError(
                f"{method.name}: beta = {method.beta:g} is the price of the KL to a reference, and "
                "there is none. Set `reference: initial`, or `beta: 0`."
            )
        found = found + kl_shaped_reward(
            nothing, drawn.behavior, drawn.reference, drawn.lengths, method.beta
        )
    if method.entropy > 0:
        zero = torch.zeros_like(drawn.behavior)
        found = found + kl_shaped_reward(
            nothing, drawn.behavior, zero, drawn.lengths, method.entropy
        )
    return found


def credit(method: Method, drawn: Drawn, running_mean: float = 0.0) -> Credit:
    """The advantage of every token of a round.

    Args:
        running_mean: of R over all earlier rounds, for `Reinforce(baseline="running")`.

    Raises:
        LuceError: a method that compares samples has only one of a prompt; PPO has no values.
    """
    reward = token_rewards(method, drawn)
    total = segment_sum(reward, drawn.lengths)
    match method:
        case Reinforce():
            baseline = _baseline(method, total, running_mean)
            advantage = rewards_to_go(reward, drawn.lengths) - to_tokens(baseline, drawn.lengths)
        case Rloo():
            advantage = to_tokens(rloo(total, drawn.sizes), drawn.lengths)
        case Grpo():
            advantage = to_tokens(grpo(total, drawn.sizes, ddof=method.ddof), drawn.lengths)
        case DrGrpo():
            advantage = to_tokens(dr_grpo(total, drawn.sizes), drawn.lengths)
        case Ppo():
            return _critics_credit(method, drawn, reward, total)
        case _:
            raise LuceError(f"{method.name}: has no rule for its advantages.")
    return Credit(advantage, None, total)


def _baseline(method: Reinforce, total: Tensor, running_mean: float) -> Tensor:
    """One number for each response, which its own tokens do not change."""
    match method.baseline:
        case "none":
            return torch.zeros_like(total)
        case "running":
            return torch.full_like(total, running_mean)
        case "batch":  # leave one out, the whole round taken for one group
            return total - rloo(total, torch.tensor([len(total)], device=total.device))


def _critics_credit(method: Ppo, drawn: Drawn, reward: Tensor, total: Tensor) -> Credit:
    if drawn.value is None:
        raise LuceError("ppo: there are no values. It needs a critic.")
    advantage = gae(reward, drawn.value, drawn.lengths, method.gamma, method.lam)
    returns = advantage + drawn.value
    if method.whiten:
        # a single token has no spread; 0 is what its deviation from the mean is
        spread = advantage.std(correction=0)
        advantage = (advantage - advantage.mean()) / (spread + WHITEN_EPS)
    return Credit(advantage, returns, total)
