"""Convex losses of a margin: what each learns, when it stops, and how it compares with the square.

[GPO] Tang et al. (2024), arXiv:2402.05749.   [IPO] Azar et al. (2023), arXiv:2310.12036.
"""

import math

import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import (
    KlBandit,
    actions,
    best_scores,
    fit_pairs,
    luce_annotator,
    pairs_of,
    score_optimum,
)
from luce.objectives import LOSSES, OBJECTIVES, MarginLoss
from luce.objectives.scores import log_ratio
from luce.types import Pairs, Responses

GPO = {
    "logistic": "dpo",
    "hinge": "gpo_hinge",
    "square": "gpo_square",
    "exponential": "gpo_exponential",
    "truncated_quadratic": "gpo_truncated_quadratic",
    "savage": "gpo_savage",
}
SPACE = actions(4)
REFERENCE = SPACE.weights([0.1, 0.2, 0.3, 0.4])


def two(p: float) -> torch.Tensor:
    """An annotator of two actions who prefers the first with probability p."""
    return torch.tensor([[0.5, p], [1 - p, 0.5]], dtype=torch.float64)


def annotator(seed: int) -> torch.Tensor:
    """Probabilities drawn pair by pair: no scores explain them."""
    draws = 0.1 + 0.8 * torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)).double()
    upper = torch.triu(draws, 1)
    return upper + torch.tril(1 - upper.T, -1) + 0.5 * torch.eye(4).double()


def slopes(name: str, z: float) -> tuple[float, float]:
    """φ′ and φ″."""
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(LOSSES[name].phi(at), at, create_graph=True)
    if not first.requires_grad:
        return first.item(), 0.0
    return first.item(), torch.autograd.grad(first, at)[0].item()


def test_the_regularized_optimum_determines_the_reward_of_every_pair():
    """[GPO, eq. 1, 2]: r(w) − r(l) = β [log π*/π_ref(w) − log π*/π_ref(l)]."""
    reward = torch.tensor([1.0, -0.5, 2.0, 0.0], dtype=torch.float64)
    pi = KlBandit(REFERENCE, reward, beta=0.3).optimum()
    implicit = log_ratio(0.3)(pi.responses(REFERENCE))
    torch.testing.assert_close(implicit - implicit[0], reward - reward[0])


@pytest.mark.parametrize("loss", sorted(set(GPO) - {"hinge"}))
def test_the_best_policy_is_the_regularized_optimum_of_the_best_reward(loss):
    """[GPO, eq. 3, 4]: first a reward model by E[f(r_w − r_l)], then E[r] − β KL; or at once."""
    preference, beta = annotator(0), 0.7
    reward = best_scores(preference, LOSSES[loss])
    two_steps = KlBandit(REFERENCE, reward, beta).optimum()
    at_once = fit_pairs(OBJECTIVES[GPO[loss]](beta=beta), preference, SPACE, REFERENCE)
    torch.testing.assert_close(two_steps.probability, at_once.probability, atol=1e-8, rtol=0)


def test_the_reward_that_the_logistic_loss_learns_from_a_luce_annotator_is_his():
    """[GPO, section 3.1]: r* + constant."""
    p_star = SPACE.weights([0.5, 0.25, 0.15, 0.1])
    reward = best_scores(luce_annotator(p_star), LOSSES["logistic"])
    shift = reward - p_star.log_prob
    torch.testing.assert_close(shift, shift.mean().expand(4), atol=1e-8, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_the_reward_that_the_square_learns_is_the_mean_preference(seed):
    """[GPO, section 3.1]: r(y) = E_{y′∼μ}[2 p(y ≻ y′) − 1] + constant, whatever the annotator."""
    mu = SPACE.weights([0.1, 0.4, 0.3, 0.2])
    preference = annotator(seed)
    reward = best_scores(preference, LOSSES["square"], mu)
    shift = reward - (2 * preference - 1) @ mu.probability
    torch.testing.assert_close(shift, shift.mean().expand(4), atol=1e-8, rtol=0)


def test_of_certain_judgements_the_logistic_learns_no_end_and_the_hinge_a_margin():
    """[GPO, section 3.1]: as in a support vector machine. Chosen always wins here."""
    certain = torch.triu(torch.ones(3, 3), 1).double() + 0.5 * torch.eye(3).double()
    with pytest.raises(LuceError, match="no smallest value"):
        best_scores(certain, LOSSES["logistic"])
    scores = best_scores(certain, LOSSES["hinge"])
    assert (-scores.diff()).min().item() == pytest.approx(1.0)
    assert LOSSES["hinge"].phi(-scores.diff()).abs().max() < 1e-9


MINIMIZERS = {  # of p f(x) + (1 − p) f(−x) at p = 0.7
    "logistic": 0.847298,
    "hinge": 1.0,
    "square": 0.4,
    "exponential": 0.423649,
    "truncated_quadratic": 0.4,
    "savage": 0.847298,
}


@pytest.mark.parametrize("name", MINIMIZERS)
def test_the_minimizer_of_a_soft_label(name):
    """[GPO, theorem 2], and the closed form of each."""
    gap = -best_scores(two(0.7), LOSSES[name]).diff().item()
    assert gap == pytest.approx(MINIMIZERS[name], abs=1e-6)
    log_odds = math.log(0.7 / 0.3)
    closed = {"logistic": log_odds, "savage": log_odds, "exponential": log_odds / 2, "hinge": 1.0}
    assert gap == pytest.approx(closed.get(name, 2 * 0.7 - 1), abs=1e-9)


@pytest.mark.parametrize("name", MINIMIZERS)
@pytest.mark.parametrize("p", [0.02, 0.3, 0.499, 0.501, 0.6, 0.95])
def test_every_loss_that_falls_at_zero_favours_the_preferred_response(name, p):
    """[GPO, theorem 2]: sign(x*) = sign(2p − 1)."""
    gap = -best_scores(two(p), LOSSES[name]).diff().item()
    assert slopes(name, 0.0)[0] < 0 and gap * (2 * p - 1) > 0


@pytest.mark.parametrize("phi", [lambda z: z, lambda z: z**2, lambda z: (1 + z) ** 2])
def test_a_loss_that_does_not_fall_at_zero_has_no_place_in_theorem_two(phi):
    with pytest.raises(LuceError, match="does not fall at z = 0"):
        MarginLoss(phi, lambda z: "f")


def test_savage_is_not_convex_and_the_others_are():
    """[GPO, table 1] calls all six convex."""
    for name, loss in LOSSES.items():
        if name in GPO:
            bends = [slopes(name, z)[1] for z in (-3.0, -1.0, 0.5, 0.9, 3.0)]
            assert (min(bends) >= 0) == loss.convex == (name != "savage")


STIFFNESS = {"logistic": 2.0, "savage": 2.0, "square": 1.0, "exponential": 1.0}
STIFFNESS["truncated_quadratic"] = 1.0


@pytest.mark.parametrize("name", STIFFNESS)
def test_to_second_order_every_loss_is_ipo_at_another_beta(name):
    """[GPO, section 4.1, B.2]: f(βρ) ≈ a (β′ρ − 1)² + c with β′ = β f″(0)/|f′(0)|. The difference
    shrinks like (βρ)³."""
    first, second = slopes(name, 0.0)
    assert abs(first) / second == pytest.approx(STIFFNESS[name], abs=1e-12)
    phi = LOSSES[name].phi
    gaps = []
    for z in (0.02, 0.01):
        at = torch.tensor([z, 0.0], dtype=torch.float64)
        like_ipo = first**2 / (2 * second) * (second / abs(first) * at - 1) ** 2
        gaps.append(abs((phi(at) - like_ipo).diff().item()))
    assert gaps[0] < 1e-5 and (gaps[1] < 1e-15 or gaps[0] / gaps[1] > 7)


def test_the_hinge_has_no_second_order():
    assert slopes("hinge", 0.0) == (-1.0, 0.0)


@pytest.mark.parametrize("name", STIFFNESS)
def test_dpo_and_savage_take_twice_the_beta_of_ipo_for_the_same_policy(name):
    """[GPO, section 4.1]: near p = ½ the optima agree once β is multiplied by |f′(0)|/f″(0), the
    better the closer p is to ½."""
    errors = []
    for p in (0.52, 0.505):
        square = -best_scores(two(p), LOSSES["square"]).diff().item()
        other = -best_scores(two(p), LOSSES[name]).diff().item() / STIFFNESS[name]
        errors.append(abs(other / square - 1))
    assert errors[0] < 1e-3 and errors[1] < errors[0] / 10 + 1e-12


def test_what_pulls_back_stops_and_what_goes_on_at_a_margin_past_one():
    """[GPO, eq. 7] at βρ = 1.5: d = β f′(βρ) ∇ρ."""
    signs = {}
    for loss, objective in GPO.items():
        ratio = torch.tensor([1.5 / 0.2], dtype=torch.float64, requires_grad=True)
        none = torch.zeros(1, dtype=torch.float64)
        one = torch.tensor([1])
        pair = Pairs(Responses(ratio, one, none), Responses(none, one, none))
        (slope,) = torch.autograd.grad(OBJECTIVES[objective](beta=0.2)(pair).sum(), ratio)
        assert slope.item() == pytest.approx(0.2 * slopes(loss, 1.5)[0])
        signs[loss] = torch.sign(slope).item()
    assert {k for k, s in signs.items() if s < 0} == {"logistic", "exponential", "savage"}
    assert {k for k, s in signs.items() if s == 0} == {"hinge", "truncated_quadratic"}
    assert {k for k, s in signs.items() if s > 0} == {"square"}


@pytest.mark.parametrize("loss", GPO)
def test_the_tail_of_a_loss_is_the_one_on_its_card(loss):
    assert LOSSES[loss].tail == ("I" if slopes(loss, 5.0)[0] < 0 else "II")


BANDIT = {  # [IPO, section 5.4]: pairs (a, b), (b, c), (a, c) under a uniform reference
    1.0: (0.448441, 0.321322, 0.230237),
    0.5: (0.562742, 0.288921, 0.148337),
    0.1: (0.964370, 0.034403, 0.001227),
}
THREE = actions(3)
CERTAIN = torch.triu(torch.ones(3, 3), 1).double() + 0.5 * torch.eye(3).double()
OFF_DIAGONAL = 1 - torch.eye(3).double()


@pytest.mark.parametrize("tau", BANDIT)
def test_the_three_armed_bandit_of_ipo(tau):
    """log π falls by 1/(3τ) from arm to arm; GPO's square at β = 2τ is the same policy."""
    uniform = THREE.uniform()
    found = [
        score_optimum(CERTAIN, log_ratio(2 * tau), LOSSES["square"], THREE, uniform, OFF_DIAGONAL),
        fit_pairs(OBJECTIVES["ipo"](tau=tau), CERTAIN, THREE, uniform, OFF_DIAGONAL),
        fit_pairs(OBJECTIVES["gpo_square"](beta=2 * tau), CERTAIN, THREE, uniform, OFF_DIAGONAL),
    ]
    for pi in found:
        expected = torch.tensor(BANDIT[tau], dtype=torch.float64)
        torch.testing.assert_close(pi.probability, expected, atol=1e-6, rtol=0)
        gaps = -torch.diff(pi.log_prob)
        torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / (3 * tau)), atol=1e-9, rtol=0)


def test_the_truncated_quadratic_of_the_bandit_stops_at_gaps_of_one_over_beta():
    scores = best_scores(CERTAIN, LOSSES["truncated_quadratic"], OFF_DIAGONAL)
    torch.testing.assert_close(-scores.diff(), torch.ones(2).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("loss", ["logistic", "exponential", "savage"])
def test_the_bandit_has_no_optimum_under_a_loss_that_goes_on(loss):
    """[IPO, section 5.4]: DPO ends up greedy, whatever β."""
    with pytest.raises(LuceError, match="no smallest value"):
        best_scores(CERTAIN, LOSSES[loss], OFF_DIAGONAL)


def test_an_action_that_never_wins_is_kept_by_ipo_and_lost_by_dpo():
    """[IPO, section 5.4]: a and b win against each other alike, and both always against c."""
    preference = torch.tensor([[0.5, 0.5, 1], [0.5, 0.5, 1], [0, 0, 0.5]], dtype=torch.float64)
    uniform = THREE.uniform()
    pi = fit_pairs(OBJECTIVES["ipo"](tau=1.0), preference, THREE, uniform, OFF_DIAGONAL)
    gaps = torch.tensor([0.0, 0.5], dtype=torch.float64)  # 2τ(log a/c) = 1, the label's margin
    torch.testing.assert_close(-pi.log_prob.diff(), gaps, atol=1e-9, rtol=0)
    with pytest.raises(LuceError, match="no smallest value"):
        fit_pairs(OBJECTIVES["dpo"](beta=1.0), preference, THREE, uniform, OFF_DIAGONAL)


def test_an_action_that_is_never_compared_keeps_its_probability():
    """a against b in both orders: no objective on pairs says anything of c."""
    proposal = torch.zeros(3, 3).double()
    proposal[0, 1] = proposal[1, 0] = 1
    preference = torch.full((3, 3), 0.5).double()
    for name in ("dpo", "ipo"):
        pi = fit_pairs(OBJECTIVES[name](), preference, THREE, THREE.uniform(), proposal)
        torch.testing.assert_close(pi.probability, torch.full((3,), 1 / 3).double())


def test_class_two_stops_at_the_margin_where_class_one_goes_on():
    """[GPO, eq. 7]: a ≻ b alone, by gradient descent from the uniform policy. The hinge and the
    truncated quadratic end at the gap 1/β = 0.5, the square too, the others go on."""
    beta, gaps = 2.0, {}
    for loss, name in GPO.items():
        objective = OBJECTIVES[name](beta=beta)
        gap = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        none = torch.zeros(1, dtype=torch.float64)
        for _ in range(300):
            y = [Responses(sign * gap / 2, torch.tensor([1]), none) for sign in (1, -1)]
            (slope,) = torch.autograd.grad(objective(Pairs(*y)).sum(), gap)
            gap = (gap - 0.02 * slope).detach().requires_grad_()
        gaps[loss] = gap.item()
    stopped = {gaps[name] for name in ("hinge", "square", "truncated_quadratic")}
    assert all(gap == pytest.approx(0.5, abs=0.03) for gap in stopped)  # the hinge steps across
    assert min(gaps[name] for name in ("logistic", "exponential", "savage")) > 0.9


ADAM = {  # β = 1, mean of ten seeds
    "logistic": (1.0, 0.0, 0.0),
    "hinge": (0.6815, 0.2367, 0.0818),
    "square": (0.561, 0.291, 0.147),
    "truncated_quadratic": (0.6652, 0.2447, 0.0900),
    "savage": (0.9996, 0.0004, 0.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", GPO)
def test_the_bandit_by_adam_as_published(loss):
    """[IPO, section 5.4; GPO, figure 3]: Adam 0.01, 18,000 steps of 9 pairs drawn from D₁, β = 1,
    ten seeds side by side (Adam works entry by entry)."""
    seeds, size = 10, 9
    objective = OBJECTIVES[GPO[loss]](beta=1.0)
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2])
    logits = torch.zeros(seeds, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.01)
    rows = 3 * torch.arange(seeds).repeat_interleave(size)
    lengths = torch.ones(3 * seeds, dtype=torch.int64)
    reference = torch.full((3 * seeds,), -math.log(3), dtype=torch.float64)
    for _ in range(18_000):
        pair = torch.randint(3, (seeds * size,), generator=generator)
        y = Responses(logits.log_softmax(1).flatten(), lengths, reference)
        batch = Pairs(y.take(rows + chosen[pair]), y.take(rows + rejected[pair]))
        optimizer.zero_grad()
        (objective(batch).sum() / size).backward()
        optimizer.step()
    pi = logits.detach().softmax(1).mean(0)
    expected = ADAM.get(loss, (1.0, 0.0, 0.0))
    torch.testing.assert_close(pi, torch.tensor(expected).double(), atol=0.01, rtol=0)


def test_a_pair_costs_the_same_in_either_order():
    a, b = torch.triu_indices(4, 4, 1)
    for name in GPO.values():
        pairs = pairs_of(SPACE.weights([4.0, 3.0, 2.0, 1.0]), a, b, annotator(1)[a, b], REFERENCE)
        torch.testing.assert_close(OBJECTIVES[name]()(pairs), OBJECTIVES[name]()(pairs.swap()))
