"""The one-dimensional example of PBDE: population optima, on a grid.

The target is 0.4 N(−2.5, 0.25²) + 0.6 N(2.5, 1), the reference N(0, 5²), both cut to [−10, 10].
Numbers are computed here, and compared with figures obtained independently.

[PBDE] Dumoulin et al. (2023), arXiv:2311.14115.
"""

from dataclasses import replace

import pytest
import torch

from luce.models.tabular import (
    Outcomes,
    TabularPolicy,
    best_scores,
    grid,
    luce_annotator,
    minimize,
    mixture,
    mixture_of_annotators,
    mixture_of_densities,
    pairs_of,
    policy_with_scores,
    score_optimum,
)
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.losses import hinge
from luce.objectives.scores import geometric, log_prob, log_ratio
from luce.types import Pairs

FINE = 4097
SHARES = torch.tensor([0.4, 0.6], dtype=torch.float64)


def normal(space: Outcomes, mean: float, sd: float) -> TabularPolicy:
    return space.normalize(-0.5 * ((space.points - mean) / sd) ** 2)


def likings(space: Outcomes) -> list[TabularPolicy]:
    """What each of two people likes: the modes of the target."""
    return [normal(space, -2.5, 0.25), normal(space, 2.5, 1.0)]


def target(space: Outcomes) -> TabularPolicy:
    return mixture(likings(space), SHARES)


def pretrained(space: Outcomes) -> TabularPolicy:
    return normal(space, 0.0, 5.0)


@pytest.fixture(scope="module")
def fine() -> Outcomes:
    return grid(-10.0, 10.0, FINE)


def moments(pi: TabularPolicy, mean: float, sd: float, tolerance: float = 1e-6) -> None:
    assert pi.mean() == pytest.approx(mean, abs=tolerance)
    assert pi.sd() == pytest.approx(sd, abs=tolerance)


def test_the_target_of_the_toy_has_its_moments(fine):
    """[PBDE, eq. 10]. The mass left of 0 is 0.4 + 0.6 Φ(−2.5)."""
    p = target(fine)
    moments(p, 0.5, 2.573907)
    phi = torch.special.ndtr(torch.tensor(-2.5, dtype=torch.float64)).item()
    assert p.mass(-10.0, 0.0) == pytest.approx(0.4 + 0.6 * phi, abs=1e-6)
    # with the whole of the point at 0, on a grid of 4001
    coarse = target(grid(-10.0, 10.0, 4001))
    assert coarse.probability[coarse.outcomes.points <= 0].sum().item() == pytest.approx(
        0.403752, abs=1e-6
    )
    for x, density in ((-2.5, 0.638309), (0.0, 0.010517), (2.5, 0.239365)):
        assert p.at(x) == pytest.approx(density, abs=1e-6)


def test_the_reward_of_the_toy_is_the_log_density_up_to_a_constant():
    """[PBDE, theorem 1, figure 7], between −4 and 6: outside, judgements are certain to 16 digits
    and say nothing of how far apart two points are."""
    space = grid(-4.0, 6.0, 101)
    p = target(space)
    for proposal in (None, pretrained(space)):
        offset = best_scores(luce_annotator(p), LOSSES["logistic"], proposal) - p.log_prob
        torch.testing.assert_close(offset, offset.mean().expand(101), atol=1e-5, rtol=0)


def test_dpo_of_the_toy_recovers_an_annotator_of_its_own_kind(fine):
    """[PBDE, theorem 2, figure 2] with β = 4."""
    p, pre, score = target(fine), pretrained(fine), log_ratio(4.0)
    pi = policy_with_scores(score(p.responses(pre)), score, fine, pre)
    assert pi.total_variation(p) < 1e-12


@pytest.mark.parametrize(
    ("beta", "mean", "sd"),
    [(1.0, 0.428481, 2.524157), (4.0, 1.059892, 2.572503), (16.0, 1.047370, 3.187685)],
)
def test_dpo_of_the_toy_is_a_product_of_experts(fine, beta, mean, sd):
    """[PBDE, eq. 16, figure 3]."""
    p, pre = target(fine), pretrained(fine)
    pi = policy_with_scores(p.log_prob, log_ratio(beta), fine, pre)
    moments(pi, mean, sd)
    product = fine.normalize(pre.log_prob + p.log_prob / beta)
    assert pi.total_variation(product) < 1e-12


@pytest.mark.parametrize(
    ("alpha", "mean", "sd"),
    [(1.0, 0.5, 2.573907), (0.25, 1.124889, 2.614872), (1 / 16, 1.079448, 3.220272)],
)
def test_the_geometric_score_of_the_toy_is_a_geometric_mean(fine, alpha, mean, sd):
    """[PBDE, eq. 18, figure 8]."""
    p, pre = target(fine), pretrained(fine)
    pi = policy_with_scores(p.log_prob, geometric(alpha), fine, pre)
    moments(pi, mean, sd)
    average = fine.normalize((1 - alpha) * pre.log_prob + alpha * p.log_prob)
    assert pi.total_variation(average) < 1e-12


@pytest.mark.parametrize(
    ("tau", "mean", "sd"),
    [(0.1, 0.598809, 2.510833), (0.5, 0.694668, 3.458837), (1.0, 0.420970, 3.907524)],
)
def test_ipo_of_the_toy_tilts_the_reference(tau, mean, sd):
    """[PBDE, A.3, figure 10]: π ∝ π_pre exp(P(x ≻ π_pre)/τ), by the optimum of the square. The
    figures compared with stand on a coarser rule of integration."""
    space = grid(-10.0, 10.0, 801)
    pre, annotator = pretrained(space), luce_annotator(target(space))
    pi = score_optimum(annotator, log_ratio(2 * tau), LOSSES["square"], space, pre, pre)
    moments(pi, mean, sd, tolerance=1e-4)
    tilted = space.normalize(pre.log_prob + annotator @ pre.probability / tau)
    assert pi.total_variation(tilted) < 1e-8


def test_slic_without_margin_and_regularizer_erases_the_policy():
    """[PBDE, A.2]: with δ = 0 and λ = 0 no cost is under 0, and only the uniform policy has it."""
    space = grid(-4.0, 6.0, 21)
    annotator = luce_annotator(target(space))
    pi = score_optimum(annotator, log_prob(), hinge(0.0), space)
    assert pi.total_variation(space.uniform()) < 1e-9
    a, b = torch.cartesian_prod(torch.arange(21), torch.arange(21)).T
    objective = OBJECTIVES["slic"](delta=0.0, lam=0.0)

    def cost(policy):
        return objective(pairs_of(policy, a, b, annotator[a, b])).mean().item()

    assert cost(space.uniform()) == pytest.approx(0.0, abs=1e-15)
    assert cost(pretrained(space)) > 1e-3


def test_the_margin_of_slic_bounds_the_log_ratio_of_neighbours():
    """[PBDE, A.2]: two outcomes next to each other in rank differ by δ at most, and the whole
    policy scales with it. Outcomes farther apart in rank may differ by more than δ."""
    space = grid(-4.0, 6.0, 21)
    annotator = luce_annotator(target(space))
    unit = best_scores(annotator, hinge(1.0))
    for delta in (0.25, 0.5, 1.0, 2.0):
        scores = best_scores(annotator, hinge(delta))
        neighbours = scores.sort().values.diff()
        assert neighbours.max().item() <= delta + 1e-9

        def cost(omega, delta=delta):
            return (annotator * torch.relu(delta - (omega[:, None] - omega))).sum().item()

        assert cost(scores) == pytest.approx(cost(delta * unit), rel=1e-9)
    assert (unit.max() - unit.min()).item() > 1.5


def test_the_likelihood_term_of_slic_pulls_towards_the_reference():
    """[PBDE, A.2, figure 9]: with λ = 1 the policy leaves π_pre the farther the larger δ is, and
    δ = 0 no longer makes it uniform. (The hinge is rounded by 0.01 here.)"""
    space = grid(-10.0, 10.0, 41)
    pre, annotator = pretrained(space), luce_annotator(target(space))
    q = torch.outer(pre.probability, pre.probability)
    distances = {}
    for delta in (0.0, 0.5, 2.0):

        def cost(logits, delta=delta):
            pi = space.normalize(logits)
            z = pi.log_prob[:, None] - pi.log_prob
            rounded = 0.01 * torch.nn.functional.softplus((delta - z) / 0.01)
            return 2 * (q * annotator * rounded).sum() - pre.expectation(pi.log_prob)

        (logits,) = minimize(cost, [pre.log_prob], tolerance=1e-6)
        pi = space.normalize(logits)
        distances[delta] = pi.total_variation(pre)
    assert distances[0.0] < distances[0.5] < distances[2.0] < 0.3
    assert distances[0.0] < 0.3 * space.uniform().total_variation(pre)
    assert distances[0.0] == pytest.approx(0.063, abs=0.01)
    assert distances[2.0] == pytest.approx(0.271, abs=0.02)


COFFEE = {  # proposal: peak, p(−2.5), p(0), mass of [−2, 1]
    "pretrained": (1.5, 0.0839, 0.1111, 0.3203),
    "uniform": (1.3, 0.0809, 0.1211, 0.3427),
}


@pytest.mark.parametrize("drawn", COFFEE)
def test_two_annotators_taken_for_one_are_served_lukewarm_coffee(drawn):
    """[PBDE, eq. 24, 25, figure 5]: one likes it iced, one hot; a single density fitted to the
    judgements of both is highest between them. The masses count the points at both ends in full."""
    space = grid(-10.0, 10.0, 801)
    q = pretrained(space) if drawn == "pretrained" else space.uniform()
    people = [luce_annotator(p) for p in likings(space)]
    annotator = mixture_of_annotators(people, SHARES.tolist())
    pi = score_optimum(annotator, log_prob(), LOSSES["logistic"], space, proposal=q)
    peak, iced, tepid, mass = COFFEE[drawn]
    assert pi.peak() == pytest.approx(peak, abs=0.03)
    assert pi.at(-2.5) == pytest.approx(iced, abs=1e-4)
    assert pi.at(0.0) == pytest.approx(tepid, abs=1e-4)
    assert pi.at(0.0) > pi.at(-2.5)
    between = (space.points >= -2 - 1e-9) & (space.points <= 1 + 1e-9)
    assert pi.probability[between].sum().item() == pytest.approx(mass, abs=2e-4)
    truth = target(space)
    assert truth.probability[between].sum().item() == pytest.approx(0.0513, abs=1e-4)
    assert pi.mass(-1.0, 1.0) > 5 * truth.mass(-1.0, 1.0)
    if drawn == "pretrained":
        assert pi.total_variation(truth) == pytest.approx(0.486, abs=2e-3)


def test_one_annotator_who_likes_both_is_another_than_two():
    """[PBDE, figure 4]: the same densities mixed before and after the choice. Two people with
    opposite tastes are undecided over much of the square, one is not."""
    space = grid(-10.0, 10.0, 201)
    one = mixture_of_densities(likings(space), SHARES.tolist())
    two = mixture_of_annotators([luce_annotator(p) for p in likings(space)], SHARES.tolist())
    undecided = [((p > 0.35) & (p < 0.65)).double().mean().item() for p in (one, two)]
    assert undecided[1] == pytest.approx(0.43, abs=0.01)
    assert undecided[0] < 0.1
    assert (one - two).abs().max() > 0.5


def test_a_mixture_of_annotators_finds_both_and_their_shares():
    """[PBDE, eq. 29, 30, figure 11]: two copies of π_pre, 0.0001 of noise, weights learnt from
    even. The judgements do not say who gave them."""
    space = grid(-10.0, 10.0, 81)
    pre, people = pretrained(space), likings(space)
    annotator = mixture_of_annotators([luce_annotator(p) for p in people], SHARES.tolist())
    a, b = torch.cartesian_prod(torch.arange(81), torch.arange(81)).T
    weight = (annotator * torch.outer(pre.probability, pre.probability))[a, b]
    objective = OBJECTIVES["mixture"]()

    def cost(first, second, prior):
        other = space.normalize(second).responses().policy
        y = replace(space.normalize(first).responses(), columns={"policy_2": other})
        return (weight * objective(Pairs(y.take(a), y.take(b), prior=prior))).sum() / weight.sum()

    generator = torch.Generator().manual_seed(1)
    noise = 1e-4 * torch.randn(2, 81, generator=generator, dtype=torch.float64)
    start = [*(pre.log_prob + noise), torch.zeros(2, dtype=torch.float64)]
    first, second, prior = minimize(cost, start, tolerance=None, steps=500, newton=0)
    found = {
        w.item(): space.normalize(x) for w, x in zip(prior.softmax(0), (first, second), strict=True)
    }
    for share, (weight_found, pi) in zip((0.4, 0.6), sorted(found.items()), strict=True):
        assert weight_found == pytest.approx(share, abs=0.003)
        assert pi.total_variation(people[0 if share == 0.4 else 1]) < 0.02
    marginal = mixture([pi for _, pi in sorted(found.items())], SHARES)
    assert marginal.total_variation(target(space)) < 0.01
