"""Correlations: worked numbers, scipy's on the items of each pair, intervals, what is unknown."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from luce.annotate.correlation import correlations
from luce.annotate.ratings import Ratings
from luce.errors import LuceError
from luce.intervals import bootstrap

NAN = math.nan
METHODS = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
FEW = {"resamples": 20}

# four evaluators (rows) on six items
EVALUATORS = [[1, 2, 3, 4, 5, 3], [2, 2, 3, 5, 4, 3], [5, 4, 3, 2, 1, 3], [3, 1, 4, 2, 5, 3]]


def table(values, prompts=None) -> Ratings:
    found = np.asarray(values, dtype=float)
    return Ratings(found, tuple("abcdefghij"[: found.shape[1]]), prompts)


def drawn(items=80, seed=0):
    """Grades 1 to 5 of three evaluators, with ties and missing ones, of 30 prompts."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 1, (items, 1))
    grades = np.clip(np.round(truth + rng.normal(0, 0.8, (items, 3))), 1, 5)
    grades[rng.random(grades.shape) < 0.15] = NAN
    return grades, np.sort(rng.integers(0, 30, items)).tolist()


@pytest.mark.parametrize(
    ("method", "expected"),
    [("pearson", (0.846802, 0.5, 0.241943)), ("spearman", (0.925476, 0.455882, 0.298541))],
)
def test_four_evaluators_of_six_items(method, expected):
    found = correlations(table(np.transpose(EVALUATORS)), method, **FEW)
    values, counts = found.matrix()
    assert (values[0, 1], values[0, 3], values[1, 3]) == pytest.approx(expected, abs=5e-7)
    assert values[0, 2] == pytest.approx(-1) and values[2, 3] == pytest.approx(-expected[1])
    assert (values == values.T).all() and (np.diag(values) == 1).all() and (counts == 6).all()


@pytest.mark.parametrize("method", METHODS)
def test_each_pair_is_compared_on_the_items_it_shares(method):
    """Ranks too are those among these items: those of the whole columns would give another rho."""
    grades, _ = drawn()
    values, counts = correlations(table(grades), method, **FEW).matrix()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = ~np.isnan(grades[:, [i, j]]).any(axis=1)
        assert counts[i, j] == both.sum() < 80
        expected = METHODS[method](grades[both, i], grades[both, j]).statistic
        assert values[i, j] == pytest.approx(expected, abs=1e-12)
    assert counts[1, 1] == (~np.isnan(grades[:, 1])).sum()


@pytest.mark.parametrize("method", METHODS)
def test_intervals_are_those_of_a_plain_bootstrap_by_prompt(method):
    """For Spearman this ranks again in each draw."""
    grades, prompts = drawn()
    kept = ~np.isnan(grades[:, :2]).any(axis=1)
    grades, prompts = grades[kept], [p for p, k in zip(prompts, kept, strict=True) if k]
    options = {"seed": 5, "resamples": 80}
    found = correlations(table(grades, tuple(prompts)), method, **options).pairs[0].measure.estimate
    plain = bootstrap(
        lambda i: float(METHODS[method](grades[i, 0], grades[i, 1]).statistic),
        len(grades),
        prompts,
        **options,
    )
    assert found.n == plain.n == len(set(prompts)) < len(grades)
    assert [found.value, found.low, found.high] == pytest.approx(
        [plain.value, plain.low, plain.high], abs=1e-12
    )


columns = arrays(
    float,
    st.tuples(st.integers(3, 12), st.just(2)),
    elements=st.sampled_from([1.0, 2.0, 2.5, 7.0, NAN]),
)


@settings(deadline=None, max_examples=20)
@given(columns)
def test_laws(values):
    def found(method, x):
        return correlations(table(x), method, resamples=2).pairs[0].measure.value

    for method in METHODS:
        before = found(method, values)
        assert math.isnan(before) or -1 <= before <= 1
        same = [
            found(method, values[::-1]),
            found(method, values[:, ::-1]),
            found(method, values * [3, 0.5] + [-1e5, 4]),
            -found(method, values * [-1, 1]),
        ]
        assert same == pytest.approx([before] * 4, nan_ok=True, abs=1e-8)
    bent = np.stack([np.exp(values[:, 0]), values[:, 1] ** 3], axis=1)
    assert found("spearman", bent) == pytest.approx(found("spearman", values), nan_ok=True)


def test_large_numbers_of_little_spread_keep_their_digits():
    x = np.array([1.0, 2.0, 3.0, 5.0, 4.0])
    y = np.array([1.0, 1.0, 2.0, 2.0, 3.0])
    expected = stats.pearsonr(x, y).statistic
    found = correlations(table(np.stack([1e9 + x, 1e9 + y], axis=1)), **FEW)
    assert found.pairs[0].measure.value == pytest.approx(expected, abs=1e-9)


def test_a_line_has_no_interval():
    pair = correlations(table([[1, 2], [2, 4], [3, 6], [4, 8]]), **FEW).pairs[0].measure
    assert pair.value == pytest.approx(1) and pair.words() == "1.000 [interval unknown]"
    assert math.isnan(pair.estimate.low) and pair.estimate.n == 4
    assert pair.plain() == {"value": pair.value, "low": None, "high": None, "n": 4}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[1, 2], [1, 3], [1, 5]], "a is 1 on every item it shares with b"),
        ([[1, 0.1], [2, 0.1], [3, 0.1], [4, NAN]], "b is 0.1 on every item it shares with a"),
        ([[0.1, 1], [0.1, 2], [0.1, 3], [NAN, 1]], "a is 0.1 on every item it shares with b"),
        ([[1, 2], [2, 3], [3, NAN]], "a and b share 2 items; a correlation needs 3."),
        ([[1, NAN], [NAN, 2]], "no item on which both a and b"),
        (np.zeros((0, 2)), "no item on which both a and b"),
    ],
)
def test_a_correlation_that_cannot_be_known_says_why(rows, why, method):
    found = correlations(table(rows), method, **FEW)
    assert math.isnan(found.pairs[0].measure.value) and why in found.pairs[0].measure.why
    assert any(why in line for line in found.lines())
    assert why in json.loads(json.dumps(found.plain(), allow_nan=False))["pairs"][0]["why"]
    assert np.isnan(found.matrix()[0][0, 1])


def test_a_constant_column_does_not_go_with_itself_either():
    found = correlations(table([[1, 2, 3], [2, 2, 4], [3, 2, 9]]), **FEW)
    values, _ = found.matrix()
    assert found.constant == ("b",) and np.isnan(values[1]).all()
    assert values[0, 0] == values[2, 2] == 1 and values[0, 2] > 0.9
    two_values = correlations(table([[1, 2], [2, 2], [2, 1]]), **FEW)
    assert two_values.constant == () and two_values.matrix()[0][0, 0] == 1


def test_one_column_or_none():
    for k in (0, 1):
        found = correlations(table(np.ones((4, k))), **FEW)
        assert found.pairs == () and found.matrix()[0].shape == (k, k)


def test_lines_name_the_extremes_of_many():
    grades = np.random.default_rng(1).normal(size=(40, 8))
    lines = correlations(table(grades), "spearman", **FEW).lines()
    assert lines[0] == "Spearman's rho of 8 columns; of 28 pairs, the five highest and lowest:"
    told = [float(line.split(": ")[1].split(" ")[0]) for line in lines[1:]]
    assert len(told) == 10 and told == sorted(told, reverse=True) and told[0] > 0 > told[-1]
    fifteen = correlations(table(grades[:, :6]), "spearman", **FEW).lines()
    assert len(fifteen) == 16 and fifteen[0] == "Spearman's rho of 6 columns:"
    few = correlations(table(grades[:, :2]), **FEW).lines()
    assert few[0] == "Pearson's r of 2 columns:" and few[1].endswith(" on 40 items")


def test_an_unknown_method_is_answered():
    with pytest.raises(LuceError, match="no method 'spearmann'. Did you mean 'spearman'?"):
        correlations(table([[1, 2]]), "spearmann")
