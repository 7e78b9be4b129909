"""Closed-form optima, reached by fitting exact policies on a few outcomes.

[PBDE] Dumoulin et al. (2023), arXiv:2311.14115.   [GPO] Tang et al. (2024), arXiv:2402.05749.
[IPO] Azar et al. (2023), arXiv:2310.12036.
"""

import pytest
import torch

from luce.objectives import LOSSES, Objective
from luce.objectives.presets import (
    dpo,
    gpo_exponential,
    gpo_hinge,
    gpo_savage,
    gpo_square,
    gpo_truncated_quadratic,
    ipo,
    ln_dpo,
    simpo,
)
from luce.objectives.scores import Affine, Score, log_prob
from luce.types import Pairs, Responses

P_STAR = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64)
P_REF = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def one_token(log_pi: torch.Tensor, reference: torch.Tensor, outcome: torch.Tensor) -> Responses:
    """Each outcome as a response of one token."""
    return Responses(log_pi[outcome], torch.ones_like(outcome), reference.log()[outcome])


def fit(objective, reference, a, b, label=None, steps=500) -> torch.Tensor:
    """The policy on len(reference) outcomes that minimizes the mean cost of the pairs (a, b)."""
    logits = torch.zeros_like(reference, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits],
        max_iter=steps,
        tolerance_grad=1e-13,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        log_pi = logits.log_softmax(-1)
        y = [one_token(log_pi, reference, outcome) for outcome in (a, b)]
        loss = objective(Pairs(*y, label)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.softmax(-1).detach()


def fit_to_annotator(objective, p_star, reference) -> torch.Tensor:
    """All ordered pairs of outcomes, labelled by a Luce annotator: P(a ≻ b) = p*ₐ/(p*ₐ + p*ᵦ)."""
    n = torch.arange(len(p_star))
    a, b = torch.cartesian_prod(n, n).T
    return fit(objective, reference, a, b, p_star[a] / (p_star[a] + p_star[b]))


def normalized(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum()


@pytest.mark.parametrize("loss", ["logistic", "savage"])
def test_the_luce_objective_recovers_the_preference_distribution(loss):
    """[PBDE, theorem 2] with f = 1, g = 0, for the losses whose link is the logistic one."""
    pi = fit_to_annotator(Objective(log_prob(), LOSSES[loss]), P_STAR, P_REF)
    torch.testing.assert_close(pi, P_STAR, atol=1e-6, rtol=0)


def test_the_exponential_recovers_its_square_root():
    """Its link is σ(2z), so Ω = ½ log p* + c."""
    pi = fit_to_annotator(Objective(log_prob(), LOSSES["exponential"]), P_STAR, P_REF)
    torch.testing.assert_close(pi, normalized(P_STAR.sqrt()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0, 16.0])
def test_dpo_with_a_luce_annotator_is_a_product_of_experts(beta):
    """[PBDE, eq. 16]: π ∝ π_ref · p*^(1/β)."""
    pi = fit_to_annotator(dpo(beta), P_STAR, P_REF)
    torch.testing.assert_close(pi, normalized(P_REF * P_STAR ** (1 / beta)), atol=1e-6, rtol=0)


def test_dpo_that_knows_the_annotators_temperature_recovers_it():
    """[PBDE, eq. 12–15]: an annotator with p* ∝ (π/π_ref)^β is fitted by π itself."""
    beta = 4.0
    pi = fit_to_annotator(dpo(beta), (P_STAR / P_REF) ** beta, P_REF)
    torch.testing.assert_close(pi, P_STAR, atol=1e-6, rtol=0)


@pytest.mark.parametrize("alpha", [1.0, 0.25, 1 / 16])
def test_the_geometric_score_interpolates(alpha):
    """[PBDE, eq. 18]: Ω = (log π − log π_ref)/α + log π_ref gives π ∝ π_ref^(1−α) p*^α."""
    affine = Affine(lambda y: 1 / alpha, lambda y: (1 - 1 / alpha) * y.reference_log_prob)
    geometric = Score("geometric", affine, needs_reference=True)
    pi = fit_to_annotator(Objective(geometric, LOSSES["logistic"]), P_STAR, P_REF)
    torch.testing.assert_close(
        pi, normalized(P_REF ** (1 - alpha) * P_STAR**alpha), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_ipo_tilts_the_reference_by_the_probability_of_winning(tau):
    """π ∝ π_ref exp(P(y ≻ μ)/τ), μ the distribution of opponents, here uniform [IPO, section 4]."""
    wins = (P_STAR[:, None] / (P_STAR[:, None] + P_STAR)).mean(1)
    pi = fit_to_annotator(ipo(tau), P_STAR, P_REF)
    torch.testing.assert_close(pi, normalized(P_REF * (wins / tau).exp()), atol=1e-6, rtol=0)


GPO = (dpo, gpo_hinge, gpo_square, gpo_exponential, gpo_truncated_quadratic, gpo_savage)

BANDIT = {  # [IPO, section 5.4]: pairs (a, b), (b, c), (a, c) under a uniform reference
    1.0: (0.448441, 0.321322, 0.230237),
    0.5: (0.562742, 0.288921, 0.148337),
    0.1: (0.964370, 0.034403, 0.001227),
}


@pytest.mark.parametrize("tau", BANDIT)
def test_the_three_armed_bandit_of_ipo(tau):
    """log π falls by 1/(3τ) from arm to arm; GPO's square at β = 2τ is the same policy."""
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64)
    a, b = torch.tensor([[0, 1], [1, 2], [0, 2]]).T
    for objective in (ipo(tau), gpo_square(2 * tau)):
        pi = fit(objective, uniform, a, b)
        expected = torch.tensor(BANDIT[tau], dtype=torch.float64)
        torch.testing.assert_close(pi, expected, atol=1e-6, rtol=0)
        gaps = -torch.diff(pi.log())
        torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / (3 * tau)), atol=1e-5, rtol=0)


def test_class_two_stops_at_the_margin_where_class_one_goes_on():
    """[GPO, eq. 7]: a ≻ b alone, by gradient descent from the uniform policy. The hinge and the
    truncated quadratic end at the gap 1/β = 0.5, the square too, the others go on."""
    beta, gaps = 2.0, {}
    for objective in (make(beta) for make in GPO):
        gap = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        none = torch.zeros(1, dtype=torch.float64)
        for _ in range(300):
            y = [Responses(sign * gap / 2, torch.tensor([1]), none) for sign in (1, -1)]
            (slope,) = torch.autograd.grad(objective(Pairs(*y)).sum(), gap)
            gap = (gap - 0.02 * slope).detach().requires_grad_()
        gaps[objective.name] = gap.item()
    stopped = {gaps[f"gpo_{name}"] for name in ("hinge", "square", "truncated_quadratic")}
    assert all(gap == pytest.approx(0.5, abs=0.03) for gap in stopped)  # the hinge steps across
    assert min(gaps[name] for name in ("dpo", "gpo_exponential", "gpo_savage")) > 0.9


@pytest.mark.parametrize(
    ("objective", "expected"),
    [(simpo(beta=2.0, gamma=0.0), P_STAR**0.5), (ln_dpo(beta=2.0), P_REF * P_STAR**0.5)],
    ids=["simpo", "ln_dpo"],
)
def test_length_normalized_objectives_at_length_one(objective, expected):
    """Where every response has one token they are a Luce and a DPO objective with β."""
    pi = fit_to_annotator(objective, P_STAR, P_REF)
    torch.testing.assert_close(pi, normalized(expected), atol=1e-6, rtol=0)
