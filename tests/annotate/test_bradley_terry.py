"""Fits of a table of wins: as published, against a general optimizer, and where none is finite."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from luce.annotate.bradley_terry import davidson_is_finite, fit_bradley_terry, fit_davidson
from luce.annotate.maximum import groups

TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
# American League, 1987 season: Agresti (1990), Categorical Data Analysis, section 10.6
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
# log-odds against Baltimore and their standard errors: Turner and Firth (2012), BradleyTerry2
PUBLISHED = {
    "Milwaukee": (1.5814, 0.3433),
    "Detroit": (1.4364, 0.3396),
    "Toronto": (1.2945, 0.3367),
    "New York": (1.2476, 0.3359),
    "Boston": (1.1077, 0.3339),
    "Cleveland": (0.6839, 0.3319),
}
TABLES = st.integers(2, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0, 0, 1, 2, 5, 0.25]), min_size=n, max_size=n),
        min_size=n,
        max_size=n,
    )
)


def table_of(rows) -> np.ndarray:
    wins = np.array(rows, dtype=float)
    np.fill_diagonal(wins, 0)
    return wins


def test_baseball_as_published():
    fit = fit_bradley_terry(BASEBALL.astype(float))
    last = TEAMS.index("Baltimore")
    for name, (log_odds, error) in PUBLISHED.items():
        i = TEAMS.index(name)
        assert fit.log_strengths[i] - fit.log_strengths[last] == pytest.approx(log_odds, abs=5e-5)
        contrast = np.zeros(7)
        contrast[[i, last]] = 1, -1
        found = math.sqrt(contrast @ fit.covariance @ contrast)
        assert found == pytest.approx(error, abs=6e-5)


def test_davidson_against_a_general_optimizer():
    generator = np.random.default_rng(4)
    wins = generator.integers(1, 9, (4, 4)) * (1 - np.eye(4))
    ties = np.triu(generator.integers(0, 6, (4, 4)), 1)
    ties = (ties + ties.T).astype(float)

    def cost(point):
        theta, log_tie = np.append(point[:3], 0), point[3]
        total = 0.0
        for i in range(4):
            for j in range(i):
                logits = [theta[i], theta[j], log_tie + (theta[i] + theta[j]) / 2]
                log_p = logits - np.logaddexp.reduce(logits)
                total -= wins[i, j] * log_p[0] + wins[j, i] * log_p[1] + ties[i, j] * log_p[2]
        return total

    best = minimize(cost, np.zeros(4), tol=1e-12)
    fit = fit_davidson(wins, ties)
    assert -fit.log_likelihood == pytest.approx(best.fun, rel=1e-9)
    assert fit.log_strengths - fit.log_strengths[3] == pytest.approx(
        np.append(best.x[:3], 0), abs=1e-4
    )
    assert fit.log_tie == pytest.approx(best.x[3], abs=1e-4)


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_at_the_maximum_each_wins_as_often_as_expected(rows):
    wins = table_of(rows)
    assume(len(groups(wins)) == 1)
    theta = fit_bradley_terry(wins).log_strengths
    p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    assert ((wins + wins.T) * p).sum(axis=1) == pytest.approx(wins.sum(axis=1), abs=1e-9)
    assert theta.sum() == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(TABLES, st.floats(0.1, 9))
def test_scale_and_start_change_nothing(rows, scale):
    wins = table_of(rows)
    assume(len(groups(wins)) == 1)
    theta = fit_bradley_terry(wins).log_strengths
    assert fit_bradley_terry(scale * wins).log_strengths == pytest.approx(theta, abs=1e-7)
    far = fit_bradley_terry(wins, start=np.linspace(-9, 9, len(wins))).log_strengths
    assert far == pytest.approx(theta, abs=1e-7)


@settings(deadline=None, max_examples=150)
@given(TABLES, st.data())
def test_davidson_is_finite_where_no_direction_lowers_no_outcome(rows, data):
    """Against a linear programme over all directions (δ, μ) at once."""
    wins = table_of(rows)
    n = len(wins)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    tied = data.draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    ties = np.zeros((n, n))
    for i, j in tied:
        ties[i, j] = ties[j, i] = 1.0
    assume(wins.any())
    # rows r with r · (δ, μ) ≥ 0 for each outcome that was seen, against the two others
    asked = []
    for i in range(n):
        for j in range(n):
            delta = np.zeros(n + 1)
            delta[i], delta[j] = 1, -1
            mu = np.zeros(n + 1)
            mu[n] = 1
            if i != j and wins[i, j]:
                asked += [delta, delta / 2 - mu]
            if ties[i, j]:
                asked += [mu - delta / 2]
    A = np.array(asked)
    bounds = [(0, 0)] + [(-1, 1)] * n  # δ_0 = 0: a constant is no direction
    best = linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=bounds)
    flat = np.linalg.matrix_rank(A[:, 1:]) == n  # every other direction changes something
    assert davidson_is_finite(wins, ties) == (abs(best.fun) < 1e-9 and flat)


def test_ties_bridge_as_many_wins_as_they_are():
    """a over b over c (over d), and a tied with e, e with the last: two ties span two wins, and
    then nothing holds ν; three wins they do not."""

    def table(pairs, n=5):
        found = np.zeros((n, n))
        for i, j in pairs:
            found[i, j] = 1
        return found

    ties = table([(0, 4), (4, 0), (4, 2), (2, 4)])
    four = np.ix_([0, 1, 2, 4], [0, 1, 2, 4])
    assert not davidson_is_finite(table([(0, 1), (1, 2)])[four], ties[four])
    longer = table([(0, 4), (4, 0), (4, 3), (3, 4)])
    wins = table([(0, 1), (1, 2), (2, 3)])
    assert davidson_is_finite(wins, longer)
    assert np.abs(fit_davidson(wins, longer).log_strengths).max() < 20
    assert davidson_is_finite(table([(0, 1), (1, 2)]), ties, prior=True)
