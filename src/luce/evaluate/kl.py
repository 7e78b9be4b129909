"""How far the policy has moved: KL(π ‖ π₀) per response, estimated on its own samples."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

from luce.errors import LuceError
from luce.evaluate.estimate import Estimate, Number, mean_by_prompt, require_same_length


def kl_k1(
    policy: Sequence[Sequence[Number]],
    initial: Sequence[Sequence[Number]],
    prompts: Sequence[Hashable] | None = None,
) -> Estimate:
    """KL(π ‖ π₀) = E_π[Σ_t log π(y_t) − log π₀(y_t)], nats per response. Unbiased; single
    responses, and with few samples the mean, may be negative.

    Args:
        policy, initial: token log-probabilities of each sampled response under the two policies.
            The responses must be samples of π at temperature 1.
        prompts: which prompt each response answers; the interval is over prompts.

    >>> kl_k1([[-1.0, -1.0], [-2.0]], [[-2.0, -1.5], [-1.5]]).value
    0.5
    """
    return mean_by_prompt([math.fsum(d) for d in _log_ratios(policy, initial)], prompts)


def kl_k3(
    policy: Sequence[Sequence[Number]],
    initial: Sequence[Sequence[Number]],
    prompts: Sequence[Hashable] | None = None,
) -> Estimate:
    """Σ_t (ρ_t − 1 − log ρ_t), ρ_t = π₀(y_t) / π(y_t), averaged over samples of π; nats.

    The same expectation as `kl_k1` with every term ≥ 0 (Schulman, 2020, "Approximating KL
    divergence"); heavy-tailed where π has left tokens that π₀ still likes.

    >>> round(kl_k3([[-1.0]], [[-1.0 - math.log(2)]]).value, 6)
    0.193147
    """
    ratios = _log_ratios(policy, initial)
    return mean_by_prompt([math.fsum(_k3_term(d) for d in row) for row in ratios], prompts)


def _k3_term(log_ratio: float) -> float:
    # past e^700 the exponential overflows; infinity is refused by the mean, by name
    return math.inf if log_ratio < -700 else math.expm1(-log_ratio) + log_ratio


def kl_record(
    policy: Sequence[Sequence[Number]],
    initial: Sequence[Sequence[Number]],
    prompts: Sequence[Hashable] | None = None,
) -> dict[str, Any]:
    """The `kl` entry of evaluation.json: {value, low, high, n} of k1, and k3 beside it."""
    k1, k3 = kl_k1(policy, initial, prompts), kl_k3(policy, initial, prompts)
    return {
        "value": k1.value,
        "low": k1.low,
        "high": k1.high,
        "n": k1.n,
        "k3": k3.value,
        "k3_low": k3.low,
        "k3_high": k3.high,
    }


def _log_ratios(
    policy: Sequence[Sequence[Number]], initial: Sequence[Sequence[Number]]
) -> list[list[float]]:
    require_same_length(policy=policy, initial=initial)
    ratios = []
    for index, (ours, theirs) in enumerate(zip(policy, initial, strict=True)):
        if len(ours) != len(theirs):
            raise LuceError(
                f"Response {index} has {len(ours)} token log-probabilities under the policy and "
                f"{len(theirs)} under the initial policy. Score the same tokens with both."
            )
        ratios.append([float(p) - float(q) for p, q in zip(ours, theirs, strict=True)])
    return ratios
