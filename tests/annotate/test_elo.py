"""Sequential Elo: worked by hand, its laws, and what the order does."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.annotate.elo import elo
from luce.annotate.rank import bradley_terry
from luce.annotate.votes import Vote
from luce.errors import LuceError

VOTES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([0.0, 0.5, 0.7, 1.0])
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: [Vote(*row) for row in rows])


def test_three_votes_worked():
    found = elo([Vote("a", "b"), Vote("c", "a"), Vote("b", "c", 0.5)], k=32, shuffles=2)
    a, b, c = 1016.0, 984.0, 1000.0
    won = 32 * (1 - 1 / (1 + 10 ** ((a - c) / 400)))
    a, c = a - won, c + won
    tied = 32 * (0.5 - 1 / (1 + 10 ** ((c - b) / 400)))
    b, c = b + tied, c - tied
    assert [found[name].rating for name in "abc"] == pytest.approx([a, b, c])
    assert [found[name].votes for name in "abc"] == [2, 2, 2]
    assert found.items[0].name == "c"


def test_an_upset_moves_more_than_what_was_expected():
    first = [Vote("a", "b")] * 10
    strong = elo(first, shuffles=2)["a"].rating
    upset = strong - elo([*first, Vote("b", "a")], shuffles=2)["a"].rating
    usual = elo([*first, Vote("a", "b")], shuffles=2)["a"].rating - strong
    assert upset + usual == pytest.approx(32) and upset > 16 > usual


@settings(deadline=None)
@given(VOTES)
def test_points_only_change_hands(votes):
    found = elo(votes, start=1500, shuffles=3)
    n = len(found.items)
    assert sum(item.rating for item in found.items) == pytest.approx(1500 * n)
    assert sum(item.shuffled.value for item in found.items) == pytest.approx(1500 * n)


@settings(deadline=None)
@given(VOTES)
def test_sides_do_not_matter(votes):
    swapped = elo([Vote(v.b, v.a, 1 - v.p) for v in votes], shuffles=2)
    for item in elo(votes, shuffles=2).items:
        assert swapped[item.name].rating == pytest.approx(item.rating)


def test_the_same_votes_in_another_order_are_another_rating():
    votes = [Vote("a", "b")] * 20 + [Vote("b", "a")] * 20
    found, turned = elo(votes), elo(votes[::-1])
    assert found["b"].rating > 1100 and turned["a"].rating > 1100
    # what the orders scatter round is the rating of equals, and both blocks lie outside
    for ratings in (found, turned):
        assert ratings["a"].shuffled.value == pytest.approx(1000, abs=6)
        assert max(r.rating for r in ratings.items) > ratings.items[0].shuffled.high
    assert found["a"].shuffled.low < 960 < 1040 < found["a"].shuffled.high


def test_small_steps_over_many_votes_come_to_bradley_terry():
    generator = np.random.default_rng(0)
    truth, votes = {"a": 0.8, "b": 0.0, "c": -0.8}, []
    for _ in range(3000):
        x, y = generator.choice(list(truth), 2, replace=False)
        p = 1 / (1 + math.exp(truth[y] - truth[x]))
        votes.append(Vote(str(x), str(y), float(generator.random() < p)))
    found = elo(votes, k=2, shuffles=200)
    fitted = bradley_terry(votes, resamples=0)
    for name in truth:
        assert found[name].shuffled.value == pytest.approx(fitted[name].elo.value, abs=12)
    wide = elo(votes, k=64, shuffles=200)["b"].shuffled
    assert wide.high - wide.low > 3 * (found["b"].shuffled.high - found["b"].shuffled.low)


def test_ratings_are_stored_and_printed():
    found = elo([Vote("a", "b")], k=16, shuffles=4)
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["items"][0] == {
        "name": "a",
        "rating": 1008.0,
        "shuffled": {"value": 1008.0, "low": 1008.0, "high": 1008.0, "n": 1},
        "votes": 1,
    }
    assert "1 votes one after the other" in found.lines()[0] and "K = 16" in found.lines()[0]
    assert found.lines()[2].split() == ["a", "1008", "1008", "1008", "to", "1008", "1"]
    assert elo([Vote("a", "b")] * 3 + [Vote("b", "a")], seed=1) != elo(
        [Vote("a", "b")] * 3 + [Vote("b", "a")], seed=2
    )


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"k": 0}, "k is 0"), ({"k": math.nan}, "k is nan"), ({"shuffles": 1}, "shuffles is 1")],
)
def test_what_elo_cannot_use(keywords, message):
    with pytest.raises(LuceError, match=message):
        elo([Vote("a", "b")], **keywords)
    with pytest.raises(LuceError, match=r"votes\[1\] has the weight 2.0.*Repeat"):
        elo([Vote("a", "b"), Vote("a", "b", weight=2.0)])
