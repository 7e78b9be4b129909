"""Cycles: worlds by hand, a run, and errors that the checks must see."""

from dataclasses import replace

import pytest
import torch

from luce.lab import cyclic
from luce.models.tabular import actions


def failed(result):
    return [check.what for check in result.checks if not check.passed]


@pytest.fixture(scope="module")
def seen():
    return [cyclic.see(seed) for seed in range(2)]


def test_a_run_passes_its_checks(seen):
    result = cyclic.result(seen)
    assert not failed(result)
    assert {name: len(figure.axes) for name, figure in result.figures.items()} == {
        "eta": 3,
        "cycles": 2,
    }


def test_how_often_three_votes_go_round_by_hand():
    even = torch.full((3, 3), 0.5, dtype=torch.float64)
    assert cyclic.round_share(even) == 0.25
    sure = torch.tensor([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]], dtype=torch.float64)
    assert cyclic.round_share(sure) == 1.0
    # .9 · .8 · .7 + .1 · .2 · .3
    known = cyclic.round_share(cyclic.matrix(cyclic.ROCK_PAPER_SCISSORS))
    assert known == pytest.approx(0.51)


def test_shares_of_votes_come_near_the_annotator():
    wins = cyclic.matrix(cyclic.ROCK_PAPER_SCISSORS)
    found = cyclic.voted(wins, 60_000, 3)
    torch.testing.assert_close(found, wins, atol=0.01, rtol=0)
    torch.testing.assert_close(found + found.T, torch.ones_like(wins))


@pytest.mark.parametrize("wrong", ["transposed", "methods", "cycles"])
def test_what_was_planted_is_seen(seen, wrong):
    def spoilt(one):
        if wrong == "cycles":
            return replace(one, cycles={name: (0.25, "adequate") for name in one.cycles})
        if wrong == "transposed":
            shares = cyclic.voted(cyclic.matrix(cyclic.ROCK_PAPER_SCISSORS), 3000, 0).T
            made = {
                (method, eta): policy
                for eta in (0.2, 0.05)
                for method, policy in cyclic.learnt(shares, eta).items()
            }
            return replace(one, policies=made)
        even = actions(3).uniform()
        return replace(one, policies=dict.fromkeys(one.policies, even))

    found = cyclic.checks([spoilt(one) for one in seen])
    assert not all(check.passed for check in found)
