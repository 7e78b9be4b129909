"""Worked numbers of objectives without a reference, and of those that look at lengths or tokens."""

import itertools
import math
from dataclasses import replace

import pytest
from plain_rows import LOG, ROWS, E, check, each, nls, relu, uniform

from luce.errors import RecipeError
from luce.objectives import OBJECTIVES


def nll_of(y, nll):
    return -y.l if nll == "sum" else -y.m


def log_odds(y):
    return LOG(E(y.m) / (1 - E(y.m)))


def orpo(y, s, lam, nll):
    return nll_of(y.w, nll) + lam * nls(log_odds(y.w) - log_odds(y.l))


def simpo(y, s, beta, gamma=None, gamma_beta_ratio=None):
    if gamma is None:
        gamma = 1.0 if gamma_beta_ratio is None else beta * gamma_beta_ratio
    return nls(beta * y.w.l / y.w.n - beta * y.l.l / y.l.n - gamma)


def alphapo(y, s, beta, alpha, gamma):
    def reward(side):
        return (1 - E(-alpha * side.m)) / alpha if alpha else side.m

    return nls(beta * (reward(y.w) - reward(y.l)) - gamma)


FREE = {
    "luce": lambda y, s: nls(y.w.l - y.l.l),
    "luce_length_normalized": lambda y, s, scale: nls(scale * (y.w.m - y.l.m)),
    "pbde_geometric": lambda y, s, alpha: nls(y.h / alpha + y.w.r - y.l.r),
    "simpo": simpo,
    "slic": lambda y, s, delta, lam, nll: relu(delta - (y.w.l - y.l.l)) + lam * nll_of(y.w, nll),
    "orpo": orpo,
    "cpo": lambda y, s, beta, alpha, nll: nls(beta * (y.w.l - y.l.l)) + alpha * nll_of(y.w, nll),
    "alphapo": alphapo,
    "simper": lambda y, s: -E(y.w.m) + E(y.l.m),
}


def ld_dpo(y, s, beta, alpha):
    shared = min(y.w.n, y.l.n)

    def ratio(side):
        gains = [p - r for p, r in zip(side.p, side.ref, strict=True)]
        return sum(gains[:shared]) + alpha * sum(gains[shared:])

    return nls(beta * (ratio(y.w) - ratio(y.l)))


def sampo(y, s, beta, seed):
    shared = min(y.w.n, y.l.n)

    def ratio(side):
        drawn = sorted(range(side.n), key=lambda i: uniform(y.key, i + 1, seed))[:shared]
        return sum(side.p[i] - side.ref[i] for i in drawn)

    return nls(beta * (ratio(y.w) - ratio(y.l)))


LENGTHS = {
    "ln_dpo": lambda y, s, beta: nls(beta * (y.w.a / y.w.n - y.l.a / y.l.n)),
    "rdpo": lambda y, s, beta, alpha: nls(beta * y.h + alpha * (y.w.n - y.l.n)),
    "ld_dpo": ld_dpo,
    "sampo": sampo,
    "tdpo1": lambda y, s, beta: nls(beta * (y.h - (sum(y.l.kl) - sum(y.w.kl)))),
    "tdpo2": lambda y, s, beta, alpha: nls(beta * (y.h - alpha * (sum(y.l.kl) - sum(s.w.kl)))),
}
WORKED = FREE | LENGTHS

DEFAULTS = {
    "luce": {},
    "luce_length_normalized": {"scale": 1.0},
    "pbde_geometric": {"alpha": 0.25},
    "simpo": {"beta": 2.0},
    "slic": {"delta": 1.0, "lam": 0.1, "nll": "sum"},
    "orpo": {"lam": 0.1, "nll": "mean"},
    "cpo": {"beta": 0.1, "alpha": 1.0, "nll": "mean"},
    "alphapo": {"beta": 2.5, "alpha": 0.25, "gamma": 0.25},
    "simper": {},
    "ln_dpo": {"beta": 5.0},
    "rdpo": {"beta": 0.1, "alpha": 0.01},
    "ld_dpo": {"beta": 0.1, "alpha": 0.5},
    "sampo": {"beta": 0.1, "seed": 0},
    "tdpo1": {"beta": 0.1},
    "tdpo2": {"beta": 0.1, "alpha": 0.5},
}
OTHERS = [
    ("luce_length_normalized", {"scale": 50.0}),
    ("pbde_geometric", {"alpha": 1.0}),
    ("pbde_geometric", {"alpha": 1 / 16}),
    ("simpo", {"beta": 2.5, "gamma": 0.25}),
    ("simpo", {"beta": 2.5, "gamma_beta_ratio": 0.3}),
    ("slic", {"delta": 2.0, "lam": 0.5, "nll": "mean"}),
    ("slic", {"delta": 0.0, "lam": 0.0, "nll": "sum"}),
    ("orpo", {"lam": 0.7, "nll": "sum"}),
    ("cpo", {"beta": 0.4, "alpha": 0.3, "nll": "sum"}),
    ("alphapo", {"beta": 1.5, "alpha": -0.5, "gamma": 0.1}),
    ("alphapo", {"beta": 1.5, "alpha": 0.0, "gamma": 0.0}),
    ("ln_dpo", {"beta": 0.7}),
    ("rdpo", {"beta": 0.3, "alpha": 0.2}),
    ("ld_dpo", {"beta": 0.3, "alpha": 0.0}),
    ("sampo", {"beta": 0.4, "seed": 5}),
    ("tdpo1", {"beta": 0.5}),
    ("tdpo2", {"beta": 0.5, "alpha": 2.0}),
    ("tdpo2", {"beta": 0.5, "alpha": 0.0}),
]


def test_every_worked_number_stands_at_the_defaults_and_at_others():
    with_parameters = {name for name, parameters in DEFAULTS.items() if parameters}
    assert WORKED.keys() == DEFAULTS.keys()
    assert with_parameters == {name for name, _ in OTHERS}


@pytest.mark.parametrize("name", WORKED)
def test_cost_and_gradient_at_the_defaults(name):
    check(OBJECTIVES[name](), each(WORKED[name]), **DEFAULTS[name])


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=lambda x: str(x))
def test_cost_and_gradient_at_other_parameters(name, parameters):
    check(OBJECTIVES[name](**parameters), each(WORKED[name]), **parameters)


def test_the_draw_of_sampo_is_one_of_all_choices_of_tokens():
    """|chosen| = 2 of 3 tokens of the rejected response: each of three choices, for some seed."""
    row = ROWS[0]
    found = {round(sampo(row, row, 0.1, seed), 12) for seed in range(40)}
    gains = [p - r for p, r in zip([-1.1, -1.7, -1.6], [-1.0, -1.0, -1.0], strict=True)]
    uneven = replace(row, l=replace(row.l, p=[-1.1, -1.7, -1.6]))
    choices = {
        round(nls(0.1 * (row.w.a - sum(kept))), 12) for kept in itertools.combinations(gains, 2)
    }
    assert len(found) == 1  # its tokens are equal
    assert {round(sampo(uneven, uneven, 0.1, seed), 12) for seed in range(40)} == choices
    for seed in range(5):
        check(OBJECTIVES["sampo"](seed=seed), each(sampo), [uneven], beta=0.1, seed=seed)


def test_simpo_takes_gamma_or_its_ratio_to_beta():
    simpo = OBJECTIVES["simpo"]
    assert simpo(beta=10.0, gamma_beta_ratio=0.3).parameters == {"beta": 10.0, "gamma": 3.0}
    assert simpo().parameters == {"beta": 2.0, "gamma": 1.0}
    with pytest.raises(RecipeError, match=r"^objective.simpo: `gamma` and `gamma_beta_ratio`"):
        simpo(gamma=0.5, gamma_beta_ratio=0.5)


def test_the_length_term_of_rdpo_asks_less_of_a_longer_chosen_response():
    """Its sign: + α (|chosen| − |rejected|) inside σ, so that length is no way to win."""
    longer = [row for row in ROWS if row.w.n > row.l.n]
    assert longer
    for row in longer:
        assert LENGTHS["rdpo"](row, row, 0.1, 0.5) < nls(0.1 * row.h)


def test_the_length_normalized_loss_is_the_negative_of_the_printed_objective():
    """Its gradient raises log π(chosen) per token and lowers that of rejected."""
    from plain_rows import batch_of

    batch, _ = batch_of("pair", ROWS, {})
    OBJECTIVES["luce_length_normalized"]()(batch).sum().backward()
    assert (batch.chosen.policy.grad < 0).all() and (batch.rejected.policy.grad > 0).all()


def test_geometric_at_the_notebooks_alphas():
    """Ω(chosen) − Ω(rejected) = h/α + Δ log π_ref: −0.5/α + 1 of the first row."""
    for alpha, z in ((1.0, 0.5), (0.25, -1.0), (1 / 16, -7.0)):
        assert math.isclose(FREE["pbde_geometric"](ROWS[0], ROWS[0], alpha), nls(z))
