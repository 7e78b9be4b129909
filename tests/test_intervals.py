"""Intervals by drawing prompts again: against the normal one, and against rows of one prompt."""

import math

import numpy as np
import pytest

from luce.intervals import Estimate, bootstrap, bootstrap_all, mean_interval


def mean_of(values):
    sample = np.asarray(values, dtype=float)
    return lambda rows: float(sample[rows].mean())


def test_of_a_mean_it_is_the_normal_interval():
    values = np.random.default_rng(1).normal(size=900)
    found = bootstrap(mean_of(values), 900)
    mean, low, high = mean_interval(values)
    assert found.value == pytest.approx(mean) and found.n == 900
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_rows_of_a_prompt_stay_together():
    """Ten equal rows for each prompt tell as much as one."""
    values = np.random.default_rng(2).normal(size=80)
    prompts = [f"p{i}" for i in np.repeat(np.arange(80), 10)]
    alone, together = (
        bootstrap(mean_of(values), 80),
        bootstrap(mean_of(np.repeat(values, 10)), 800, prompts),
    )
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    assert together.n == alone.n == 80
    wrong = bootstrap(mean_of(np.repeat(values, 10)), 800)
    assert wrong.high - wrong.low < 0.5 * (together.high - together.low)


def test_prompts_of_several_sizes():
    found = bootstrap(lambda rows: float(len(rows)), 5, ["a", "a", "b", "c", "c"])
    assert found == Estimate(5.0, 3.0, 6.0, 3)  # three times b; a and c alone


def test_a_single_prompt_has_no_spread():
    assert bootstrap(mean_of([1.0, 3.0]), 2, ["a", "a"]) == Estimate(2.0, -math.inf, math.inf, 1)


def test_draws_without_what_a_statistic_needs_do_not_count():
    def share_of_first(rows):
        return math.nan if 0 not in rows else float((rows == 0).mean())

    found = bootstrap(share_of_first, 4)
    assert 0.25 <= found.low <= found.high and found.n == 4
    nothing = bootstrap(lambda rows: 1.0 if len(set(rows.tolist())) == 6 else math.nan, 6)
    assert nothing.value == 1.0 and math.isnan(nothing.low) and math.isnan(nothing.high)


def test_the_seed_decides():
    values = mean_of(np.arange(30.0))
    assert bootstrap(values, 30, seed=3) == bootstrap(values, 30, seed=3)
    assert bootstrap(values, 30, seed=3) != bootstrap(values, 30, seed=4)


def test_one_prompt_for_each_row():
    with pytest.raises(ValueError, match="2 prompts for 3 rows"):
        bootstrap(lambda rows: 0.0, 3, ["a", "b"])


def test_several_numbers_at_once_are_each_what_they_are_alone():
    """The same seed gives the same draws, so that nothing may differ."""
    values = np.random.default_rng(5).normal(size=60)
    prompts = [i // 3 for i in range(60)]
    statistics = [lambda i: float(values[i].mean()), lambda i: float(np.median(values[i]))]
    together = bootstrap_all(
        lambda i: np.array([statistic(i) for statistic in statistics]), 60, prompts, seed=8
    )
    assert together == tuple(bootstrap(s, 60, prompts, seed=8) for s in statistics)
    assert together[0].n == 20


def test_one_entry_may_be_unknown_in_a_draw_where_another_is_not():
    def of_row_0(rows):
        return np.array([math.nan if 0 not in rows else 1.0, float(rows.mean()), math.nan])

    first, mean, never = bootstrap_all(of_row_0, 5)
    assert (first.value, first.low, first.high) == (1.0, 1.0, 1.0)
    assert mean == bootstrap(lambda rows: float(rows.mean()), 5)
    assert math.isnan(never.value) and math.isnan(never.low) and math.isnan(never.high)


def test_without_rows_there_is_no_number():
    nothing = bootstrap(lambda rows: float(rows.max()), 0)
    assert math.isnan(nothing.value) and (nothing.low, nothing.high, nothing.n) == (
        -math.inf,
        math.inf,
        0,
    )
    both = bootstrap_all(lambda rows: np.array([len(rows), 1.0]), 0)
    assert [found.value for found in both] == [0.0, 1.0]
