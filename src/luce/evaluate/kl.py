"""How far the policy has moved: KL(π ‖ π₀) per response, estimated on its own samples."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

from luce.errors import LuceError
from luce.evaluate.estimate import Number, mean_by_prompt, require_same_length
from luce.intervals import Estimate


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
    return _mean("k1", policy, initial, prompts)


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
    return _mean("k3", policy, initial, prompts)


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


def _mean(
    estimator: str,
    policy: Sequence[Sequence[Number]],
    initial: Sequence[Sequence[Number]],
    prompts: Sequence[Hashable] | None,
) -> Estimate:
    """The mean over responses of an estimate summed over tokens."""
    import torch

    from luce.objectives.policy_gradient import KL_ESTIMATORS

    _check_tokens(policy, initial)
    value = KL_ESTIMATORS[estimator].value
    sums = []
    for ours, theirs in zip(policy, initial, strict=True):
        tokens = [
            torch.tensor([float(x) for x in row], dtype=torch.float64) for row in (ours, theirs)
        ]
        # past e^700 k3 goes on as its tangent: for a loss; a mean of that would be no estimate
        terms = value(*tokens)
        sums.append(math.fsum(terms.masked_fill(terms > 1e304, math.inf).tolist()))
    return mean_by_prompt(sums, prompts)


def _check_tokens(policy: Sequence[Sequence[Number]], initial: Sequence[Sequence[Number]]) -> None:
    require_same_length(policy=policy, initial=initial)
    for index, (ours, theirs) in enumerate(zip(policy, initial, strict=True)):
        if len(ours) != len(theirs):
            raise LuceError(
                f"Response {index} has {len(ours)} token log-probabilities under the policy and "
                f"{len(theirs)} under the initial policy. Score the same tokens with both."
            )
