"""Length and preference: by hand, and in worlds that go by length or do not."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from luce.diagnostics.length import length_dependence
from luce.errors import LuceError


def test_numbers_worked_by_hand():
    # longer is preferred in pairs 0 and 3 of the four with unequal lengths; the model says longer
    # in pairs 0, 1 and half of 2
    found = length_dependence([1, -1, 0, -2, 5], [9, 5, 2, 8, 4], [3, 7, 6, 1, 4], resamples=20)
    assert (found.n, found.unequal) == (5, 4)
    assert found.longer_preferred.value == 0.5
    assert found.longer_scored.value == pytest.approx(2.5 / 4)
    assert found.accuracy_longer.value == 0.5  # pair 0 right, pair 3 wrong
    assert found.accuracy_shorter.value == pytest.approx(0.25)  # pair 1 wrong, pair 2 a tie
    rho = spearmanr([1, -1, 0, -2, 5], [6, -2, -4, 7, 0]).statistic
    assert found.correlation.value == pytest.approx(rho)


def test_a_label_of_one_half_says_nothing_either_way():
    found = length_dependence([1, 1], [9, 9], [1, 1], [0.5, 0.5], resamples=5)
    assert found.longer_preferred.value == 0.5 and found.longer_scored.value == 1
    assert (found.accuracy_longer.value, found.accuracy_shorter.value) == (1, 0)


def test_which_response_is_called_chosen_does_not_matter():
    draw = np.random.default_rng(0)
    z, p = draw.normal(size=50).tolist(), draw.random(50).tolist()
    a, b = draw.integers(1, 9, 50).tolist(), draw.integers(1, 9, 50).tolist()
    one = length_dependence(z, a, b, p, resamples=20)
    other = length_dependence([-x for x in z], b, a, [1 - x for x in p], resamples=20)
    for key, value in one.plain().items():
        assert other.plain()[key] == pytest.approx(value)


def test_a_model_that_goes_by_length_is_told_from_one_that_does_not():
    draw = np.random.default_rng(1)
    a, b = draw.integers(1, 60, 400).tolist(), draw.integers(1, 60, 400).tolist()
    by_length = length_dependence([x - y for x, y in zip(a, b, strict=True)], a, b, resamples=200)
    assert by_length.correlation.low > 0.9
    assert by_length.accuracy_longer.low > 0.9 and by_length.accuracy_shorter.high < 0.1
    free = length_dependence(draw.normal(size=400).tolist(), a, b, resamples=200)
    assert free.correlation.low < 0 < free.correlation.high


def test_lengths_that_are_all_equal():
    found = length_dependence([1.0, 2.0], [3, 4], [3, 4], resamples=10)
    assert found.unequal == 0 and math.isnan(found.longer_preferred.value)
    assert found.plain()["correlation"] is None


def test_lists_of_different_lengths():
    with pytest.raises(LuceError, match="2 margins, 1 and 2 lengths"):
        length_dependence([1.0, 2.0], [3], [3, 4])
    with pytest.raises(LuceError, match="0 margins"):
        length_dependence([], [], [])
