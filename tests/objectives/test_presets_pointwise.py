"""Worked numbers of objectives that judge each response by itself, and of their sums."""

import copy
from dataclasses import replace

import pytest
from plain_rows import ROWS, check, each, nls, sigma

from luce.objectives import OBJECTIVES

# (response, P(desirable)): the rows' chosen and rejected responses, one of them judged by halves
SINGLES = [(row.w, 1.0) for row in ROWS] + [(row.l, 0.0) for row in ROWS]
SINGLES += [(copy.deepcopy(ROWS[0].w), 0.3)]
RUNNING = {"kl": 0.5, "rewards/good": 0.3, "rewards/bad": -0.7}


def kto(y, s, beta, lam_d, lam_u, kl=0.5):
    (response, p), z0 = y, max(0.0, kl)
    desirable = lam_d * (1 - sigma(beta * (response.a - z0)))
    return p * desirable + (1 - p) * lam_u * (1 - sigma(beta * (z0 - response.a)))


def bco(y, s, beta, delta=(0.3 - 0.7) / 2):
    response, p = y
    x = beta * response.a - delta
    return p * nls(x) + (1 - p) * nls(-x)


def bco_on_pairs(y, beta, delta):
    return nls(beta * y.w.a - delta) + nls(-(beta * y.l.a - delta))


UNPAIRED = {"kto": kto, "bco": bco}
PAIRED = {
    "nca": lambda y, s, beta: (
        nls(beta * y.w.a) + 0.5 * nls(-beta * y.w.a) + 0.5 * nls(-beta * y.l.a)
    ),
    "sppo": lambda y, s, beta: (
        0.5 * ((y.w.a - (1 - 0.5) / beta) ** 2 + (y.l.a - (0 - 0.5) / beta) ** 2)
    ),
    "apo_zero": lambda y, s, beta: 1 - sigma(beta * y.w.a) + sigma(beta * y.l.a),
    "apo_down": lambda y, s, beta: sigma(beta * y.w.a) + 1 - sigma(beta * y.h),
    "cal_dpo": lambda y, s, beta: (
        nls(y.h) + 0.5 * ((y.w.a - 1 / (2 * beta)) ** 2 + (y.l.a + 1 / (2 * beta)) ** 2)
    ),
    "mpo": lambda y, s, beta, weights: (
        weights[0] * nls(beta * y.h)
        + weights[1] * bco_on_pairs(y, beta, (0.3 - 0.7) / 2)
        - weights[2] * y.w.m
    ),
}
WORKED = UNPAIRED | PAIRED
DEFAULTS = {
    "kto": {"beta": 0.1, "lam_d": 1.0, "lam_u": 1.0},
    "bco": {"beta": 0.1},
    "nca": {"beta": 0.01},
    "sppo": {"beta": 1e-3},
    "apo_zero": {"beta": 0.1},
    "apo_down": {"beta": 0.1},
    "cal_dpo": {"beta": 2e-3},
    "mpo": {"beta": 0.1, "weights": (0.8, 0.2, 1.0)},
}
OTHERS = [
    ("kto", {"beta": 0.4, "lam_d": 1.2, "lam_u": 0.7}),
    ("kto", {"beta": 0.4, "lam_d": 0.0, "lam_u": 1.0}),
    ("bco", {"beta": 0.6}),
    ("nca", {"beta": 0.5}),
    ("sppo", {"beta": 0.2}),
    ("apo_zero", {"beta": 0.7}),
    ("apo_down", {"beta": 0.7}),
    ("cal_dpo", {"beta": 0.3}),
    ("mpo", {"beta": 0.3, "weights": (0.2, 0.5, 0.4)}),
    ("mpo", {"beta": 0.3, "weights": (0.0, 0.5, 0.0)}),
]


def worked(name):
    """The formula and its rows."""
    if name in UNPAIRED:
        return each(UNPAIRED[name]), SINGLES
    return each(PAIRED[name]), ROWS


def test_every_worked_number_stands_at_the_defaults_and_at_others():
    assert WORKED.keys() == DEFAULTS.keys() == {name for name, _ in OTHERS}


@pytest.mark.parametrize("name", DEFAULTS)
def test_cost_and_gradient_at_the_defaults(name):
    formula, rows = worked(name)
    check(OBJECTIVES[name](), formula, rows, RUNNING, **DEFAULTS[name])


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=lambda x: str(x))
def test_cost_and_gradient_at_other_parameters(name, parameters):
    formula, rows = worked(name)
    check(OBJECTIVES[name](**parameters), formula, rows, RUNNING, **parameters)


P = 0.7
SOFT = {
    "nca": lambda y, s: sum(
        p * nls(0.01 * side.a) + 0.5 * nls(-0.01 * side.a) for p, side in ((P, y.w), (1 - P, y.l))
    ),
    "sppo": lambda y, s: (
        0.5 * ((y.w.a - (P - 0.5) / 1e-3) ** 2 + (y.l.a - (1 - P - 0.5) / 1e-3) ** 2)
    ),
    "apo_zero": lambda y, s: (
        P * (1 - sigma(0.1 * y.w.a) + sigma(0.1 * y.l.a))
        + (1 - P) * (1 - sigma(0.1 * y.l.a) + sigma(0.1 * y.w.a))
    ),
    "apo_down": lambda y, s: (
        P * (sigma(0.1 * y.w.a) + 1 - sigma(0.1 * y.h))
        + (1 - P) * (sigma(0.1 * y.l.a) + 1 - sigma(-0.1 * y.h))
    ),
}


@pytest.mark.parametrize("name", SOFT)
def test_cost_and_gradient_with_a_soft_label(name):
    check(OBJECTIVES[name](), each(SOFT[name]), [replace(row, label=P) for row in ROWS])


@pytest.mark.parametrize(
    ("running", "kl"), [({}, 0.0), ({"kl": 0.5}, 0.5), ({"kl": -0.5}, 0.0)], ids=str
)
def test_the_baseline_of_kto_is_a_divergence_and_zero_until_there_is_a_mean(running, kl):
    check(OBJECTIVES["kto"](), each(lambda y, s: kto(y, s, 0.1, 1.0, 1.0, kl)), SINGLES, running)


@pytest.mark.parametrize(
    ("running", "delta"),
    [
        ({}, 0.0),
        ({"rewards/good": 0.4}, 0.4),
        ({"rewards/bad": -0.6}, -0.6),
        ({"rewards/good": 0.4, "rewards/bad": -0.6}, -0.1),
    ],
    ids=str,
)
def test_the_shift_of_bco_lies_halfway_between_the_means_there_are(running, delta):
    check(OBJECTIVES["bco"](), each(lambda y, s: bco(y, s, 0.1, delta)), SINGLES, running)
