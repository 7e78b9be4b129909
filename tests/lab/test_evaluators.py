"""Evaluators: correlations by hand and by drawing, a run, and errors that the checks must see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from luce.lab import evaluator_heatmaps as lab
from luce.lab import evaluators


def failed(result):
    return [check.what for check in result.checks if not check.passed]


@pytest.fixture(scope="module")
def seen():
    return [lab.measured(seed) for seed in range(4)]


def test_a_run_passes_its_checks(seen):
    result = lab.result(lab.tables(), seen)
    assert not failed(result)
    assert set(result.figures) == set(result.tables) == set(lab.tables())


def test_a_score_is_a_distribution_and_without_noise_the_taste_itself():
    parts = torch.tensor([[0.5, 0, 0, 0, 0], [0.9, 0, 0, 0, 0]], dtype=torch.float64)
    weights = (1.0, 0.0, 0.0, 0.0, 0.0)
    chance = evaluators.chances(weights, 0.3, parts)
    torch.testing.assert_close(chance.sum(1), torch.ones(2).double())
    sure = evaluators.chances(weights, 1e-6, parts)
    assert sure.argmax(1).tolist() == [2, 4]


def test_correlations_of_two_items_by_hand():
    """Scores 1 and 5, each with the items: together always (1), apart always (−1)."""
    low, high = [1.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0]
    one = torch.tensor([low, high], dtype=torch.float64)
    assert evaluators.correlation(one, one) == pytest.approx(1.0)
    assert evaluators.correlation(one, one.flip(0), ranks=True) == pytest.approx(-1.0)
    coin = torch.tensor([[0.5, 0, 0, 0, 0.5]] * 2, dtype=torch.float64)
    assert evaluators.correlation(one, coin) == pytest.approx(0.0)


def test_rank_correlations_are_those_of_many_scores():
    names = ("careful", "likes long")
    chance = [
        evaluators.chances(evaluators.EVALUATORS[n].helpful, 0.2, evaluators.pool().parts)
        for n in names
    ]
    draw = torch.Generator().manual_seed(0)
    items = torch.randint(evaluators.RESPONSES, (60_000,), generator=draw)
    a, b = (evaluators.scores(c, items, draw).numpy() for c in chance)
    first, second = chance
    assert evaluators.correlation(first, second) == pytest.approx(
        np.corrcoef(a, b)[0, 1], abs=0.015
    )
    ranked = evaluators.correlation(first, second, ranks=True)
    expected = np.corrcoef(rankdata(a), rankdata(b))[0, 1]
    assert ranked == pytest.approx(expected, abs=0.015)


def test_agreement_by_hand():
    one, other = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0])
    assert evaluators.agreement(one, other) == pytest.approx((0.75, 0.5))


@pytest.mark.parametrize("wrong", ["exchanged", "vote", "reliable"])
def test_what_was_planted_is_seen(seen, wrong):
    tables = lab.tables()
    if wrong == "exchanged":
        tables["helpfulness"], tables["conciseness"] = (
            replace(tables[other], title=tables[name].title)
            for name, other in (("helpfulness", "conciseness"), ("conciseness", "helpfulness"))
        )
        assert failed(lab.result(tables, seen))
        return
    name = "votes" if wrong == "vote" else "helpfulness"
    spoilt = [
        {**one, name: {(a, b): 1.0 if a == b else v for (a, b), v in one[name].items()}}
        for one in seen
    ]
    assert failed(lab.result(tables, spoilt))
