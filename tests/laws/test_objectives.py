"""What holds for every objective in the table, however its batch is laid out."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_batches import (
    ON_PAIRS,
    QUICK,
    batch_of,
    certain,
    gradients,
    leaves,
    made,
    make_pairs,
    select,
    some_pairs,
    worlds,
)

from luce.objectives import OBJECTIVES
from luce.types import CostFunction, Demonstrations, Lists, Pairs, Unpaired

EVERY = pytest.mark.parametrize("name", OBJECTIVES)
GROUP = [name for name in OBJECTIVES if made(name).scope == "group"]
BATCH = [name for name in OBJECTIVES if made(name).scope == "batch"]
TAKES = {"pair": Pairs, "unpaired": Unpaired, "list": Lists, "demonstration": Demonstrations}


def groups(batch) -> int:
    match batch:
        case Pairs():
            return len(batch)
        case Lists():
            return len(batch.sizes)
        case _:
            return len(batch.response)


@EVERY
def test_one_cost_weight_metric_and_statistic_per_group(name):
    objective = made(name)
    batch = batch_of(objective, make_pairs())
    assert isinstance(objective, CostFunction) and isinstance(batch, TAKES[objective.structure])
    values = [objective(batch), objective.weight(batch)]
    values += [*objective.metrics(batch).values(), *objective.statistics(batch).values()]
    assert {value.shape for value in values} == {(groups(batch),)}
    assert (objective.weight(batch) > 0).all()


@EVERY
@given(pairs=some_pairs(least=2), order=st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_the_groups_changes_nothing(name, pairs, order):
    """Of a group, nor, where its cost depends on the others, of them."""
    objective = made(name)
    batch = batch_of(objective, pairs)
    places = list(range(groups(batch)))
    order.shuffle(places)
    index = torch.tensor(places)
    moved = select(batch, index)
    torch.testing.assert_close(objective(moved), objective(batch)[index])
    torch.testing.assert_close(objective.weight(moved), objective.weight(batch)[index])
    for found, expected in (
        (objective.metrics(moved), objective.metrics(batch)),
        (objective.statistics(moved), objective.statistics(batch)),
    ):
        assert found.keys() == expected.keys()
        for key, values in found.items():
            torch.testing.assert_close(values, expected[key][index], equal_nan=True, msg=key)


@pytest.mark.parametrize("name", GROUP)
@given(pairs=some_pairs(least=2), cut=st.integers(1, 9))
@QUICK
def test_micro_batches_give_the_costs_and_gradient_of_the_whole(name, pairs, cut):
    """Ragged lists too: a list costs the same beside a longer one."""
    objective = made(name)
    batch = batch_of(objective, pairs)
    whole, index = objective(batch), torch.arange(groups(batch))
    parts = [objective(select(batch, part)) for part in index.split(cut)]
    torch.testing.assert_close(torch.cat(parts), whole)
    of = leaves(pairs)
    found = torch.autograd.grad(torch.cat(parts).sum(), of, allow_unused=True)
    for expected, got in zip(gradients(whole, pairs), found, strict=True):
        torch.testing.assert_close(torch.zeros_like(expected) if got is None else got, expected)


@pytest.mark.parametrize("name", BATCH)
def test_a_batch_wide_cost_depends_on_the_other_groups(name):
    """Or its scope would be the group, and the step would not have to be gathered for it."""
    objective = made(name)
    pairs = certain(make_pairs(seed=2, spread=2.0))
    alone = [objective(select(pairs, torch.tensor([i]))) for i in range(len(pairs))]
    assert not torch.isclose(torch.cat(alone), objective(pairs)).all()


@EVERY
@given(world=worlds())
@QUICK
def test_float32_agrees_with_float64(name, world):
    objective = made(name)
    exact, single = (make_pairs(**world, dtype=dtype) for dtype in (torch.float64, torch.float32))
    costs, rounded = (objective(batch_of(objective, p)) for p in (exact, single))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), costs, rtol=2e-5, atol=2e-5)
    for expected, got in zip(gradients(costs, exact), gradients(rounded, single), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=2e-4, atol=2e-4)


@EVERY
def test_metrics_are_numbers_without_gradient(name):
    objective = made(name)
    batch = batch_of(objective, make_pairs())
    for value in (*objective.metrics(batch).values(), *objective.statistics(batch).values()):
        assert not value.requires_grad
        assert value.isfinite().any() and not value.isinf().any()


@pytest.mark.parametrize("name", ON_PAIRS)
def test_metrics_of_pairs_agree_with_each_other(name):
    """`rewards/margins` is the margin whose sign is judged; lengths are those of the data."""
    objective = made(name)
    pairs = certain(make_pairs())
    found = objective.metrics(pairs)
    torch.testing.assert_close(found["rewards/margins"], objective.margin(pairs).detach())
    if name not in ("beta_dpo", "mixture"):  # β of the batch; the mixture's log-odds
        gap = found["rewards/chosen"] - found["rewards/rejected"]
        torch.testing.assert_close(found["rewards/margins"], gap)
    right = (found["rewards/margins"] > 0).double()
    torch.testing.assert_close(found["rewards/accuracies"], right)
    assert found["length/chosen"].tolist() == pairs.chosen.lengths.tolist()
    assert found["length/rejected"].tolist() == pairs.rejected.lengths.tolist()


@EVERY
def test_an_objective_says_who_it_is(name):
    objective = made(name)
    assert objective.name == name
    assert objective.formula and objective.source
    again = OBJECTIVES[name](**objective.parameters)
    assert again.formula == objective.formula and again.parameters == objective.parameters
    wanted = inspect.signature(OBJECTIVES[name]).parameters
    assert objective.parameters.keys() <= wanted.keys()
    assert wanted.keys() - objective.parameters.keys() <= {"gamma_beta_ratio"}
    assert objective.needs_reference == ("reference" in objective.needs)
    assert objective.needs_reward == ("reward" in objective.needs)
