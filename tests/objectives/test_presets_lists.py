"""Worked numbers of objectives on lists, K = 2, 3 and 4 side by side; of every list loss; and of
what a batch of lists may not be."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from plain_rows import LOG, ROWS, E, batch_of, check, each, nls, relu

from luce.errors import LuceError
from luce.objectives import LIST_LOSSES, OBJECTIVES, ListObjective
from luce.objectives.ranking import Matrix
from luce.objectives.scores import log_ratio

A, B, C = ROWS
LISTS = [
    [(A.w, 0.4), (A.l, 0.9), (B.w, 0.1)],
    [(B.l, 0.6), (C.w, 0.2)],
    [(C.l, 0.3), (copy.deepcopy(A.l), 0.8), (copy.deepcopy(B.l), 0.8), (copy.deepcopy(C.w), 0.5)],
]
"""(response, grade); the second and third of the last list are tied."""


def softmax(values):
    top = max(values)
    weights = [E(x - top) for x in values]
    return [w / sum(weights) for w in weights]


def kl(p, q):
    return sum(a * LOG(a / b) for a, b in zip(p, q, strict=True))


def graded_pairs(grades):
    """(i, j) with R_i > R_j."""
    n = range(len(grades))
    return [(i, j) for i in n for j in n if grades[i] > grades[j]]


# Ω and R of a list -> cost; `still` is Ω without gradient
def pairwise_hinge(omega, grades, still):
    return sum(relu(omega[j] - omega[i]) for i, j in graded_pairs(grades))


def plackett_luce(omega, grades, still):
    order = sorted(range(len(grades)), key=lambda i: (-grades[i], i))
    ranked = [omega[i] for i in order]
    return -sum(LOG(softmax(ranked[k:])[0]) for k in range(len(ranked)))


def soft_cross_entropy(omega, grades, still, alpha=0.01):
    target = softmax([r / alpha for r in grades])
    return -sum(t * LOG(p) for t, p in zip(target, softmax(omega), strict=True))


def noise_contrast(omega, grades, still, alpha=0.01):
    target = softmax([r / alpha for r in grades])
    return sum(t * nls(x) + nls(-x) / len(omega) for t, x in zip(target, omega, strict=True))


def forward_kl(omega, grades, still, beta_r=0.1):
    return kl(softmax([r / beta_r for r in grades]), softmax(omega))


def reverse_kl(omega, grades, still, beta_r=0.1):
    return kl(softmax(omega), softmax([r / beta_r for r in grades]))


def lambda_weighted(omega, grades, still, psi="score"):
    lower = [sum(other < r for other in grades) for r in grades]
    gain = [2 ** (x if psi == "score" else k) for x, k in zip(grades, lower, strict=True)]
    rank = [1 + sum(other > x for other in still) for x in still]
    total = 0.0
    for i, j in graded_pairs(grades):
        discount = abs(1 / LOG(1 + rank[i]) - 1 / LOG(1 + rank[j]))
        total += abs(gain[i] - gain[j]) * discount * LOG(1 + E(omega[j] - omega[i]))
    return total


WORKED_LOSSES = {
    "pairwise_hinge": pairwise_hinge,
    "plackett_luce": plackett_luce,
    "soft_cross_entropy": soft_cross_entropy,
    "noise_contrast": noise_contrast,
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "lambda_weighted": lambda_weighted,
}


def on_ratios(loss):
    def formula(y, s, beta, **parameters):
        grades = [r for _, r in y]
        omega, still = ([beta * response.a for response, _ in row] for row in (y, s))
        return loss(omega, grades, still, **parameters)

    return formula


def rrhf(y, s, sft_weight):
    means, grades = [response.m for response, _ in y], [r for _, r in y]
    best = grades.index(max(grades))
    return pairwise_hinge(means, grades, means) - sft_weight * means[best]


WORKED = {
    "rrhf": rrhf,
    "plackett_luce": on_ratios(plackett_luce),
    "infonca": on_ratios(soft_cross_entropy),
    "nca_list": on_ratios(noise_contrast),
    "lipo": on_ratios(lambda_weighted),
    "exo_rw": on_ratios(reverse_kl),
    "dpo_rw": on_ratios(forward_kl),
}
DEFAULTS = {
    "rrhf": {"sft_weight": 1.0},
    "plackett_luce": {"beta": 0.1},
    "infonca": {"beta": 0.01, "alpha": 0.01},
    "nca_list": {"beta": 0.01, "alpha": 0.01},
    "lipo": {"beta": 0.05, "psi": "score"},
    "exo_rw": {"beta": 0.1, "beta_r": 0.1},
    "dpo_rw": {"beta": 0.1, "beta_r": 0.1},
}
OTHERS = [
    ("rrhf", {"sft_weight": 0.3}),
    ("rrhf", {"sft_weight": 0.0}),
    ("plackett_luce", {"beta": 0.7}),
    ("infonca", {"beta": 0.3, "alpha": 0.5}),
    ("nca_list", {"beta": 0.3, "alpha": 0.5}),
    ("lipo", {"beta": 0.4, "psi": "rank"}),
    ("exo_rw", {"beta": 0.4, "beta_r": 0.6}),
    ("dpo_rw", {"beta": 0.4, "beta_r": 0.6}),
]


def test_every_worked_number_stands_at_the_defaults_and_at_others():
    assert WORKED.keys() == DEFAULTS.keys() == {name for name, _ in OTHERS}


@pytest.mark.parametrize("name", WORKED)
def test_cost_and_gradient_at_the_defaults(name):
    check(OBJECTIVES[name](), each(WORKED[name]), LISTS, **DEFAULTS[name])


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=lambda x: str(x))
def test_cost_and_gradient_at_other_parameters(name, parameters):
    check(OBJECTIVES[name](**parameters), each(WORKED[name]), LISTS, **parameters)


# --- the losses themselves ------------------------------------------------------------------------

OMEGA, GRADE = [0.4, -0.3, 1.1], [1.0, 3.0, 2.0]


def test_every_list_loss_has_a_worked_number():
    assert LIST_LOSSES.keys() == WORKED_LOSSES.keys()


@pytest.mark.parametrize("name", LIST_LOSSES)
def test_a_list_of_three_beside_one_of_two(name):
    def matrix(rows):
        return torch.tensor(rows, dtype=torch.float64)

    there = torch.tensor([[True, True, True], [True, True, False]])
    both = Matrix(matrix([OMEGA, [0.2, 0.9, 0.0]]), matrix([GRADE, [0.5, 0.1, 0.0]]), there)
    expected = [
        WORKED_LOSSES[name](OMEGA, GRADE, OMEGA),
        WORKED_LOSSES[name]([0.2, 0.9], [0.5, 0.1], [0.2, 0.9]),
    ]
    loss = LIST_LOSSES[name]()
    assert loss.value(both).tolist() == pytest.approx(expected, rel=1e-12)
    assert "Ω" in loss.formula("Ω")


SOFT_GRADES = {"soft_cross_entropy": {"alpha": 1.0}, "noise_contrast": {"alpha": 1.0}}


@pytest.mark.parametrize("name", LIST_LOSSES)
def test_an_ordinal_loss_reads_the_order_of_the_grades_alone(name):
    objective = ListObjective(log_ratio(0.3), LIST_LOSSES[name](**SOFT_GRADES.get(name, {})))
    batch, _ = batch_of("list", LISTS, {})
    stretched = [[(y, 3 * r**2 + 1) for y, r in row] for row in LISTS]
    same = torch.allclose(objective(batch), objective(batch_of("list", stretched, {})[0]))
    assert same == objective.loss.ordinal


def test_the_ranking_of_three_by_hand():
    """SCOPE's RRHF: Σ_{R_i > R_j} max(0, m_j − m_i) − m_best, m = −1, −0.5, −2 and the first best:
    0.5 of the pair (1, 2), and 1 of the likelihood."""
    omega = torch.tensor([[-1.0, -0.5, -2.0]], dtype=torch.float64)
    grade = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64)
    m = Matrix(omega, grade, torch.ones_like(omega, dtype=torch.bool))
    assert LIST_LOSSES["pairwise_hinge"]().value(m).item() == pytest.approx(0.5)
    expected = LOG(1 + E(0.5) + E(-1)) + LOG(1 + E(-1.5))
    assert LIST_LOSSES["plackett_luce"]().value(m).item() == pytest.approx(expected)


# --- the parts of a list objective ----------------------------------------------------------------


@pytest.mark.parametrize("name", WORKED)
def test_metrics_of_lists(name):
    objective = OBJECTIVES[name]()
    batch, _ = batch_of("list", LISTS, {})
    batch = replace(batch, responses=replace(batch.responses, reward=None))
    found = {key: values.tolist() for key, values in objective.metrics(batch).items()}
    score = (lambda y: y.m) if name == "rrhf" else (lambda y: DEFAULTS[name]["beta"] * y.a)
    # the best is the first of those graded highest, the worst the last of those graded lowest
    best, worst = [A.l, B.l, A.l], [B.w, C.w, C.l]
    assert found["rewards/chosen"] == pytest.approx([score(y) for y in best])
    assert found["rewards/rejected"] == pytest.approx([score(y) for y in worst])
    gaps = [score(x) - score(y) for x, y in zip(best, worst, strict=True)]
    assert found["rewards/margins"] == pytest.approx(gaps)
    assert found["logps/chosen"] == pytest.approx([y.l for y in best])
    assert found["logps/rejected"] == pytest.approx([y.l for y in worst])
    assert found["logps_per_token/chosen"] == pytest.approx([y.m for y in best])
    assert found["length/chosen"] == [y.n for y in best]
    assert found["length/rejected"] == [y.n for y in worst]
    assert ("nll" in found) == (name == "rrhf")
    if name == "rrhf":
        assert found["nll"] == pytest.approx([-y.m for y in best])
        assert "nll" not in OBJECTIVES["rrhf"](sft_weight=0.0).metrics(batch)
    for row, accuracy in zip(LISTS, found["rewards/accuracies"], strict=True):
        wanted = graded_pairs([r for _, r in row])
        omega = [score(y) for y, _ in row]
        right = sum((omega[i] > omega[j]) + 0.5 * (omega[i] == omega[j]) for i, j in wanted)
        assert accuracy == pytest.approx(right / len(wanted))
    assert objective.weight(batch).tolist() == [1.0, 1.0, 1.0]


def test_a_list_of_one_is_an_error_that_names_it():
    batch, _ = batch_of("list", [*LISTS[:1], [(B.l, 1.0)]], {})
    with pytest.raises(LuceError, match=r"^responses: list 1 of the batch has 1\. A ranking needs"):
        OBJECTIVES["plackett_luce"]()(batch)


def test_a_list_whose_grades_are_all_equal_teaches_pairs_nothing():
    ties = [[(y, 0.5) for y, _ in row] for row in LISTS]
    batch, _ = batch_of("list", ties, {})
    assert OBJECTIVES["rrhf"](sft_weight=0.0)(batch).tolist() == [0.0, 0.0, 0.0]
    assert OBJECTIVES["lipo"]()(batch).tolist() == [0.0, 0.0, 0.0]
    assert all(math.isnan(x) for x in OBJECTIVES["lipo"]().metrics(batch)["rewards/accuracies"])


def test_ties_keep_the_order_of_the_data():
    """In lists as long as an unstable sort would mix up; and of the worst the last is reported."""
    n = 300
    omega = torch.linspace(-1, 1, n, dtype=torch.float64)[None]
    there = torch.ones(1, n, dtype=torch.bool)
    tied = Matrix(omega, torch.zeros_like(omega), there)
    suffix = omega.flip(1).logcumsumexp(1).flip(1)
    found = LIST_LOSSES["plackett_luce"]().value(tied)
    torch.testing.assert_close(found, (suffix - omega).sum(1))
    level = Matrix(torch.zeros_like(omega), omega, there)
    rank = torch.arange(1, n + 1, dtype=torch.float64)
    gain, discount = torch.exp2(omega[0]), 1 / torch.log1p(rank)
    delta = (gain[:, None] - gain) * (discount[:, None] - discount)
    expected = delta.abs().tril(-1).sum() * LOG(2)
    torch.testing.assert_close(LIST_LOSSES["lambda_weighted"]().value(level)[0], expected)
    batch, _ = batch_of("list", [[(A.w, 0.9), (A.l, 0.1), (B.w, 0.1)]], {})
    batch = replace(batch, responses=replace(batch.responses, reward=None))
    assert OBJECTIVES["lipo"]().metrics(batch)["logps/rejected"].item() == pytest.approx(B.w.l)


def test_the_likelihood_of_the_best_is_printed_with_its_weight():
    bare = "Σ_(R_i > R_j) max(0, (log π/|y|)(j) − (log π/|y|)(i))"
    for weight, text in ((0.0, ""), (1.0, " − log π(best)/|best|"), (2.0, " − 2·log π(best)/|b")):
        formula = OBJECTIVES["rrhf"](sft_weight=weight).formula
        assert formula.startswith(bare + text) and (weight or formula == bare)
