"""Bandits, chains, games and decision processes: what they refuse, and what is known of them."""

import math

import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import (
    MDP,
    EndingChain,
    KlBandit,
    actions,
    nash_equilibrium,
    never_ending_mass,
    regularized_nash,
    survival,
)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


HALF = torch.full((3, 3), 0.5, dtype=torch.float64)


def test_a_bandit_without_reward_stays_at_its_reference():
    reference = actions(3).weights([0.2, 0.3, 0.5])
    bandit = KlBandit(reference, torch.zeros(3).double(), beta=0.7)
    torch.testing.assert_close(bandit.optimum().probability, reference.probability)
    assert bandit.best_value.item() == pytest.approx(0.0, abs=1e-15)


def test_no_policy_beats_the_optimum_of_a_bandit():
    generator = torch.Generator().manual_seed(0)
    reference = actions(5).normalize(torch.randn(5, generator=generator).double())
    bandit = KlBandit(reference, torch.randn(5, generator=generator).double(), beta=0.3)
    best = bandit.value(bandit.optimum())
    assert best.item() == pytest.approx(bandit.best_value.item(), abs=1e-12)
    for _ in range(50):
        other = actions(5).normalize(torch.randn(5, generator=generator).double())
        assert bandit.value(other) < best


def test_a_game_without_preferences_stays_at_its_reference():
    reference = actions(3).weights([0.2, 0.3, 0.5])
    torch.testing.assert_close(
        regularized_nash(HALF, reference, eta=0.1).probability, reference.probability
    )


@pytest.mark.parametrize("eta", [1.0, 0.1, 0.03, 0.01])
def test_no_policy_beats_the_regularized_equilibrium(eta):
    """At π the best answer to π is π itself: the KL-regularized bandit with reward Pπ."""
    generator = torch.Generator().manual_seed(1)
    upper = torch.triu(torch.rand(6, 6, generator=generator).double(), 1)
    preference = upper + torch.tril(1 - upper.T, -1) + 0.5 * torch.eye(6).double()
    reference = actions(6).normalize(torch.randn(6, generator=generator).double())
    pi = regularized_nash(preference, reference, eta)
    answer = KlBandit(reference, preference @ pi.probability, eta).optimum()
    torch.testing.assert_close(answer.probability, pi.probability, atol=1e-12, rtol=0)


def test_the_regularized_equilibrium_of_weaker_and_weaker_prices_is_the_equilibrium():
    cycle = float64([0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5])
    near = regularized_nash(cycle, actions(3).weights([0.6, 0.3, 0.1]), eta=0.001)
    assert near.total_variation(nash_equilibrium(cycle)) < 0.01


def test_a_dominant_action_is_the_equilibrium():
    preference = float64([0.5, 0.6, 0.9], [0.4, 0.5, 0.2], [0.1, 0.8, 0.5])
    torch.testing.assert_close(
        nash_equilibrium(preference).probability, float64(1.0, 0.0, 0.0), atol=1e-9, rtol=0
    )


def chain_with_a_trap() -> EndingChain:
    """From `a` to the end, to `b`, or with probability 0.2 into a state that never ends."""
    step = float64([0.0, 0.5, 0.2], [0.5, 0.0, 0.0], [0.0, 0.0, 1.0])
    return EndingChain(float64(1.0, 0.0, 0.0), step, float64(0.3, 0.5, 0.0))


def test_the_mass_that_falls_into_a_trap_never_ends():
    """x = 0.2 + 0.5 · 0.5 x is the probability of falling in, so x = 0.2/0.75."""
    chain = chain_with_a_trap()
    assert chain.infinite_mass() == pytest.approx(0.2 / 0.75)
    assert chain.survival(500) == pytest.approx(0.2 / 0.75)
    assert chain.partition(0.0, beta=1.0) == pytest.approx(1 - 0.2 / 0.75)
    assert chain.spectral_radius() == pytest.approx(0.5)  # the trap itself does not count


def test_a_chain_of_bounded_length_has_every_partition_function():
    chain = EndingChain(float64(1.0, 0.0), float64([0.0, 1.0], [0.0, 0.0]), float64(0.0, 1.0))
    assert chain.critical_reward(beta=0.1) == math.inf
    assert chain.partition(1.0, beta=0.5) == pytest.approx(math.exp(2 * 2))
    assert chain.infinite_mass() == 0.0 and chain.survival(1) == 1.0 and chain.survival(2) == 0.0


def test_a_chain_that_cannot_end():
    chain = EndingChain(float64(1.0), float64([1.0]), float64(0.0))
    assert chain.infinite_mass() == 1.0 and chain.partition(0.0, beta=1.0) == 0.0


def test_survival_is_one_minus_the_ends_so_far():
    torch.testing.assert_close(survival(float64(0.5, 0.1)), float64(0.5, 0.45))
    assert never_ending_mass(float64(0.5), tail=math.inf) == (0.0, 0.0)
    assert never_ending_mass(float64(0.5, 0.1)) == pytest.approx((0.45, 0.45))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KlBandit(actions(2).uniform(), float64(1.0, 2.0), 0.0), "beta: 0 must be greater"),
        (lambda: regularized_nash(HALF, actions(3).uniform(), 0.0), "eta: 0 must be greater"),
        (lambda: nash_equilibrium(HALF + 0.1), "must sum to 1"),
        (lambda: never_ending_mass(float64(0.5), tail=-1.0), "must not be negative"),
        (
            lambda: EndingChain(float64(1.0), float64([0.5]), float64(0.4)),
            r"step\[0\] with end\[0\]: the probabilities sum to 0.9",
        ),
        (lambda: EndingChain(float64(0.5), float64([0.5]), float64(0.5)), "start: the prob"),
        (
            lambda: MDP(torch.ones(1, 1, 1).double(), float64([1.0]), float64(1.0), 1.0),
            r"gamma: 1 must lie in \[0, 1\)",
        ),
    ],
)
def test_what_is_no_problem_of_its_kind_is_refused_by_name(make, message):
    with pytest.raises(LuceError, match=message):
        make()


def test_a_decision_process_of_one_state_is_a_geometric_sum():
    one = MDP(torch.ones(1, 2, 1).double(), float64([1.0, 3.0]), float64(1.0), 0.9)
    policy = float64([0.5, 0.5])
    assert one.value(policy).item() == pytest.approx(20.0)
    torch.testing.assert_close(one.action_values(policy), float64([19.0, 21.0]))
    assert one.visits(policy).item() == pytest.approx(10.0)
