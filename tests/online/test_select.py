"""What selectors take, by hand; and what holds of all of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.online.select import SELECTORS, Candidates, Listing, Nothing, Pair, Terms

NONE = Terms()
ASK_FOR_MORE = ("widest", "enhancer", "optimism", "across")


def of(*rewards: float, lengths: tuple[float, ...] | None = None) -> Candidates:
    return Candidates(
        np.array(rewards), np.array(lengths or [1.0] * len(rewards), dtype=float)
    )  # fmt: skip


def take(name: str, found: Candidates, terms: Terms = NONE, seed: int = 0) -> object:
    return SELECTORS[name](found, terms, np.random.default_rng(seed))


def every(name: str, found: Candidates, terms: Terms = NONE, draws: int = 400) -> set[object]:
    return {take(name, found, terms, seed) for seed in range(draws)}


def test_best_and_worst() -> None:
    assert take("best_vs_worst", of(0.2, 1.5, -3.0, 1.0)) == Pair(1, 2)
    assert take("best_vs_second", of(0.2, 1.5, -3.0, 1.0)) == Pair(1, 3)
    assert every("best_vs_random", of(0.2, 1.5, -3.0)) == {Pair(1, 0), Pair(1, 2)}
    assert every("random_pair", of(0.2, 1.5, -3.0)) == {Pair(1, 0), Pair(1, 2), Pair(0, 2)}


def test_equal_ones_are_taken_by_chance_and_never_against_themselves() -> None:
    assert every("best_vs_worst", of(1.0, 1.0, 0.0, 0.0)) == {
        Pair(0, 2), Pair(0, 3), Pair(1, 2), Pair(1, 3)
    }  # fmt: skip
    assert every("best_vs_second", of(2.0, 1.0, 1.0)) == {Pair(0, 1), Pair(0, 2)}


@pytest.mark.parametrize(
    "name", [n for n in SELECTORS if n not in (*ASK_FOR_MORE, "length_penalized")]
)
def test_rewards_that_are_all_equal_tell_nothing(name: str) -> None:
    assert every(name, of(0.5, 0.5, 0.5), draws=50) == {Nothing("tie")}


def test_a_price_on_length() -> None:
    found = of(1.0, 1.2, 0.5, lengths=(10, 40, 5))
    assert take("length_penalized", found) == Pair(1, 2)
    # 1 − .1, 1.2 − .4, .5 − .05
    assert take("length_penalized", found, Terms(length_penalty=0.01)) == Pair(0, 2)
    # 1 − .5, 1.2 − 2, .5 − .25
    assert take("length_penalized", found, Terms(length_penalty=0.05)) == Pair(0, 1)


def test_a_tournament_counts_wins() -> None:
    # b has the higher reward on average; a beats both others, if barely
    beats = np.array([[np.nan, 0.6, 0.6], [0.4, np.nan, 0.99], [0.4, 0.01, np.nan]])
    found = replace(of(0.6, 0.695, 0.205), beats=beats)
    assert take("tournament", found) == Pair(1, 2)  # .4 + .99 against .6 + .6
    assert take("tournament", of(3.0, 1.0, 2.0)) == Pair(0, 1)


def test_the_annotators_own_word_goes_before_the_mean() -> None:
    beats = np.array([[np.nan, 0.3], [0.7, np.nan]])
    assert take("random_pair", replace(of(0.9, 0.1), beats=beats)) == Pair(1, 0)


def test_margins_as_weights() -> None:
    assert take("margin_weighted", of(0.5, 3.0, 1.0)) == Pair(1, 0, 2.5)


def test_lists() -> None:
    assert take("listwise", of(0.5, 3.0, 1.0)) == Listing()


def test_rejection_keeps_each_by_its_share() -> None:
    """With two kept of three, the best is always kept and the others with exp((r − max)/β)."""
    found, terms = of(1.0, 0.0, -1.0), Terms(acceptance_beta=0.5)
    draws = [take("rejection", found, terms, seed) for seed in range(4000)]
    p, q = np.exp(-2.0), np.exp(-4.0)
    alone = sum(d == Nothing("rejected") for d in draws) / 4000
    assert alone == pytest.approx((1 - p) * (1 - q), abs=0.02)
    both = sum(d == Pair(0, 1) for d in draws) / 4000
    assert both == pytest.approx(p * (1 - q) + p * q / 3, abs=0.02)


def test_where_members_disagree() -> None:
    members = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    found = replace(of(0.0, 2.0, 2.0), members=members)
    # margins of members: 0–1: 1, 3; 0–2: 2, 2; 1–2: −1, 1
    assert every("widest", found) == {Pair(1, 0), Nothing("tie")}
    with pytest.raises(LuceError, match="model.ensemble"):
        take("widest", of(0.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=8),
    st.sampled_from([n for n in SELECTORS if n not in (*ASK_FOR_MORE, "listwise")]),
    st.integers(0, 2**32),
)
def test_the_better_one_is_never_worse(rewards: list[int], name: str, seed: int) -> None:
    found = of(*map(float, rewards))
    chosen = take(name, found, seed=seed)
    if isinstance(chosen, Pair):
        assert chosen.better != chosen.worse and chosen.weight > 0
        assert found.margin(chosen.better, chosen.worse) > 0
    else:
        assert isinstance(chosen, Nothing)
    assert take(name, found, seed=seed) == chosen


@settings(max_examples=30, deadline=None)
@given(
    st.permutations(range(5)), st.sampled_from(["best_vs_worst", "tournament", "best_vs_second"])
)
def test_the_order_of_samples_changes_nothing(order: list[int], name: str) -> None:
    rewards = np.array([0.3, -1.0, 2.0, 0.9, 0.1])
    first, second = take(name, of(*rewards)), take(name, of(*rewards[list(order)]))
    assert isinstance(first, Pair) and isinstance(second, Pair)
    assert (order[second.better], order[second.worse]) == (first.better, first.worse)


def test_explorers_set_the_first_sample_against_another() -> None:
    found = replace(of(1.0, 2.0, 0.0, 0.5), widths=np.array([0.0, 0.1, 0.7, 0.9]))
    assert take("enhancer", found) == Pair(0, 3)  # better by reward, though asked for its width
    assert take("optimism", found, Terms(optimism=0.0)) == Pair(1, 0)
    assert take("optimism", found, Terms(optimism=10.0)) == Pair(0, 3)
    with pytest.raises(LuceError, match="online.features"):
        take("enhancer", of(0.0, 1.0))


def test_a_random_pair_is_one_that_was_compared() -> None:
    beats = np.full((3, 3), np.nan)
    beats[0, 2], beats[2, 0] = 0.9, 0.1
    assert every("random_pair", replace(of(0.9, 0.5, 0.1), beats=beats)) == {Pair(0, 2)}


def test_the_policy_meets_its_opponent() -> None:
    found = replace(of(1.0, 2.0, 0.0, 3.0), rivals=np.array([False, False, True, True]))
    assert every("across", found) == {Pair(0, 2), Pair(3, 0), Pair(1, 2), Pair(3, 1)}
    alone = replace(of(1.0, 2.0), rivals=np.array([False, False]))
    assert take("across", alone) == Nothing("no_opponent")
    with pytest.raises(LuceError, match="opponent"):
        take("across", of(1.0, 2.0))
