"""Gibbs's distribution: a world by hand, a run, and errors that the checks must see."""

import math
from dataclasses import replace

import pytest
import torch

from luce.lab import gibbs, gibbs_world
from luce.models.tabular import KlBandit, actions


def failed(result):
    return [check.what for check in result.checks if not check.passed]


@pytest.fixture(scope="module")
def seen():
    return [gibbs_world.see(gibbs_world.drawn(0), 0)] * 2


def test_a_run_passes_its_checks(seen):
    result = gibbs.result(seen)
    assert not failed(result)
    assert all(rows for rows in result.tables.values())


def test_two_actions_by_hand():
    """r = (0, 1), π₀ even: π*(1) = σ(1/β), J* = β log ½(1 + e^{1/β}), Var = p (1 − p)."""
    world = KlBandit(actions(2).uniform(), torch.tensor([0.0, 1.0], dtype=torch.float64), 1.0)
    found = gibbs_world.curves(world)
    for k, beta in enumerate(gibbs_world.BETAS):
        p = 1 / (1 + math.exp(-1 / beta))
        assert found.reward[k].item() == pytest.approx(p, abs=1e-12)
        free = beta * math.log(0.5 * (1 + math.exp(1 / beta)))
        assert found.value[k].item() == pytest.approx(free, abs=1e-9)
        assert found.capacity[k].item() == pytest.approx(p * (1 - p) / beta**2, abs=1e-9)


@pytest.mark.parametrize("wrong", ["beta", "sign", "reference"])
def test_policies_that_are_not_the_optimum_are_seen(wrong):
    world = gibbs_world.drawn(0)
    ref, r = world.reference, world.reward
    found = {
        "beta": gibbs_world.gibbs(ref, r, 0.5),
        "sign": gibbs_world.gibbs(ref, -r, 2.0),
        "reference": gibbs_world.gibbs(ref.outcomes.uniform(), r, 2.0),
    }[wrong]
    assert found.total_variation(gibbs_world.gibbs(ref, r, 2.0)) > 0.05
    trained = gibbs_world.dpo(gibbs_world.scores_annotator(r), ref, 2.0)
    assert found.total_variation(trained) > 0.05
    assert trained.total_variation(gibbs_world.gibbs(ref, r, 2.0)) < 1e-5


def test_the_checks_see_roads_that_end_elsewhere(seen):
    wide = {key: tv + 0.06 for key, tv in seen[0].roads.items()}
    found = failed(gibbs.result([replace(one, roads=wide) for one in seen]))
    assert len(found) == len(seen[0].roads)


def test_a_shift_that_depends_on_the_action_is_seen():
    world = gibbs_world.drawn(0)
    moved = gibbs_world.shifted(world, 0, torch.linspace(0, 1, gibbs_world.ACTIONS).double())
    assert min(moved.values()) > 1e-3
    kept = gibbs_world.shifted(world, 0)
    assert max(kept.values()) < 1e-5


def test_another_sign_of_the_slope_is_seen(seen):
    turned = [
        replace(one, curves=replace(one.curves, value_slope=-one.curves.value_slope))
        for one in seen
    ]
    assert failed(gibbs.result(turned)) == ["dJ*/dβ + KL, over all β"]
