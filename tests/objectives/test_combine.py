"""Weighted sums."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from plain_rows import LISTS_OF_TWO, ROWS, batch_of, nls, pairs, slopes

from luce.errors import RecipeError
from luce.objectives import LOSSES, Objective, WeightedSum
from luce.objectives.labels import flipped
from luce.objectives.presets import bco, cpo, dpo, dr_dpo, kto, nca, plackett_luce, rrhf, sft, slic
from luce.objectives.scores import log_prob, mean_log_prob
from luce.types import Pairs

BOTH = WeightedSum(((0.25, dpo(0.5)), (2.0, slic(lam=0.0)), (-1.0, cpo(alpha=0.0))), name="both")


def by_hand(y):
    hinge = max(0.0, 1 - (y.w.l - y.l.l))
    return 0.25 * nls(0.5 * y.h) + 2 * hinge - nls(0.1 * (y.w.l - y.l.l))


def bare(batch: Pairs) -> Pairs:
    """Without a reward model's rewards."""
    sides = {side: replace(getattr(batch, side), reward=None) for side in ("chosen", "rejected")}
    return replace(batch, **sides)


def test_cost_and_gradient():
    batch = pairs(ROWS)
    costs = BOTH(batch)
    assert costs.tolist() == pytest.approx([by_hand(y) for y in ROWS])
    found = torch.autograd.grad(costs.sum(), [batch.chosen.policy, batch.rejected.policy])
    for got, ys in zip(found, ([r.w for r in ROWS], [r.l for r in ROWS]), strict=True):
        expected = slopes(ys, lambda: sum(by_hand(y) for y in ROWS))["p"]
        assert got.tolist() == pytest.approx(expected, abs=1e-8)


def test_of_single_responses_and_of_lists():
    singles, _ = batch_of("unpaired", [(ROWS[0].w, 1.0), (ROWS[0].l, 0.0)], {})
    lists, _ = batch_of("list", LISTS_OF_TWO, {})
    for one, other, batch in ((kto(), bco(), singles), (plackett_luce(), rrhf(), lists)):
        both = WeightedSum(((0.3, one), (2.0, other)))
        assert both.structure == one.structure
        torch.testing.assert_close(both(batch), 0.3 * one(batch) + 2 * other(batch))
        assert both.weight(batch).tolist() == [1.0, 1.0]


def test_margins_and_shared_metrics_are_the_first_part_s():
    batch = bare(pairs(ROWS))
    got = BOTH.metrics(batch)
    torch.testing.assert_close(BOTH.margin(batch), dpo(0.5).margin(batch))
    for name, values in dpo(0.5).metrics(batch).items():
        torch.testing.assert_close(got[name], values, equal_nan=True)
    for part in (dpo(0.5), slic(lam=0.0), cpo(alpha=0.0)):
        torch.testing.assert_close(got[f"loss/{part.name}"], part(batch).detach())
    assert not any(values.requires_grad for values in got.values())
    with_nll = WeightedSum(((1.0, dpo()), (1.0, cpo())))
    assert with_nll.metrics(batch)["nll"].tolist() == pytest.approx([-y.w.m for y in ROWS])


def test_statistics_are_those_of_all_parts():
    singles, _ = batch_of("unpaired", [(ROWS[0].w, 1.0), (ROWS[0].l, 0.0)], {})
    singles = replace(singles, mismatched=singles.response)
    both = WeightedSum(((1.0, kto()), (1.0, bco())))
    assert both.statistics(singles).keys() == {"kl", "rewards/good", "rewards/bad"}
    assert BOTH.statistics(pairs(ROWS)) == {}


def test_needs_and_scope_are_those_of_any_part():
    assert BOTH.needs == {"reference"} and BOTH.needs_reference and not BOTH.needs_reward
    assert WeightedSum(((1.0, slic()), (1.0, cpo()))).needs == frozenset()
    assert BOTH.scope == "group" and BOTH.structure == "pair"
    assert WeightedSum(((2.0, kto()),)).structure == "unpaired"
    assert WeightedSum(((1.0, dpo()), (1.0, dr_dpo()))).scope == "batch"


@dataclass(frozen=True)
class Heavy:
    """An objective whose pairs weigh as they are long."""

    inner: Objective

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, batch):
        return self.inner(batch)

    def weight(self, batch):
        return batch.chosen.length


def test_parts_are_of_one_structure_and_weigh_groups_alike():
    message = r"^objective\.odd: its parts take different rows: dpo \(pair\), sft \(demonstration\)"
    with pytest.raises(RecipeError, match=message):
        WeightedSum(((1.0, dpo()), (1.0, sft())), name="odd")
    batch = pairs(ROWS)
    heavy: Any = Heavy(dpo())
    assert WeightedSum(((1.0, heavy), (2.0, heavy))).weight(batch).tolist() == [2.0, 3.0, 1.0]
    assert BOTH.weight(batch).tolist() == [1.0, 1.0, 1.0]
    uneven: Any = ((1.0, dpo()), (1.0, heavy)), ((1.0, dpo()), (1.0, slic()), (1.0, heavy))
    for parts in uneven:
        with pytest.raises(RecipeError, match=r"^objective\.uneven: its parts weigh groups diff"):
            WeightedSum(parts, name="uneven").weight(batch)


PI = "[log π(chosen) − log π(rejected)]"
MEAN = "[(log π/|y|)(chosen) − (log π/|y|)(rejected)]"
A = "log π/π_ref"
LINEAR = Objective(log_prob(), LOSSES["linear"])
FORMULAS = [
    (((1.0, LINEAR), (1.0, LINEAR)), f"−{PI} − {PI}"),
    (((1.0, LINEAR), (2.0, LINEAR)), f"−{PI} − 2·{PI}"),
    (
        ((0.5, slic(lam=0.0)), (1.0, slic(lam=0.2))),
        f"0.5·max(0, 1 − {PI}) + max(0, 1 − {PI}) − 0.2·log π(chosen)",
    ),
    (
        ((0.5, slic(lam=0.2)), (1.0, LINEAR)),
        f"0.5·[max(0, 1 − {PI}) − 0.2·log π(chosen)] − {PI}",
    ),
    (
        ((2.0, replace(LINEAR, labels=flipped(0.2))), (1.0, LINEAR)),
        f"2·[0.8·(−{PI}) + 0.2·{PI}] − {PI}",
    ),
    (
        ((0.5, kto(0.2)), (1.0, kto(0.2))),
        f"0.5·[desirable: 1 − σ(0.2·{A}(y) − z₀); undesirable: 1 − σ(z₀ − 0.2·{A}(y)); "
        f"z₀ = 0.2·max(0, KL)] + [desirable: 1 − σ(0.2·{A}(y) − z₀); "
        f"undesirable: 1 − σ(z₀ − 0.2·{A}(y)); z₀ = 0.2·max(0, KL)]",
    ),
    (
        ((1.0, Objective(mean_log_prob(1.0), LOSSES["square"])), (3.0, nca(1.0))),
        f"(1 − {MEAN})² + 3·[−log σ({A}(chosen)) − 0.5·log σ(−{A}(chosen)) "
        f"− 0.5·log σ(−{A}(rejected))]",
    ),
]


@pytest.mark.parametrize(("parts", "text"), FORMULAS)
def test_the_formula_of_a_sum(parts, text):
    assert WeightedSum(parts).formula == text
