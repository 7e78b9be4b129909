"""The pull of a pair against its closed form."""

import pytest
import torch

from luce.objectives import make_objective
from luce.train.pull import pulls
from luce.types import Pairs, Responses


def responses(reward=None):
    lengths = torch.tensor([2, 1, 3, 2])
    draw = torch.Generator().manual_seed(0)
    policy = -torch.rand(8, generator=draw, dtype=torch.float64)
    reference = -torch.rand(8, generator=draw, dtype=torch.float64)
    return Responses(policy, lengths, reference, reward=reward)


def cost_of(objective):
    def cost(given):
        first = torch.tensor([0, 2])
        return objective(Pairs(chosen=given.take(first), rejected=given.take(first + 1)))

    return cost


def test_under_dpo_it_is_beta_times_the_slope_of_the_loss():
    given, beta = responses(), 0.3
    ratio = given.log_prob - given.reference_log_prob
    z = beta * (ratio[0::2] - ratio[1::2])
    found = pulls(given, [2, 2], cost_of(make_objective("dpo", {"beta": beta})))
    assert found == pytest.approx((beta * torch.sigmoid(-z)).tolist(), rel=1e-12)


def test_a_length_normalized_score_pulls_less_on_each_of_many_tokens():
    given = responses()
    objective = make_objective("simpo", {"beta": 2.0, "gamma": 0.0})
    mean = given.log_prob / given.length
    slope = 2.0 * torch.sigmoid(-2.0 * (mean[0::2] - mean[1::2]))
    each = (1 / given.length[0::2] + 1 / given.length[1::2]) / 2
    found = pulls(given, [2, 2], cost_of(objective))
    assert found == pytest.approx((slope * each).tolist(), rel=1e-12)


def test_of_a_reward_model_it_is_the_slope_in_the_reward():
    reward = torch.tensor([1.0, 0.5, -1.0, 2.0], dtype=torch.float64)
    objective = make_objective("bradley_terry", {})
    found = pulls(responses(reward), [2, 2], cost_of(objective))
    z = reward[0::2] - reward[1::2]
    assert found == pytest.approx(torch.sigmoid(-z).tolist(), rel=1e-12)
