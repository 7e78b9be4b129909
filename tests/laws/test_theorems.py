"""Preference learning as density estimation, on a few outcomes: what each objective converges to,
by a descent that knows the objective only as a function of responses.

[PBDE] Dumoulin et al. (2023), arXiv:2311.14115.   [IPO] Azar et al. (2023), arXiv:2310.12036.
"""

import itertools

import pytest
import torch

from luce.models.tabular import (
    KlBandit,
    actions,
    barker_chain,
    best_scores,
    fit,
    fit_pairs,
    luce_annotator,
    minimize,
    pairs_of,
    policy_with_scores,
    scores_annotator,
    stationary,
)
from luce.objectives import LOSSES, OBJECTIVES, Affine, Objective, Score
from luce.objectives.scores import log_prob, log_ratio
from luce.types import Lists, Pairs, Responses

SPACE = actions(4)
P_STAR = SPACE.weights([0.5, 0.25, 0.15, 0.1])
P_REF = SPACE.weights([0.1, 0.2, 0.3, 0.4])
LUCE = luce_annotator(P_STAR)
ALL = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T


def close(pi, expected, atol=1e-8):
    torch.testing.assert_close(pi.probability, expected.probability, atol=atol, rtol=0)


def weights(values):
    return SPACE.weights(values)


def proposal(seed: int) -> torch.Tensor:
    """How often each ordered pair is judged: anything, as long as it is never 0."""
    return 0.05 + torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_a_divergence_between_annotators_plus_an_entropy(seed):
    """[PBDE, eq. 6–8]: E_q[−y log p_φ − (1 − y) log(1 − p_φ)] = E_q[KL(p* ‖ p_φ)] + E_q[H(p*)]."""
    q, phi = proposal(seed).flatten(), P_REF
    a, b = ALL
    cost = OBJECTIVES["luce"]()(pairs_of(phi, a, b, LUCE[a, b]))
    p, model = LUCE[a, b], luce_annotator(phi)[a, b]
    divergence = p * (p / model).log() + (1 - p) * ((1 - p) / (1 - model)).log()
    entropy = -p * p.log() - (1 - p) * (1 - p).log()
    assert ((q * cost).sum() - (q * (divergence + entropy)).sum()).abs() < 1e-10


def test_the_chain_of_a_person_who_accepts_or_rejects_has_p_star_as_its_law():
    """[PBDE, eq. 9; Sanborn and Griffiths, 2007]: with any symmetric proposal."""
    step = proposal(0)
    symmetric = step + step.T
    symmetric = symmetric / symmetric.sum(1).max()
    symmetric = symmetric + torch.diag(1 - symmetric.sum(1))
    for chain in (barker_chain(LUCE), barker_chain(LUCE, symmetric)):
        torch.testing.assert_close(stationary(chain), P_STAR.probability, atol=1e-12, rtol=0)
        flow = P_STAR.probability.unsqueeze(1) * chain
        torch.testing.assert_close(flow, flow.T)  # in detailed balance
    skewed = step / step.sum(1, keepdim=True)
    law = stationary(barker_chain(LUCE, skewed))
    assert (law - P_STAR.probability).abs().max() > 0.01  # the proposal must be symmetric


@pytest.mark.parametrize("seed", range(3))
def test_a_reward_model_learns_the_log_of_the_preference_distribution(seed):
    """[PBDE, theorem 1]: e^r ∝ p*, whatever the proposal, as long as it has full support."""
    q, (a, b), objective = proposal(seed).flatten(), ALL, OBJECTIVES["bradley_terry"]()

    def cost(reward):
        y = Responses(torch.zeros(4).double(), SPACE.lengths, reward=reward)
        costs = objective(Pairs(y.take(a), y.take(b), LUCE[a, b]))
        return (q * costs).sum() / q.sum()

    (reward,) = minimize(cost, [torch.zeros(4).double()])
    close(SPACE.normalize(reward), P_STAR)
    torch.testing.assert_close(
        reward - reward.mean(), best_scores(LUCE, LOSSES["logistic"]), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("loss", ["logistic", "savage"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_luce_objective_recovers_the_preference_distribution(loss, seed):
    """[PBDE, theorem 2] with f = 1, g = 0, for the losses whose link is the logistic one."""
    objective = Objective(log_prob(), LOSSES[loss])
    close(fit_pairs(objective, LUCE, SPACE, proposal=proposal(seed)), P_STAR)


def test_the_exponential_recovers_its_square_root():
    """Its link is σ(2z), so Ω = ½ log p* + c."""
    objective = Objective(log_prob(), LOSSES["exponential"])
    close(fit_pairs(objective, LUCE, SPACE), weights(P_STAR.density.sqrt()))


def behaviour(seed: int) -> Score:
    """A preference behaviour f log π + g with f > 0 and g drawn at random for each outcome."""
    generator = torch.Generator().manual_seed(seed)
    f = 0.2 + 2 * torch.rand(4, generator=generator).double()
    g = torch.randn(4, generator=generator).double()
    # an outcome is known by its reference probability
    return Score(
        "f·log π + g",
        Affine(
            lambda y: f[_outcome(y)],
            lambda y: g[_outcome(y)],
        ),
    )


def _outcome(y: Responses) -> torch.Tensor:
    return (y.reference_log_prob.unsqueeze(1) - P_REF.log_prob).abs().argmin(1)


@pytest.mark.parametrize("seed", range(5))
def test_whoever_behaves_as_the_model_assumes_is_recovered(seed):
    """[PBDE, theorem 2], any f > 0 and any g."""
    score = behaviour(seed)
    annotator = luce_annotator(P_STAR, score, P_REF)
    close(policy_with_scores(score(P_STAR.responses(P_REF)), score, SPACE, P_REF), P_STAR, 1e-12)
    fitted = fit_pairs(
        Objective(score, LOSSES["logistic"]), annotator, SPACE, P_REF, proposal(seed)
    )
    close(fitted, P_STAR)


@pytest.mark.parametrize("seed", range(5))
def test_whoever_behaves_otherwise_is_not(seed):
    """[PBDE, section 4.3]: annotator and model must agree on f and on g."""
    annotator = luce_annotator(P_STAR, behaviour(seed), P_REF)
    fitted = fit_pairs(Objective(behaviour(seed + 1), LOSSES["logistic"]), annotator, SPACE, P_REF)
    assert fitted.total_variation(P_STAR) > 0.05


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0, 16.0])
def test_dpo_with_a_luce_annotator_is_a_product_of_experts(beta):
    """[PBDE, eq. 16]: π ∝ π_ref · p*^(1/β)."""
    pi = fit_pairs(OBJECTIVES["dpo"](beta=beta), LUCE, SPACE, P_REF)
    close(pi, weights(P_REF.density * P_STAR.density ** (1 / beta)))


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_dpo_recovers_an_annotator_of_its_own_kind(beta):
    """[PBDE, eq. 12–15]: one who compares β log p*/π_ref."""
    annotator = luce_annotator(P_STAR, log_ratio(beta), P_REF)
    close(fit_pairs(OBJECTIVES["dpo"](beta=beta), annotator, SPACE, P_REF), P_STAR)


@pytest.mark.parametrize("alpha", [1.0, 0.25, 1 / 16])
def test_the_geometric_score_interpolates(alpha):
    """[PBDE, eq. 18]: Ω = (log π − log π_ref)/α + log π_ref gives π ∝ π_ref^(1−α) p*^α."""
    pi = fit_pairs(OBJECTIVES["pbde_geometric"](alpha=alpha), LUCE, SPACE, P_REF)
    close(pi, weights(P_REF.density ** (1 - alpha) * P_STAR.density**alpha))


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("drawn", ["uniform", "skewed"])
def test_ipo_tilts_the_reference_by_the_probability_of_winning(tau, drawn):
    """π ∝ π_ref exp(P(y ≻ μ)/τ), μ what both responses are drawn from: the same policy maximizes
    E[p*(y ≻ μ)] − τ KL(π ‖ π_ref) [IPO, section 4; PBDE, eq. 22, 23]."""
    mu = SPACE.uniform() if drawn == "uniform" else weights([0.4, 0.1, 0.2, 0.3])
    wins = LUCE @ mu.probability
    pi = fit_pairs(OBJECTIVES["ipo"](tau=tau), LUCE, SPACE, P_REF, mu)
    close(pi, weights(P_REF.density * (wins / tau).exp()))
    close(pi, KlBandit(P_REF, wins, tau).optimum())


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("simpo", {"beta": 2.0, "gamma": 0.0}, P_STAR.density**0.5),
        ("ln_dpo", {"beta": 2.0}, P_REF.density * P_STAR.density**0.5),
    ],
)
def test_length_normalized_objectives_at_length_one(name, settings, expected):
    """Where every response has one token they are a Luce and a DPO objective with β."""
    close(fit_pairs(OBJECTIVES[name](**settings), LUCE, SPACE, P_REF), weights(expected))


def test_a_length_normalized_objective_recovers_who_normalizes_by_length():
    """f = 1/|y|: the annotator compares log p*/|y|, and p* has responses of any length."""
    space = actions(4, lengths=[1, 6, 3, 2])
    p_star = space.weights([0.5, 0.25, 0.15, 0.1])
    objective = OBJECTIVES["luce_length_normalized"](scale=3.0)
    annotator = luce_annotator(p_star, objective.score)
    fitted = fit_pairs(objective, annotator, space)
    torch.testing.assert_close(fitted.probability, p_star.probability, atol=1e-8, rtol=0)
    plain = fit_pairs(OBJECTIVES["luce"](), annotator, space)
    assert plain.total_variation(p_star) > 0.1


def test_rankings_of_a_luce_annotator_recover_the_preference_distribution():
    """Plackett and Luce: every ranking of the four, as often as the annotator gives it."""
    orders = torch.tensor(list(itertools.permutations(range(4))))
    p = P_STAR.probability[orders]
    chance = (p / p.flip(1).cumsum(1).flip(1)).prod(1)
    assert chance.sum().item() == pytest.approx(1.0)
    objective = OBJECTIVES["plackett_luce"](beta=1.0)

    def batch(policy):
        y = policy.responses(SPACE.uniform()).take(orders.flatten())
        grades = torch.arange(4, 0, -1).double().repeat(len(orders))
        return Lists(y, torch.full((len(orders),), 4), grades)

    close(fit(objective, batch, SPACE, weight=chance), P_STAR)


@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo", "gpo_savage", "cdpo", "rdpo"])
def test_swapping_every_pair_and_its_label_leaves_the_optimum(name):
    """A judgement says the same in either order, so half of the pairs suffice, in any order."""
    objective = OBJECTIVES[name]()
    a, b = torch.triu_indices(4, 4, 1)

    def optimum(first, second):
        label = LUCE[first, second]
        return fit(objective, lambda pi: pairs_of(pi, first, second, label, P_REF), SPACE)

    close(optimum(a, b), optimum(b, a), atol=1e-7)
    one = pairs_of(P_STAR, a, b, LUCE[a, b], P_REF)
    torch.testing.assert_close(objective(one), objective(one.swap()))


def test_scores_that_no_distribution_has_are_those_of_one_up_to_a_constant():
    """[PBDE, lemma 1]: σ(χ(i) − χ(j)) determines χ up to a constant, and nothing else."""
    scores = torch.tensor([3.0, -1.0, 0.5, 40.0]).double() / 10
    found = best_scores(scores_annotator(scores), LOSSES["logistic"], proposal(4))
    torch.testing.assert_close(found, scores - scores.mean(), atol=1e-9, rtol=0)
