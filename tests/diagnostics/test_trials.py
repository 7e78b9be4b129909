"""Votes as trials, and the fit that null models draw from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.annotate.bradley_terry import fit_bradley_terry
from luce.annotate.votes import Vote
from luce.diagnostics import fitted_probabilities, trials_of
from luce.errors import LuceError

VOTES = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from("cde"),
        st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        st.sampled_from([None, "p", "q"]),
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: [Vote(*row) for row in rows])


def test_votes_of_a_prompt_on_a_pair_are_one():
    found = trials_of(
        [
            Vote("a", "b", 1.0, "p"),
            Vote("b", "a", 1.0, "p"),
            Vote("b", "a", 0.2, "p"),
            Vote("a", "b", 1.0, "q"),
            Vote("a", "c", 0.5, "p"),
        ]
    )
    assert (found.n, found.votes, found.prompted) == (3, 5, True)
    assert found.wins() == pytest.approx(np.array([[0, 1.6, 0.5], [0.4, 0, 0], [0.5, 0, 0]]))


def test_votes_without_a_prompt_are_independent():
    found = trials_of([Vote("a", "b")] * 3 + [Vote("b", "a")])
    assert (found.n, found.prompted, sorted(found.p)) == (4, False, [0, 1, 1, 1])


@given(VOTES)
def test_every_prompt_and_pair_counts_once(votes):
    found = trials_of(votes)
    expected = sum(v.prompt is None for v in votes)
    expected += len({(v.a, v.b, v.prompt) for v in votes if v.prompt is not None})
    assert found.n == expected == found.wins().sum().round(9)
    assert (found.first < found.second).all() and (np.diff(found.prompt) >= 0).all()
    swapped = trials_of([Vote(v.b, v.a, 1 - v.p, v.prompt) for v in votes])
    order = [swapped.names.index(name) for name in found.names]
    assert swapped.wins()[np.ix_(order, order)] == pytest.approx(found.wins())


def test_weights_say_nothing_of_how_many():
    with pytest.raises(LuceError, match=r"votes\[1\] has the weight 3.*as often as it was cast"):
        trials_of([Vote("a", "b"), Vote("a", "b", weight=3)])


def test_with_many_votes_the_fit_is_the_likeliest():
    wins = 1000.0 * np.array([[0, 7, 9], [3, 0, 6], [1, 4, 0]])
    theta = fit_bradley_terry(wins).log_strengths
    p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    assert fitted_probabilities(wins) == pytest.approx(p, abs=1e-4)


def test_a_pair_has_half_a_win_more_on_each_side():
    """Two items: leverage 1, and Firth's correction is the log-odds of (w + ½) / (n − w + ½)."""
    fitted = fitted_probabilities(np.array([[0.0, 4.0], [0.0, 0.0]]))
    assert fitted[0, 1] == pytest.approx(4.5 / 5)
    assert fitted[1, 0] == pytest.approx(0.5 / 5)


def test_what_nothing_compares_is_even():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[2, 3] = 1
    fitted = fitted_probabilities(wins)
    assert fitted[0, 1] == pytest.approx(0.75) == fitted[2, 3]
    assert fitted[0, 2] == fitted[1, 3] == fitted[0, 0] == 0.5


def test_strengths_are_not_spread_too_far():
    """Over many small worlds the mean log-odds of the fit are those that made the votes."""
    generator, gaps = np.random.default_rng(0), []
    p = 1 / (1 + np.exp(-1.0))
    for _ in range(400):
        wins = np.zeros((3, 3))
        for i, j, chance in ((0, 1, p), (1, 2, p), (0, 2, 1 / (1 + np.exp(-2.0)))):
            wins[i, j] = generator.binomial(8, chance)
            wins[j, i] = 8 - wins[i, j]
        fitted = fitted_probabilities(wins)
        gaps.append(np.log(fitted[0, 2] / fitted[2, 0]))
    assert np.mean(gaps) == pytest.approx(2.0, abs=0.12)
