"""The rows on which laws are tried: what is promised of them, or a law would be tried on less."""

import pytest
import torch

from luce.objectives.build import make_objective
from luce.objectives.presets import OBJECTIVES
from luce.objectives.sample import GROUPS, LENGTHS, leaves, placed, sample, sides
from luce.types import Lists, Pairs, Unpaired

SEEDS = range(20)


def drawn(name, part):
    """What all seeds give, in one tensor."""
    parts = [part(y) for seed in SEEDS for y in sides(sample(OBJECTIVES[name](), seed)).values()]
    return torch.cat([p.detach() for p in parts])


def test_groups_have_responses_of_different_lengths_some_of_one_token():
    assert LENGTHS[:GROUPS] == (2, 3, 1, 5) and LENGTHS[GROUPS:] == (4, 1, 1, 2)
    pairs = sample(OBJECTIVES["dpo"]())
    assert isinstance(pairs, Pairs)
    assert pairs.chosen.lengths.tolist() == [2, 3, 1, 5]
    assert pairs.rejected.lengths.tolist() == [4, 1, 1, 2]
    again, other = sample(OBJECTIVES["dpo"](), seed=0), sample(OBJECTIVES["dpo"](), seed=1)
    assert torch.equal(pairs.chosen.policy, again.chosen.policy)
    assert not torch.equal(pairs.chosen.policy, other.chosen.policy)


@pytest.mark.parametrize(
    ("name", "part", "low", "high"),
    [
        ("dpo", lambda y: y.policy, -3, 0),
        ("dpo", lambda y: y.reference, -3, 0),
        ("inpo", lambda y: y.columns["history"], -3, 0),
        ("mixture", lambda y: y.columns["policy_2"], -3, 0),
        ("wpo", lambda y: y.columns["sum_p2"], 0.05, 0.95),
        ("bradley_terry", lambda y: y.reward, -1, 1),
    ],
)
def test_numbers_fill_their_range(name, part, low, high):
    values, slack = drawn(name, part), 0.05 * (high - low)
    assert low <= values.min() < low + slack and high - slack < values.max() <= high


def test_nothing_is_there_that_is_not_needed():
    plain = sides(sample(OBJECTIVES["simpo"]()))["chosen"]
    assert plain.reference is None and plain.reward is None and not plain.columns
    columns = sides(sample(OBJECTIVES["mixture"]()))["chosen"].columns
    assert set(columns) == {f"policy_{i}" for i in range(2, 10)}


def test_ratings_beside_rewards_by_dimension():
    rated = sample(make_objective("bradley_terry", {"ratings": 0.5}))
    assert isinstance(rated, Pairs)
    for y in (rated.chosen, rated.rejected):
        assert y.rewards is not None and y.ratings is not None
        assert y.rewards.shape == y.ratings.shape == (GROUPS, 2)
        assert not torch.equal(y.rewards, y.ratings)
        assert 0 <= y.ratings.min() < y.ratings.max() <= 1
    plain = sample(make_objective("bradley_terry", {}))
    assert isinstance(plain, Pairs)
    assert plain.chosen.ratings is None and plain.chosen.rewards is None


def test_rows_that_are_told_apart():
    keyed = sample(OBJECTIVES["sampo"]())
    assert isinstance(keyed, Pairs) and keyed.rows is not None and keyed.keys is not None
    assert keyed.rows.tolist() == keyed.keys.tolist() == [1, 2, 3, 4]
    plain = sample(OBJECTIVES["dpo"]())
    assert isinstance(plain, Pairs) and plain.rows is None and plain.keys is None


def test_judgements():
    pairs = sample(OBJECTIVES["xpo"]())
    assert isinstance(pairs, Pairs) and pairs.reference_sample is not None
    assert pairs.reference_sample.tolist() == [1, 0, 0, 1]
    for seed in SEEDS:
        graded = sample(OBJECTIVES["odpo"](), seed)
        assert isinstance(graded, Pairs)
        gap = graded.score_chosen - graded.score_rejected
        assert 0.1 <= gap.min() and gap.max() <= 1.1
    judged, lists = sample(OBJECTIVES["kto"]()), sample(OBJECTIVES["lipo"]())
    assert isinstance(judged, Unpaired) and judged.desirable.tolist() == [1, 0, 1, 0]
    assert isinstance(lists, Lists) and len(lists.scores) == 2 * GROUPS


@pytest.mark.parametrize("name", ["dpo", "simpo", "kto", "lipo", "bradley_terry"])
def test_rows_are_placed_where_they_are_wanted(name):
    """Responses take the two values in turn: of a pair chosen and rejected, else one by one."""
    values = (-1.0, -7.0, -2.0, -5.0)
    moved = placed(sample(OBJECTIVES[name]()), values)
    of_pairs = len(sides(moved)) == 2
    for turn, y in enumerate(sides(moved).values()):
        second = torch.arange(len(y)) % 2 == 1 if not of_pairs else torch.full((len(y),), turn == 1)
        policy = torch.where(second, -7.0, -1.0).double()
        torch.testing.assert_close(y.log_prob.detach(), policy)
        if y.reward is not None:
            torch.testing.assert_close(y.reward.detach(), policy)
        if y.reference is not None:
            expected = torch.where(second, -5.0, -2.0).double()
            torch.testing.assert_close(y.reference_log_prob, expected)
        assert (y.reference is None) == ("reference" not in OBJECTIVES[name]().needs)
    assert all(leaf.requires_grad and leaf.is_leaf for leaf in leaves(moved))
