"""Autograd's gradients are those of finite differences, and nothing flows where none should."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from law_batches import (
    DIFFERENTIABLE,
    QUICK,
    batch_of,
    certain,
    gradients,
    made,
    make_pairs,
    some_pairs,
)

from luce.objectives import OBJECTIVES, MarginScale, Objective, PairWeight, TargetMargin

FOLLOWS = ("policy", "reward", *DIFFERENTIABLE)
FROZEN_TARGETS = ("alpha_dpo", "aot")
"""Presets whose target margins depend on the policy without gradient."""


def frozen(objective, pairs):
    """The objective with what it takes without gradient held at its numbers on these pairs: their
    finite differences would count what the gradient must not."""
    if not isinstance(objective, Objective):
        return objective
    with torch.no_grad():
        held = {}
        if objective.weights is not None:
            w = objective.weights.value(pairs)
            held["weights"] = PairWeight(lambda _: w, "w")
        if objective.margin_scale is not None:
            kappa = objective.margin_scale.value(pairs)
            held["margin_scale"] = MarginScale(lambda _: kappa, "κ")
        if objective.name in FROZEN_TARGETS:
            assert isinstance(objective.target_margin, TargetMargin)
            gamma = objective.target_margin.value(pairs)
            held["target_margin"] = TargetMargin(lambda _: gamma, "γ")
    return replace(objective, **held)


def parts(pairs):
    """(role, part) of everything that a gradient may flow to, and its numbers."""
    for role in ("chosen", "rejected"):
        y = getattr(pairs, role)
        for name, value in {"policy": y.policy, "reward": y.reward, **y.columns}.items():
            if value.requires_grad:
                yield (role, name), value


def moved(pairs, values):
    """The pairs with other numbers in these (role, part)."""
    for (role, name), value in values.items():
        y = getattr(pairs, role)
        if name in y.columns:
            y = replace(y, columns={**y.columns, name: value})
        else:
            y = replace(y, **{name: value})
        pairs = replace(pairs, **{role: y})
    return pairs


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=st.integers(0, 999), length=st.integers(1, 3))
@settings(QUICK, max_examples=2)
def test_the_gradient_is_that_of_finite_differences(name, seed, length):
    objective = made(name)
    pairs = certain(make_pairs(seed, ((1, length), (2, 1), (2, 2)), spread=2.0))
    if name == "tdpo2":  # by its definition Σ KL of the chosen response has no gradient
        columns = {**pairs.chosen.columns, "kl": pairs.chosen.columns["kl"].detach()}
        pairs = replace(pairs, chosen=replace(pairs.chosen, columns=columns))
    held, batch = frozen(objective, pairs), batch_of(objective, pairs)
    torch.testing.assert_close(held(batch), objective(batch))
    keys, values = zip(*parts(pairs), strict=True)
    found = torch.autograd.grad(objective(batch).sum(), values, allow_unused=True)
    inputs = {k: v for k, v, g in zip(keys, values, found, strict=True) if g is not None}
    assert inputs

    def cost(*numbers: torch.Tensor) -> torch.Tensor:
        with_these = moved(pairs, dict(zip(inputs, numbers, strict=True)))
        return held(batch_of(objective, with_these))

    assert torch.autograd.gradcheck(cost, tuple(inputs.values()))


FROZEN = [n for n in OBJECTIVES if n in ("wpo", "beta_dpo", *FROZEN_TARGETS)]


@pytest.mark.parametrize("name", FROZEN)
@given(pairs=some_pairs(least=2))
@QUICK
def test_weights_and_batch_wide_terms_have_no_gradient(name, pairs):
    objective, pairs = made(name), certain(pairs)
    held = frozen(objective, pairs)
    for got, expected in zip(
        gradients(objective(pairs), pairs), gradients(held(pairs), pairs), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_the_sequential_kl_of_the_chosen_response_has_no_gradient_in_tdpo2():
    pairs = certain(make_pairs())
    cost = made("tdpo2")(pairs).sum()
    kl = [y.columns["kl"] for y in (pairs.chosen, pairs.rejected)]
    chosen, rejected = torch.autograd.grad(cost, kl, allow_unused=True)
    assert chosen is None and (rejected > 0).all()
    cost = made("tdpo1")(pairs).sum()
    chosen, rejected = torch.autograd.grad(cost, kl)
    assert (chosen < 0).all() and (rejected > 0).all()


UNTOUCHED = {"tdpo1": {"kl"}, "tdpo2": {"kl"}, "mixture": {"policy_2"}}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gradient_flows_to_what_is_learnt_and_to_nothing_else(name):
    objective = made(name)
    pairs = certain(make_pairs())
    found = gradients(objective(batch_of(objective, pairs)), pairs)
    flows = {
        column
        for side in (found[: len(FOLLOWS)], found[len(FOLLOWS) :])
        for column, gradient in zip(FOLLOWS, side, strict=True)
        if gradient.any()
    }
    learnt = {"reward"} if objective.needs_reward else {"policy"}
    assert flows == learnt | UNTOUCHED.get(name, set())
