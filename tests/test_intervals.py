"""Intervals by drawing prompts again: against the normal one, and against rows of one prompt."""

import math

import numpy as np
import pytest

from luce.intervals import Estimate, bootstrap, mean_interval


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
