"""The equations that are definitions: each against its numbers, worked out on the right-hand side.

Chosen: log-probabilities −1 and −3, two tokens; rejected: −1, −1 and −2.5, three tokens. Under the
reference −0.5, −1.5 and −1, −1, −1. So log π = −4 and −4.5, log π/π_ref = −2 and −1.5, h = −0.5.

[GPO] Tang et al. (2024), arXiv:2402.05749.    [PBDE] Dumoulin et al. (2023), arXiv:2311.14115.
"""

from math import exp, log

import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import (
    KlBandit,
    acceptance,
    actions,
    fit_pairs,
    luce_annotator,
    mixture,
    mixture_of_annotators,
)
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.presets import luce_length_normalized
from luce.types import Lists, Pairs, Responses


def flat(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor([x for row in rows for x in row], dtype=torch.float64)


def responses(
    policy: list[list[float]],
    reference: list[list[float]] | None = None,
    reward: list[float] | None = None,
) -> Responses:
    lengths = torch.tensor([len(row) for row in policy])
    given = None if reward is None else torch.tensor(reward, dtype=torch.float64)
    compared = None if reference is None else flat(reference)
    return Responses(flat(policy), lengths, compared, {}, given)


CHOSEN = responses([[-1.0, -3.0]], [[-0.5, -1.5]])
REJECTED = responses([[-1.0, -1.0, -2.5]], [[-1.0, -1.0, -1.0]])


def sigma(z: float) -> float:
    return 1 / (1 + exp(-z))


def cost(name: str, label: float = 1.0, **parameters) -> float:
    labels = torch.tensor([label], dtype=torch.float64)
    return OBJECTIVES[name](**parameters)(Pairs(CHOSEN, REJECTED, labels)).item()


TABLE_1 = {
    "logistic": lambda x: log(1 + exp(-x)),
    "hinge": lambda x: max(0.0, 1 - x),
    "square": lambda x: (x - 1) ** 2,
    "exponential": lambda x: exp(-x),
    "truncated_quadratic": lambda x: max(0.0, 1 - x) ** 2,
    "savage": lambda x: 1 / (1 + exp(x)) ** 2,
}


@pytest.mark.parametrize("name", TABLE_1)
def test_the_six_losses_of_the_table(name):
    """[GPO, table 1]: f(x), here as what a pair costs at β h = x, where h = −½ as labelled."""
    preset = "dpo" if name == "logistic" else f"gpo_{name}"
    for x in (0.5, 1.0, 1.5):
        assert cost(preset, label=1.0, beta=2 * x) == pytest.approx(TABLE_1[name](-x), abs=1e-12)
        assert cost(preset, label=0.0, beta=2 * x) == pytest.approx(TABLE_1[name](x), abs=1e-12)


def test_the_losses_start_at_their_published_values():
    """[GPO, figure 1]: at no margin, in nats."""
    start = {
        "logistic": log(2),
        "hinge": 1.0,
        "square": 1.0,
        "exponential": 1.0,
        "truncated_quadratic": 1.0,
        "savage": 0.25,
    }
    for name, expected in start.items():
        found = LOSSES[name].phi(torch.zeros(1, dtype=torch.float64)).item()
        assert found == pytest.approx(expected, abs=1e-15), name


def test_every_loss_is_above_the_step_that_it_stands_for():
    """[GPO, figure 1]: φ(z)/φ(0) ≥ 1[z < 0], where z is wrong; savage's upper bound is 4."""
    z = torch.linspace(-5, 0, 101, dtype=torch.float64)
    for name in ("logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage"):
        at0 = LOSSES[name].phi(torch.zeros(1, dtype=torch.float64))
        assert (LOSSES[name].phi(z) / at0 >= 1 - 1e-12).all(), name
        assert name != "savage" or (LOSSES[name].phi(z) / at0 <= 4).all()


@pytest.mark.parametrize("y", [1.0, 0.0, 0.3])
def test_the_reward_model_costs_the_cross_entropy_of_its_judgements(y):
    """[PBDE, eq. 1 and 2]: −y log σ(r₁ − r₂) − (1 − y) log σ(r₂ − r₁), in either order."""
    first = responses([[-1.0]], reward=[1.3])
    second = responses([[-2.0]], reward=[0.4])
    expected = -y * log(sigma(0.9)) - (1 - y) * log(sigma(-0.9))
    for one, other, p in ((first, second, y), (second, first, 1 - y)):
        label = torch.tensor([p], dtype=torch.float64)
        found = OBJECTIVES["bradley_terry"]()(Pairs(one, other, label)).item()
        assert found == pytest.approx(expected, abs=1e-12)


def test_rrhf_ranks_mean_log_probabilities_and_imitates_the_best():
    """[PBDE, eq. 19], whose sign belongs inside the bracket: Σ max(0, m_j − m_i) − m_best."""
    rows = [[-1.0, -3.0], [-1.0, -1.0, -2.5], [-0.5]]  # m = −2, −1.5, −0.5
    grades = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    lists = Lists(responses(rows), torch.tensor([3]), grades)
    found = OBJECTIVES["rrhf"]()(lists).item()
    assert found == pytest.approx((0.5 + 1.5 + 1.0) + 2.0, abs=1e-12)


def test_slic_asks_for_a_margin_and_imitates():
    """[PBDE, eq. 20], the bracket as in eq. 21: max(0, δ − (log π(A) − log π(B))) − λ log π(A)."""
    assert cost("slic", delta=2.0, lam=0.5) == pytest.approx((2 - 0.5) + 0.5 * 4, abs=1e-12)
    assert cost("slic", delta=0.25, lam=0.5) == pytest.approx(0.5 * 4, abs=1e-12)


def test_rso_asks_for_a_margin_of_log_ratios():
    """[PBDE, eq. 21]: max(0, 1 − γ h), γ times max(0, 1/γ − h)."""
    assert cost("rso_hinge", gamma=0.2) == pytest.approx(1 + 0.2 * 0.5, abs=1e-12)
    assert cost("rso_hinge", gamma=0.2) == pytest.approx(0.2 * (5 + 0.5), abs=1e-12)


def test_statistical_rejection_sampling_draws_from_the_optimum():
    """[PBDE, section 4.4; Liu et al., 2024, arXiv:2309.06657]: a draw of π_ref that is kept with
    probability exp((r − max r)/β) is a draw of π_ref exp(r/β)/Z."""
    reward = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    reference = actions(3).weights([0.5, 0.3, 0.2])
    kept = reference.probability * acceptance(reward, beta=0.5)
    torch.testing.assert_close(
        kept / kept.sum(), KlBandit(reference, reward, beta=0.5).optimum().probability
    )
    assert acceptance(reward, 0.5).tolist() == pytest.approx([exp(-4), exp(-2), 1.0])
    with pytest.raises(LuceError, match="beta: 0 must be greater than 0"):
        acceptance(reward, 0.0)


def test_the_length_normalized_luce_rule():
    """[PBDE, eq. 26; the program multiplies by 50]: −log σ(c (log π(A)/|A| − log π(B)/|B|))."""
    for c in (1.0, 50.0):
        expected = -log(sigma(c * (-2 + 1.5)))
        assert cost("luce_length_normalized", scale=c) == pytest.approx(expected, abs=1e-12)


def test_the_luce_rule():
    """[PBDE, eq. 9]: π(A)/(π(A) + π(B))."""
    expected = -log(exp(-4) / (exp(-4) + exp(-4.5)))
    assert cost("luce") == pytest.approx(expected, abs=1e-12)
    assert cost("luce", label=0.0) == pytest.approx(expected + 0.5, abs=1e-12)


def test_two_annotators_of_length_taken_for_one_prefer_what_neither_likes():
    """[PBDE, eq. 27, 28, figure 6]: one likes ten tokens, one forty, both by log p/|y|. A single
    policy fitted to their judgements writes of medium length; fitted to those of one annotator who
    likes both it recovers the two lengths."""
    space = actions(50, lengths=list(range(1, 51)))
    lengths = torch.arange(1, 51, dtype=torch.float64)
    tastes = [space.normalize(-0.5 * ((lengths - likes) / 6) ** 2) for likes in (10, 40)]
    objective = luce_length_normalized()
    people = [luce_annotator(p, objective.score) for p in tastes]
    truth = mixture(tastes, torch.tensor([0.5, 0.5], dtype=torch.float64))
    medium = (lengths > 20) & (lengths <= 30)
    one = fit_pairs(objective, luce_annotator(truth, objective.score), space)
    assert one.total_variation(truth) < 1e-9
    assert truth.probability[medium].sum().item() == pytest.approx(0.05, abs=0.01)
    two = fit_pairs(objective, mixture_of_annotators(people, [0.5, 0.5]), space)
    assert two.probability[medium].sum() > 0.5
    assert medium[two.probability.argmax()]
