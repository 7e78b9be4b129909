"""Gaps, best responses and equilibria at any price."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.models.tabular import (
    TabularPolicy,
    actions,
    best_response,
    duality_gap,
    exploitabilities,
    exploitability,
    geometric_mixture,
    nash_equilibrium,
    regularized_nash,
    rotation,
    score_optimum,
    worst_case_win_rate,
)
from luce.objectives import presets

RPS = torch.tensor([[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]], dtype=torch.float64)
UNIFORM = actions(3).uniform()


def random_game(n: int, seed: int, certain: bool = False) -> tuple[torch.Tensor, TabularPolicy]:
    generator = torch.Generator().manual_seed(seed)
    upper = torch.triu(torch.rand(n, n, generator=generator).double(), 1)
    upper = (upper > 0.5).double() if certain else upper
    preference = torch.triu(upper, 1) + torch.tril(1 - upper.T, -1) + 0.5 * torch.eye(n).double()
    return preference, actions(n).normalize(2 * torch.randn(n, generator=generator).double())


def worth(a: TabularPolicy, b: TabularPolicy, p: torch.Tensor, reference, eta: float) -> float:
    """V(a, b), by its definition."""
    win = a.probability @ p @ b.probability
    return (win - eta * a.kl(reference) + eta * b.kl(reference)).item()


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        (1.0, (0.3552, 0.3192, 0.3256)),
        (0.2, (0.4000, 0.2553, 0.3447)),
        (0.05, (0.3696, 0.2158, 0.4146)),
        (0.01, (0.3411, 0.2194, 0.4395)),
    ],
)
def test_the_equilibria_of_rock_paper_scissors(eta, expected):
    found = regularized_nash(RPS, UNIFORM, eta).probability
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=5e-5, rtol=0)


@pytest.mark.parametrize(
    ("eta", "objective", "expected", "exploited", "worst"),
    [
        (0.2, presets.dpo, (0.7915, 0.1042, 0.1042), 0.104, 0.373),
        (0.2, presets.ipo, (0.452, 0.274, 0.274), 0.0039, 0.445),
        (0.05, presets.dpo, (0.9994, 0.0003, 0.0003), 0.200, 0.300),
        (0.05, presets.ipo, (0.787, 0.1065, 0.1065), 0.098, 0.375),
    ],
)
def test_a_reward_of_a_cycle_can_be_exploited(eta, objective, expected, exploited, worst):
    """By hand, from uniform pairs: Bradley-Terry's rewards are (log 3/2, 0, 0), and IPO's the mean
    preferences (.5667, .4667, .4667), each over η."""
    reward = {"dpo": math.log(1.5), "ipo": 0.1}[objective(eta).name]
    by_hand = actions(3).weights([math.exp(reward / eta), 1.0, 1.0])
    method = objective(eta)
    policy = score_optimum(RPS, method.score, method.loss, UNIFORM.outcomes, UNIFORM)
    torch.testing.assert_close(policy.probability, by_hand.probability)
    torch.testing.assert_close(
        policy.probability, torch.tensor(expected).double(), atol=5e-4, rtol=0
    )
    assert exploitability(policy, RPS, UNIFORM, eta) == pytest.approx(exploited, abs=5e-4)
    assert duality_gap(policy, RPS, UNIFORM, eta) == pytest.approx(2 * exploited, abs=1e-3)
    assert worst_case_win_rate(policy, RPS) == pytest.approx(worst, abs=5e-4)


def test_the_worst_case_of_the_equilibria():
    for eta, worst in ((0.2, 0.467), (0.05, 0.491)):
        policy = regularized_nash(RPS, UNIFORM, eta)
        assert worst_case_win_rate(policy, RPS) == pytest.approx(worst, abs=5e-4)
    assert worst_case_win_rate(nash_equilibrium(RPS), RPS) == pytest.approx(0.5, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000), st.sampled_from([0.02, 0.1, 1.0]))
def test_the_gap_is_the_worth_of_the_best_answers(n, seed, eta):
    """max V(·, π) − min V(π, ·) by the definition of V, the minimum by trying many policies."""
    p, reference = random_game(n, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    policy = actions(n).normalize(torch.randn(n, generator=generator).double())
    answer = best_response(policy, p, reference, eta)
    gap = worth(answer, policy, p, reference, eta) - worth(policy, answer, p, reference, eta)
    assert duality_gap(policy, p, reference, eta) == pytest.approx(gap, abs=1e-10)
    for _ in range(20):
        other = actions(n).normalize(2 * torch.randn(n, generator=generator).double())
        assert worth(other, policy, p, reference, eta) <= worth(answer, policy, p, reference, eta)
        assert worth(policy, other, p, reference, eta) >= worth(policy, answer, p, reference, eta)


def test_the_gap_without_a_price_by_hand():
    """Against rock alone paper's like wins .7: ½ + .2. Of the uniform policy the best answer wins
    (.5 + .9 + .3)/3."""
    rock = actions(3).weights([1.0, 0.0, 0.0])
    assert exploitability(rock, RPS) == pytest.approx(0.2)
    assert duality_gap(UNIFORM, RPS) == pytest.approx(2 * (1.7 / 3 - 0.5))
    assert duality_gap(nash_equilibrium(RPS), RPS) == pytest.approx(0.0, abs=1e-9)
    both = torch.stack([rock.log_prob, UNIFORM.log_prob])
    for eta in (0.0, 0.3):
        found = exploitabilities(both, RPS, UNIFORM, eta)
        single = [exploitability(x, RPS, UNIFORM, eta) for x in (rock, UNIFORM)]
        assert found.tolist() == pytest.approx(single)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 12),
    st.integers(0, 10_000),
    st.booleans(),
    st.sampled_from([2.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5]),
)
def test_an_equilibrium_is_found_at_any_price(n, seed, certain, eta):
    """Random games, certain verdicts too, with uneven references: the gap is rounding's, and
    without the price the policy is exploited by no more than the price can be worth."""
    p, reference = random_game(n, seed, certain)
    policy = regularized_nash(p, reference, eta)
    assert exploitability(policy, p, reference, eta) < 1e-11
    rarest = reference.log_prob.min().item()
    assert exploitability(policy, p) <= -eta * rarest + 1e-11


def test_what_the_reference_excludes_the_equilibrium_excludes():
    reference = actions(3).weights([0.5, 0.5, 0.0])
    policy = regularized_nash(RPS, reference, 0.1)
    assert policy.probability[2] == 0
    pair = regularized_nash(RPS[:2, :2], actions(2).uniform(), 0.1)
    torch.testing.assert_close(policy.probability[:2], pair.probability)


def test_the_rotation_is_that_of_the_map_by_finite_differences():
    eta, h = 0.2, 1e-6
    policy = regularized_nash(RPS, UNIFORM, eta)
    columns = []
    for i in range(3):
        moved = TabularPolicy(policy.outcomes, policy.log_prob + h * torch.eye(3).double()[i])
        back = TabularPolicy(policy.outcomes, policy.log_prob - h * torch.eye(3).double()[i])
        images = [best_response(x, RPS, UNIFORM, eta).log_prob for x in (moved, back)]
        columns.append((images[0] - images[1]) / (2 * h))
    values = torch.linalg.eigvals(torch.stack(columns, 1))
    radius = values.abs().max().item()
    assert rotation(policy, RPS, eta) == pytest.approx(radius, rel=1e-6)
    assert radius == pytest.approx(0.8443, abs=1e-4)
    assert values.real.abs().max().item() < 1e-6  # it turns, and neither pushes nor pulls


def test_geometric_mixtures():
    a, b = actions(2).weights([0.9, 0.1]), actions(2).weights([0.5, 0.5])
    found = geometric_mixture([a, b], [0.5, 0.5])  # √.9 : √.1 = 3 : 1
    torch.testing.assert_close(found.probability, torch.tensor([0.75, 0.25]).double())
    never = actions(2).weights([1.0, 0.0])
    torch.testing.assert_close(geometric_mixture([a, never], [1.0, 0.0]).probability, a.probability)
    assert geometric_mixture([a, never], [0.5, 0.5]).probability.tolist() == [1.0, 0.0]
    for weights in ([0.5], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(LuceError, match="weights"):
            geometric_mixture([a, b], weights)


def test_a_gap_needs_a_reference_where_there_is_a_price():
    for call in (
        lambda: duality_gap(UNIFORM, RPS, None, 0.1),
        lambda: exploitability(UNIFORM, RPS, UNIFORM, -0.1),
    ):
        with pytest.raises(LuceError, match="must be at least 0"):
            call()
