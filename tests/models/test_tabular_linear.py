"""Linear contextual bandits: values against hand-worked sums, the ridge fit against its optimum."""

import math

import pytest
import torch
from scipy.optimize import minimize as scipy_minimize

from luce.errors import LuceError
from luce.models.tabular import (
    LINEAR_WORLDS,
    KlBandit,
    LinearWorld,
    actions,
    biased,
    coverage_gap,
    fit_theta,
    long_tail,
)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def two_actions(eta=0.5):
    """One context; rewards log 4 · η and 0; π₀ = (1/5, 4/5), so π* = (1/2, 1/2)."""
    return LinearWorld(
        tensor([[[1.0], [0.0]]]), tensor([eta * math.log(4)]), tensor([[0.2, 0.8]]).log(), eta
    )


def test_the_optimum_and_its_value_by_hand():
    world = two_actions()
    assert world.optimum().exp().tolist() == [pytest.approx([0.5, 0.5])]
    # Z = .2 · 4 + .8 = 1.6
    assert world.best_value().item() == pytest.approx(0.5 * math.log(1.6))
    assert world.expected_reward(world.optimum()).item() == pytest.approx(0.25 * math.log(4))
    kl = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    assert world.kl(world.optimum()).item() == pytest.approx(kl)
    assert world.value(world.optimum()).item() == pytest.approx(0.5 * math.log(1.6))
    assert world.regret(world.optimum()).item() == pytest.approx(0.0, abs=1e-12)


def test_a_context_is_a_kl_bandit():
    world = LINEAR_WORLDS["biased"](2, seed=3, contexts=3)
    policy = torch.randn(2, 3, 20, dtype=torch.float64).log_softmax(-1)
    outcomes = actions(20)
    for w in range(2):
        total = 0.0
        for x in range(3):
            reference = outcomes.normalize(world.reference[w, x])
            bandit = KlBandit(reference, world.reward[w, x], world.eta)
            total += bandit.regret(outcomes.normalize(policy[w, x])).item() / 3
        assert world.regret(policy)[w].item() == pytest.approx(total)


def test_regret_is_eta_times_the_divergence_from_the_optimum():
    world = coverage_gap(4, seed=1)
    policy = world.tilt(torch.randn_like(world.reference))
    kl = (policy.exp() * (policy - world.optimum())).sum(-1).mean(-1)
    assert torch.allclose(world.regret(policy), world.eta * kl, atol=1e-12)
    assert (world.regret(policy) > 0).all()


def test_a_tilt_starts_where_it_is_told():
    world = two_actions()
    twice = world.tilt(world.reward, world.tilt(world.reward))
    assert twice.exp().tolist() == [pytest.approx([0.8, 0.2])]


def test_the_gap_hides_half_of_the_features_from_the_reference():
    world = coverage_gap(3)
    probability = world.reference.exp()
    assert probability[..., :15].sum(-1).allclose(tensor(0.98))
    assert (world.features[..., :15, 6:] == 0).all()
    assert (world.features[..., 15:, :] != 0).all()


def test_the_biased_reference_avoids_good_actions():
    world = biased(3)
    uniform = torch.zeros_like(world.reference).log_softmax(-1)
    assert (world.expected_reward(world.reference) < world.expected_reward(uniform) - 0.5).all()


def test_the_rare_are_worse_on_average_in_the_long_tail():
    world = long_tail(50)
    assert world.reference.exp()[0, 0, 0] / world.reference.exp()[0, 0, 9] == pytest.approx(10.0)
    reward = world.reward[:, 0]
    assert reward[:, :20].mean() > reward[:, 200:].mean() + 1.0
    assert reward.std() == pytest.approx(math.sqrt(0.49 + 0.36), abs=0.1)  # Var log k → 1


def test_the_fit_is_the_minimum_that_scipy_finds():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    y = torch.rand(2, 40, generator=generator, dtype=torch.float64)
    found = fit_theta(x, y, ridge=0.3)
    for w in range(2):

        def cost(theta, w=w):
            z = x[w].numpy() @ theta
            p = y[w].numpy()
            rows = p * torch.tensor(-z).exp().log1p().numpy()
            rows = rows + (1 - p) * torch.tensor(z).exp().log1p().numpy()
            return rows.sum() + 0.15 * (theta**2).sum()

        best = scipy_minimize(cost, [0.0, 0.0, 0.0], method="Nelder-Mead", tol=1e-10)
        assert found[w].tolist() == pytest.approx(best.x.tolist(), abs=1e-4)


def test_one_certain_comparison_by_hand():
    """The optimum solves ridge · θ = σ(−θ): at θ = log 3, σ(−θ) = ¼."""
    ridge = 0.25 / math.log(3)
    found = fit_theta(tensor([[1.0]]), tensor([1.0]), ridge)
    assert found.item() == pytest.approx(math.log(3))


def test_comparisons_of_any_size_are_fitted():
    """Full Newton steps never settle here; the line search does."""
    x = [[-1.29, 15.04, 4.65], [0.03, -0.03, -0.1], [-13.87, -32.73, -28.96]]
    x += [[1.32, -6.79, 0.38], [0.04, 0.01, 0.01], [0.54, -0.4, -0.71]]
    y = tensor([0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    found = fit_theta(tensor(x), y, 1e-5)
    gradient = tensor(x).T @ ((tensor(x) @ found).sigmoid() - y) + 1e-5 * found
    assert gradient.abs().max() < 1e-8
    huge = tensor([[[1e4, 1.0]] * 50, [[1e-3, 30.0]] * 50])
    assert (fit_theta(huge, torch.ones(2, 50, dtype=torch.float64), 1e-4) > 0).all()


def test_no_comparison_leaves_the_prior():
    assert fit_theta(tensor([]).reshape(0, 2), tensor([]), 1.0).tolist() == [0.0, 0.0]


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(LuceError, match="ridge"):
        fit_theta(tensor([[1.0]]), tensor([1.0]), 0.0)
    with pytest.raises(LuceError, match="more steps"):
        fit_theta(tensor([[1.0]]), tensor([1.0]), 1e-2, steps=1)
    with pytest.raises(LuceError, match="eta"):
        two_actions(0.0)
