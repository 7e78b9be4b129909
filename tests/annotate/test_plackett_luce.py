"""Plackett-Luce: on pairs, in closed form, against a general optimizer, and its ties."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from luce.annotate.plackett_luce import PartialRanking, plackett_luce, ranking_from_scores
from luce.annotate.rank import bradley_terry
from luce.annotate.votes import Vote
from luce.errors import LuceError

PAIRS = st.lists(st.permutations("abcd").map(lambda p: p[:2]), min_size=4, max_size=20)


def drawn(generator, theta, take, order) -> PartialRanking:
    """The best `order` of `take` random items, by Gumbel noise on the log-strengths."""
    names = generator.permutation(len(theta))[:take]
    best = names[np.argsort(-(theta[names] + generator.gumbel(size=take)))]
    named = tuple(f"i{j}" for j in best)
    return PartialRanking(named[:order], named[order:])


def log_likelihood(rankings, theta) -> float:
    total = 0.0
    for ranking in rankings:
        left = [*ranking.ordered, *ranking.rest]
        for name in ranking.ordered:
            total += theta[name] - np.logaddexp.reduce([theta[other] for other in left])
            left.remove(name)
    return total


@settings(deadline=None, max_examples=40)
@given(PAIRS, st.sampled_from([None, 0.7]))
def test_on_pairs_it_is_bradley_terry(pairs, prior_sd):
    votes = [Vote(*pair) for pair in pairs]
    rankings = [PartialRanking(tuple(pair)) for pair in pairs]
    try:
        expected = bradley_terry(votes, prior_sd=prior_sd, resamples=5)
    except LuceError:
        with pytest.raises(LuceError, match="Plackett-Luce"):
            plackett_luce(rankings, prior_sd=prior_sd)
        return
    found = plackett_luce(rankings, prior_sd=prior_sd, resamples=5)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood)
    assert found.lost == expected.lost
    for item in expected.items:
        same = found[item.name]
        assert (same.points, same.rows) == (item.points, item.rows)
        for kind in ("strength", "log_strength", "elo_by_information", "strength_by_information"):
            one, other = getattr(same, kind), getattr(item, kind)
            assert [one.value, one.low, one.high] == pytest.approx(
                [other.value, other.low, other.high], abs=1e-6, nan_ok=True
            )


def test_the_first_of_all_alone_is_a_share():
    """One choice out of the same three each time: π is how often each was chosen."""
    names = ("a", "b", "c")
    rankings = [
        PartialRanking((best,), tuple(name for name in names if name != best), weight=weight)
        for best, weight in [("a", 5.0), ("b", 3.0), ("c", 2)]
    ]
    found = plackett_luce(rankings, resamples=0)
    assert [found[name].strength.value for name in names] == pytest.approx([0.5, 0.3, 0.2])
    assert [found[name].points for name in names] == [5, 3, 2]
    assert [found[name].rows for name in names] == [10, 10, 10]


def test_points_are_first_places():
    rankings = [PartialRanking(("a", "b", "c"), weight=2), PartialRanking(("c", "b"), ("a",))]
    rankings.append(PartialRanking(("b", "a")))
    found = plackett_luce(rankings, resamples=0)
    assert [(found[name].points, found[name].rows) for name in "abc"] == [(2, 4), (1, 4), (1, 3)]


def test_partial_rankings_against_a_general_optimizer():
    generator = np.random.default_rng(7)
    truth = np.linspace(-1, 1, 5)
    rankings = [drawn(generator, truth, int(generator.integers(2, 6)), 2) for _ in range(60)]
    found = plackett_luce(rankings, resamples=0)
    names = [f"i{j}" for j in range(5)]

    def cost(theta):
        return -log_likelihood(rankings, dict(zip(names, [*theta, 0.0], strict=True)))

    best = minimize(cost, np.zeros(4), tol=1e-12)
    assert -found.log_likelihood == pytest.approx(best.fun, rel=1e-9)
    theta = np.array([found[name].log_strength.value for name in names])
    assert theta[:4] - theta[4] == pytest.approx(best.x, abs=1e-4)


def test_the_interval_covers():
    generator, truth = np.random.default_rng(12), np.array([-0.7, 0.0, 0.7])
    inside = []
    for _ in range(250):
        rankings = [drawn(generator, truth, 3, 3) for _ in range(40)]
        found = plackett_luce(rankings, resamples=0)
        for j, value in enumerate(truth):
            interval = found[f"i{j}"].log_strength_by_information
            inside.append(interval.low <= value <= interval.high)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_rankings_of_one_prompt_count_together():
    generator, truth = np.random.default_rng(2), np.array([-0.5, 0.0, 0.5])
    one_by_one = [drawn(generator, truth, 3, 3) for _ in range(30)]
    copies = [PartialRanking(r.ordered, prompt=i) for i, r in enumerate(one_by_one) for _ in "abc"]
    once, often = plackett_luce(one_by_one, resamples=80), plackett_luce(copies, resamples=80)
    assert (once.n, often.n, once.prompts, often.prompts) == (30, 90, 30, 30)
    assert often["i0"].elo.low == pytest.approx(once["i0"].elo.low)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.permutations("abcd"), min_size=3, max_size=9), st.permutations("abcd"))
def test_names_do_not_matter(orders, names):
    new = dict(zip("abcd", names, strict=True))
    rankings = [PartialRanking(tuple(order[:3]), (order[3],)) for order in orders]
    renamed = [
        PartialRanking(tuple(new[x] for x in r.ordered), tuple(new[x] for x in r.rest))
        for r in rankings
    ]
    found = plackett_luce(rankings, prior_sd=2, resamples=0)
    other = plackett_luce(renamed, prior_sd=2, resamples=0)
    for item in found.items:
        same = other[new[item.name]].log_strength.value
        assert same == pytest.approx(item.log_strength.value, abs=1e-9)


def test_who_never_lost_is_named():
    rankings = [PartialRanking(("a", "b", "c")), PartialRanking(("a", "c", "b"))]
    with pytest.raises(LuceError, match=r"Plackett-Luce has no finite maximum.*\{a\}; \{b, c\}"):
        plackett_luce(rankings)
    found = plackett_luce(rankings, prior_sd=1, resamples=0)
    assert found.groups == (("a",), ("b", "c"))
    assert found["b"].strength.value == pytest.approx(found["c"].strength.value)
    assert json.dumps(found.plain(), allow_nan=False)
    assert found.lines()[0].startswith("Plackett-Luce: 2 rankings on 2 prompts")


def test_the_rest_is_in_no_order():
    top = [PartialRanking(("a",), ("b", "c")), PartialRanking(("b",), ("a", "c"))]
    with pytest.raises(LuceError, match=r"\{a, b\}; \{c\}"):
        plackett_luce(top)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9), min_size=2))
def test_scores_order_or_are_refused(scores):
    if len(set(scores.values())) < len(scores):
        with pytest.raises(LuceError, match="both have the score"):
            ranking_from_scores(scores)
        found = ranking_from_scores(scores, ties=random.Random(0))
    else:
        found = ranking_from_scores(scores, "p")
        assert found.prompt == "p"
    values = [scores[name] for name in found.ordered]
    assert values == sorted(values, reverse=True) and set(found.ordered) == set(scores)


def test_ties_are_broken_evenly():
    ties = random.Random(5)
    first = [ranking_from_scores({"a": 1, "b": 1, "c": 0}, ties=ties).ordered for _ in range(400)]
    assert {order[2] for order in first} == {"c"}
    assert sum(order[0] == "a" for order in first) == pytest.approx(200, abs=40)


@pytest.mark.parametrize(
    ("rankings", "message"),
    [
        ([], "no rankings"),
        ([PartialRanking(("a", "b")), PartialRanking(("a", "b", "a"))], r"\[1\] holds 'a' twice"),
        ([PartialRanking(("a",), ("a",))], "holds 'a' twice"),
        ([PartialRanking(("a",))], "puts 1 of 1 items in order"),
        ([PartialRanking((), ("a", "b"))], "puts 0 of 2 items in order"),
        ([PartialRanking(("a", "b"), weight=-1)], "the weight -1"),
    ],
)
def test_rankings_that_say_nothing_are_named(rankings, message):
    with pytest.raises(LuceError, match=message):
        plackett_luce(rankings)


def test_what_is_no_number_is_refused():
    with pytest.raises(LuceError, match="b has the score nan"):
        ranking_from_scores({"a": 1.0, "b": math.nan})
    with pytest.raises(LuceError, match="prior_sd is 0"):
        plackett_luce([PartialRanking(("a", "b"))], prior_sd=0)
