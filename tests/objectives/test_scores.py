import math
from dataclasses import replace

import pytest
import torch
from plain_rows import LOG, ROWS, E, makers, pairs, slopes, tensors

from luce.errors import LuceError
from luce.objectives import SCORES, Score, scores
from luce.objectives.scores import log_odds, log_ratio, reward
from luce.objectives.token_scores import length_desensitized, log_ratio_with_kl, position
from luce.types import Responses


def desensitized(y, other, beta, alpha):
    shared = min(y.n, other.n)
    gains = [p - r for p, r in zip(y.p, y.ref, strict=True)]
    return beta * (sum(gains[:shared]) + alpha * sum(gains[shared:]))


def f_prime(u, kind, alpha):
    return {
        "reverse_kl": LOG(u),
        "forward_kl": -1 / u,
        "js": LOG(2 * u / (1 + u)),
        "alpha": (1 - u**-alpha) / alpha,
    }[kind]


# Ω of a response y, compared with another one, with the parameters' defaults
WORKED = {
    "log_prob": lambda y, o, beta=1.0: beta * y.l,
    "mean_log_prob": lambda y, o, beta=2.0: beta * y.l / y.n,
    "log_ratio": lambda y, o, beta=0.1: beta * y.a,
    "mean_log_ratio": lambda y, o, beta=5.0: beta * y.a / y.n,
    "geometric": lambda y, o, alpha=0.25: y.a / alpha + y.r,
    "length_regularized": lambda y, o, beta=0.1, alpha=0.01: beta * y.a + alpha * y.n,
    "length_desensitized": lambda y, o, beta=0.1, alpha=0.5: desensitized(y, o, beta, alpha),
    "log_ratio_with_kl": lambda y, o, beta=0.1: beta * (y.a + sum(y.kl)),
    "two_reference": lambda y, o, beta=1.0, share=1 / 3: (
        beta * (y.l - share * y.r - (1 - share) * sum(y.history))
    ),
    "log_odds": lambda y, o: LOG(E(y.m) / (1 - E(y.m))),
    "divergence": lambda y, o, beta=0.1, kind="reverse_kl", alpha=0.5: (
        beta * f_prime(E(y.a), kind, alpha)
    ),
    "box_cox": lambda y, o, beta=2.0, alpha=0.25: (
        beta * ((1 - E(-alpha * y.m)) / alpha if alpha else y.m)
    ),
    "chi_squared": lambda y, o, beta=0.1: beta * (E(y.a) + y.a),
    "mean_prob": lambda y, o: E(y.m),
    "reward": lambda y, o: y.reward[0],
}
OTHERS = [
    ("log_prob", {"beta": 0.3}),
    ("mean_log_prob", {"beta": 0.3}),
    ("log_ratio", {"beta": 0.3}),
    ("mean_log_ratio", {"beta": 0.3}),
    ("geometric", {"alpha": 1 / 16}),
    ("geometric", {"alpha": 1.0}),
    ("length_regularized", {"beta": 0.3, "alpha": 0.7}),
    ("length_desensitized", {"beta": 0.3, "alpha": 0.0}),
    ("log_ratio_with_kl", {"beta": 0.3}),
    ("two_reference", {"beta": 0.3, "share": 0.0}),
    ("two_reference", {"beta": 0.3, "share": 1.0}),
    ("divergence", {"beta": 0.3, "kind": "forward_kl"}),
    ("divergence", {"beta": 0.3, "kind": "js"}),
    ("divergence", {"beta": 0.3, "kind": "alpha", "alpha": 0.5}),
    ("divergence", {"beta": 0.3, "kind": "alpha", "alpha": 1.0}),
    ("box_cox", {"beta": 0.3, "alpha": -0.5}),
    ("box_cox", {"beta": 0.3, "alpha": 0.0}),
    ("chi_squared", {"beta": 0.3}),
]
AFFINE = {
    "log_prob", "mean_log_prob", "log_ratio", "mean_log_ratio", "geometric", "length_regularized",
    "two_reference", "divergence",
}  # fmt: skip
"""`divergence` is the log-ratio unless told otherwise."""

MEANS = {"mean_log_prob", "mean_log_ratio", "log_odds", "box_cox", "mean_prob"}
FORMULAS = {
    "log_prob": "log π",
    "mean_log_prob": "2·(log π/|y|)",
    "log_ratio": "0.1·log π/π_ref",
    "mean_log_ratio": "5·((log π/π_ref)/|y|)",
    "geometric": "((log π/π_ref)/0.25 + log π_ref)",
    "length_regularized": "(0.1·log π/π_ref + 0.01·|y|)",
    "length_desensitized": "0.1·(head + 0.5·tail of log π/π_ref)",
    "log_ratio_with_kl": "0.1·(log π/π_ref + Σ KL(π_ref‖π))",
    "two_reference": "(log π − (1/3)·log π_ref − (2/3)·log π_t)",
    "log_odds": "logit(π^(1/|y|))",
    "divergence": "0.1·log π/π_ref",
    "box_cox": "2·((1 − π^(−0.25/|y|))/0.25)",
    "chi_squared": "0.1·(π/π_ref + log π/π_ref)",
    "mean_prob": "π^(1/|y|)",
    "reward": "r",
}


def test_every_score_has_a_worked_number():
    assert SCORES.keys() == WORKED.keys() == FORMULAS.keys()
    assert SCORES.keys() == makers(scores, Score)


def check(score, value, parameters):
    """Ω of both sides of the rows, and the gradient of their sum."""
    both = pairs(ROWS)
    for (y, other), (a, b) in (
        ((both.chosen, both.rejected), ([r.w for r in ROWS], [r.l for r in ROWS])),
        ((both.rejected, both.chosen), ([r.l for r in ROWS], [r.w for r in ROWS])),
    ):
        omega = score(y, other)
        expected = [value(p, q, **parameters) for p, q in zip(a, b, strict=True)]
        assert omega.tolist() == pytest.approx(expected, rel=1e-12)
        by_hand = slopes(
            a, lambda a=a, b=b: sum(value(p, q, **parameters) for p, q in zip(a, b, strict=True))
        )
        leaves = [y.policy, y.reward, y.columns["kl"]]
        found = torch.autograd.grad(omega.sum(), leaves, allow_unused=True)
        for name, got in zip(("p", "reward", "kl"), found, strict=True):
            slope = [0.0] * len(by_hand[name]) if got is None else got.tolist()
            assert slope == pytest.approx(by_hand[name], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", SCORES)
def test_value_and_gradient_at_the_defaults(name):
    check(SCORES[name](), WORKED[name], {})


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=str)
def test_value_and_gradient_at_other_parameters(name, parameters):
    check(SCORES[name](**parameters), WORKED[name], parameters)


@pytest.mark.parametrize("name", SCORES)
def test_an_affine_score_is_f_log_prob_plus_g_with_f_positive(name):
    score, y = SCORES[name](), tensors([row.w for row in ROWS])
    assert (score.affine is not None) == (name in AFFINE)
    if score.affine is None:
        return
    f = torch.as_tensor(score.affine.f(y), dtype=torch.float64)
    assert (f > 0).all()
    torch.testing.assert_close(score.scale * (f * y.log_prob + score.affine.g(y)), score(y))


@pytest.mark.parametrize("name", SCORES)
def test_what_it_counts_and_what_is_printed(name):
    score = SCORES[name]()
    assert score.unit == ("reward" if name == "reward" else "mean" if name in MEANS else "sum")
    assert score.formula == FORMULAS[name]
    factor, term = ("", score.term) if score.scale == 1 else FORMULAS[name].split("·", 1)
    dot = "" if score.scale == 1 else "·"
    assert score.margin_formula == f"{factor}{dot}[{term}(chosen) − {term}(rejected)]"


PRINTED = [
    ("divergence", {"beta": 0.3, "kind": "forward_kl"}, "0.3·(−π_ref/π)"),
    ("divergence", {"beta": 0.3, "kind": "js"}, "0.3·log(2π/(π + π_ref))"),
    ("divergence", {"beta": 0.3, "kind": "alpha"}, "0.3·((1 − (π_ref/π)^0.5)/0.5)"),
    ("box_cox", {"beta": 0.3, "alpha": 0.0}, "0.3·(log π/|y|)"),
    ("two_reference", {"beta": 0.3, "share": 1.0}, "0.3·log π/π_ref"),
]


@pytest.mark.parametrize(("name", "parameters", "text"), PRINTED)
def test_formulas_of_other_parameters(name, parameters, text):
    assert SCORES[name](**parameters).formula == text


@pytest.mark.parametrize(("name", "parameters"), [*((n, {}) for n in SCORES), *OTHERS], ids=str)
def test_needs_are_as_declared(name, parameters):
    """Without what it needs it is an error, and nothing else is read."""
    score, y = SCORES[name](**parameters), tensors([row.w for row in ROWS])
    bare = replace(
        y,
        reference=y.reference if "reference" in score.needs else None,
        columns={k: v for k, v in y.columns.items() if k in score.needs},
        reward=y.reward if "reward" in score.needs else None,
    )
    torch.testing.assert_close(score(bare), score(y))
    for need in score.needs:
        columns = {k: v for k, v in y.columns.items() if k != need}
        less = replace(y, columns=columns)
        less = replace(less, **({need: None} if need in ("reference", "reward") else {}))
        with pytest.raises(LuceError):
            score(less)


def test_a_batch_without_rewards_says_what_to_do():
    with pytest.raises(LuceError, match="model.kind: reward"):
        reward()(Responses(torch.zeros(1), torch.tensor([1])))


# --- tokens ---------------------------------------------------------------------------------------


def test_the_tail_begins_after_as_many_tokens_as_the_shorter_response_has():
    def only(tokens, n):
        zeros = torch.zeros(sum(n), dtype=torch.float64)
        return Responses(torch.tensor(tokens, dtype=torch.float64), torch.tensor(n), zeros)

    y, other = only([1.0, 10, 100, 1000, 1.0], [4, 1]), only([0.0] * 5, [2, 3])
    assert length_desensitized(1.0, 0.5)(y, other).tolist() == [1 + 10 + 50 + 500, 1.0]
    assert length_desensitized(1.0, 0.5)(y).tolist() == [1111.0, 1.0]
    assert position(torch.tensor([3, 1, 2])).tolist() == [0, 1, 2, 0, 0, 1]


def test_the_divergence_is_that_of_all_tokens_of_a_response():
    y = tensors([ROWS[0].w, ROWS[0].l])
    found = log_ratio_with_kl(1.0)(y) - log_ratio(1.0)(y)
    assert found.tolist() == pytest.approx([sum(ROWS[0].w.kl), sum(ROWS[0].l.kl)])


# --- at the ends of the range ---------------------------------------------------------------------


@pytest.mark.parametrize("mean", [-1e-7, -1e-9, -1e-12])
def test_log_odds_keep_their_digits_near_certainty_in_float32(mean):
    """log(1 − exp(m)) taken naively is −inf for these in float32."""
    y = Responses(torch.tensor([mean]), torch.tensor([1]))
    assert log_odds()(y).item() == pytest.approx(mean - math.log(-math.expm1(mean)), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_odds_of_a_certain_response_are_finite_with_slope_one(dtype):
    policy = torch.zeros(2, dtype=dtype, requires_grad=True)
    omega = log_odds()(Responses(policy, torch.tensor([2])))
    (slope,) = torch.autograd.grad(omega.sum(), policy)
    eps = torch.finfo(dtype).eps
    assert omega.item() == pytest.approx(-2 * math.log(eps), rel=1e-6)
    assert slope.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_and_their_slopes_are_finite_far_from_the_reference(name, dtype):
    ends = torch.tensor([0.0, -700.0, -700.0, 0.0], dtype=dtype)
    policy, rewards = ends.clone().requires_grad_(), ends.clone().requires_grad_()
    zeros = torch.zeros_like(ends)
    y = Responses(
        policy,
        torch.ones(4, dtype=torch.long),
        -700 - ends,
        {"kl": zeros, "history": zeros},
        rewards,
    )
    omega = SCORES[name]()(y)
    found = torch.autograd.grad(omega.sum(), [policy, rewards], allow_unused=True)
    assert omega.isfinite().all() and all(g is None or g.isfinite().all() for g in found)
