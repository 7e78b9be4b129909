"""Distributions on actions and on grids, and annotators as matrices."""

import math

import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import (
    TabularPolicy,
    actions,
    barker_chain,
    grid,
    luce_annotator,
    mixture,
    mixture_of_annotators,
    mixture_of_densities,
    stationary,
)
from luce.models.tabular.annotators import check_annotator


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_policy_on_actions_sums_to_one_and_has_the_moments_of_its_probabilities():
    pi = actions(3).weights([2.0, 1.0, 1.0])
    torch.testing.assert_close(pi.probability, float64(0.5, 0.25, 0.25))
    assert pi.expectation(float64(1.0, 2.0, 4.0)).item() == pytest.approx(2.0)
    assert pi.variance(float64(1.0, 2.0, 4.0)).item() == pytest.approx(1.5)
    assert pi.entropy().item() == pytest.approx(1.5 * math.log(2))
    uniform = actions(3).uniform()
    assert pi.kl(uniform).item() == pytest.approx(math.log(3) - 1.5 * math.log(2))
    assert pi.total_variation(uniform) == pytest.approx(1 / 6)


def test_an_outcome_of_probability_zero_adds_nothing_to_an_expectation():
    pi = actions(2).weights([1.0, 0.0])
    assert pi.expectation(float64(3.0, math.inf)).item() == 3.0
    assert pi.kl(actions(2).uniform()).item() == pytest.approx(math.log(2))


def test_a_grid_is_the_trapezoid_rule():
    """∫ x over [0, 2] of a density ∝ x: mean 4/3; the rule is exact for what is linear."""
    space = grid(0.0, 2.0, 5)
    assert space.measure.sum().item() == pytest.approx(2.0)
    pi = space.weights(space.points)
    torch.testing.assert_close(pi.density, space.points / 2)
    assert pi.mean() == pytest.approx(4 / 3, abs=0.05)
    assert pi.at(1.5) == pytest.approx(0.75) and pi.peak() == 2.0


def test_the_density_of_a_uniform_policy_does_not_depend_on_the_number_of_points():
    for n in (3, 100):
        torch.testing.assert_close(
            grid(-2.0, 2.0, n).uniform().density, torch.full((n,), 0.25).double()
        )


def test_the_mass_of_an_interval_cuts_cells():
    uniform = grid(0.0, 1.0, 5).uniform()
    assert uniform.mass(0.0, 1.0) == pytest.approx(1.0)
    assert uniform.mass(0.0, 0.5) == pytest.approx(0.5)
    assert uniform.mass(0.3, 0.4) == pytest.approx(0.1)
    assert uniform.mass(0.9, 5.0) == pytest.approx(0.1)


def test_the_moments_of_a_normal_density():
    space = grid(-10.0, 10.0, 401)
    pi = space.normalize(-0.5 * ((space.points - 1) / 0.5) ** 2)
    assert pi.mean() == pytest.approx(1.0, abs=1e-12)
    assert pi.sd() == pytest.approx(0.5, abs=1e-12)
    assert pi.at(1.0) == pytest.approx(1 / (0.5 * math.sqrt(2 * math.pi)), abs=1e-12)


def test_as_responses_the_tokens_of_an_outcome_sum_to_its_log_probability():
    space = actions(3, lengths=[1, 4, 2])
    pi, reference = space.weights([1.0, 2.0, 3.0]), space.uniform()
    y = pi.responses(reference)
    assert y.lengths.tolist() == [1, 4, 2] and len(y.policy) == 7
    torch.testing.assert_close(y.log_prob, pi.log_prob)
    torch.testing.assert_close(y.reference_log_prob, reference.log_prob)
    assert pi.responses().reference is None


def test_a_mixture_is_the_weighted_mean_of_probabilities():
    space = actions(2)
    both = mixture([space.weights([1.0, 3.0]), space.uniform()], float64(1.0, 3.0))
    torch.testing.assert_close(both.probability, float64(0.4375, 0.5625))


def test_gradients_flow_through_a_policy():
    logits = float64(0.0, 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(actions(2).normalize(logits).log_prob[0], logits)
    p = 1 / (1 + math.e)
    torch.testing.assert_close(gradient, float64(1 - p, p - 1))


def test_annotators_are_complementary_and_mix():
    space = actions(3)
    one, two = space.weights([1.0, 2.0, 4.0]), space.weights([4.0, 2.0, 1.0])
    p = luce_annotator(one)
    assert p[2, 0].item() == pytest.approx(0.8)
    mixed = mixture_of_annotators([p, luce_annotator(two)], [1.0, 3.0])
    assert mixed[2, 0].item() == pytest.approx(0.25 * 0.8 + 0.75 * 0.2)
    for annotator in (p, mixed, mixture_of_densities([one, two], [1.0, 3.0])):
        check_annotator(annotator)
        torch.testing.assert_close(annotator + annotator.T, torch.ones(3, 3).double())
    densities = mixture_of_densities([one, two], [1.0, 1.0])
    torch.testing.assert_close(densities[0, 1], (float64(5 / 14) / (5 / 14 + 4 / 14))[0])


def test_the_stationary_law_of_a_chain_that_falls_apart_is_refused():
    with pytest.raises(LuceError, match="more than one stationary law"):
        stationary(torch.eye(2, dtype=torch.float64))
    assert barker_chain(torch.full((2, 2), 0.5).double()).sum(1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: actions(2, lengths=[1]), "2 actions need 2 lengths"),
        (lambda: actions(2, lengths=[1, 0]), "of 1 token or more"),
        (lambda: grid(1.0, 1.0, 5), "low < high"),
        (lambda: actions(2).weights([0.0, 0.0]), "its log is -inf"),
        (lambda: actions(2).uniform().mean(), "lie nowhere. Make them with `grid`"),
        (lambda: check_annotator(float64([0.5, 0.7], [0.7, 0.5])), r"preference\[0, 1\] = 0.7"),
        (lambda: check_annotator(float64([0.5, 1.5], [-0.5, 0.5])), "must be probabilities"),
    ],
)
def test_what_is_no_distribution_is_refused_by_name(make, message):
    with pytest.raises(LuceError, match=message):
        make()


def test_a_policy_is_its_log_probabilities_and_nothing_else():
    space = actions(2)
    assert TabularPolicy(space, float64(-1.0, -2.0)).density.tolist() == pytest.approx(
        [math.exp(-1), math.exp(-2)]
    )
