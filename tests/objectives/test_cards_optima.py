"""The closed-form optima that cards print, against the descent on an exact policy."""

from collections.abc import Callable

import pytest
import torch

from luce.models.tabular import actions, fit_pairs, luce_annotator
from luce.models.tabular.policy import TabularPolicy
from luce.objectives.build import make_objective
from luce.objectives.cards import card
from luce.objectives.objective import Objective
from luce.objectives.presets import OBJECTIVES

SPACE = actions(4, lengths=[1, 3, 2, 5])
REFERENCE = SPACE.weights([0.1, 0.2, 0.3, 0.4])
TRUTH = SPACE.weights([0.4, 0.3, 0.1, 0.2])
LUCE = luce_annotator(TRUTH)
LENGTHS = torch.tensor([1.0, 3.0, 2.0, 5.0], dtype=torch.float64)
PREFERRED = LUCE.mean(1)
"""P̄(y): the probability that y is preferred to a response drawn evenly."""


def best(name: str, preference: torch.Tensor = LUCE, **parameters) -> TabularPolicy:
    return fit_pairs(make_objective(name, parameters), preference, SPACE, REFERENCE)


def tilted(*factors: torch.Tensor) -> torch.Tensor:
    product = torch.stack(factors).prod(0)
    return product / product.sum()


def solved(u_of: Callable[[torch.Tensor], torch.Tensor], beta: float) -> torch.Tensor:
    """π = π_ref u((log p* + c)/β), c found by bisection such that π sums to 1."""
    low, high, p = -60.0, 60.0, REFERENCE.probability
    for _ in range(200):
        c = (low + high) / 2
        p = REFERENCE.probability * u_of((TRUTH.log_prob + c) / beta)
        low, high = (c, high) if bool(p.isfinite().all() and p.sum() < 1) else (low, c)
    return p


def forward_kl(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, -1 / x, torch.inf)


def js(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0.693147, x.exp() / (2 - x.exp()), torch.inf)


def alpha_half(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 2, (1 - 0.5 * x) ** -2, torch.inf)


def chi(x: torch.Tensor) -> torch.Tensor:
    """u + log u = x, by Newton on log u."""
    v = torch.where(x > 1, x.clamp(min=1).log(), x - 1)
    for _ in range(100):
        v = v - (v.exp() + v - x) / (v.exp() + 1)
    return v.exp()


P, Q = TRUTH.probability, REFERENCE.probability
FORMS = {
    "dpo": (dict(beta=0.7), tilted(Q, P ** (1 / 0.7))),
    "gpo_savage": (dict(beta=0.7), tilted(Q, P ** (1 / 0.7))),
    "gpo_exponential": (dict(beta=0.7), tilted(Q, P ** (1 / 1.4))),
    "rso_sigmoid": (dict(gamma=0.7), tilted(Q, P ** (1 / 0.7))),
    "rdpo": (dict(beta=0.7, alpha=0.2), tilted(Q, P ** (1 / 0.7), torch.exp(-0.2 * LENGTHS / 0.7))),
    "luce": ({}, P),
    "pbde_geometric": (dict(alpha=0.25), tilted(Q**0.75, P**0.25)),
    "ipo": (dict(tau=0.6), tilted(Q, torch.exp(PREFERRED / 0.6))),
    "gpo_square": (dict(beta=0.6), tilted(Q, torch.exp(2 * PREFERRED / 0.6))),
    "gpo_truncated_quadratic": (dict(beta=0.6), tilted(Q, torch.exp(2 * PREFERRED / 0.6))),
    "chipo": (dict(beta=0.7, R=50.0), solved(chi, 0.7)),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_optimum_that_a_card_gives_is_the_optimum(name):
    parameters, expected = FORMS[name]
    assert card(name).optimum
    torch.testing.assert_close(best(name, **parameters).probability, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("divergence", "u_of"), [("forward_kl", forward_kl), ("js", js), ("alpha", alpha_half)]
)
def test_the_optimum_of_other_divergences(divergence, u_of):
    found = best("fdpo", divergence=divergence, alpha=0.5, beta=0.7).probability
    torch.testing.assert_close(found, solved(u_of, 0.7), atol=1e-6, rtol=0)


def test_the_optimum_of_robust_dpo_is_that_of_the_true_labels():
    flipped = 0.8 * LUCE + 0.2 * (1 - LUCE)
    found = best("robust_dpo", flipped, beta=0.7, eps=0.2).probability
    torch.testing.assert_close(found, tilted(Q, P ** (1 / 0.7)), atol=1e-6, rtol=0)


RECOVERING = [name for name in OBJECTIVES if card(name).recovers]


@pytest.mark.parametrize("name", RECOVERING)
def test_an_annotator_who_compares_by_the_very_score_is_recovered(name):
    objective = OBJECTIVES[name]()
    assert isinstance(objective, Objective)
    annotator = luce_annotator(TRUTH, objective.score, REFERENCE)
    found = fit_pairs(objective, annotator, SPACE, REFERENCE)
    torch.testing.assert_close(found.probability, P, atol=1e-5, rtol=0)
