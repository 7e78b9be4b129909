"""Gao's curves, the best-of-n KL, and a guard that hears falls and not noise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.diagnostics.overoptimization import Guard, Point, best_of_n_kl, fit_gold_curve
from luce.errors import LuceError

KLS = [0.25 * i for i in range(1, 25)]


def points(values, error=0.0):
    return [Point(kl, kl, gold, error) for kl, gold in zip(KLS, values, strict=False)]


def alarm(series, **options):
    """The number of the point at which a guard speaks, and its decision; None if it does not."""
    guard = Guard(**options)
    for number, point in enumerate(series):
        decision = guard.step(point)
        if decision.action != "continue":
            return number, decision
    return None


@pytest.mark.parametrize(
    ("n", "kl"), [(1, 0.0), (2, 0.193147), (4, 0.636294), (8, 1.204442), (16, 1.835089)]
)
def test_the_kl_of_best_of_n(n, kl):
    assert best_of_n_kl(n) == pytest.approx(kl, abs=5e-7)


def test_the_kl_of_best_of_n_is_exact_without_ties_and_a_bound_with_them():
    """Best of n of a uniform variable has density n uⁿ⁻¹; of two equal coins, KL by hand."""
    n, cells = 5, 200_000
    u = (np.arange(cells) + 0.5) / cells
    density = n * u ** (n - 1)
    assert best_of_n_kl(n) == pytest.approx(np.mean(density * np.log(density)), abs=1e-6)
    p = 1 - 0.5**2  # best of 2 coins is heads
    coins = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert coins < best_of_n_kl(2)


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_a_curve_is_recovered_with_its_peak(form):
    alpha, beta = 2.0, 0.8
    d = np.sqrt(KLS)
    gold = d * (alpha - beta * (d if form == "best_of_n" else np.log(d)))
    found = fit_gold_curve(points(gold.tolist()), form, resamples=50)
    assert (found.alpha.value, found.beta.value) == pytest.approx((2.0, 0.8))
    # R′ = α − 2βd = 0 at d = 1.25; α − β log d − β = 0 at d = e^1.5
    peak = 1.25 if form == "best_of_n" else math.exp(1.5)
    top = peak * (2.0 - 0.8 * (peak if form == "best_of_n" else 1.5))
    assert found.peak_kl.value == pytest.approx(peak**2)
    assert found.peak_gold.value == pytest.approx(top)
    assert found.value(peak**2) == pytest.approx(top)
    assert found.value(0.0) == 0.0
    assert found.residual < 1e-12


def test_a_curve_that_never_falls_has_no_peak():
    found = fit_gold_curve(points([math.sqrt(kl) + kl for kl in KLS]), "best_of_n", resamples=50)
    assert found.beta.value == pytest.approx(-1.0)
    assert math.isnan(found.peak_kl.value) and math.isnan(found.peak_gold.value)
    assert math.isnan(found.peak_kl.low)


def test_the_interval_of_the_peak_holds_it_in_most_runs():
    rng, hits = np.random.default_rng(0), 0
    d = np.sqrt(KLS)
    for seed in range(60):
        gold = d * (2 - 0.8 * d) + rng.normal(0, 0.1, len(d))
        found = fit_gold_curve(points(gold.tolist()), "best_of_n", seed=seed, resamples=200)
        hits += found.peak_kl.low <= 1.25**2 <= found.peak_kl.high
    assert hits >= 50


def test_intervals_over_runs_are_wider_than_over_points_that_err_together():
    rng = np.random.default_rng(0)
    rows, runs = [], []
    for run in range(8):
        alpha = 2 + rng.normal(0, 0.3)
        rows += points([math.sqrt(kl) * (alpha - 0.8 * math.sqrt(kl)) for kl in KLS])
        runs += [run] * len(KLS)
    alone = fit_gold_curve(rows, "best_of_n", resamples=300).peak_gold
    together = fit_gold_curve(rows, "best_of_n", runs, resamples=300).peak_gold
    assert together.n == 8 and alone.n == 8 * len(KLS)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_points_that_make_no_curve_are_refused():
    with pytest.raises(LuceError, match="3 points"):
        fit_gold_curve([Point(0.0, 0.0, 0.0), Point(1.0, 1.0, 1.0), Point(2.0, 1.0, 1.0)])
    with pytest.raises(LuceError, match="finite"):
        Point(1.0, math.nan, 1.0)
    with pytest.raises(LuceError, match="0 or greater"):
        Point(-1.0, 0.0, 1.0)
    with pytest.raises(LuceError, match="n = 0"):
        best_of_n_kl(0)
    with pytest.raises(LuceError, match="patience"):
        Guard(patience=0)


def test_a_guard_by_hand():
    """Errors of 0.1: a fall is heard past 2 · 1.96 · 0.1 = 0.392, at the second point in a row."""
    gold = [0.0, 1.0, 0.61, 0.6, 0.9, 0.6, 0.5]
    found = alarm(points(gold, 0.1))
    assert found is not None
    number, decision = found
    # 0.61 is not far enough below 1.0; 0.6 is, but 0.9 comes between
    assert (number, decision.action, decision.keep) == (6, "roll_back", 1)
    for words in ("fell by 0.5 from 1 at point 1", "roll back to point 1", "proxy rose by 1.25"):
        assert words in decision.why


def test_a_small_fall_stops_and_a_large_one_rolls_back():
    small = alarm(points([0.0, 1.0, 0.98, 0.95], 0.001))
    assert small is not None and (small[1].action, small[1].keep) == ("stop", 1)
    assert "stop here" in small[1].why
    large = alarm(points([0.0, 1.0, 0.98, 0.85], 0.001))
    assert large is not None and large[1].action == "roll_back"


def test_a_guard_trusts_a_certain_point_more_than_a_lucky_one():
    guard = Guard()
    for gold, error in ((0.0, 0.0), (1.0, 0.01), (1.2, 0.5)):
        decision = guard.step(Point(1.0, 1.0, gold, error))
    assert decision.keep == 1


def test_a_policy_that_returns_to_the_initial_one_made_a_trade():
    """Gold falls from 1 to 0.8, and KL from 2 to 1."""
    way = [(0.0, 0.0), (2.0, 1.0), (1.5, 0.9), (1.0, 0.8), (0.9, 0.75)]
    assert alarm([Point(kl, gold, gold, 0.01) for kl, gold in way]) is None
    assert alarm([Point(2.0, gold, gold, 0.01) for _, gold in way]) is not None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 0.5))
def test_no_alarm_without_a_fall(steps, error):
    assert alarm([Point(1.0, 1.0, g, error) for g in itertools.accumulate(steps)]) is None


@pytest.mark.parametrize(("slope", "most"), [(0.0, 30), (0.02, 5)])
def test_noise_around_a_curve_that_does_not_fall_seldom_raises_an_alarm(slope, most):
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(1000):
        gold = slope * np.arange(20) + rng.normal(0, 0.1, 20)
        alarms += alarm(points(gold.tolist(), 0.1)) is not None
    assert alarms <= most


def test_a_fall_of_six_errors_is_heard_in_nearly_every_run():
    rng, heard = np.random.default_rng(1), 0
    for _ in range(200):
        gold = np.r_[np.linspace(0, 1, 10), np.linspace(1, 0.4, 10)] + rng.normal(0, 0.1, 20)
        heard += alarm(points(gold.tolist(), 0.1)) is not None
    assert heard >= 180
