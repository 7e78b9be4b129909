"""Scores that weigh or extend single tokens."""

import torch
from torch import Tensor

from luce.numerics import segment_sum
from luce.objectives.check import number
from luce.objectives.needs import column, needs
from luce.objectives.score import PerResponse, Score
from luce.types import Responses


def position(lengths: Tensor) -> Tensor:
    """For each token of ragged responses, how many tokens of its response stand before it.

    >>> position(torch.tensor([2, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    starts = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum()), device=lengths.device) - torch.repeat_interleave(
        starts, lengths
    )


def length_desensitized(beta: float = 0.1, alpha: float = 0.5) -> Score:
    """LD-DPO: tokens beyond the length of the shorter of the two responses count α, under the
    policy and under the reference (Liu et al., 2024, arXiv:2409.06411, eq. 8)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        shared = torch.minimum(y.lengths, other.lengths)
        beyond = position(y.lengths) >= torch.repeat_interleave(shared, y.lengths)
        weight = torch.where(beyond, torch.full_like(y.policy, alpha), torch.ones_like(y.policy))
        log_prob = segment_sum(weight * y.policy, y.lengths)
        return log_prob - segment_sum(weight * y.reference_tokens, y.lengths)

    term = f"(head + {number(alpha)}·tail of log π/π_ref)"
    return Score(term, value, beta, needs("reference"))


def log_ratio_with_kl(beta: float = 0.1) -> Score:
    """TDPO1: Ω = β [log π/π_ref + Σ_t KL(π_ref ‖ π)], the sequential KL divergence of the response
    (Zeng et al., 2024, arXiv:2404.11999)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        return y.log_prob - y.reference_log_prob + sequential_kl(y)

    return Score("(log π/π_ref + Σ KL(π_ref‖π))", value, beta, needs("reference", "kl"))


def sequential_kl(y: Responses) -> PerResponse:
    """Σ_t KL(π_ref(·|x, y_<t) ‖ π(·|x, y_<t)) of each response, nats."""
    return segment_sum(column(y, "kl"), y.lengths)
