"""The loss of a micro-batch of sampled tokens: sums with the weights of one global mean."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.numerics import bounded_exp
from luce.objectives.policy_gradient import (
    KL_ESTIMATORS,
    clipped_value_loss,
    ppo_clip,
    reinforce,
    to_tokens,
)
from luce.online.rl.methods import Aggregation, Method, Ppo


@dataclass(frozen=True)
class Taken:
    """Some responses of a round as a step takes them, tokens back to back.

    Attributes:
        lengths: tokens of each response.
        behavior, advantage: of each token; see `Drawn` and `Credit`.
        reference, value, returns: the same, or None.
    """

    lengths: Int[Tensor, " responses"]
    behavior: Float[Tensor, " tokens"]
    advantage: Float[Tensor, " tokens"]
    reference: Float[Tensor, " tokens"] | None = None
    value: Float[Tensor, " tokens"] | None = None
    returns: Float[Tensor, " tokens"] | None = None


def policy_losses(
    method: Method, policy: Float[Tensor, " tokens"], taken: Taken
) -> Float[Tensor, " tokens"]:
    """The cost of each token, with the gradient that goes to the policy: −A log π, or PPO's clipped
    ratio, and the KL where it stands in the loss.

    Args:
        policy: log π of each token under the policy in training, nats.
    """
    if method.clip is None:
        found = reinforce(policy, taken.advantage)
    else:
        found = ppo_clip(policy, taken.behavior, taken.advantage, *method.clip)
    if method.beta > 0 and method.kl == "in_loss" and taken.reference is not None:
        estimate = KL_ESTIMATORS[method.kl_estimator].value(policy, taken.reference)
        found = found + method.beta * estimate
    return found


def value_losses(
    method: Ppo, value: Float[Tensor, " tokens"], taken: Taken
) -> Float[Tensor, " tokens"]:
    """½ (V − R)² of each token, clipped where the method says so.

    Args:
        value: V(x, y_<t) of the critic in training.
    """
    assert taken.value is not None and taken.returns is not None  # PPO samples with a critic
    clip = float("inf") if method.clip_value is None else method.clip_value
    return clipped_value_loss(value, taken.value, taken.returns, clip)


def token_weights(
    mode: Aggregation, lengths: Int[Tensor, " responses"], max_new_tokens: int
) -> Float[Tensor, " tokens"]:
    """How much each token counts in the sum over the global batch, float32; the sum is divided by
    `batch_size` of the same mode.

    >>> token_weights("seq-mean-token-mean", torch.tensor([2, 1]), 4)
    tensor([0.5000, 0.5000, 1.0000])
    """
    lengths = lengths.float()
    match mode:
        case "seq-mean-token-mean":
            each = 1 / lengths
        case "seq-mean-token-sum-norm":
            each = torch.full_like(lengths, 1 / max_new_tokens)
        case _:
            each = torch.ones_like(lengths)
    return to_tokens(each, lengths.long())


def whole_weight(mode: Aggregation, lengths: Int[Tensor, " responses"]) -> float:
    """What the weighted sum over all responses of a step is divided by: their tokens under
    `token-mean`, else their number.

    >>> whole_weight("token-mean", torch.tensor([2, 1])), whole_weight(
    ...     "seq-mean-token-sum", torch.tensor([2, 1]))
    (3.0, 2.0)
    """
    return float(lengths.sum() if mode == "token-mean" else len(lengths))


@torch.no_grad()
def movement(
    method: Method, policy: Float[Tensor, " tokens"], taken: Taken
) -> dict[str, Float[Tensor, " tokens"]]:
    """How far the policy has moved from the one that sampled the tokens, of each token: `ratio`
    ρ = π/π_sampler; `clipfrac`, 1 where clipping takes its gradient away; `approx_kl`, the k3
    estimate of KL(π_sampler ‖ π), nats."""
    ratio = bounded_exp(policy - taken.behavior)
    found = {"ratio": ratio, "approx_kl": KL_ESTIMATORS["k3"].value(taken.behavior, policy)}
    if method.clip is not None:
        low, high = method.clip
        above = (ratio > 1 + high) & (taken.advantage > 0)
        below = (ratio < 1 - low) & (taken.advantage < 0)
        found["clipfrac"] = (above | below).to(ratio.dtype)
    return found
