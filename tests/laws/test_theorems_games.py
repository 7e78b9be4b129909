"""Preferences that go round in circles: what a reward makes of them, and what a game does.

[GPO] Tang et al. (2024), arXiv:2402.05749.   [Nash] Munos et al. (2023), arXiv:2312.00886.
"""

import pytest
import torch

from luce.models.tabular import (
    KlBandit,
    actions,
    best_scores,
    nash_equilibrium,
    regularized_nash,
    scores_annotator,
)
from luce.objectives import LOSSES

CYCLE = torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]], dtype=torch.float64)
SPACE = actions(3)
SMOOTH = ("logistic", "square", "exponential", "truncated_quadratic", "savage")


@pytest.mark.parametrize("loss", SMOOTH)
def test_no_reward_explains_a_cycle_but_a_pairwise_model_does(loss):
    """[GPO, C.1, eq. 9]: r(y₁, y₂) > 0 exactly where p(y₁ ≻ y₂) > ½, for any p. A reward of single
    responses has a largest, which cannot lose to another."""
    agrees = []
    reward = best_scores(CYCLE, LOSSES[loss])
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p = CYCLE[i, j].item()
        pair = torch.tensor([[0.5, p], [1 - p, 0.5]], dtype=torch.float64)
        bivariate = -best_scores(pair, LOSSES[loss]).diff().item()
        assert (bivariate > 0) == (p > 0.5)
        agrees.append((reward[i] - reward[j]).item() * (p - 0.5) > 0)
    assert not all(agrees)


def test_a_bradley_terry_fit_of_a_cycle_is_nearly_undecided():
    """All of its probabilities lie within 0.433 and 0.567, of preferences of 0.8 and 0.9."""
    fitted = scores_annotator(best_scores(CYCLE, LOSSES["logistic"]))
    assert fitted.min().item() == pytest.approx(0.433, abs=5e-4)
    assert fitted.max().item() == pytest.approx(0.567, abs=5e-4)


def test_the_equilibrium_of_a_cycle_mixes():
    pi = nash_equilibrium(CYCLE)
    expected = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64)
    torch.testing.assert_close(pi.probability, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(CYCLE @ pi.probability, torch.full((3,), 0.5).double())


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ((1.0, 1.0, 1.0), (0.330242, 0.284624, 0.385134)),
        ((0.6, 0.3, 0.1), (0.492747, 0.154147, 0.353106)),
    ],
)
def test_the_regularized_equilibrium_is_a_fixed_point(reference, expected):
    """[Nash, section 4]: π ∝ π_ref exp(Pπ/η), η = 0.1."""
    start = SPACE.weights(list(reference))
    pi = regularized_nash(CYCLE, start, eta=0.1)
    torch.testing.assert_close(
        pi.probability, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )
    again = KlBandit(start, CYCLE @ pi.probability, beta=0.1).optimum()
    assert (again.probability - pi.probability).abs().max() < 1e-13
