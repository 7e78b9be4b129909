"""Worked numbers of DPO's descendants and of GPO, in plain arithmetic."""

import math
from dataclasses import replace
from typing import Any

import pytest
from plain_rows import LOG, ROWS, E, check, each, nls, relu, sigma

from luce.objectives import OBJECTIVES


def kl_to_flip(z, eps):
    """KL([σ(z), σ(−z)] ‖ [1 − ε, ε])."""
    return sigma(z) * LOG(sigma(z) / (1 - eps)) + sigma(-z) * LOG(sigma(-z) / eps)


def nll_of(y, nll):
    return -y.l if nll == "sum" else -y.m


def on_policy_weight(y):
    return E(sum(p - LOG(s) for p, s in zip(y.p, y.sum_p2, strict=True)) / y.n)


def wpo(y, s, beta, clamp):
    w = on_policy_weight(s.w) * on_policy_weight(s.l)
    return (min(w, 1) if clamp else w) * nls(beta * y.h)


def inpo(y, s, eta, tau_over_eta):
    history = sum(y.w.history) - sum(y.l.history)
    ratio = y.w.l - y.l.l - tau_over_eta * (y.w.r - y.l.r) - (1 - tau_over_eta) * history
    return (ratio - 1 / (2 * eta)) ** 2


def discopop(y, s, beta, tau):
    z = beta * y.h
    m = sigma(z / tau)
    return (1 - m) * nls(z) + m * E(-z)


def chipo(y, s, beta, R):
    z = beta * (E(y.w.a) + y.w.a - E(y.l.a) - y.l.a)
    return nls(min(max(z, -2 * R), 2 * R))


def f_prime(u, divergence, alpha):
    return {
        "reverse_kl": LOG(u),
        "forward_kl": -1 / u,
        "js": LOG(2 * u / (1 + u)),
        "alpha": (1 - u**-alpha) / alpha,
    }[divergence]


def fdpo(y, s, beta, divergence, alpha):
    w, l = (f_prime(E(side.a), divergence, alpha) for side in (y.w, y.l))  # noqa: E741
    return nls(beta * (w - l))


DPO = {
    "dpo": lambda y, s, beta: nls(beta * y.h),
    "cdpo": lambda y, s, beta, eps: (1 - eps) * nls(beta * y.h) + eps * nls(-beta * y.h),
    "robust_dpo": lambda y, s, beta, eps: (
        ((1 - eps) * nls(beta * y.h) - eps * nls(-beta * y.h)) / (1 - 2 * eps)
    ),
    "gdpo": lambda y, s, beta: nls(beta * (2 * y.label - 1) * y.h),
    "exo": lambda y, s, beta, eps: kl_to_flip(beta * y.h, eps),
    "dpo_nll": lambda y, s, beta, alpha, nll: nls(beta * y.h) + alpha * nll_of(y.w, nll),
    "dpop": lambda y, s, beta, lam: nls(beta * (y.h - lam * relu(y.w.r - y.w.l))),
    "odpo": lambda y, s, beta, alpha: nls(beta * y.h - alpha * LOG(y.score_w - y.score_l)),
    "modpo": lambda y, s, beta, w: nls((beta * y.h - (1 - w) * (y.score_w - y.score_l)) / w),
    "rebel": lambda y, s, eta: (y.h - eta * (y.score_w - y.score_l)) ** 2,
    "wpo": wpo,
    "xpo": lambda y, s, beta, alpha: (
        nls(beta * y.h) + alpha * (y.w.l if y.from_reference == "w" else y.l.l)
    ),
    "inpo": inpo,
    "discopop": discopop,
    "chipo": chipo,
    "fdpo": fdpo,
}
GPO = {
    "ipo": lambda y, s, tau, per_token: (
        ((y.w.a / y.w.n - y.l.a / y.l.n if per_token else y.h) - 1 / (2 * tau)) ** 2
    ),
    "gpo_hinge": lambda y, s, beta: relu(1 - beta * y.h),
    "gpo_square": lambda y, s, beta: (beta * y.h - 1) ** 2,
    "gpo_exponential": lambda y, s, beta: E(-beta * y.h),
    "gpo_truncated_quadratic": lambda y, s, beta: relu(1 - beta * y.h) ** 2,
    "gpo_savage": lambda y, s, beta: 1 / (1 + E(beta * y.h)) ** 2,
    "rso_hinge": lambda y, s, gamma: gamma * relu(1 / gamma - y.h),
    "rso_sigmoid": lambda y, s, gamma: nls(gamma * y.h),
}
WORKED = DPO | GPO

DEFAULTS = {
    "dpo": {"beta": 0.1},
    "cdpo": {"beta": 0.1, "eps": 0.1},
    "robust_dpo": {"beta": 0.1, "eps": 0.1},
    "gdpo": {"beta": 0.1},
    "exo": {"beta": 0.1, "eps": 1e-3},
    "dpo_nll": {"beta": 0.1, "alpha": 1.0, "nll": "mean"},
    "dpop": {"beta": 0.3, "lam": 50.0},
    "odpo": {"beta": 0.1, "alpha": 1.0},
    "modpo": {"beta": 0.1, "w": 0.5},
    "rebel": {"eta": 1.0},
    "wpo": {"beta": 0.01, "clamp": True},
    "xpo": {"beta": 0.1, "alpha": 1e-5},
    "inpo": {"eta": 0.005, "tau_over_eta": 1 / 3},
    "discopop": {"beta": 0.05, "tau": 0.05},
    "chipo": {"beta": 0.1, "R": 1.0},
    "fdpo": {"beta": 0.1, "divergence": "alpha", "alpha": 0.5},
    "ipo": {"tau": 0.1, "per_token": False},
    "gpo_hinge": {"beta": 0.1},
    "gpo_square": {"beta": 0.1},
    "gpo_exponential": {"beta": 0.1},
    "gpo_truncated_quadratic": {"beta": 0.1},
    "gpo_savage": {"beta": 0.1},
    "rso_hinge": {"gamma": 0.05},
    "rso_sigmoid": {"gamma": 0.05},
}
OTHERS = [
    ("dpo", {"beta": 0.7}),
    ("cdpo", {"beta": 0.5, "eps": 0.25}),
    ("robust_dpo", {"beta": 0.5, "eps": 0.3}),
    ("gdpo", {"beta": 0.6}),
    ("exo", {"beta": 0.4, "eps": 0.2}),
    ("dpo_nll", {"beta": 0.3, "alpha": 0.5, "nll": "sum"}),
    ("dpop", {"beta": 0.2, "lam": 3.0}),
    ("odpo", {"beta": 0.5, "alpha": 0.4}),
    ("modpo", {"beta": 0.3, "w": 0.8}),
    ("rebel", {"eta": 0.3}),
    ("wpo", {"beta": 0.2, "clamp": False}),
    ("xpo", {"beta": 0.4, "alpha": 0.3}),
    ("inpo", {"eta": 0.2, "tau_over_eta": 0.6}),
    ("inpo", {"eta": 0.2, "tau_over_eta": 1.0}),
    ("inpo", {"eta": 0.2, "tau_over_eta": 0.0}),
    ("discopop", {"beta": 0.3, "tau": 0.5}),
    ("chipo", {"beta": 0.05, "R": 0.2}),
    ("fdpo", {"beta": 0.2, "divergence": "reverse_kl", "alpha": 0.5}),
    ("fdpo", {"beta": 0.2, "divergence": "forward_kl", "alpha": 0.5}),
    ("fdpo", {"beta": 0.2, "divergence": "js", "alpha": 0.5}),
    ("fdpo", {"beta": 0.2, "divergence": "alpha", "alpha": 1.0}),
    ("ipo", {"tau": 0.4, "per_token": True}),
    ("gpo_hinge", {"beta": 0.4}),
    ("gpo_square", {"beta": 0.4}),
    ("gpo_exponential", {"beta": 0.4}),
    ("gpo_truncated_quadratic", {"beta": 0.4}),
    ("gpo_savage", {"beta": 0.4}),
    ("rso_hinge", {"gamma": 0.2}),
    ("rso_sigmoid", {"gamma": 0.2}),
]


def test_every_worked_number_stands_at_the_defaults_and_at_others():
    assert WORKED.keys() == DEFAULTS.keys() == {name for name, _ in OTHERS}


@pytest.mark.parametrize("name", WORKED)
def test_cost_and_gradient_at_the_defaults(name):
    check(OBJECTIVES[name](), each(WORKED[name]), **DEFAULTS[name])


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=lambda x: str(x))
def test_cost_and_gradient_at_other_parameters(name, parameters):
    rows = [replace(row, label=0.8) for row in ROWS] if name == "gdpo" else ROWS
    check(OBJECTIVES[name](**parameters), each(WORKED[name]), rows, **parameters)


@pytest.mark.parametrize("name", WORKED)
def test_cost_and_gradient_where_policy_and_reference_agree(name):
    def agreed(y):
        return replace(y, p=list(y.ref), history=list(y.ref))

    rows = [replace(row, w=agreed(row.w), l=agreed(row.l)) for row in ROWS]
    if name == "dpop":  # its relu has a kink there: the side of it is the next test's
        rows = [replace(row, w=replace(row.w, p=[x + 0.1 for x in row.w.p])) for row in rows]
    check(OBJECTIVES[name](), each(WORKED[name]), rows, **DEFAULTS[name])


def test_dpop_does_not_push_a_chosen_response_that_lost_nothing():
    """At log π = log π_ref of the chosen response the penalty has no slope."""
    rows = [replace(row, w=replace(row.w, p=list(row.w.ref))) for row in ROWS]
    check(OBJECTIVES["dpop"](), each(lambda y, s: nls(0.3 * y.h)), rows)


# a label p: what each label model makes of the two orders of a pair
P = 0.8
SOFT = {
    "dpo": lambda y, s: P * nls(0.1 * y.h) + (1 - P) * nls(-0.1 * y.h),
    "cdpo": lambda y, s: (
        (0.9 * P + 0.1 * (1 - P)) * nls(0.1 * y.h) + (0.9 * (1 - P) + 0.1 * P) * nls(-0.1 * y.h)
    ),
    "robust_dpo": lambda y, s: (
        (P - 0.1) / 0.8 * nls(0.1 * y.h) + (1 - P - 0.1) / 0.8 * nls(-0.1 * y.h)
    ),
    "exo": lambda y, s: kl_to_flip(0.1 * y.h, (1 - P) * 0.999 + P * 0.001),
    "ipo": lambda y, s: P * (y.h - 5) ** 2 + (1 - P) * (-y.h - 5) ** 2,
    "dpop": lambda y, s: (
        P * nls(0.3 * (y.h - 50 * relu(-y.w.a))) + (1 - P) * nls(0.3 * (-y.h - 50 * relu(-y.l.a)))
    ),
    "rebel": lambda y, s: (y.h - (y.score_w - y.score_l)) ** 2,
    "modpo": lambda y, s: (
        P * nls(0.2 * y.h - (y.score_w - y.score_l))
        + (1 - P) * nls(-0.2 * y.h + (y.score_w - y.score_l))
    ),
}


@pytest.mark.parametrize("name", SOFT)
def test_cost_and_gradient_with_a_soft_label(name):
    rows = [replace(row, label=P) for row in ROWS]
    check(OBJECTIVES[name](), each(SOFT[name]), rows)


def test_an_offset_of_a_pair_labelled_0_is_that_of_the_pair_swapped():
    rows = [replace(row, w=row.l, l=row.w, label=0.0) for row in ROWS]
    rows = [replace(row, score_w=row.score_l, score_l=row.score_w) for row in rows]
    check(
        OBJECTIVES["odpo"](), each(lambda y, s: nls(-0.1 * y.h - LOG(y.score_l - y.score_w))), rows
    )


def test_robust_dpo_can_be_negative():
    sure = replace(ROWS[0], w=replace(ROWS[0].w, p=[0.0, 0.0]))
    parameters: dict[str, Any] = {"beta": 20.0, "eps": 0.4}
    check(OBJECTIVES["robust_dpo"](**parameters), each(DPO["robust_dpo"]), [sure], **parameters)
    assert DPO["robust_dpo"](sure, sure, **parameters) < 0


def test_the_square_and_ipo_at_the_papers_number():
    """β = 0.1, h = 2.3: (βh − 1)² = 0.5929 = β² (h − 1/β)² [GPO, Table 1]."""
    row = replace(ROWS[1], w=replace(ROWS[1].w, p=[0.0]), l=replace(ROWS[1].l, p=[-2.3]))
    row = replace(row, w=replace(row.w, ref=[-1.0]), l=replace(row.l, ref=[-1.0]))
    assert row.h == 2.3 and math.isclose(GPO["gpo_square"](row, row, 0.1), 0.5929)
    assert math.isclose(0.01 * GPO["ipo"](row, row, 0.05, False), 0.5929)
