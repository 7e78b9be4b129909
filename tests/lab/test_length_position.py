"""Ends that depend on the position: small worlds by hand, and errors that the checks must see."""

import math

import pytest
import torch

from luce.lab import length_position as lab
from luce.lab.length_bias import made
from luce.lab.length_world import REFERENCE, REWARDS


def failed(result):
    return [check.what for check in result.checks if not check.passed]


def test_the_reference_is_a_geometric_law_that_is_cut():
    known = (1 - 0.9**lab.LONGEST) / 0.1
    assert lab.mean_length(lab.reference()) == pytest.approx(known)
    placed = lab.draw(20_000, 1)
    assert placed.strings.lengths.double().mean().item() == pytest.approx(known, abs=0.1)
    assert placed.strings.lengths.max() == lab.LONGEST
    # the last token of every string is the end, at its own position
    ends = placed.strings.lengths.cumsum(0) - 1
    assert (placed.index[ends] == 3 * (placed.strings.lengths - 1) + 2).all()


def test_the_closed_form_of_three_positions_by_hand(monkeypatch):
    """Strings of 1, 2 and 3 tokens: .1, .9 g .1, (.9 g)² with g the mean of e^w."""
    monkeypatch.setattr(lab, "LONGEST", 3)
    g = 0.45 * (math.exp(0.5) + math.exp(0.1))
    masses = (0.1, g * 0.1, g * g)
    policy = lab.tilted(REWARDS, 1.0)
    mean = sum(n * m for n, m in enumerate(masses, 1)) / sum(masses)
    assert lab.mean_length(policy) == pytest.approx(mean)
    assert policy[0, 2].exp().item() == pytest.approx(0.1 / sum(masses))
    torch.testing.assert_close(policy.exp().sum(1), torch.ones(3).double())


def test_without_a_reward_the_closed_form_is_the_reference():
    torch.testing.assert_close(lab.tilted((0.0, 0.0, 0.0), 1.0), lab.reference())


def test_dpo_learns_from_soft_labels_what_the_closed_form_says(monkeypatch):
    monkeypatch.setattr(lab, "LONGEST", 4)
    placed = lab.draw(3000, 0)
    first, second = placed.strings.total.chunk(2)
    policy = lab.fit(made("dpo", beta=2.0), placed, torch.sigmoid(first - second))
    torch.testing.assert_close(policy, lab.tilted(REWARDS, 2.0), atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def ended():
    """Every arm where its range says, DPO and R-DPO at their closed forms."""
    found = {}
    for name, arm in lab.ARMS.items():
        policy = lab.theory().get(name, lab.reference())
        length = lab.mean_length(policy) if name in lab.theory() else sum(arm.length) / 2
        found[name] = [lab.Seen(policy, length)] * 3
    # hard labels make it a little longer than its closed form
    found["DPO, β = 2"] = [lab.Seen(lab.theory()["DPO, β = 2"], 32.6)] * 3
    return found


def test_arms_where_they_should_be_pass(ended):
    assert not failed(lab.result(ended, False))


@pytest.mark.parametrize("name", ["DPO, β = 2", "SimPO, β = 10", "R-DPO, β = 2, α = 0.3", "Luce"])
def test_an_arm_that_keeps_or_loses_its_length_is_seen(ended, name):
    start = lab.mean_length(lab.reference())
    other = 20.0 if name.startswith("R-DPO") else start
    spoilt = {**ended, name: [lab.Seen(lab.reference(), other)] * 3}
    assert failed(lab.result(spoilt, False))


def test_the_sign_of_alpha_is_seen(monkeypatch, ended):
    wrong = lab.tilted([r + 0.3 for r in REWARDS], 2.0)
    kept = lab.theory()
    monkeypatch.setattr(lab, "theory", lambda: {**kept, "R-DPO, β = 2, α = 0.3": wrong})
    assert any("score of the closed form" in what for what in failed(lab.result(ended, False)))


def test_the_reference_of_the_world_is_the_one_of_the_other_experiments():
    assert lab.reference()[0].exp().tolist() == pytest.approx(list(REFERENCE))


@pytest.mark.slow
def test_a_quick_run_passes_its_checks():
    assert not failed(lab.run(3, True))
