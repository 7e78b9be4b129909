"""Policy-gradient pieces: what a sampled token costs, given how good it turned out to be.

Responses lie back to back, `lengths` tokens each, and groups of responses to one prompt lie back to
back, `sizes` responses each. Every function gives one value per token or per response; means over
them are the trainer's. Rewards and advantages are constants: no gradient flows through them.

A response is a trajectory of tokens, or one arm of a bandit, and both give the same gradient:
`reinforce_sequence` of a reward is the sum of `reinforce` over its tokens with that reward on the
last token, not discounted.

[REINFORCE] Williams (1992), Simple statistical gradient-following algorithms, Machine Learning 8.
[GAE] Schulman et al. (2015), arXiv:1506.02438.   [PPO] Schulman et al. (2017), arXiv:1707.06347.
[RLOO] Ahmadian et al. (2024), Back to basics, arXiv:2402.14740.
[GRPO] Shao et al. (2024), DeepSeekMath, arXiv:2402.03300.
[Dr. GRPO] Liu et al. (2025), Understanding R1-Zero-like training, arXiv:2503.20783.
[KL] Schulman (2020), Approximating KL divergence, joschu.net/blog/kl-approx.html.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.numerics import bounded_expm1, segment_sum

PerToken: TypeAlias = Float[Tensor, " tokens"]
PerResponse: TypeAlias = Float[Tensor, " responses"]
Lengths: TypeAlias = Int[Tensor, " responses"]
Sizes: TypeAlias = Int[Tensor, " groups"]


def to_tokens(value: PerResponse, lengths: Lengths) -> PerToken:
    """A value of each response on every one of its tokens.

    >>> to_tokens(torch.tensor([3.0, 5.0]), torch.tensor([2, 1]))
    tensor([3., 3., 5.])
    """
    return torch.repeat_interleave(value, lengths)


def terminal_reward(reward: PerResponse, lengths: Lengths) -> PerToken:
    """The reward of each response on its last token (the end of turn), and 0 before it.

    Raises:
        LuceError: where a response has no token to carry its reward.

    >>> terminal_reward(torch.tensor([3.0, 5.0]), torch.tensor([2, 1]))
    tensor([0., 3., 5.])
    """
    _check_lengths(lengths, int(lengths.sum()))
    placed = reward.new_zeros(int(lengths.sum()))
    placed[lengths.cumsum(0) - 1] = reward.detach()
    return placed


def kl_shaped_reward(
    reward: PerResponse, policy: PerToken, reference: PerToken, lengths: Lengths, beta: float
) -> PerToken:
    """r on the last token, less β (log π − log π_ref) on every token, in the reward's unit.

    Its sum over a response is r(x, y) − β log π(y|x)/π_ref(y|x), so REINFORCE with it follows the
    exact gradient of E[r] − β KL(π ‖ π_ref): that the reward depends on π adds nothing on average,
    E_π[∇ log π] = 0. `policy` is log π of the policy that sampled the tokens, nats.

    >>> kl_shaped_reward(
    ...     torch.tensor([3.0]), torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0]),
    ...     torch.tensor([2]), beta=0.5,
    ... )
    tensor([-0.5000,  3.5000])
    """
    log_ratio = k1(policy, reference).detach()
    _check_lengths(lengths, len(log_ratio))
    return terminal_reward(reward, lengths) - beta * log_ratio


def rewards_to_go(reward: PerToken, lengths: Lengths, gamma: float = 1.0) -> PerToken:
    """Discounted sum of the rewards from each token to the end of its response, Σ_k γᵏ r_{t+k}.

    >>> rewards_to_go(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 1]), gamma=0.5)
    tensor([2., 2., 4.])
    """
    return _sum_ahead(reward.detach(), lengths, _fraction("gamma", gamma))


def gae(
    reward: PerToken,
    value: PerToken,
    lengths: Lengths,
    gamma: float = 1.0,
    lam: float = 0.95,
    last_value: PerResponse | None = None,
) -> PerToken:
    """Generalized advantage estimates Σ_k (γλ)ᵏ δ_{t+k}, δ_t = r_t + γ V_{t+1} − V_t [GAE, eq. 16].

    λ = 0 is the one-step residual δ; λ = 1 is the reward to go less V. The value function is to be
    fitted to the estimates plus `value`.

    Args:
        value: V(x, y_<t), the value before each token.
        last_value: V after the last token of a response that was cut off; 0, as where the response
            ended, if it is None.

    >>> reward, value = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.25])
    >>> gae(reward, value, torch.tensor([2]), gamma=0.9, lam=0.5)
    tensor([1.5125, 1.7500])
    """
    gamma, lam = _fraction("gamma", gamma), _fraction("lam", lam)
    _check_lengths(lengths, len(value))
    after = value.roll(-1)
    after[lengths.cumsum(0) - 1] = (
        value.new_zeros(len(lengths)) if last_value is None else last_value
    )
    residual = reward + gamma * after - value
    return _sum_ahead(residual.detach(), lengths, gamma * lam)


def rloo(reward: PerResponse, sizes: Sizes) -> PerResponse:
    """Each reward less the mean reward of the *other* responses of its group [RLOO].

    The baseline does not depend on the response, so the gradient is unbiased. It is n/(n − 1) times
    the centred reward of a group of n.

    Raises:
        LuceError: where a group has one response only.

    >>> rloo(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([3]))
    tensor([-3.0000, -1.5000,  4.5000])
    """
    n = to_tokens(sizes.to(reward.dtype), sizes)
    return dr_grpo(reward, sizes) * n / (n - 1)


def dr_grpo(reward: PerResponse, sizes: Sizes) -> PerResponse:
    """Each reward less the mean reward of its group, not divided by its spread [Dr. GRPO].

    On average the gradient is (n − 1)/n times the exact one in a group of n.

    Raises:
        LuceError: where a group has one response only.

    >>> dr_grpo(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([3]))
    tensor([-2., -1.,  3.])
    """
    alone = (sizes < 2).nonzero().flatten().tolist()
    if alone:
        raise LuceError(
            f"group {alone[0]} of the batch has {int(sizes[alone[0]])} response(s), so there is "
            "none to compare with. Sample at least 2 responses to each prompt."
        )
    _check_sum("sizes", sizes, "rewards", len(reward))
    reward = reward.detach()
    # measured from the first of the group, equal rewards differ by 0 exactly, not by a rounding
    # that a division by their spread would blow up
    offset = reward - to_tokens(reward[sizes.cumsum(0) - sizes], sizes)
    return offset - to_tokens(segment_sum(offset, sizes) / sizes, sizes)


def grpo(
    reward: PerResponse, sizes: Sizes, *, ddof: Literal[0, 1], eps: float = 1e-4
) -> PerResponse:
    """(r − mean)/(std + ε) within each group [GRPO, section 4.1.2]; 0 where all rewards are equal.

    The paper does not say which standard deviation it means: divided by n (`ddof=0`) or by n − 1
    (`ddof=1`, what `torch.std` gives); in a group of n they differ by √((n − 1)/n). ε is not in
    the paper either, and keeps a group of equal rewards at 0. Dividing by the spread weighs
    prompts unequally: hardly ever solved and nearly always solved ones count most [Dr. GRPO].

    Raises:
        LuceError: where a group has one response only, or ε is not positive.

    >>> grpo(torch.tensor([1.0, 3.0]), torch.tensor([2]), ddof=0, eps=1e-12)
    tensor([-1.,  1.])
    """
    if not eps > 0:
        raise LuceError(f"eps: {eps!r} is not positive. Without it, equal rewards give 0/0.")
    centred = dr_grpo(reward, sizes)
    spread = (segment_sum(centred**2, sizes) / (sizes - ddof)).sqrt()
    return centred / (to_tokens(spread, sizes) + eps)


def reinforce(policy: PerToken, advantage: PerToken) -> PerToken:
    """−A_t log π(y_t | x, y_<t): its gradient is the policy gradient [REINFORCE], its value means
    nothing. The advantage is a reward to go, less any baseline that y_t does not change.

    >>> reinforce(torch.tensor([-0.5, -2.0]), torch.tensor([3.0, -1.0]))
    tensor([ 1.5000, -2.0000])
    """
    return -advantage.detach() * policy


def reinforce_sequence(policy: PerToken, lengths: Lengths, advantage: PerResponse) -> PerResponse:
    """−A log π(y|x) with one advantage (or reward) for the whole response.

    >>> reinforce_sequence(torch.tensor([-0.5, -2.0]), torch.tensor([2]), torch.tensor([3.0]))
    tensor([7.5000])
    """
    _check_lengths(lengths, len(policy))
    return -advantage.detach() * segment_sum(policy, lengths)


def ppo_clip(
    policy: PerToken,
    behavior: PerToken,
    advantage: PerToken,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> PerToken:
    """−min(ρ A, clip(ρ, 1 − ε_low, 1 + ε_high) A) per token, ρ = π/π_behavior [PPO, eq. 7].

    ρ is cut before its exponential is taken (above where A ≥ 0, below where A < 0), which is the
    same number, and leaves a gradient of 0, not nan, where ρ would overflow.

    Args:
        behavior: log-probabilities under the policy that sampled the tokens, nats.
        clip_low, clip_high: ε_low in [0, 1) and ε_high ≥ 0; the paper has 0.2 for both.

    >>> ppo_clip(torch.tensor([0.0]), torch.tensor([-1.0]), torch.tensor([2.0]))
    tensor([-2.4000])
    """
    if not 0 <= clip_low < 1 or not clip_high >= 0:
        raise LuceError(
            f"clip_low: {clip_low!r}, clip_high: {clip_high!r}. The ratio is held in "
            "[1 − clip_low, 1 + clip_high], so they are to lie in [0, 1) and in [0, ∞)."
        )
    advantage, log_ratio = advantage.detach(), policy - behavior.detach()
    below = log_ratio.clamp(max=math.log1p(clip_high))
    above = log_ratio.clamp(min=math.log1p(-clip_low))
    return -advantage * torch.where(advantage >= 0, below, above).exp()


def clipped_value_loss(
    value: PerToken, behavior: PerToken, target: PerToken, clip: float = 0.2
) -> PerToken:
    """½ max((V − R)², (V_old + clip(V − V_old, −ε, ε) − R)²) per token: a value that has moved by
    more than ε since the tokens were sampled is pushed back to the target, but no further away.

    It is not in [PPO]; it comes from the code of its authors (OpenAI Baselines, `ppo2`).

    Args:
        behavior: V_old, the values when the tokens were sampled.
        target: R, what V is fitted to: advantages plus V_old.
        clip: ε ≥ 0, in the unit of the reward.

    >>> clipped_value_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0]), clip=0.5)
    tensor([1.1250])
    """
    if not clip >= 0:
        raise LuceError(f"clip: {clip!r} is negative. It is how far a value may move.")
    behavior, target = behavior.detach(), target.detach()
    held = behavior + (value - behavior).clamp(-clip, clip)
    return torch.maximum((value - target) ** 2, (held - target) ** 2) / 2


def k1(policy: PerToken, reference: PerToken) -> PerToken:
    """log π − log π_ref of sampled tokens, nats: unbiased for KL(π ‖ π_ref), often negative.

    >>> k1(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.5000])
    """
    return policy - reference


def k2(policy: PerToken, reference: PerToken) -> PerToken:
    """½ (log π − log π_ref)² of sampled tokens, nats: biased, ≥ 0, and with the right gradient.

    >>> k2(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1250])
    """
    return k1(policy, reference) ** 2 / 2


def k3(policy: PerToken, reference: PerToken) -> PerToken:
    """π_ref/π − 1 − log(π_ref/π) of sampled tokens, nats: unbiased for KL(π ‖ π_ref), ≥ 0.

    Where π_ref/π would overflow (from 80 nats in float32) it goes on as its tangent.

    >>> k3(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1065])
    """
    x = k1(policy, reference)
    return bounded_expm1(-x) + x


@dataclass(frozen=True)
class KLEstimator:
    """An estimator of KL(π ‖ π_ref) from tokens sampled from π.

    Attributes:
        value: (log π, log π_ref) -> the estimate at each token, nats.
        unbiased: whether its mean is KL(π ‖ π_ref).
        gradient: of what its gradient is the gradient on average, as a loss; None: of nothing,
            it is 0 on average.
    """

    value: Callable[[PerToken, PerToken], PerToken]
    unbiased: bool
    gradient: Literal["KL(π ‖ π_ref)", "KL(π_ref ‖ π)"] | None


def _check_lengths(lengths: Lengths, found: int) -> None:
    empty = (lengths < 1).nonzero().flatten().tolist()
    if empty:
        raise LuceError(
            f"lengths: response {empty[0]} of the batch has no token. Drop it, or give it at least "
            "its end-of-turn token."
        )
    _check_sum("lengths", lengths, "tokens", found)


def _check_sum(name: str, parts: Int[Tensor, " n"], what: str, found: int) -> None:
    if (total := int(parts.sum())) != found:
        raise LuceError(f"{name} sum to {total}, but there are {found} {what}.")


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise LuceError(f"{name}: {value!r} is not in [0, 1].")
    return value


def _sum_ahead(values: PerToken, lengths: Lengths, decay: float) -> PerToken:
    """Σ_k decayᵏ v_{t+k} within each response. After i rounds each sum has 2ⁱ terms, or all."""
    _check_lengths(lengths, len(values))
    position = torch.arange(len(values), device=values.device)
    ahead = torch.repeat_interleave(lengths.cumsum(0), lengths) - position
    reach = 1
    while (inside := ahead > reach).any():
        values = values + decay**reach * torch.where(inside, values.roll(-reach), 0.0)
        reach *= 2
    return values


ADVANTAGES: dict[str, Callable[[PerResponse, Sizes], PerResponse]] = {
    "rloo": rloo,
    "grpo_ddof_0": lambda reward, sizes: grpo(reward, sizes, ddof=0),
    "grpo_ddof_1": lambda reward, sizes: grpo(reward, sizes, ddof=1),
    "dr_grpo": dr_grpo,
}

# As losses, k1 and k3 do not minimize KL(π ‖ π_ref): the mean is over samples of π, and autograd
# does not see that π moves them. k2 has the right gradient where it is taken of a whole response,
# that is of log π(y|x) and log π_ref(y|x); a sum of k2 over tokens leaves out what a token does to
# the KL of the tokens after it. `kl_shaped_reward` with `reinforce` leaves nothing out.
KL_ESTIMATORS = {
    "k1": KLEstimator(k1, unbiased=True, gradient=None),
    "k2": KLEstimator(k2, unbiased=False, gradient="KL(π ‖ π_ref)"),
    "k3": KLEstimator(k3, unbiased=True, gradient="KL(π_ref ‖ π)"),
}
