"""Bradley-Terry and Davidson: published and hand-made values, laws, and what has no maximum."""

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from luce.annotate.rank import bradley_terry, davidson, win_groups
from luce.annotate.votes import Vote, votes_from_wins
from luce.errors import LuceError

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


def strengths(found, names):
    return [found[name].strength.value for name in names]


def probability(found, a, b):
    return 1 / (1 + math.exp(found[b].log_strength.value - found[a].log_strength.value))


# values ---------------------------------------------------------------------------------------


def test_three_players_worked():
    found = bradley_terry(votes_from_wins([[0, 7, 9], [3, 0, 6], [1, 4, 0]]), resamples=50)
    assert strengths(found, "012") == pytest.approx([0.6625, 0.2197, 0.1178], abs=5e-5)
    assert sum(strengths(found, "012")) == pytest.approx(1, abs=1e-12)
    assert (found.n, found.prompts, found.rows) == (30, 30, "votes")
    assert [(item.points, item.rows) for item in found.items] == [(16, 20), (9, 20), (5, 20)]


def test_two_players_are_the_odds():
    found = bradley_terry([Vote("a", "b")] * 3 + [Vote("b", "a")], resamples=0)
    assert found["a"].log_strength.value == pytest.approx(math.log(3) / 2)
    assert found["a"].strength.value == pytest.approx(0.75)
    assert found["a"].elo.value - found["b"].elo.value == pytest.approx(400 * math.log10(3))
    assert found["a"].elo.value + found["b"].elo.value == pytest.approx(2000)
    # the log-odds have variance 1/3 + 1, half of them (each one's log-strength) a quarter of it
    half = 1.959964 * math.sqrt((1 / 3 + 1) / 4)
    by_information = found["a"].log_strength_by_information
    assert by_information.high - by_information.value == pytest.approx(half)
    # the strength's log-odds are all of it
    low = 1 / (1 + math.exp(2 * half - math.log(3)))
    assert found["a"].strength_by_information.low == pytest.approx(low)
    assert found.log_likelihood == pytest.approx(3 * math.log(0.75) + math.log(0.25))


def test_no_scalar_comes_near_rock_paper_scissors():
    """P in {.2, .8, .9}, and every Bradley-Terry probability within .433 and .567."""
    P = [[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]]
    votes = [Vote(str(i), str(j), P[i][j]) for i in range(3) for j in range(i)]
    found = bradley_terry(votes, resamples=0)
    pairs = [probability(found, a, b) for a in "012" for b in "012" if a != b]
    assert min(pairs) == pytest.approx(0.433, abs=5e-4)
    assert max(pairs) == pytest.approx(0.567, abs=5e-4)


def test_a_tie_is_half_a_win_for_each():
    ties = [Vote("a", "b", 0.5)] * 4
    won = [Vote("a", "b")] * 8 + [Vote("b", "a")] * 2
    found = bradley_terry(ties + won, resamples=0)
    assert found["a"].strength.value == pytest.approx(10 / 14)


def test_soft_labels_weigh_in_like_shares_of_votes():
    soft = bradley_terry([Vote("a", "b", 0.7, weight=10)], resamples=0)
    hard = bradley_terry([Vote("a", "b")] * 7 + [Vote("b", "a")] * 3, resamples=0)
    assert soft["a"].log_strength_by_information.low == pytest.approx(
        hard["a"].log_strength_by_information.low
    )


def test_the_prior_worked_for_one_vote():
    """θ = ±x with σ(−2x) = x / sd²: the pull of one win against that of the prior."""
    found = bradley_terry([Vote("a", "b")], prior_sd=2, resamples=0)
    x = found["a"].log_strength.value
    assert 1 / (1 + math.exp(2 * x)) == pytest.approx(x / 4)
    assert found.log_likelihood == pytest.approx(-math.log1p(math.exp(-2 * x)))
    assert (found.prior_sd, found.groups) == (2.0, (("a",), ("b",)))
    assert "Only the prior holds these groups together: a; b." in found.lines()


def test_davidson_worked_for_two():
    """Three outcomes and three free numbers: π_a/π_b = 8/2, ν = 4/√(8·2)."""
    votes = votes_from_wins([[0, 8], [2, 0]], ["a", "b"]) + [Vote("b", "a", 0.5)] * 4
    found = davidson(votes, resamples=100)
    assert found["a"].strength.value == pytest.approx(0.8)
    assert found.tie is not None and found.tie.value == pytest.approx(1.0)
    assert found.tie.low < 1 < found.tie.high
    shares = np.array([8, 2, 4]) / 14
    assert found.log_likelihood == pytest.approx(14 * float(shares @ np.log(shares)))
    # 1/8 + 1/2: the log-odds of wins alone; half of that each
    half = 1.959964 * math.sqrt((1 / 8 + 1 / 2) / 4)
    by_information = found["a"].log_strength_by_information
    assert by_information.high - by_information.value == pytest.approx(half)


# laws -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(TABLES, st.floats(0.3, 3), st.randoms(use_true_random=False))
def test_order_and_sides_change_nothing(rows, prior_sd, random):
    wins = table_of(rows)
    assume(wins.any())
    votes = votes_from_wins(wins)
    found = bradley_terry(votes, prior_sd=prior_sd, resamples=0)
    other = [Vote(v.b, v.a, 1 - v.p, v.prompt, v.weight) for v in votes]
    random.shuffle(other)
    again = bradley_terry(other, prior_sd=prior_sd, resamples=0)
    for item in found.items:
        assert again[item.name].log_strength.value == pytest.approx(
            item.log_strength.value, abs=1e-9
        )


def test_the_interval_of_the_information_covers():
    generator = np.random.default_rng(0)
    truth = np.array([0.8, 0.2, -0.2, -0.8])
    inside = []
    for _ in range(150):
        wins = np.zeros((4, 4))
        for i in range(4):
            for j in range(i):
                won = generator.binomial(30, 1 / (1 + math.exp(truth[j] - truth[i])))
                wins[i, j], wins[j, i] = won, 30 - won
        found = bradley_terry(votes_from_wins(wins), resamples=0)
        for i in range(4):
            interval = found[str(i)].log_strength_by_information
            inside.append(interval.low <= truth[i] <= interval.high)
    assert 0.92 <= np.mean(inside) <= 0.98


def test_where_votes_are_independent_both_intervals_agree():
    generator = np.random.default_rng(3)
    truth = [0.5, 0.0, -0.5]
    votes = []
    for _ in range(300):
        for i in range(3):
            for j in range(i):
                p = 1 / (1 + math.exp(truth[j] - truth[i]))
                votes.append(Vote(str(i), str(j), float(generator.random() < p)))
    for item in bradley_terry(votes, resamples=600).items:
        width = item.elo.high - item.elo.low
        other = item.elo_by_information
        assert width == pytest.approx(other.high - other.low, rel=0.12)
        share, other = item.strength, item.strength_by_information
        assert share.high - share.low == pytest.approx(other.high - other.low, rel=0.12)


def test_votes_on_one_prompt_count_together():
    generator = np.random.default_rng(6)
    single = [Vote("a", "b", float(generator.random() < 0.6), i) for i in range(60)]
    once = bradley_terry(single, resamples=300)
    often = bradley_terry([v for v in single for _ in range(9)], resamples=300)
    assert often.prompts == once.prompts == 60
    assert often["a"].elo.low == pytest.approx(once["a"].elo.low)
    # the information believes that nine copies are nine votes
    narrow, wide = often["a"].elo_by_information, often["a"].elo
    assert narrow.high - narrow.low < 0.4 * (wide.high - wide.low)


# what has no maximum --------------------------------------------------------------------------


def test_groups_that_nothing_compares_are_named():
    votes = [Vote("a", "b"), Vote("b", "a"), Vote("c", "d"), Vote("d", "c")]
    with pytest.raises(LuceError, match=r"2 groups that nothing compares: \{a, b\}; \{c, d\}"):
        bradley_terry(votes)
    found = bradley_terry(votes, prior_sd=1.0, resamples=0)
    assert strengths(found, "abcd") == pytest.approx([0.25] * 4)
    assert found.groups == (("a", "b"), ("c", "d"))


def test_groups_of_which_one_never_lost_are_named_best_first():
    votes = [Vote("d", "a"), Vote("a", "b"), Vote("b", "a"), Vote("b", "c")]
    with pytest.raises(LuceError, match=r"Ford, 1957.*best first.*: \{d\}; \{a, b\}; \{c\}"):
        bradley_terry(votes)
    assert win_groups(votes) == [("d",), ("a", "b"), ("c",)]
    assert win_groups([*votes, Vote("c", "d", 0.01)]) == [("d", "a", "b", "c")]


def test_a_long_list_of_names_is_cut():
    with pytest.raises(LuceError, match="x7 and 12 more"):
        bradley_terry(
            [Vote(f"x{i}", f"x{(i + 1) % 20}") for i in range(20)] + [Vote("x0", "loser")]
        )


def test_davidson_needs_more_than_strong_connection():
    """a won once and tied once: the more ties are expected, the less b needs to be anything."""
    with pytest.raises(LuceError, match="every vote agrees with one order"):
        davidson([Vote("a", "b"), Vote("a", "b", 0.5)])
    # a > b > c, but a ties with c: no such order, though nobody was ever upset
    found = davidson([Vote("a", "b"), Vote("b", "c"), Vote("a", "c", 0.5)], resamples=0)
    assert strengths(found, "abc") == sorted(strengths(found, "abc"), reverse=True)
    with pytest.raises(LuceError, match=r"Davidson's model has no finite maximum.*\{a, b\}; \{c\}"):
        davidson([Vote("a", "b", 0.5), Vote("a", "c")])


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([Vote("a", "b", 0.7), Vote("a", "b", 0.5)], r"votes\[0\]: p is 0.7.*bradley_terry"),
        ([Vote("a", "b"), Vote("b", "a")], "of 2 votes 0 are ties"),
        ([Vote("a", "b", 0.5)], "of 1 votes 1 are ties"),
    ],
)
def test_what_davidson_cannot_use(votes, message):
    with pytest.raises(LuceError, match=message):
        davidson(votes)


def test_davidson_with_a_prior_ranks_what_is_separable():
    found = davidson([Vote("a", "b"), Vote("a", "b", 0.5)], prior_sd=1.0, resamples=40)
    assert found["a"].strength.value > 0.5
    assert found.tie is not None and found.tie.value > 0
    assert found.lost > 0  # draws without a tie, or with ties alone


@pytest.mark.parametrize("sd", [0, -1.0, math.nan, math.inf])
def test_a_prior_has_a_width(sd):
    with pytest.raises(LuceError, match="prior_sd is"):
        bradley_terry([Vote("a", "b"), Vote("b", "a")], prior_sd=sd)


def test_draws_without_a_maximum_are_counted():
    votes = [Vote("a", "b")] * 5 + [Vote("b", "a")]
    found = bradley_terry(votes, resamples=400)
    assert found.lost / 400 == pytest.approx((5 / 6) ** 6 + (1 / 6) ** 6, abs=0.07)
    assert f"{found.lost} of 400 draws had no finite maximum" in found.lines()[-1]
    assert bradley_terry(votes, prior_sd=3.0, resamples=50).lost == 0


@pytest.mark.parametrize("small", [1e-3, 1e-9, 1e-12])
def test_votes_as_good_as_certain(small):
    votes = [Vote("a", "b", 1 - small), Vote("b", "c", 1.0), Vote("c", "b", weight=small)]
    wins = [Vote("b", "a", weight=small)]
    found = bradley_terry(votes + wins, resamples=0)
    gap = found["b"].log_strength.value - found["c"].log_strength.value
    assert gap == pytest.approx(-math.log(small))


def test_votes_beyond_what_numbers_can_hold_are_refused():
    with pytest.raises(LuceError, match="did not settle.*prior_sd"):
        bradley_terry([Vote("a", "b"), Vote("b", "c"), Vote("c", "a", weight=1e-40)], resamples=0)


# results --------------------------------------------------------------------------------------


def test_a_ranking_is_stored_and_printed():
    found = bradley_terry([Vote("a", "b"), Vote("b", "a", 0.8)], resamples=0)
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["items"][0]["strength"]["value"] == pytest.approx(0.6)
    assert plain["items"][0]["strength"]["low"] is None
    assert plain["items"][0]["elo_by_information"]["low"] is not None
    assert plain["n"] == 2 and plain["tie"] is None
    lines = found.lines()
    assert lines[0].startswith("Bradley-Terry, a tie is half a win for each: 2 votes on 2 prompts")
    assert [line.split()[:2] for line in lines[2:]] == [["a", "0.6000"], ["b", "0.4000"]]


def test_an_item_that_was_not_ranked():
    found = bradley_terry([Vote("alpha", "beta"), Vote("beta", "alpha")], resamples=0)
    with pytest.raises(LuceError, match="No item 'alpa' was ranked. Did you mean 'alpha'?"):
        found["alpa"]


def test_a_seed_gives_one_interval():
    votes = votes_from_wins([[0, 7, 9], [3, 0, 6], [1, 4, 0]])
    assert bradley_terry(votes, resamples=60) == bradley_terry(votes, resamples=60)
    assert bradley_terry(votes, resamples=60) != bradley_terry(votes, resamples=60, seed=1)


# real votes -----------------------------------------------------------------------------------


def test_arena_battles(real_data):
    """A star: everybody met the baseline only, so that the maximum is the log-odds of each one's
    share of points."""
    with gzip.open(real_data("arena_hard_battles.jsonl.gz"), "rt") as file:
        rows = [json.loads(line) for line in file]
    label = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}
    votes = [
        Vote(r["model_a"], r["model_b"], label[r["winner"]], str(r["question_id"])) for r in rows
    ]
    assert len(votes) == 2136 and len({v.prompt for v in votes}) == 120
    found = bradley_terry(votes, resamples=200)
    base = "claude-3-haiku-20240307"
    for item in found.items[:-1]:
        against = [1 - v.p for v in votes if v.b == item.name]
        share = sum(against) / len(against)
        assert probability(found, item.name, base) == pytest.approx(share, abs=1e-9)
    assert [item.name for item in found.items] == [
        "claude-3-5-sonnet-20240620",
        "gpt-4o",
        "gpt-4o-mini",
        "claude-3-opus-20240229",
        base,
    ]
    # three copies of one judgement are not three: by prompt the intervals are wider
    for item in found.items:
        narrow, wide = item.elo_by_information, item.elo
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    tied = davidson(votes, resamples=0)
    assert tied.tie is not None and tied.tie.value == pytest.approx(0.040, abs=0.001)
    assert [item.name for item in tied.items] == [item.name for item in found.items]
