import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.evaluate import win_rate, win_rate_of_preferences
from luce.intervals import wilson_interval

SCORES = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=20)


@given(SCORES)
def test_a_policy_against_itself_wins_exactly_half(scores):
    result = win_rate(scores, scores, resamples=50)
    assert result.value == 0.5
    assert (result.low, result.high) == ((0.5, 0.5) if len(scores) > 1 else (0, 1))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=6))
def test_several_samples_against_themselves_win_exactly_half(scores):
    assert win_rate(scores, scores, resamples=20).value == 0.5


@given(SCORES, st.integers(0, 1000))
def test_swapping_the_sides_mirrors_the_rate_and_its_interval(scores, seed):
    other = scores[::-1]
    ours = win_rate(scores, other, seed=seed, resamples=50)
    theirs = win_rate(other, scores, seed=seed, resamples=50)
    assert ours.value == pytest.approx(1 - theirs.value)
    assert ours.low == pytest.approx(1 - theirs.high)
    assert (ours.wins, ours.ties, ours.losses) == (theirs.losses, theirs.ties, theirs.wins)


def test_the_rate_is_the_mean_over_prompts_of_wins_with_ties_half():
    result = win_rate([[1.0, 3.0], [0.0]], [[2.0], [0.0]])
    # prompt 1: 1 < 2, 3 > 2 -> 1/2; prompt 2: a tie -> 1/2
    assert result.value == 0.5
    assert (result.n, result.wins, result.ties, result.losses) == (2, 1, 1, 1)


def test_a_prompt_with_many_samples_counts_as_much_as_one_with_few():
    result = win_rate([[1.0] * 10, [0.0]], [[0.0] * 10, [1.0]])
    assert result.value == 0.5


def test_the_interval_is_the_same_for_the_same_seed_and_moves_with_it():
    generator = np.random.default_rng(1)
    a, b = generator.normal(0.4, 1, 80).tolist(), generator.normal(0, 1, 80).tolist()
    assert win_rate(a, b, seed=3) == win_rate(a, b, seed=3)
    intervals = {(r.low, r.high) for r in (win_rate(a, b, seed=s, resamples=300) for s in range(4))}
    assert len(intervals) > 1


def test_the_bootstrap_interval_agrees_with_the_normal_one_on_many_prompts():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.5, 1, 400).tolist(), generator.normal(0, 1, 400).tolist()
    result = win_rate(a, b)
    assert result.low == pytest.approx(result.value - 1.96 * result.standard_error, abs=0.01)
    assert result.high == pytest.approx(result.value + 1.96 * result.standard_error, abs=0.01)
    p = result.value
    assert result.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 399))


def test_a_clean_sweep_of_few_prompts_does_not_claim_certainty():
    result = win_rate([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert result.value == 1.0
    assert (result.low, result.high) == wilson_interval(3, 3)
    assert result.low < 0.5


def test_preferences_of_an_annotator_are_averaged():
    result = win_rate_of_preferences([0.75, 0.25, 1.0, 0.5])
    assert result.value == 0.625
    assert (result.wins, result.ties, result.losses) == (2, 1, 1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "at least one prompt"),
        ([1.0], [1.0, 2.0], "scores_a has 1, scores_b has 2"),
        ([1.0, math.nan], [1.0, 1.0], r"scores_a\[1\] is nan"),
        ([[1.0, math.inf]], [[1.0]], r"scores_a\[0\]\[1\] is inf"),
        ([[]], [[1.0]], r"scores_a\[0\] has no samples"),
    ],
)
def test_what_cannot_be_compared_is_named(a, b, message):
    with pytest.raises(LuceError, match=message):
        win_rate(a, b)


def test_a_preference_outside_zero_and_one_is_refused():
    with pytest.raises(LuceError, match=r"preferences\[1\] is 1.5"):
        win_rate_of_preferences([0.5, 1.5])


def test_the_record_names_the_opponent_and_the_annotator():
    record = win_rate([2.0, 0.0], [1.0, 1.0]).record(against="initial", annotator="gold reward")
    assert (record["against"], record["annotator"]) == ("initial", "gold reward")
    assert (record["value"], record["n"], record["ties"], record["comparisons"]) == (0.5, 2, 0, 2)
