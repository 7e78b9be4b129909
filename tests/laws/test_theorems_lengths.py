"""Responses without bound: the mass that never ends, and partition functions that do not exist."""

import math

import pytest
import torch

from luce.models.tabular import EndingChain, never_ending_mass, survival


def constant(end: float) -> EndingChain:
    """One state; every token is the end with the same probability."""
    one = torch.ones(1, dtype=torch.float64)
    return EndingChain(one, (1 - end) * one.unsqueeze(0), end * one)


def test_a_constant_chance_of_ending_leaves_a_geometric_survival():
    """S(T) = (1 − e)^T."""
    steps = survival(torch.full((100,), 0.01, dtype=torch.float64))
    assert steps[-1].item() == pytest.approx(0.366032, abs=1e-6)
    assert steps[-1].item() == pytest.approx(0.99**100, abs=1e-12)
    assert constant(0.01).survival(100) == pytest.approx(0.99**100, abs=1e-12)
    assert constant(0.01).infinite_mass() == 0.0


def test_half_of_the_mass_never_ends_where_the_end_recedes_fast_enough():
    """e_t = 1/(t + 1)²: S(T) = (T + 2)/(2(T + 1)) → ½, though every token may be the last."""
    t = torch.arange(1, 10_001, dtype=torch.float64)
    end = 1 / (t + 1) ** 2
    curve = survival(end)
    torch.testing.assert_close(curve, (t + 2) / (2 * (t + 1)), atol=1e-12, rtol=0)
    tail = torch.special.polygamma(1, torch.tensor(10_002.0, dtype=torch.float64)).item()
    low, high = never_ending_mass(end, tail)
    assert low <= 0.5 <= high and high - low < 1e-8


def test_the_partition_function_of_a_reward_per_token():
    """Z = e q/(1 − (1 − e) q), q = exp(c/β), while (1 − e) q < 1: e = β = 0.1."""
    chain = constant(0.1)
    assert chain.partition(0.005, beta=0.1) == pytest.approx(1.952003, abs=1e-6)
    for c in (-0.3, 0.0, 0.005, 0.01):
        q = math.exp(c / 0.1)
        assert chain.partition(c, beta=0.1) == pytest.approx(0.1 * q / (1 - 0.9 * q), rel=1e-12)
    assert chain.partition(0.0, beta=0.1) == pytest.approx(1.0)


def test_from_a_critical_reward_on_there_is_no_partition_function():
    """DPO's derivation divides by Z: at c = −β log(1 − e) per token it is infinite."""
    chain = constant(0.1)
    critical = chain.critical_reward(beta=0.1)
    assert critical == pytest.approx(0.0105361, abs=1e-7)
    assert math.isfinite(chain.partition(critical - 1e-6, beta=0.1))
    assert chain.partition(critical, beta=0.1) == math.inf
    assert chain.partition(critical + 1e-6, beta=0.1) == math.inf


def test_the_partition_function_of_a_chain_is_the_sum_over_lengths():
    """Two states that alternate and end at different rates."""
    step = torch.tensor([[0.2, 0.5], [0.6, 0.1]], dtype=torch.float64)
    start = torch.tensor([0.7, 0.3], dtype=torch.float64)
    chain = EndingChain(start, step, 1 - step.sum(1))
    c, beta = 0.02, 0.2
    total, law = 0.0, start
    for length in range(1, 2000):
        total += (law @ chain.end).item() * math.exp(c * length / beta)
        law = law @ step
    assert chain.partition(c, beta) == pytest.approx(total, rel=1e-12)
    # the terms of the sum stop falling where the reward is critical
    ratio = chain.spectral_radius() * math.exp(chain.critical_reward(beta) / beta)
    assert ratio == pytest.approx(1.0)
    assert chain.critical_reward(beta) > c
