"""The likelihood-ratio test of Bradley-Terry: as published, by hand, and how often it is wrong."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2

from luce.annotate.votes import Vote, votes_from_wins
from luce.diagnostics import Misfit, bradley_terry_misfit, trials_of

# American League, 1987 season: Agresti (1990), Categorical Data Analysis, section 10.6
BASEBALL = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]
GAME = (("r", "s"), ("s", "p"), ("p", "r"))


def misfit_of(votes, **ways) -> Misfit:
    return bradley_terry_misfit(trials_of(votes), **{"simulations": 200} | ways)


def round_game(wins: int, of: int) -> list[Vote]:
    """Each beats the next `wins` times of `of`: the fit is even, whatever the votes."""
    return [Vote(a, b, float(i < wins)) for a, b in GAME for i in range(of)]


def world(seed, items, each, shift=0.0, spread=1.0) -> list[Vote]:
    """Votes of Bradley-Terry; `shift` moves P(0 ≻ 1), P(1 ≻ 2) and P(2 ≻ 0) up."""
    generator = np.random.default_rng(seed)
    theta = spread * generator.normal(size=items)
    votes = []
    for i in range(items):
        for j in range(i):
            p = 1 / (1 + math.exp(theta[j] - theta[i]))
            p += shift * {(1, 0): -1, (2, 1): -1, (2, 0): 1}.get((i, j), 0)
            votes += [Vote(str(i), str(j), float(x)) for x in generator.random(each) < p]
    return votes


def test_baseball_as_published():
    found = misfit_of(votes_from_wins(BASEBALL))
    assert found.deviance == pytest.approx(15.737, abs=5e-4)
    assert (found.degrees, found.items, len(found.pairs)) == (15, 7, 21)
    assert found.by == "parametric bootstrap"  # Baltimore wins 4 of 13 at best
    assert found.p_value == pytest.approx(float(chi2.sf(15.737, 15)), abs=0.12)
    # with counts this small G² is 16 on average: 15.7 is less than chance makes
    assert found.distance.value == 0 == found.distance.low and 0.05 < found.distance.high < 0.2


def test_a_round_game_worked():
    """80 of 100 each: G² = 3 · 2 · 100 (.8 log 1.6 + .2 log .4), Pearson's X² = 3 · 100 · .36."""
    found = misfit_of(round_game(80, 100))
    assert found.deviance == pytest.approx(600 * (0.8 * math.log(1.6) + 0.2 * math.log(0.4)))
    assert (found.degrees, found.by, found.design_effect) == (1, "χ²", 1.0)
    assert found.p_value == pytest.approx(float(chi2.sf(found.deviance, 1)))
    for pair in found.pairs:
        assert (pair.seen, pair.n) == (0.8, 100) and pair.fitted == pytest.approx(0.5)
        # with one degree of freedom each residual is the root of X²
        assert pair.residual == pytest.approx(math.sqrt(108))
    # √(λ/n)/2, and the true distance is .3
    assert found.distance.value == pytest.approx(math.sqrt((found.deviance - 1) / 300) / 2)
    assert found.distance.low < 0.3 < found.distance.high
    for end, tail in ((found.distance.low, 0.975), (found.distance.high, 0.025)):
        noncentrality = 300 * (2 * end) ** 2
        assert ncx2.cdf(found.deviance, 1, noncentrality) == pytest.approx(tail, abs=1e-5)


def test_pairs_name_the_one_that_wins_more_than_it_should():
    found = misfit_of([*round_game(90, 100), *[Vote("x", "r", float(i < 50)) for i in range(100)]])
    assert {(pair.a, pair.b) for pair in found.pairs[:3]} == set(GAME)
    last = found.pairs[-1]
    assert {last.a, last.b} == {"x", "r"} and last.residual == 0.0  # nothing else speaks of x
    assert [pair.residual for pair in found.pairs] == sorted(
        (pair.residual for pair in found.pairs), reverse=True
    )


def test_residuals_are_standard_normal():
    worlds = [misfit_of(world(s + 1000, 4, 60, spread=0.5), simulations=2) for s in range(120)]
    found = np.array([pair.residual for one in worlds for pair in one.pairs])
    assert (found >= 0).all()
    assert np.mean(found**2) == pytest.approx(1, abs=0.15)
    assert np.mean(found > 1.96) == pytest.approx(0.05, abs=0.025)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=12, max_size=12), st.permutations("abcd"))
def test_names_and_sides_do_not_matter(counts, names):
    wins = np.zeros((4, 4))
    wins[~np.eye(4, dtype=bool)] = counts
    if not wins.any():
        return
    votes = votes_from_wins(wins, list("abcd"))
    new = dict(zip("abcd", names, strict=True))
    found = misfit_of(votes, simulations=5)
    other = misfit_of([Vote(new[v.b], new[v.a], 1 - v.p) for v in votes[::-1]], simulations=5)
    assert other.deviance == pytest.approx(found.deviance, abs=1e-8)
    assert other.degrees == found.degrees
    assert [p.residual for p in other.pairs] == pytest.approx(
        [p.residual for p in found.pairs], abs=1e-6
    )


def test_a_star_fits_anything():
    votes = [Vote("base", name, float(i < 7)) for name in "abc" for i in range(30)]
    found = misfit_of(votes)
    assert (found.degrees, found.deviance) == (0, 0.0)
    assert math.isnan(found.p_value) and math.isnan(found.distance.value)
    assert json.dumps(found.plain(), allow_nan=False)
    assert found.lines() == [
        "Bradley-Terry misfit: none is possible. 3 pairs of 4 items close no loop, so that some "
        "scalar fits any votes."
    ]


def test_games_that_nothing_connects_are_tested_together():
    other = [Vote(v.a + "2", v.b + "2", v.p) for v in round_game(80, 100)]
    one, both = misfit_of(round_game(80, 100)), misfit_of(round_game(80, 100) + other)
    assert (both.degrees, both.items) == (2, 6)
    assert both.deviance == pytest.approx(2 * one.deviance)
    assert both.distance.value == pytest.approx(one.distance.value, abs=0.002)


def test_who_never_lost_fits():
    """a beats all, always: only the round game below it can miss, and misses as it did alone."""
    alone = misfit_of(round_game(80, 100))
    above = round_game(80, 100) + [Vote("a", name) for name in "rsp" for _ in range(100)]
    found = misfit_of(above)
    assert found.deviance == pytest.approx(alone.deviance)
    assert found.degrees == 3 and found.by == "parametric bootstrap" and found.p_value < 0.01
    certain = misfit_of([Vote(a, b) for a, b in ["ab", "bc", "ac"] for _ in range(400)])
    assert (certain.deviance, certain.p_value) == (0.0, 1.0)
    assert certain.distance.value == 0 and 0 < certain.distance.high < 0.05


def test_votes_as_good_as_certain_do_not_stop_it():
    found = misfit_of([Vote(a, b, 1 - 1e-40) for a, b in ["ab", "bc", "ac"] for _ in range(20)])
    assert found.deviance == pytest.approx(0, abs=1e-6) and found.p_value > 0.9
    assert misfit_of(round_game(80, 100) + [Vote("r", "s", 1e-40)]).degrees == 1


def test_soft_votes_are_careful():
    exact = [Vote(a, b, 0.8) for a, b in GAME for _ in range(100)]
    assert misfit_of(exact).deviance == pytest.approx(misfit_of(round_game(80, 100)).deviance)


def test_prompts_that_go_one_way_round_count_thrice():
    """Each prompt is a cycle, in one direction or the other: its three votes are one coin."""
    generator, p_values, effects = np.random.default_rng(0), [], []
    for _ in range(120):
        ways = generator.integers(2, size=40)
        votes = [Vote(a, b, float(way), i) for i, way in enumerate(ways) for a, b in GAME]
        found = misfit_of(votes)
        p_values.append(found.p_value)
        effects.append(found.design_effect)
    assert np.mean(effects) == pytest.approx(3, abs=0.1)
    assert np.mean(np.array(p_values) < 0.05) < 0.1
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.15)


def test_few_votes_a_pair_have_no_upper_end():
    assert math.isnan(misfit_of(round_game(5, 9)).distance.high)
    assert misfit_of(round_game(5, 10)).distance.high > 0


def test_the_test_is_wrong_as_often_as_it_says():
    worlds = [world(seed, 4, 100, spread=0.7) for seed in range(100)]
    p_values = np.array([misfit_of(votes, simulations=100).p_value for votes in worlds])
    assert np.mean(p_values < 0.05) <= 0.09
    assert np.mean(p_values < 0.5) == pytest.approx(0.5, abs=0.13)


def test_the_bootstrap_is_wrong_as_often_as_it_says():
    found = [misfit_of(world(seed, 3, 6), simulations=59) for seed in range(30)]
    assert {misfit.by for misfit in found} == {"parametric bootstrap"}
    assert sum(misfit.p_value < 0.05 for misfit in found) <= 4


@pytest.mark.slow
@pytest.mark.parametrize(("items", "each", "spread"), [(3, 5, 1.0), (6, 6, 3.0), (12, 2, 1.0)])
def test_small_counts_raise_no_false_alarm(items, each, spread):
    found = [misfit_of(world(s, items, each, spread=spread)).p_value for s in range(200)]
    assert np.mean(np.array(found) < 0.05) <= 0.085


def test_the_distance_covers():
    """The shift of a round game is its distance: three pairs off by as much."""
    inside = []
    for seed in range(60):
        found = misfit_of(world(seed, 3, 400, shift=0.1, spread=0.0)).distance
        inside.append(found.low <= 0.1 <= found.high)
    assert np.mean(inside) >= 0.9


def test_what_is_stored_and_printed():
    found = misfit_of(round_game(80, 100))
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["degrees"] == 1 and plain["pairs"][0]["seen"] == 0.8
    assert plain["distance"]["n"] == plain["votes"] == plain["trials"] == 300
    lines = found.lines()
    assert lines[0] == "Bradley-Terry misfit: G² = 115.65 on 1 degree of freedom, p < 0.001 (χ²)"
    assert "r over s" in "".join(lines) and "P 0.800, fitted 0.500" in lines[2]
    assert len(found.lines(most=1)) == 3
    votes = [Vote(a, b, float(i < 8), i) for a, b in GAME for i in range(10)]
    assert "votes that share a prompt" in misfit_of(votes).lines()[0]
