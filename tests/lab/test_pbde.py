"""PBDE's figures: worlds and optima by hand, quick runs, and errors that the checks must see."""

import math

import pytest
import torch

from luce.lab import (
    load,
    pbde_errata,
    pbde_fig1,
    pbde_fig2,
    pbde_fig3,
    pbde_fig4,
    pbde_fig5,
    pbde_fig8,
    pbde_fig9,
    pbde_fig10,
    pbde_fig11,
    pbde_finite_data,
    pbde_table2,
)
from luce.lab.pbde_networks import QUICK, Arm, Learnt, Networks, Setting, learn
from luce.lab.pbde_slic import slic_cost, slic_optimum
from luce.lab.pbde_two import Found, disentangle, undecided
from luce.lab.pbde_world import judge, world
from luce.models.tabular import minimize
from luce.objectives import OBJECTIVES

QUICKLY = ("pbde-table2", "pbde-errata")
AT_LENGTH = (
    *(f"pbde-fig{number}" for number in (1, 2, 3, 4, 5, 8, 9, 10, 11)),
    "pbde-finite-data",
)
SPACE = world(QUICK.points)


def failed(result):
    return [check.what for check in result.checks if not check.passed]


@pytest.mark.parametrize(
    "name", [*QUICKLY, *(pytest.param(name, marks=pytest.mark.slow) for name in AT_LENGTH)]
)
def test_a_quick_run_passes_its_checks(name):
    found = load(name)
    result = found.run(found.quick_seeds, True)
    assert not failed(result)
    assert result.figures and result.verdict
    assert all(rows for rows in result.tables.values())


def three(policy):
    """Three seeds that ended at this density."""
    return [Learnt(policy, policy.log_prob + 3.0)] * 3


def exact(module):
    foretold = module.arms(SPACE)
    return foretold, [three(one.theory) for one in foretold]


def normalized(scores):
    return three(SPACE.space.normalize(scores))


PRE, LIKED = SPACE.pretrained.log_prob, SPACE.target.log_prob
WINS = SPACE.one_person @ SPACE.pretrained.probability
PLANTED = {
    "fig1": (pbde_fig1, lambda ended: [normalized(-LIKED)] * 2),
    "fig2": (pbde_fig2, lambda ended: [ended[1], ended[1]]),
    "fig3": (pbde_fig3, lambda ended: [normalized(PRE + b * LIKED) for b in (1.0, 4.0, 16.0)]),
    "fig5": (pbde_fig5, lambda ended: [three(SPACE.target)]),
    "fig8": (pbde_fig8, lambda ended: [normalized(a * PRE + (1 - a) * LIKED)
                                       for a in (1.0, 0.25, 0.0625)]),
    "fig10": (pbde_fig10, lambda ended: [normalized(PRE - WINS / t) for t in (0.1, 0.5, 1.0)]),
}  # fmt: skip


FRAMED = ("fig2", "fig3", "fig8", "fig10")


@pytest.mark.parametrize("name", PLANTED)
def test_densities_at_their_theory_pass_and_those_of_a_wrong_formula_do_not(name):
    module, wrong = PLANTED[name]
    foretold, ended = exact(module)
    result = module.FRAME.result if name in FRAMED else module.result
    assert not failed(result(foretold, ended, SPACE, False))
    assert failed(result(foretold, wrong(ended), SPACE, True))


def test_the_slic_figure_sees_a_likelihood_that_was_left_out():
    chosen = [(delta, lam) for lam in (0.0, 1.0) for delta in (0.0, 0.5, 2.0)]
    foretold = pbde_fig9.arms(SPACE, chosen)
    ended = [three(one.theory) for one in foretold]
    assert not failed(pbde_fig9.result(chosen, foretold, ended, SPACE, True))
    assert failed(pbde_fig9.result(chosen, foretold, ended[:3] * 2, SPACE, True))


def test_the_mixture_sees_shares_exchanged_and_one_policy_for_both():
    shares = torch.tensor([0.4, 0.6], dtype=torch.float64)
    right = [Found(SPACE.tastes, shares)] * 3
    assert not failed(pbde_fig11.result(right, SPACE, False))
    assert failed(pbde_fig11.result([Found(SPACE.tastes, shares.flip(0))] * 3, SPACE, True))
    single = three(pbde_fig5.arms(SPACE)[0].theory)
    assert not failed(pbde_fig4.result(single, right, SPACE, True))
    same = [Found((SPACE.target, SPACE.target), shares)] * 3
    assert failed(pbde_fig4.result(single, same, SPACE, True))


def test_table_2_needs_the_factor_of_fifty():
    """Numbers of the right size by hand; then the rule as printed in the place of the other."""
    usual = {"eq. 9": 0.95, "eq. 26 as printed": 0.6}
    likes = {"whole": 0.5, "short": 0.9, "long": 0.3}
    found = {
        (name, rule, f"{one} ≻ {other}"): torch.full(
            (3,), usual.get(rule, likes[name]), dtype=torch.float64
        )
        for name in likes
        for rule in pbde_table2.RULES
        for one, other in pbde_table2.QUESTIONS
    }
    assert not failed(pbde_table2.result(found))
    printed = {key: found[key[0], "eq. 26 as printed", key[2]] for key in found}
    assert failed(pbde_table2.result(found | {k: printed[k] for k in found if "50" in k[1]}))


def test_finite_data_sees_half_of_the_information():
    counts, theory = pbde_finite_data.COUNTS, pbde_finite_data.constant
    errors = {
        name: torch.stack([torch.full((5,), theory(q) / n, dtype=torch.float64) for n in counts])
        for name, q in pbde_finite_data.asked().items()
    }
    drift = torch.full((len(counts), 5), pbde_finite_data.drift_floor(), dtype=torch.float64)
    ended = [three(SPACE.pretrained)] * 3 + [three(SPACE.target)]
    ended[-1] = normalized(LIKED + 0.02 * PRE)  # what is exact has no ratio
    assert not failed(pbde_finite_data.result(errors, drift, ended, SPACE))
    doubled = {name: 2 * values for name, values in errors.items()}
    assert failed(pbde_finite_data.result(doubled, drift, ended, SPACE))


@pytest.mark.parametrize("name", ["rrhf", "slic"])
def test_the_errata_see_a_loss_as_printed(monkeypatch, name):
    monkeypatch.setattr(pbde_errata, name, getattr(pbde_errata, f"{name}_as_printed"))
    assert failed(pbde_errata.run(3, True))


def test_judgements_of_the_same_pair_are_counted_together():
    """Every pair is drawn; all judgements are kept, and a share is that of the annotator."""
    space = world(3)
    found = judge(space.one_person, space.space.uniform(), 200_000, 1)
    assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    # points at both ends weigh half: shares 1/4, 1/2, 1/4; a pair is drawn in either order
    torch.testing.assert_close(
        found.weight, torch.tensor([0.25, 0.125, 0.25]).double(), atol=5e-3, rtol=0
    )
    known = space.one_person[found.a, found.b]
    torch.testing.assert_close(found.share, known, atol=1e-2, rtol=0)


def test_networks_side_by_side_are_those_of_each_alone():
    both, alone = Networks(SPACE.space, [3, 4]), Networks(SPACE.space, [4])
    torch.testing.assert_close(both.energies()[1], alone.energies()[0])
    log_prob = both.normalize(both.energies()).double()
    mass = (log_prob.exp() * SPACE.space.measure).sum(1)
    torch.testing.assert_close(mass, torch.ones(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(both.take([1]).energies(), both.energies()[1:])


def test_an_arm_is_learnt_alike_whatever_stands_beside_it():
    size = Setting(points=21, pairs=500, steps=30, rate=1e-3, regression=30)
    space = world(21)
    arms = [Arm(f"{b}", OBJECTIVES["dpo"](beta=b), space.one_person) for b in (1.0, 4.0)]
    beside, alone = learn(arms, space, size, 2), learn(arms[:1], space, size, 2)
    torch.testing.assert_close(beside[0][1].energy, alone[0][1].energy, atol=1e-4, rtol=0)
    assert not torch.allclose(beside[0][0].energy, beside[0][1].energy)


def test_a_network_follows_the_annotator_and_another_his_opposite():
    """A tenth of a quick run: the wrong sign of the judgements is seen by then."""
    space = world(41)
    size = Setting(points=41, pairs=4000, steps=250, rate=5e-3, regression=250)
    objective = OBJECTIVES["dpo"](beta=4.0)
    arms = [Arm("right", objective, space.one_person), Arm("wrong", objective, space.one_person.T)]
    right, wrong = (ended[0].policy for ended in learn(arms, space, size, 1))
    product = space.space.normalize(space.pretrained.log_prob + space.target.log_prob / 4)
    assert right.total_variation(product) < 0.25 < 0.5 < wrong.total_variation(product)


def test_two_networks_and_their_shares_leave_their_common_start():
    space = world(41)
    size = Setting(points=41, pairs=4000, steps=60, rate=5e-3, regression=100)
    for found in disentangle(space, size, 2):
        assert found.shares.sum().item() == pytest.approx(1.0)
        assert 0 < found.shares[0] <= found.shares[1]
        assert found.policies[0].total_variation(found.policies[1]) > 1e-3
        assert found.marginal.probability.sum().item() == pytest.approx(1.0)


def test_the_optimum_of_slic_is_that_of_another_minimizer():
    space = world(21)
    found = slic_optimum(space, 0.5, 1.0)
    q = torch.outer(space.pretrained.probability, space.pretrained.probability)

    def cost(logits):
        pi = space.space.normalize(logits)
        short = 0.5 - pi.log_prob[:, None] + pi.log_prob
        rounded = 0.01 * torch.nn.functional.softplus(short / 0.01)
        imitation = space.pretrained.expectation(pi.log_prob)
        return 2 * (q * space.one_person * rounded).sum() - imitation

    (logits,) = minimize(cost, [space.pretrained.log_prob], tolerance=1e-6)
    assert found.total_variation(space.space.normalize(logits)) < 1e-4
    best = slic_cost(space, found, 0.5, 1.0)
    assert all(slic_cost(space, p, 0.5, 1.0) > best for p in (space.pretrained, space.target))


def test_the_best_pairs_to_ask_are_better_than_any_of_some_others():
    best = pbde_finite_data.constant(pbde_finite_data.design())
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        q = torch.rand(8, 8, generator=draw, dtype=torch.float64)
        q = q * (1 - torch.eye(8))
        assert pbde_finite_data.constant(q / q.sum()) > best


def test_the_price_of_two_outcomes_by_hand():
    """Two alike: F = ¼ (1, −1; −1, 1), L = ½·½ of the same: ½ tr(F L⁺) = ½ (¼)/(¼) = ½."""
    fisher = 0.25 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    assert 0.5 * torch.trace(fisher @ torch.linalg.pinv(fisher)).item() == pytest.approx(0.5)
    q = torch.zeros(8, 8, dtype=torch.float64)
    q[0, 1] = 1.0
    p = 0.02 / 0.05
    information = pbde_finite_data.information(q)
    assert information[0, 0].item() == pytest.approx(p * (1 - p))
    assert information[0, 1].item() == pytest.approx(-p * (1 - p))


def test_a_text_costs_its_words_and_its_end():
    """Two words by hand, with the chance of going on after each."""
    words = pbde_table2.WORDS
    step = torch.full((words + 1, words), 1 / words, dtype=torch.float64).log()
    end = torch.full((pbde_table2.LONGEST,), 0.25, dtype=torch.float64)
    model = pbde_table2.Model(step, end.log(), torch.log1p(-end))
    texts = torch.zeros(1, pbde_table2.LONGEST, dtype=torch.int64)
    y = model.responses(texts, torch.tensor([3]))
    expected = 2 * math.log(0.75 / words) + math.log(0.25)
    assert y.log_prob.item() == pytest.approx(expected)


def test_neither_is_preferred_by_two_thirds():
    assert undecided(torch.tensor([[0.5, 0.7], [0.3, 0.5]], dtype=torch.float64)) == 0.5
