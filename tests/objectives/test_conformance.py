from dataclasses import replace
from typing import Any

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import LOSSES, OBJECTIVES, MarginLoss, Objective, Score
from luce.objectives.conformance import check_objective
from luce.objectives.labels import LabelModel
from luce.objectives.presets import dpo, kto, plackett_luce, sft
from luce.objectives.scores import log_prob, log_ratio

MEANT = {
    "wpo": ["its gradient is not"],
    "alpha_dpo": ["its gradient is not"],
    "beta_dpo": ["its gradient is not"],
}
"""Presets with a weight, a target or a β that carries no gradient."""


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_preset_keeps_the_laws(name):
    found = check_objective(OBJECTIVES[name]())
    expected = MEANT.get(name, [])
    assert len(found) == len(expected), found
    for sentence, start in zip(found, expected, strict=True):
        assert sentence.startswith(start)


def blind(phi, z, target, reverse_target, label):
    """A label model that does not look at the label."""
    return phi(z - target)


def late(phi, z, target, reverse_target, label):
    """A label model whose cost is not one of the margin."""
    return torch.where(z.detach() > 0, phi(z), 2 * phi(z))


def overflowing(z):
    return (-z).exp() ** 2


LOGISTIC = LOSSES["logistic"]
BROKEN = {
    "swapping a pair and its label changes the cost": replace(
        dpo(), labels=LabelModel(blind, lambda a, b: a)
    ),
    "its gradient is not that of finite differences": Objective(
        Score("Ω", lambda y, other: y.log_prob.detach() + 0 * y.log_prob), LOGISTIC
    ),
    "its cost is not finite in float32 where the log-probabilities of two responses are 0 and −90,"
    " and those of the reference 0 and 0": Objective(log_prob(1.0), MarginLoss(overflowing, str)),
    "its gradient is not finite in float32 where": Objective(
        Score("√", lambda y, other: (-y.log_prob).sqrt()), LOGISTIC
    ),
    "it does not take random rows: This score compares": Objective(
        replace(log_ratio(0.1), needs=frozenset()), LOGISTIC
    ),
    "its cost of random rows is not finite": Objective(
        Score("log", lambda y, other: y.log_prob.log()), LOGISTIC
    ),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_what_does_not_hold_is_named(sentence):
    found = check_objective(BROKEN[sentence])
    assert any(one.startswith(sentence) for one in found), found


class Averaged:
    """An objective that gives the mean of a batch."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, batch):
        return self.inner(batch).mean()


@pytest.mark.parametrize("inner", [dpo(), kto(), plackett_luce(), sft()])
def test_a_mean_is_not_a_cost_for_each_group(inner):
    averaged: Any = Averaged(inner)
    (found,) = check_objective(averaged)
    assert found == "its cost of 4 groups is (); expected a tensor of (4,)."


class Sorted(Averaged):
    """A logistic cost whose groups are in another order where the pairs are swapped."""

    needs: frozenset[str] = frozenset()

    def __init__(self, scope, reads_labels=False):
        super().__init__(dpo())
        self.scope, self.reads_labels = scope, reads_labels

    def __call__(self, batch):
        order = batch.chosen.log_prob.argsort()
        p = torch.ones_like(order, dtype=order.dtype) if batch.label is None else batch.label
        margin = batch.chosen.log_prob - batch.rejected.log_prob
        if self.reads_labels:  # those of a pair, with the margin of another
            margin = margin.sort().values
        cost = p * LOGISTIC.phi(margin) + (1 - p) * LOGISTIC.phi(-margin)
        return cost[order]

    def metrics(self, batch):
        return {}


SWAPPED = "swapping a pair and its label"


def test_a_cost_of_the_whole_batch_may_be_shared_out_otherwise():
    assert not any(x.startswith(SWAPPED) for x in check_objective(Sorted("batch")))
    assert any(x.startswith(SWAPPED) for x in check_objective(Sorted("group")))


def test_a_cost_of_the_whole_batch_may_match_a_margin_with_the_label_of_another_pair():
    assert not any(x.startswith(SWAPPED) for x in check_objective(Sorted("batch", True)))
    assert any(x.startswith(SWAPPED) for x in check_objective(Sorted("group", True)))


class Unlabelled(Sorted):
    """A cost of the whole batch that refuses labels."""

    def __call__(self, batch):
        if batch.label is not None:
            raise LuceError("no labels")
        return super().__call__(batch)


def test_a_cost_that_refuses_labels_is_looked_at_without():
    assert check_objective(Unlabelled("batch")) == []


class Forgetful(Sorted):
    """A cost that never looks at the rejected response."""

    def __call__(self, batch):
        return -batch.chosen.log_prob


def test_a_response_that_does_not_count_has_no_gradient():
    (found,) = check_objective(Forgetful("group"))
    assert found.startswith(SWAPPED)


@pytest.mark.parametrize("detached", [False, True])
def test_the_gradient_of_a_reward_is_looked_at(detached):
    def value(y, other):
        return y.reward.detach() + 0 * y.reward if detached else y.reward

    found = check_objective(Objective(Score("r", value, needs=frozenset({"reward"})), LOGISTIC))
    wrong = any(x.startswith("its gradient is not that of finite differences") for x in found)
    assert wrong == detached, found
