"""Votes as arrays, and tables of wins as votes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.annotate.votes import Vote, vote_table, votes_from_wins
from luce.errors import LuceError


@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 3, 2.5, 0.25]), min_size=3, max_size=3),
        min_size=3,
        max_size=3,
    )
)
def test_a_table_of_wins_comes_back(rows):
    wins = np.array(rows, dtype=float)
    np.fill_diagonal(wins, 0)
    votes = votes_from_wins(wins, ["x", "y", "z"])
    if votes:
        table = vote_table(votes)
        order = [table.names.index(name) for name in "xyz" if name in table.names]
        there = [i for i, name in enumerate("xyz") if name in table.names]
        assert table.wins()[np.ix_(order, order)] == pytest.approx(wins[np.ix_(there, there)])
        assert len(votes) == np.floor(wins).sum() + (wins % 1 > 0).sum()


def test_rows_are_counted_as_often_as_they_are_drawn():
    table = vote_table([Vote("a", "b"), Vote("b", "c", 0.25, weight=4), Vote("c", "a", 0.5)])
    assert table.names == ("a", "b", "c")
    assert table.wins().tolist() == [[0, 1, 0.5], [0, 0, 1], [0.5, 3, 0]]
    assert table.wins(np.array([1, 1])).tolist() == [[0, 0, 0], [0, 0, 2], [0, 6, 0]]


def test_a_vote_without_a_prompt_is_one_of_its_own():
    assert vote_table([Vote("a", "b"), Vote("b", "a")]).prompts is None
    mixed = [Vote("a", "b", prompt="p"), Vote("a", "b"), Vote("a", "b"), Vote("b", "a", prompt="p")]
    prompts = vote_table(mixed).prompts
    assert prompts is not None and prompts[0] == prompts[3] and len(set(prompts)) == 3


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([], "no votes"),
        ([Vote("a", "b"), Vote("c", "c")], r"votes\[1\] \(c against c\).*itself"),
        ([Vote("a", "b", 1.2)], r"votes\[0\] \(a against b\): p is 1.2"),
        ([Vote("a", "b", math.nan)], "p is nan"),
        ([Vote("a", "b", weight=0)], "the weight is 0"),
        ([Vote("a", "b", weight=math.inf)], "the weight is inf"),
    ],
)
def test_votes_that_say_nothing_are_named(votes, message):
    with pytest.raises(LuceError, match=message):
        vote_table(votes)


@pytest.mark.parametrize(
    ("wins", "items", "message"),
    [
        ([[0, 1]], None, r"shape \(1, 2\)"),
        ([[0, 1], [1, 0]], ["a"], "2 rows of wins and 1 different names"),
        ([[0, 1], [1, 0]], ["a", "a"], "2 rows of wins and 1 different names"),
        ([[0, -1], [1, 0]], ["a", "b"], r"wins\[0\]\[1\] is -1.0 \(a over b\)"),
        ([[2, 1], [1, 0]], ["a", "b"], r"wins\[0\]\[0\] is 2.0"),
        ([[0, math.nan], [1, 0]], None, r"wins\[0\]\[1\] is nan"),
    ],
)
def test_tables_that_are_none_are_named(wins, items, message):
    with pytest.raises(LuceError, match=message):
        votes_from_wins(wins, items)
