"""What the samples of a step say: numbers under the names that users know.

All are of the policy that drew the samples, on the tokens of its responses and nothing else.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luce.numerics import segment_sum
from luce.objectives.policy_gradient import k1, k3
from luce.online.rl.experience import Experience


def sample_metrics(found: Experience, numbers: Sequence[int]) -> dict[str, Any]:
    """Metrics of the rollouts of these numbers.

    `reward` is the scorer's, its mean; `reward/sd` over responses, `reward/se` the standard error
    of the mean with the prompt as the unit (None of one prompt); `reward/total` with everything
    that enters it. `kl` and `kl/k3` are estimates of KL(π ‖ π_ref) in nats per response, with
    their means per token. `entropy` is the mean over tokens of H(π(·|x, y_<t)), nats, and
    `entropy/sampled` that of −log π of the sampled token, which has the same expectation.
    """
    own = [found.rollouts[i] for i in numbers]
    reward = torch.cat([r.reward for r in own]).double()
    lengths = torch.tensor([n for r in own for n in r.lengths])
    tokens = int(lengths.sum())
    behavior = torch.cat([r.behavior for r in own]).double()
    record: dict[str, Any] = {
        "reward": float(reward.mean()),
        "reward/sd": _spread(reward),
        "reward/se": _standard_error([float(r.reward.double().mean()) for r in own]),
        "reward/total": float(torch.cat([found.total[i] for i in numbers]).double().mean()),
        "length": tokens / len(lengths),
        "ended": float(torch.cat([r.ended for r in own]).double().mean()),
        "empty": sum(not text.strip() for r in own for text in r.texts) / len(lengths),
        "entropy": float(torch.cat([r.entropy for r in own]).double().sum()) / tokens,
        "entropy/sampled": -float(behavior.sum()) / tokens,
    }
    references = [r.reference for r in own if r.reference is not None]
    if references:
        reference = torch.cat(references).double()
        for name, estimate in (("kl", k1), ("kl/k3", k3)):
            each = estimate(behavior, reference)
            record[name] = float(segment_sum(each, lengths).mean())
            record[f"{name}_per_token"] = float(each.mean())
    if found.returns:
        returns = torch.cat([found.returns[i] for i in numbers]).double()
        value = torch.cat([r.value for r in own if r.value is not None]).double()
        record["value"] = float(value.mean())
        record["explained_variance"] = explained_variance(value, returns)
    return record


def explained_variance(value: Tensor, returns: Tensor) -> float | None:
    """1 − Var(R − V)/Var(R): 1 of a perfect critic, 0 of a constant; None where R does not vary.

    >>> explained_variance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    1.0
    """
    whole = float(returns.var(correction=0))
    return None if whole == 0 else 1 - float((returns - value).var(correction=0)) / whole


def _spread(values: Tensor) -> float | None:
    return float(values.std()) if len(values) > 1 else None


def _standard_error(means: Sequence[float]) -> float | None:
    """Of the mean over prompts, whose own means these are."""
    n = len(means)
    if n < 2:
        return None
    mean = math.fsum(means) / n
    return math.sqrt(math.fsum((m - mean) ** 2 for m in means) / (n - 1) / n)
