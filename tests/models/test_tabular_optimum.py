"""The optimum of a triple, two ways: closed form or Newton on the scores, and a descent on logits
that knows the objective only as a function of responses."""

import math

import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import (
    actions,
    best_scores,
    fit_pairs,
    luce_annotator,
    minimize,
    policy_with_scores,
    score_optimum,
)
from luce.models.tabular.policy import TabularPolicy
from luce.objectives import LOSSES, OBJECTIVES, SCORES, MarginLoss, Objective
from luce.objectives.losses import hinge

SMOOTH = ("logistic", "square", "exponential", "truncated_quadratic", "savage")
SPACE = actions(4, lengths=[1, 3, 2, 5])
REFERENCE = SPACE.weights([0.1, 0.2, 0.3, 0.4])
LUCE = luce_annotator(SPACE.weights([0.5, 0.25, 0.15, 0.1]))


def random_annotator(seed: int, n: int = 4) -> torch.Tensor:
    """No scores explain it: probabilities between 0.1 and 0.9 drawn pair by pair."""
    draws = 0.1 + 0.8 * torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).double()
    upper = torch.triu(draws, 1)
    return upper + torch.tril(1 - upper.T, -1) + 0.5 * torch.eye(n).double()


def random_proposal(seed: int, n: int = 4) -> torch.Tensor:
    return 0.1 + torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).double()


def close(one: TabularPolicy, other: TabularPolicy, atol: float = 1e-8) -> None:
    torch.testing.assert_close(one.probability, other.probability, atol=atol, rtol=0)


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("score", ["log_prob", "log_ratio", "mean_log_ratio", "length_regularized"])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_ways_agree_on_an_annotator_that_no_scores_explain(loss, score, seed):
    """Any affine score, any loss, pairs drawn at random with any weights."""
    made = SCORES[score](0.7)
    preference, proposal = random_annotator(seed), random_proposal(seed)
    exact = score_optimum(preference, made, LOSSES[loss], SPACE, REFERENCE, proposal)
    fitted = fit_pairs(Objective(made, LOSSES[loss]), preference, SPACE, REFERENCE, proposal)
    close(exact, fitted)


@pytest.mark.parametrize("loss", ["logistic", "exponential", "savage"])
def test_both_ways_agree_on_a_luce_annotator(loss):
    """The link reproduces the annotator, so the answer does not depend on the proposal."""
    made = SCORES["log_ratio"](0.5)
    fitted = fit_pairs(Objective(made, LOSSES[loss]), LUCE, SPACE, REFERENCE, random_proposal(3))
    close(score_optimum(LUCE, made, LOSSES[loss], SPACE, REFERENCE), fitted)


def test_a_proposal_may_be_a_policy_that_both_responses_are_drawn_from():
    q = SPACE.weights([0.4, 0.3, 0.2, 0.1])
    preference = random_annotator(5)
    joint = torch.outer(q.probability, q.probability)
    scores = [best_scores(preference, LOSSES["logistic"], p) for p in (q, joint)]
    torch.testing.assert_close(*scores)
    expected = (joint * preference).sum(1)
    margins = scores[0].unsqueeze(1) - scores[0]
    torch.testing.assert_close((joint * margins.sigmoid()).sum(1), expected)  # its first order


def test_the_hinge_is_a_linear_program_whose_answer_no_shift_improves():
    preference = random_annotator(2)
    for delta in (0.5, 1.0):
        found = best_scores(preference, hinge(delta))

        def cost(omega, delta=delta):
            return (preference * torch.relu(delta - (omega.unsqueeze(1) - omega))).sum()

        generator = torch.Generator().manual_seed(0)
        for size in (1e-3, 0.1, 3.0):
            for _ in range(30):
                shift = size * torch.randn(4, generator=generator).double()
                assert cost(found) <= cost(found + shift) + 1e-9


def test_certain_judgements_have_an_optimum_only_under_a_loss_that_stops():
    certain = torch.tensor([[0.5, 1.0], [0.0, 0.5]], dtype=torch.float64)
    for name in ("logistic", "exponential", "savage"):
        with pytest.raises(LuceError, match="no smallest value"):
            best_scores(certain, LOSSES[name])
    for name in ("square", "truncated_quadratic", "hinge"):
        gap = best_scores(certain, LOSSES[name])
        assert (gap[0] - gap[1]).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("objective", "beta"),
    [("dpo", 10.0), ("gpo_exponential", 1.0), ("gpo_savage", 1.0)],
)
def test_a_descent_that_only_flattens_out_is_no_optimum(objective, beta):
    """c loses to a and b for certain; a and b meet as equals."""
    preference = torch.tensor([[0.5, 0.6, 1], [0.4, 0.5, 1], [0, 0, 0.5]], dtype=torch.float64)
    space = actions(3)
    with pytest.raises(LuceError, match="no smallest value"):
        fit_pairs(OBJECTIVES[objective](beta=beta), preference, space, space.uniform())


def test_a_cycle_of_certain_judgements_has_an_optimum():
    """Nobody wins against all the rest, so the logistic loss has a smallest value: a tie."""
    cycle = torch.tensor([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(
        best_scores(cycle, LOSSES["logistic"]), torch.zeros(3, dtype=torch.float64)
    )


def test_pairs_that_are_never_drawn_do_not_count():
    """Two islands: within each the scores are the annotator's; P across may be anything."""
    strengths = torch.tensor([1.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    preference = luce_annotator(SPACE.weights(strengths))
    preference[0, 2], preference[2, 0] = 1.0, 0.0
    proposal = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).double()
    scores = best_scores(preference, LOSSES["logistic"], proposal)
    assert (scores[1] - scores[0]).item() == pytest.approx(math.log(3))
    assert (scores[2] - scores[3]).item() == pytest.approx(math.log(2))


def test_a_policy_with_given_scores_has_them():
    scores = torch.tensor([0.3, -2.0, 1.0, 0.0], dtype=torch.float64)
    for name in ("log_prob", "mean_log_prob", "log_ratio", "mean_log_ratio"):
        made = SCORES[name](0.3)
        pi = policy_with_scores(scores, made, SPACE, REFERENCE)
        omega = made(pi.responses(REFERENCE))
        assert pi.probability.sum().item() == pytest.approx(1.0, abs=1e-14)
        torch.testing.assert_close(omega - omega[0], scores - scores[0])
    with pytest.raises(LuceError, match="is not f·log π . g. Fit the policy with `fit_pairs`"):
        policy_with_scores(scores, SCORES["log_odds"](), SPACE)


def test_scores_far_apart_do_not_break_the_normalization():
    """f from 1/50 to 1: a root that lies hundreds of nats away."""
    space = actions(3, lengths=[1, 50, 7])
    scores = torch.tensor([0.0, 40.0, -300.0], dtype=torch.float64)
    pi = policy_with_scores(scores, SCORES["mean_log_prob"](1.0), space)
    omega = pi.log_prob / space.lengths
    torch.testing.assert_close(omega - omega[0], scores)
    assert pi.probability.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_minimize_reaches_the_digits_and_says_when_it_does_not():
    def cost(x, y):
        return ((x - 3) ** 4).sum() + torch.cosh(y).sum() + (x - 3).pow(2).sum()

    x, y = minimize(cost, [torch.zeros(2).double(), torch.ones(1).double()])
    torch.testing.assert_close(x, torch.full((2,), 3.0).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(y, torch.zeros(1).double(), atol=1e-10, rtol=0)
    with pytest.raises(LuceError, match="say `tolerance=None`"):
        minimize(lambda x: x.abs().sum(), [torch.full((1,), 0.3).double()])


def test_a_loss_of_ones_own_is_solved_too():
    """φ = log(1 + e⁻ᶻ) + z⁴/100 has no link that is written down."""
    phi = LOSSES["logistic"].phi
    own = MarginLoss(lambda z: phi(z) + z**4 / 100, lambda z: "own", tail="II")
    made = SCORES["log_prob"](1.0)
    exact = score_optimum(LUCE, made, own, SPACE)
    close(exact, fit_pairs(Objective(made, own), LUCE, SPACE))
    assert exact.total_variation(score_optimum(LUCE, made, LOSSES["logistic"], SPACE)) > 0.01
