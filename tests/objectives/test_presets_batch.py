"""Worked numbers of objectives on the whole batch, of mixtures, of demonstrations and of reward
models."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from plain_rows import LOG, ROWS, E, batch_of, check, each, nls, pairs, relu, sigma, uniform

from luce.objectives import LOSSES, OBJECTIVES, Mixture
from luce.objectives.presets import beta_dpo as make_beta_dpo
from luce.objectives.presets import mixture as make_mixture
from luce.objectives.scores import log_prob


def ranks(values):
    """How many are lower; ties in order."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    return [order.index(i) for i in range(len(values))]


def mean(values):
    return sum(values) / len(values)


def aot(rows, still, beta):
    rank = ranks([s.w.l - s.l.l for s in still])
    reference = sorted(s.w.r - s.l.r for s in still)
    return [nls(beta * (y.w.l - y.l.l - reference[rank[i]])) for i, y in enumerate(rows)]


def aot_unpaired(rows, still, beta):
    chosen, rejected = ranks([s.w.a for s in still]), ranks([s.l.a for s in still])
    return [nls(beta * (y.w.a - rows[rejected.index(chosen[i])].l.a)) for i, y in enumerate(rows)]


def dr_dpo(rows, still, beta, beta_prime):
    costs = [nls(beta * y.h) for y in rows]
    return [-beta_prime * LOG(mean([E(-c / beta_prime) for c in costs]))] * len(rows)


def beta_dpo(rows, still, beta, alpha, rho, seed, margin=None, margin_squared=None):
    M = [beta * s.h for s in still]
    center, variance = 0.0, mean([(m - mean(M)) ** 2 for m in M])
    if margin is not None:
        center, variance = margin, max(0.0, margin_squared - margin**2)
    keep = list(range(len(M)))
    if (drop := math.floor(rho * len(M))) > 0:
        gumbel = [-LOG(-LOG(uniform(s.key, 0, seed))) for s in still]
        odds = [g - (m - center) ** 2 / (2 * variance) for m, g in zip(M, gumbel, strict=True)]
        keep = sorted(keep, key=lambda i: -odds[i])[: max(1, len(M) - drop)]
    of_batch = max(1e-3, beta * (1 + alpha * (mean([M[i] for i in keep]) - center)))
    weight = [len(M) / len(keep) if i in keep else 0.0 for i in range(len(M))]
    return [w * nls(of_batch * y.h) for w, y in zip(weight, rows, strict=True)]


def alpha_dpo(rows, still, beta, gamma, alpha):
    h = [s.w.a / s.w.n - s.l.a / s.l.n for s in still]
    sd = math.sqrt(sum((x - mean(h)) ** 2 for x in h) / (len(h) - 1))
    target = [gamma + alpha * (x - mean(h)) / sd for x in h]
    return [nls(beta * (y.w.m - y.l.m - t)) for y, t in zip(rows, target, strict=True)]


BATCH = {
    "aot": aot,
    "aot_unpaired": aot_unpaired,
    "dr_dpo": dr_dpo,
    "beta_dpo": beta_dpo,
    "alpha_dpo": alpha_dpo,
}


def mixture(y, s, K, beta, weights=None):
    of_each = [y.w.l - y.l.l, sum(y.w.policy_2) - sum(y.l.policy_2)][:K]
    weights = weights or (1,) * K
    return -LOG(
        sum(w * sigma(beta * z) for w, z in zip(weights, of_each, strict=True)) / sum(weights)
    )


PHI = {
    "logistic": nls,
    "hinge": lambda z: relu(1 - z),
    "square": lambda z: (1 - z) ** 2,
    "exponential": lambda z: E(-z),
    "truncated_quadratic": lambda z: relu(1 - z) ** 2,
    "savage": lambda z: sigma(-z) ** 2,
}


def bradley_terry(y, s, loss, center):
    difference = y.w.reward[0] - y.l.reward[0]
    margin = 0.0 if math.isnan(y.margin) else y.margin
    return PHI[loss](difference - margin) + center * (y.w.reward[0] + y.l.reward[0]) ** 2


MODELS = {
    "mixture": each(mixture),
    "sft": each(lambda y, s: -y.m),
    "nll": each(lambda y, s: -y.l),
    "bradley_terry": each(bradley_terry),
}
WORKED = BATCH | MODELS
SINGLES = [row.w for row in ROWS] + [row.l for row in ROWS]

DEFAULTS = {
    "aot": {"beta": 0.1},
    "aot_unpaired": {"beta": 0.1},
    "dr_dpo": {"beta": 0.1, "beta_prime": 1.0},
    "beta_dpo": {"beta": 0.1, "alpha": 0.6, "rho": 0.2, "seed": 0},
    "alpha_dpo": {"beta": 2.5, "gamma": 0.6, "alpha": 0.2},
    "mixture": {"K": 2, "beta": 1.0},
    "sft": {},
    "nll": {},
    "bradley_terry": {"loss": "logistic", "center": 0.0},
}
OTHERS = [
    ("aot", {"beta": 0.7}),
    ("aot_unpaired", {"beta": 0.7}),
    ("dr_dpo", {"beta": 0.7, "beta_prime": 0.3}),
    ("beta_dpo", {"beta": 0.7, "alpha": 0.3, "rho": 0.0, "seed": 0}),
    ("beta_dpo", {"beta": 0.7, "alpha": 0.0, "rho": 0.4, "seed": 0}),
    ("beta_dpo", {"beta": 0.7, "alpha": 0.3, "rho": 0.4, "seed": 3}),
    ("beta_dpo", {"beta": 0.7, "alpha": 0.3, "rho": 0.7, "seed": 1}),
    ("beta_dpo", {"beta": 0.7, "alpha": 0.3, "rho": 1.0, "seed": 1}),
    ("alpha_dpo", {"beta": 1.5, "gamma": 0.1, "alpha": 0.7}),
    ("alpha_dpo", {"beta": 1.5, "gamma": 0.0, "alpha": 0.0}),
    ("mixture", {"K": 2, "beta": 0.4, "weights": (1.0, 3.0)}),
    ("mixture", {"K": 1, "beta": 0.4}),
    *(("bradley_terry", {"loss": loss, "center": 0.3}) for loss in PHI),
]


def rows_of(name):
    return SINGLES if name in ("sft", "nll") else ROWS


def test_every_worked_number_stands_at_the_defaults_and_at_others():
    assert WORKED.keys() == DEFAULTS.keys()
    assert {name for name, parameters in DEFAULTS.items() if parameters} == {n for n, _ in OTHERS}


@pytest.mark.parametrize("name", WORKED)
def test_cost_and_gradient_at_the_defaults(name):
    check(OBJECTIVES[name](), WORKED[name], rows_of(name), **DEFAULTS[name])


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=lambda x: str(x))
def test_cost_and_gradient_at_other_parameters(name, parameters):
    check(OBJECTIVES[name](**parameters), WORKED[name], rows_of(name), **parameters)


SWAPPED = [
    replace(row, w=row.l, l=row.w, label=0.0) if i == 1 else row for i, row in enumerate(ROWS)
]
"""The same pairs, the second with its responses in the other order."""


@pytest.mark.parametrize("name", BATCH)
def test_a_pair_labelled_0_is_that_pair_swapped_for_itself_and_for_the_others(name):
    def upright(rows, still, **parameters):
        def turned(all_rows):
            return [replace(y, w=y.l, l=y.w) if y.label == 0 else y for y in all_rows]

        return BATCH[name](turned(rows), turned(still), **parameters)

    check(OBJECTIVES[name](), upright, SWAPPED, **DEFAULTS[name])


# --- β-DPO ----------------------------------------------------------------------------------------

RUNNING = {"margin": 0.2, "margin_squared": 0.5}


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_beta_follows_the_running_mean_of_the_margins(rho):
    parameters = {"beta": 0.5, "alpha": 0.6, "rho": rho, "seed": 2}
    objective = OBJECTIVES["beta_dpo"](**parameters)

    def formula(rows, still, **given):
        return beta_dpo(rows, still, **given, **RUNNING)

    check(objective, formula, running=RUNNING, **parameters)
    found = objective.statistics(pairs(ROWS, RUNNING))
    assert found["margin"].tolist() == pytest.approx([0.5 * row.h for row in ROWS])
    assert found["margin_squared"].tolist() == pytest.approx([(0.5 * row.h) ** 2 for row in ROWS])
    margins = objective.metrics(pairs(ROWS, RUNNING))["rewards/margins"]
    of_batch = margins / torch.tensor([row.h for row in ROWS])
    assert of_batch.tolist() == pytest.approx([of_batch[0].item()] * 3)


def test_beta_has_a_floor():
    """β₀ [1 + α (mean M − M₀)] would be −0.4."""
    running = {"margin": 5.0, "margin_squared": 26.0}
    objective = OBJECTIVES["beta_dpo"](beta=0.1, alpha=1.0, rho=0.0)
    check(objective, each(lambda y, s: nls(1e-3 * y.h)), running=running)


def kept(running, rho, seed=0):
    """The weights of the three pairs."""
    objective = make_beta_dpo(rho=rho, seed=seed)
    assert objective.weights is not None
    return objective.weights.value(pairs(ROWS, running))


def test_which_pairs_stay_is_a_draw_by_the_seed():
    """Pairs nearer to the running mean stay more often; every one does sometimes."""
    near = {"margin": -0.05, "margin_squared": 0.1}
    counts = torch.zeros(3, dtype=torch.float64)
    for seed in range(60):
        weights = kept(near, 0.4, seed)
        assert sorted(weights.tolist()) == [0.0, 1.5, 1.5]
        counts += weights / 1.5
    assert (counts > 0).all() and counts.argmax() == 0 and (counts < 60).all()


def test_without_spread_the_running_deviation_is_none_and_the_nearest_pairs_stay():
    running = {"margin": -0.05, "margin_squared": 0.0025}  # of the first row, σ = 0
    assert kept(running, 0.7).tolist() == [3.0, 0.0, 0.0]


# --- α-DPO and AOT at their edges -----------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_alpha_dpo_without_spread_is_simpo(copies):
    rows = [copy.deepcopy(ROWS[0]) for _ in range(copies)]
    check(OBJECTIVES["alpha_dpo"](), each(lambda y, s: nls(2.5 * (y.w.m - y.l.m - 0.6))), rows)


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_of_one_pair_aot_is_dpo(name):
    check(OBJECTIVES[name](), each(lambda y, s: nls(0.1 * y.h)), ROWS[:1])


# --- mixtures -------------------------------------------------------------------------------------


def test_a_soft_label_of_a_mixture_is_the_expected_cost():
    def expected(y, s):
        turned = replace(y, w=y.l, l=y.w)
        return 0.7 * mixture(y, s, 2, 1.0) + 0.3 * mixture(turned, s, 2, 1.0)

    check(make_mixture(), each(expected), [replace(row, label=0.7) for row in ROWS])


def test_a_learnt_prior_weighs_the_annotators():
    prior = torch.tensor([0.0, LOG(3)], dtype=torch.float64, requires_grad=True)
    batch = replace(pairs(ROWS), prior=prior)
    costs = make_mixture(beta=0.4)(batch)
    expected = [mixture(y, y, 2, 0.4, (1, 3)) for y in ROWS]
    assert costs.tolist() == pytest.approx(expected)
    (slope,) = torch.autograd.grad(costs.sum(), prior)
    responsible = make_mixture(beta=0.4).responsibilities(batch)
    # d(−log Σ w σ)/d logit_i = w_i − responsibility_i
    weight = torch.tensor([0.25, 0.75], dtype=torch.float64)
    torch.testing.assert_close(slope, (weight - responsible).sum(0))


def test_responsibilities_are_those_of_bayes():
    rows = [replace(row, label=0.7) for row in ROWS]
    found = Mixture(log_prob(0.4), (0.25, 0.75)).responsibilities(pairs(rows))
    for row, shares in zip(rows, found.tolist(), strict=True):
        z = [0.4 * (row.w.l - row.l.l), 0.4 * (sum(row.w.policy_2) - sum(row.l.policy_2))]
        agrees = [w * sigma(x) for w, x in zip((0.25, 0.75), z, strict=True)]
        other = [w * sigma(-x) for w, x in zip((0.25, 0.75), z, strict=True)]
        by_hand = [
            0.7 * a / sum(agrees) + 0.3 * b / sum(other) for a, b in zip(agrees, other, strict=True)
        ]
        assert shares == pytest.approx(by_hand)


def test_the_margin_of_a_mixture_is_its_log_odds():
    """Whatever the labels are."""
    rows = [replace(row, label=0.2) for row in ROWS]
    objective, batch = make_mixture(), pairs(rows)
    p = [E(-mixture(y, y, 2, 1.0)) for y in ROWS]
    log_odds = [LOG(x / (1 - x)) for x in p]
    assert objective.margin(batch).tolist() == pytest.approx(log_odds)
    found = objective.metrics(
        replace(
            batch,
            **{side: replace(getattr(batch, side), reward=None) for side in ("chosen", "rejected")},
        )
    )
    assert found["rewards/margins"].tolist() == pytest.approx(log_odds)
    assert found["rewards/chosen"].tolist() == pytest.approx([y.w.l for y in ROWS])
    assert found["rewards/accuracies"].tolist() == [float(z < 0) for z in log_odds]
    responsible = objective.responsibilities(batch)
    torch.testing.assert_close(found["annotators/1"], responsible[:, 0].detach())
    torch.testing.assert_close(found["annotators/2"], responsible[:, 1].detach())
    assert objective.statistics(batch) == {} and objective.weight(batch).tolist() == [1, 1, 1]


# --- demonstrations and reward models -------------------------------------------------------------


def test_tokens_or_responses_count_alike():
    batch, _ = batch_of("demonstration", copy.deepcopy(SINGLES), {})
    sft, nll = OBJECTIVES["sft"](), OBJECTIVES["nll"]()
    assert sft.weight(batch).tolist() == [y.n for y in SINGLES]
    assert nll.weight(batch).tolist() == [1] * len(SINGLES)
    tokens = sum(y.n for y in SINGLES)
    whole = (sft(batch) * sft.weight(batch)).sum() / sft.weight(batch).sum()
    assert whole.item() == pytest.approx(-sum(y.l for y in SINGLES) / tokens)
    assert sft.formula == "−log π(y)/|y|, weighted by |y|" and nll.formula == "−log π(y)"


def test_the_losses_of_a_reward_model_are_those_that_stand_for_a_preference():
    assert PHI.keys() < LOSSES.keys()
