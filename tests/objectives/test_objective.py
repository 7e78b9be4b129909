"""Objectives on pairs, and what they report."""

import math
from dataclasses import replace

import pytest
import torch
from plain_rows import ROWS, E, nls, pairs, relu, sigma

from luce.errors import LuceError
from luce.objectives import (
    LOSSES,
    Aggregator,
    MarginScale,
    Objective,
    PairWeight,
    Score,
    TargetMargin,
    View,
)
from luce.objectives.needs import needs
from luce.objectives.presets import bradley_terry, cpo, dpo, gdpo, ld_dpo, rdpo, simpo, slic
from luce.objectives.regularizers import nll_sum, optimism
from luce.objectives.scores import log_prob, log_ratio, mean_log_ratio
from luce.types import Pairs, Responses

H = "[log π/π_ref(chosen) − log π/π_ref(rejected)]"
PI = "[log π(chosen) − log π(rejected)]"
FORMULAS = {
    f"4·max(0, 1 − (0.1·{H} − 0.5))": Objective(
        log_ratio(0.1), LOSSES["hinge"], target_margin=0.5, scale=4.0
    ),
    f"(1 − (0.1·{H} + 0.5))²": Objective(log_ratio(0.1), LOSSES["square"], target_margin=-0.5),
    "−log σ(2·[(log π/|y|)(chosen) − (log π/|y|)(rejected)])": simpo(gamma=0.0),
    f"max(0, 2 − {PI}) − 0.1·log π(chosen)": slic(delta=2.0),
    f"max(0, 1 − {PI})": slic(lam=0.0),
    f"κ·{PI}²": Objective(
        log_prob(),
        LOSSES["squared_error"],
        margin_scale=MarginScale(lambda p: p.chosen.length, "κ"),
    ),
    f"2·w·exp(−({PI} − γ)) − log π(chosen); w = 1": Objective(
        log_prob(),
        LOSSES["exponential"],
        target_margin=TargetMargin(lambda p: p.chosen.length, "γ"),
        scale=2.0,
        weights=PairWeight(lambda p: p.chosen.length, "w; w = 1"),
        regularizers=(nll_sum(1.0),),
    ),
    f"max of exp(−{PI}); over all": Objective(
        log_prob(),
        LOSSES["exponential"],
        aggregate=Aggregator(lambda c: c, lambda cost: f"max of {cost}"),
        view=View(lambda p: p, "all"),
    ),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_formula_prints_the_numbers_that_run(formula):
    assert FORMULAS[formula].formula == formula


def test_parts_compose_freely(pair):
    mine = Objective(mean_log_ratio(2.0), LOSSES["savage"], target_margin=0.5, scale=3.0)
    z = 2 * (-1 + 0.5)
    assert mine(pair).item() == pytest.approx(3 / (1 + math.exp(z - 0.5)) ** 2)
    assert mine.margin(pair).item() == pytest.approx(z)
    assert mine.needs_reference and not mine.needs_reward


def weigh(p: Pairs) -> torch.Tensor:
    return p.chosen.log_prob.exp()


def test_all_parts_at_once():
    """scale · w · φ(κ ΔΩ − γ) of the first rows' tokens, + λ · regularizer of all; halved."""
    mine = Objective(
        log_ratio(0.5),
        LOSSES["exponential"],
        target_margin=TargetMargin(lambda p: 0.1 * p.chosen.log_prob, "γ"),
        scale=2.0,
        regularizers=(nll_sum(0.3), optimism(0.2)),
        weights=PairWeight(weigh, "w"),
        margin_scale=MarginScale(lambda p: -p.rejected.log_prob, "κ"),
        view=View(lambda p: replace(p, chosen=p.rejected, rejected=p.chosen), "the others"),
        aggregate=Aggregator(lambda costs: costs / 2, lambda c: f"{c}/2"),
    )
    batch = pairs(ROWS)
    costs = mine(batch)
    expected = [
        (
            2 * E(y.l.l) * E(-(-y.w.l * 0.5 * -y.h - 0.1 * y.l.l))
            - 0.3 * y.w.l
            + 0.2 * (y.w.l if y.from_reference == "w" else y.l.l)
        )
        / 2
        for y in ROWS
    ]
    assert costs.tolist() == pytest.approx(expected)
    assert mine.margin(batch).tolist() == pytest.approx([y.w.l * 0.5 * y.h for y in ROWS])
    got = mine.metrics(replace(batch, **without_rewards(batch)))
    assert got["rewards/chosen"].tolist() == pytest.approx([0.5 * y.l.a for y in ROWS])
    assert got["rewards/rejected"].tolist() == pytest.approx([0.5 * y.w.a for y in ROWS])
    assert got["logps/chosen"].tolist() == pytest.approx([y.w.l for y in ROWS])
    assert got["nll"].tolist() == pytest.approx([-y.w.l for y in ROWS])


def test_weights_and_margin_scales_have_no_gradient():
    batch = pairs(ROWS)
    for part in (
        {"weights": PairWeight(weigh, "w")},
        {"margin_scale": MarginScale(weigh, "κ")},
    ):
        held = weigh(batch).detach()
        fixed = {name: type(term)(lambda _, w=held: w, "") for name, term in part.items()}
        slopes = [
            torch.autograd.grad(
                replace(dpo(), **which)(batch).sum(), [batch.chosen.policy, batch.rejected.policy]
            )
            for which in (part, fixed)
        ]
        torch.testing.assert_close(*slopes)


def test_target_margins_have_one():
    batch, target = pairs(ROWS), TargetMargin(weigh, "γ")
    mine = replace(dpo(), target_margin=target)
    (found,) = torch.autograd.grad(mine(batch).sum(), batch.chosen.policy)
    (bare,) = torch.autograd.grad(dpo()(batch).sum(), batch.chosen.policy)
    assert not torch.allclose(found, bare)


def without_rewards(batch: Pairs) -> dict[str, Responses]:
    return {
        "chosen": replace(batch.chosen, reward=None),
        "rejected": replace(batch.rejected, reward=None),
    }


def test_the_target_margin_of_the_other_order_is_that_of_the_swapped_pair():
    target = TargetMargin(lambda p: 0.5 * p.chosen.log_prob, "γ")
    mine = Objective(log_prob(), LOSSES["logistic"], target_margin=target)
    rows = [replace(row, label=0.7) for row in ROWS]
    expected = [
        0.7 * nls(y.w.l - y.l.l - 0.5 * y.w.l) + 0.3 * nls(y.l.l - y.w.l - 0.5 * y.l.l)
        for y in rows
    ]
    assert mine(pairs(rows)).tolist() == pytest.approx(expected)


def test_a_score_sees_the_response_that_it_is_compared_with():
    """Of chosen rejected, and of rejected chosen; in cost, margin and metrics."""
    score = Score("Ω", lambda y, other: y.log_prob + 0.1 * other.length * y.length, 2.0)
    mine, batch = Objective(score, LOSSES["logistic"]), pairs(ROWS)
    batch = replace(batch, **without_rewards(batch))
    chosen = [2 * (y.w.l + 0.1 * y.w.n * y.l.n) for y in ROWS]
    rejected = [2 * (y.l.l + 0.1 * y.w.n * y.l.n) for y in ROWS]
    got = mine.metrics(batch)
    assert got["rewards/chosen"].tolist() == pytest.approx(chosen)
    assert got["rewards/rejected"].tolist() == pytest.approx(rejected)
    gaps = [a - b for a, b in zip(chosen, rejected, strict=True)]
    assert mine.margin(batch).tolist() == pytest.approx(gaps)
    assert mine(batch).tolist() == pytest.approx([nls(z) for z in gaps])


def test_the_margin_of_ld_dpo_desensitizes_both_sides():
    """Rows of 2 and 3, 3 and 1, and 1 and 2 tokens: the tail is of the longer one."""
    row = ROWS[1]  # chosen is longer by two tokens
    head = (-0.2 + 0.9) + 0.5 * (-0.4 + 1.1 - 0.1 + 0.6)
    assert ld_dpo(1.0).margin(pairs([row])).item() == pytest.approx(head - row.l.a)
    batch = replace(pairs([row]), **without_rewards(pairs([row])))
    got = ld_dpo(1.0).metrics(batch)
    assert got["rewards/chosen"].item() == pytest.approx(head)
    assert got["rewards/rejected"].item() == pytest.approx(row.l.a)


@pytest.mark.parametrize("role", ["chosen", "rejected"])
def test_a_response_without_tokens_is_an_error(role, responses):
    batch = Pairs(responses([[-1.0], [-2.0]]), responses([[-1.0], [-2.0]]))
    empty = replace(batch, **{role: responses([[-1.0], []])})
    for call in (simpo(), simpo().margin, simpo().metrics):
        with pytest.raises(LuceError, match=f"^{role}: response 1 of the batch has no scored toke"):
            call(empty)


def test_an_annotated_margin_is_not_read_by_other_objectives(pair):
    margin = torch.tensor([3.0], dtype=torch.float64)
    torch.testing.assert_close(dpo()(replace(pair, margin=margin)), dpo()(pair))


def test_needs_and_scope_are_those_of_all_parts():
    target = TargetMargin(lambda p: p.chosen.reference_log_prob, "x", needs=needs("reference"))
    assert replace(simpo(), target_margin=target).needs_reference
    assert not simpo().needs_reference and simpo().needs == frozenset()
    assert bradley_terry().needs_reward and not dpo().needs_reward
    parts = {
        "target_margin": TargetMargin(weigh, "γ", needs("kl"), "batch"),
        "weights": PairWeight(weigh, "w", needs("sum_p2"), "batch"),
        "margin_scale": MarginScale(weigh, "κ", needs("history"), "batch"),
        "view": View(lambda p: p, "all", needs("keys"), "batch"),
    }
    whole = replace(dpo(), regularizers=(optimism(1.0),), **parts)
    assert whole.needs == {
        "reference", "kl", "sum_p2", "history", "keys", "reference_sample"
    }  # fmt: skip
    for name, part in parts.items():
        assert replace(dpo(), **{name: part}).scope == "batch"
        assert replace(dpo(), **{name: replace(part, scope="group")}).scope == "group"
    mean = Aggregator(lambda c: c, lambda c: c)
    assert replace(dpo(), aggregate=mean).scope == "batch" and dpo().scope == "group"


# --- what is reported -----------------------------------------------------------------------------


def test_metrics_of_a_pair(pair):
    got = {name: value.item() for name, value in dpo().metrics(pair).items()}
    assert got == pytest.approx(
        {
            "rewards/chosen": -0.2,
            "rewards/rejected": -0.15,
            "rewards/margins": -0.05,
            "rewards/accuracies": 0.0,
            "logps/chosen": -4.0,
            "logps/rejected": -4.5,
            "logps_per_token/chosen": -2.0,
            "logps_per_token/rejected": -1.5,
            "length/chosen": 2.0,
            "length/rejected": 3.0,
        }
    )
    assert not any(value.requires_grad for value in dpo().metrics(pair).values())
    assert cpo().metrics(pair)["nll"].item() == 2.0
    assert slic().metrics(pair)["nll"].item() == 4.0
    assert dpo().weight(pair).tolist() == [1.0]
    assert dpo().statistics(pair) == {}


def test_statistics_of_all_parts():
    def count(p: Pairs) -> dict[str, torch.Tensor]:
        return {"tokens": p.chosen.log_prob}

    scale = MarginScale(weigh, "κ", statistics=count)
    weight = PairWeight(weigh, "w", statistics=lambda p: {"weight": weigh(p)})
    mine, batch = replace(dpo(), margin_scale=scale, weights=weight), pairs(ROWS)
    got = mine.statistics(batch)
    assert got.keys() == {"tokens", "weight"}
    assert got["tokens"].tolist() == pytest.approx([y.w.l for y in ROWS])
    assert not got["tokens"].requires_grad
    silent = replace(dpo(), target_margin=TargetMargin(weigh, "γ"), view=View(lambda p: p, "all"))
    assert silent.statistics(batch) == {}


def test_rewards_are_the_score_with_its_scale(pair):
    assert rdpo().metrics(pair)["rewards/chosen"].item() == pytest.approx(-0.2 + 0.02)
    assert simpo().metrics(pair)["rewards/chosen"].item() == pytest.approx(2 * -2)


def test_metrics_of_a_reward_model_have_no_log_probabilities():
    def graded(rewards: list[float]) -> Responses:
        nothing = torch.zeros(0)
        return Responses(nothing, torch.tensor([4, 2]), reward=torch.tensor(rewards))

    got = bradley_terry().metrics(Pairs(graded([1.0, 0.0]), graded([0.5, 2.0])))
    assert got.keys() == {
        *(f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")),
        "length/chosen",
        "length/rejected",
    }
    assert got["rewards/accuracies"].tolist() == [1.0, 0.0]
    assert got["length/chosen"].tolist() == [4.0, 2.0]


def test_accuracy_counts_ties_half_and_follows_the_label(responses):
    chosen = responses([[-1.0]] * 6)
    rejected = responses([[-1.0], [-2.0], [-2.0], [-2.0], [-0.5], [-0.5]])
    label = torch.tensor([1.0, 0.9, 0.2, 0.5, 0.4, 0.6], dtype=torch.float64)
    got = simpo().metrics(Pairs(chosen, rejected, label))["rewards/accuracies"].tolist()
    assert got == pytest.approx([0.5, 1.0, 0.0, math.nan, 1.0, 0.0], nan_ok=True)
    bare = simpo().metrics(Pairs(chosen, rejected))["rewards/accuracies"].tolist()
    assert bare == [0.5, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_pair_judged_by_halves_has_no_gradient_under_a_geometric_label():
    batch = pairs([replace(row, label=0.5) for row in ROWS])
    (slope,) = torch.autograd.grad(gdpo()(batch).sum(), batch.chosen.policy)
    assert slope.abs().max() == 0


def test_the_hinge_of_slic_and_the_sigmoid_by_hand(pair):
    assert slic(delta=0.25, lam=0.5)(pair).item() == pytest.approx(relu(0.25 - 0.5) + 0.5 * 4)
    sigmoid = Objective(log_ratio(0.5), LOSSES["sigmoid"])
    assert sigmoid(pair).item() == pytest.approx(sigma(0.25))
