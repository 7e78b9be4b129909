"""What holds for every objective in the table."""

import math
from dataclasses import replace

import pytest
import torch

from luce.objectives import OBJECTIVES
from luce.types import Demonstrations, Pairs, Responses, Unpaired

ON_PAIRS = [name for name in OBJECTIVES if OBJECTIVES[name]().structure == "pair"]
RATIO = [name for name in ON_PAIRS if OBJECTIVES[name]().needs_reference]


def leaves(batch) -> list[torch.Tensor]:
    """Everything a gradient flows to."""
    sides = [
        getattr(batch, role) for role in ("chosen", "rejected", "response") if hasattr(batch, role)
    ]
    return [leaf for y in sides for leaf in (y.policy, y.reward)]


def gradient(objective, batch) -> list[torch.Tensor]:
    of = leaves(batch)
    found = torch.autograd.grad(objective(batch).sum(), of, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(of, found, strict=True)]


def select(batch, index: torch.Tensor):
    """The groups with these numbers, in this order."""
    if isinstance(batch, Pairs):
        return Pairs(batch.chosen.take(index), batch.rejected.take(index), batch.label[index])
    if isinstance(batch, Unpaired):
        return replace(
            batch,
            response=batch.response.take(index),
            desirable=batch.desirable[index],
            mismatched=batch.mismatched.take(index),
        )
    return Demonstrations(batch.response.take(index))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_cost_weight_and_metric_per_group(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    batch = batch_of(objective.structure, pairs())
    shapes = {objective(batch).shape, objective.weight(batch).shape}
    shapes |= {value.shape for value in objective.metrics(batch).values()}
    shapes |= {value.shape for value in objective.statistics(batch).values()}
    assert shapes == {(4,)}


@pytest.mark.parametrize("name", ON_PAIRS)
def test_swapping_a_pair_and_its_label_changes_nothing(name, pairs):
    one = pairs()
    preference = OBJECTIVES[name]()
    symmetric = tuple(r for r in preference.regularizers if "r(rejected)" in r.term)
    preference = replace(preference, regularizers=symmetric)
    other = Pairs(one.rejected, one.chosen, 1 - one.label)
    torch.testing.assert_close(preference(one), preference(other))


@pytest.mark.parametrize("name", ON_PAIRS)
def test_adding_a_constant_to_both_scores_changes_nothing(name, pairs):
    objective, batch = replace(OBJECTIVES[name](), regularizers=()), pairs()
    score = objective.score
    moved = replace(score, value=lambda y, other: score.value(y, other) + 3.7)
    torch.testing.assert_close(objective(batch), replace(objective, score=moved)(batch))


@pytest.mark.parametrize("name", RATIO)
def test_shifting_policy_and_reference_together_changes_nothing(name, pairs):
    """A ratio score sees log π − log π_ref alone."""
    objective, one = OBJECTIVES[name](), pairs()
    c = one.chosen
    shifted = replace(c, policy=c.policy - 0.7, reference=c.reference - 0.7)
    torch.testing.assert_close(objective(one), objective(replace(one, chosen=shifted)))


@pytest.mark.parametrize("name", RATIO)
def test_where_policy_and_reference_agree_the_cost_is_that_of_an_indifferent_margin(name, pairs):
    objective, one = OBJECTIVES[name](), pairs()
    at = {
        role: replace(y, policy=y.reference.clone().requires_grad_())
        for role, y in (("chosen", one.chosen), ("rejected", one.rejected))
    }
    batch = Pairs(at["chosen"], at["rejected"])
    z = objective.margin(batch)
    if name == "rdpo":  # its length term stays
        difference = batch.chosen.length - batch.rejected.length
        torch.testing.assert_close(z, 0.01 * difference, atol=1e-12, rtol=0)
        return
    assert z.abs().max() < 1e-12
    zero = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    indifferent = objective.scale * objective.labels.cost(objective.loss.phi, zero, 0.0, None)
    torch.testing.assert_close(objective(batch), indifferent)
    (slope,) = torch.autograd.grad(indifferent.sum(), zero)
    f = objective.score.affine.f(batch.chosen)
    per_response = slope * objective.score.scale * f
    expected = torch.repeat_interleave(per_response, batch.chosen.lengths)
    torch.testing.assert_close(gradient(objective, batch)[0], expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_that_of_finite_differences(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    batch = batch_of(objective.structure, pairs(seed=1))
    pair_like = hasattr(batch, "chosen")
    roles = ("chosen", "rejected") if pair_like else ("response",)
    wanted = "reward" if objective.needs_reward else "policy"

    def cost(*values: torch.Tensor) -> torch.Tensor:
        sides = {
            role: replace(getattr(batch, role), **{wanted: value})
            for role, value in zip(roles, values, strict=True)
        }
        return objective(replace(batch, **sides))

    inputs = tuple(getattr(getattr(batch, role), wanted) for role in roles)
    assert torch.autograd.gradcheck(cost, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("z", [-90.0, 90.0])
@pytest.mark.parametrize("name", ON_PAIRS)
def test_costs_and_gradients_are_finite_at_extreme_margins(name, z, dtype):
    """Log-probabilities chosen so that the margin is ±90 (±20 of log-odds, whose range ends)."""
    objective = OBJECTIVES[name]()
    zero, low = torch.zeros(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    if objective.needs_reward:
        low = zero + abs(z)
    elif name == "orpo":
        low = zero - 20.0
    else:
        low = zero - abs(z) / objective.score.scale / (0.1 if name == "rdpo" else 1.0)
    one, n = torch.tensor([1]), torch.zeros(1, dtype=dtype)
    high = Responses(zero.clone().requires_grad_(), one, n, reward=zero.clone().requires_grad_())
    y = Responses(low.clone().requires_grad_(), one, n, reward=low.clone().requires_grad_())
    better, worse = (y, high) if objective.needs_reward else (high, y)
    for label in (None, torch.tensor([0.5], dtype=dtype), torch.tensor([1.0], dtype=dtype)):
        batch = Pairs(better, worse, label) if z > 0 else Pairs(worse, better, label)
        margin = objective.margin(batch).item()
        assert margin == pytest.approx(z, rel=1e-5) or (name == "orpo" and margin * z > 0)
        assert objective(batch).isfinite().all()
        assert all(g.isfinite().all() for g in gradient(objective, batch))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("certain", ["chosen", "rejected", "both"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_costs_and_gradients_are_finite_at_log_probability_zero(
    name, certain, dtype, pairs, batch_of
):
    objective, one = OBJECTIVES[name](), pairs(dtype=dtype)
    sides = {
        role: replace(y, policy=torch.zeros_like(y.policy).requires_grad_())
        for role, y in (("chosen", one.chosen), ("rejected", one.rejected))
        if certain in (role, "both")
    }
    batch = batch_of(objective.structure, replace(one, **sides))
    assert objective(batch).isfinite().all()
    assert all(g.isfinite().all() for g in gradient(objective, batch))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_order_of_the_groups_changes_nothing(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    batch = batch_of(objective.structure, pairs())
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(objective(select(batch, order)), objective(batch)[order])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_give_the_costs_and_gradient_of_the_whole(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    batch = batch_of(objective.structure, pairs())
    whole = gradient(objective, batch)
    parts = [select(batch, torch.tensor(index)) for index in ([3], [0, 2], [1])]
    costs = torch.cat([objective(part) for part in parts])
    torch.testing.assert_close(costs, objective(batch)[torch.tensor([3, 0, 2, 1])])
    found = torch.autograd.grad(costs.sum(), leaves(batch), allow_unused=True)
    for expected, got in zip(whole, found, strict=True):
        torch.testing.assert_close(torch.zeros_like(expected) if got is None else got, expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_agrees_with_float64(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    exact, single = (
        objective(batch_of(objective.structure, pairs(dtype=dtype)))
        for dtype in (torch.float64, torch.float32)
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_metrics_are_numbers_without_gradient(name, pairs, batch_of):
    objective = OBJECTIVES[name]()
    batch = batch_of(objective.structure, pairs())
    for value in objective.metrics(batch).values():
        assert not value.requires_grad
        assert not torch.isinf(value).any()
    if objective.structure == "pair":
        values = objective.metrics(batch)
        gap = values["rewards/chosen"] - values["rewards/rejected"]
        torch.testing.assert_close(values["rewards/margins"], gap)
        assert math.isclose(values["length/chosen"].sum().item(), 11)
