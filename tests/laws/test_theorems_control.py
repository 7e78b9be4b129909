"""Reward with a price on divergence: its optimum, and the gradients that lead there.

[PBDE] Dumoulin et al. (2023), arXiv:2311.14115.   [Korbak] Korbak et al. (2022), arXiv:2206.00761.
"""

import pytest
import torch

from luce.models.tabular import (
    MDP,
    KlBandit,
    actions,
    kl_control_gradient,
    minimize,
    policy_gradient,
)

SPACE = actions(3)
REFERENCE = SPACE.weights([0.5, 0.3, 0.2])
REWARD = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
BANDIT = KlBandit(REFERENCE, REWARD, beta=0.5)


def policies(n: int = 5):
    generator = torch.Generator().manual_seed(0)
    return [SPACE.normalize(torch.randn(3, generator=generator).double()) for _ in range(n)]


def test_the_optimum_of_a_worked_bandit():
    """π* = π_ref exp(r/β)/Z, J* = β log Z: r = (1, 2, 3), π_ref = (.5, .3, .2), β = .5."""
    pi = BANDIT.optimum()
    expected = torch.tensor([0.036667, 0.162559, 0.800774], dtype=torch.float64)
    torch.testing.assert_close(pi.probability, expected, atol=1e-6, rtol=0)
    assert BANDIT.log_partition.exp().item() == pytest.approx(100.759732, abs=1e-6)
    assert BANDIT.best_value.item() == pytest.approx(2.306369, abs=1e-6)
    assert pi.kl(REFERENCE).item() == pytest.approx(0.915475, abs=1e-6)
    assert BANDIT.value(pi).item() == pytest.approx(BANDIT.best_value.item(), abs=1e-12)


def test_the_divergence_completes_to_the_optimum():
    """KL(π ‖ π_ref) − E[r]/β = KL(π ‖ π*) − log Z: the step from reward to DPO."""
    optimum = BANDIT.optimum()
    for pi in policies():
        left = pi.kl(REFERENCE) - pi.expectation(REWARD) / BANDIT.beta
        right = pi.expectation(pi.log_prob - optimum.log_prob) - BANDIT.log_partition
        torch.testing.assert_close(left, right)
    free = -BANDIT.beta * torch.logsumexp(REFERENCE.log_prob + REWARD / BANDIT.beta, 0)
    torch.testing.assert_close(-BANDIT.best_value, free)  # energy −r at temperature β


def test_the_value_that_a_policy_misses_is_its_divergence_from_the_optimum():
    """J(π*) − J(π) = β KL(π ‖ π*)."""
    optimum = BANDIT.optimum()
    for pi in policies():
        torch.testing.assert_close(BANDIT.regret(pi), BANDIT.beta * pi.kl(optimum))


def test_the_reparametrized_reward_is_the_reward():
    """r = β log π*/π_ref + β log Z: exactly, with the partition function."""
    pi = BANDIT.optimum()
    implicit = BANDIT.beta * (pi.log_prob - REFERENCE.log_prob + BANDIT.log_partition)
    torch.testing.assert_close(implicit, REWARD)


def test_the_policy_gradient_is_the_gradient_of_the_expected_reward():
    """[PBDE, eq. 3, 4]."""
    for pi in policies():
        logits = pi.log_prob.clone().requires_grad_()
        (exact,) = torch.autograd.grad(SPACE.normalize(logits).expectation(REWARD), logits)
        torch.testing.assert_close(policy_gradient(pi, REWARD), exact)


def test_the_gradient_of_kl_control_is_that_of_its_value():
    """[PBDE, eq. 5]: E[(r − β log π/π_ref) ∇ log π], and what comes of differentiating the
    logarithm, −β E[∇ log π], is 0."""
    for pi in policies():
        logits = pi.log_prob.clone().requires_grad_()
        moving = SPACE.normalize(logits)
        (exact,) = torch.autograd.grad(BANDIT.value(moving), logits, retain_graph=True)
        torch.testing.assert_close(kl_control_gradient(pi, BANDIT), exact)
        scores = torch.autograd.functional.jacobian(
            lambda x: SPACE.normalize(x).log_prob, pi.log_prob
        )
        expected_score = pi.probability @ scores
        torch.testing.assert_close(expected_score, torch.zeros(3).double(), atol=1e-15, rtol=0)
        by_hand = pi.probability * (REWARD - 0.5 * (pi.log_prob - REFERENCE.log_prob))
        torch.testing.assert_close(by_hand @ scores, exact)
    assert kl_control_gradient(BANDIT.optimum(), BANDIT).abs().max() < 1e-14


def test_kl_control_is_reverse_divergence_from_a_target():
    """[Korbak]: J(π) = β log Z − β KL(π ‖ p_z), p_z ∝ π_pre exp(r/β); its maximum is p_z."""
    target = BANDIT.optimum()
    for pi in policies():
        reverse = BANDIT.best_value - BANDIT.beta * pi.kl(target)
        torch.testing.assert_close(BANDIT.value(pi), reverse)
    (logits,) = minimize(lambda x: -BANDIT.value(SPACE.normalize(x)), [torch.zeros(3).double()])
    torch.testing.assert_close(
        SPACE.normalize(logits).probability, target.probability, atol=1e-9, rtol=0
    )


def test_distributional_policy_gradients_reach_the_same_target_from_the_other_side():
    """[Korbak]: DPG descends KL(p_z ‖ π), along E_π[(p_z/π) ∇ log π]."""
    target = BANDIT.optimum()
    for pi in policies():
        logits = pi.log_prob.clone().requires_grad_()
        (exact,) = torch.autograd.grad(-target.kl(SPACE.normalize(logits)), logits)
        importance = (target.log_prob - pi.log_prob).exp()
        torch.testing.assert_close(policy_gradient(pi, importance), exact)
    (logits,) = minimize(lambda x: target.kl(SPACE.normalize(x)), [torch.zeros(3).double()])
    torch.testing.assert_close(
        SPACE.normalize(logits).probability, target.probability, atol=1e-9, rtol=0
    )


@pytest.fixture
def world() -> tuple[MDP, torch.Tensor]:
    """Four states, three actions, and the logits of a policy."""
    generator = torch.Generator().manual_seed(0)
    step = torch.rand(4, 3, 4, generator=generator).double()
    reward, logits = torch.randn(2, 4, 3, generator=generator).double()
    start = torch.tensor([0.7, 0.3, 0.0, 0.0], dtype=torch.float64)
    return MDP(step / step.sum(2, keepdim=True), reward, start, 0.9), logits


def test_the_policy_gradient_theorem(world):
    """[PBDE, section 2.1]: Σ_s μ(s) Σ_a Q(s, a) ∇π(a|s) equals finite differences of the value."""
    mdp, logits = world
    exact = mdp.policy_gradient(logits)
    h = 1e-5
    for s in range(4):
        for a in range(3):
            bump = torch.zeros(4, 3).double()
            bump[s, a] = h
            up, down = (mdp.value((logits + sign * bump).softmax(1)) for sign in (1, -1))
            assert ((up - down) / (2 * h) - exact[s, a]).abs() < 1e-8


def test_values_satisfy_bellman_and_visits_count_rewards(world):
    """[PBDE, section 2.1]: V = E_a[Q], Q = R + γ E[V]; and V(start) = Σ visits · E_a[R]."""
    mdp, logits = world
    policy = logits.softmax(1)
    v, q, visits = mdp.state_values(policy), mdp.action_values(policy), mdp.visits(policy)
    torch.testing.assert_close((policy * q).sum(1), v)
    torch.testing.assert_close(visits @ (policy * mdp.reward).sum(1), mdp.value(policy))
    assert visits.sum().item() == pytest.approx(10.0)
    # the discounted sum itself, long enough
    law, total = mdp.start, 0.0
    for t in range(400):
        total += 0.9**t * (law @ (policy * mdp.reward).sum(1)).item()
        law = torch.einsum("s,sa,sat->t", law, policy, mdp.step)
    assert total == pytest.approx(mdp.value(policy).item(), abs=1e-9)
