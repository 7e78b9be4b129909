"""How hard a group pulls on what is trained: the size of its cost's slope in log π or in reward."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from luce.numerics import segment_sum
from luce.types import PerGroup, Responses


def pulls(
    responses: Responses, sizes: Sequence[int], cost: Callable[[Responses], PerGroup]
) -> list[float]:
    """|∂ cost / ∂ log π(y|x)| of each group, per nat: the mean over its responses, of each the mean
    over its tokens; of a reward model |∂ cost / ∂ r|. Under DPO it is β |φ′(z)|.

    Args:
        responses: group after group.
        sizes: how many responses each group has.
        cost: of the groups, given responses with other values.
    """
    with torch.enable_grad():
        given, leaf = _cut_off(responses)
        (slope,) = torch.autograd.grad(cost(given).sum(), leaf, allow_unused=True)
    slope = torch.zeros_like(leaf) if slope is None else slope
    if leaf is given.policy:
        slope = segment_sum(slope, responses.lengths) / responses.length
    each = slope.abs().reshape(len(slope), -1).sum(1)
    return [float(one.mean()) for one in each.split(list(sizes))]


def _cut_off(responses: Responses) -> tuple[Responses, Tensor]:
    """The same responses with their values off the graph, and those values: rewards of every head,
    a reward, or log-probabilities, whichever the objective reads."""
    if responses.rewards is not None:
        leaf = responses.rewards.detach().clone().requires_grad_()
        return replace(responses, rewards=leaf), leaf
    if responses.reward is not None:
        leaf = responses.reward.detach().clone().requires_grad_()
        return replace(responses, reward=leaf), leaf
    leaf = responses.policy.detach().clone().requires_grad_()
    return replace(responses, policy=leaf), leaf
