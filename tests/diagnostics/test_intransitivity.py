"""Verdicts on worlds whose answer is known, and on real votes."""

import gzip
import json
import math

import numpy as np
import pytest

from luce.annotate.votes import Vote, votes_from_wins
from luce.diagnostics import Intransitivity, intransitivity
from luce.errors import LuceError

# rows beat columns; the game of rock, scissors and paper with a bent coin
GAME = {("rock", "scissors"): 0.9, ("scissors", "paper"): 0.8, ("paper", "rock"): 0.8}
CYCLE = [("a", "b"), ("b", "c"), ("c", "a")]


def verdict_on(votes, **ways) -> Intransitivity:
    return intransitivity(votes, **{"resamples": 60, "simulations": 100} | ways)


def drawn(probabilities, each, seed, prompts=False) -> list[Vote]:
    generator = np.random.default_rng(seed)
    return [
        Vote(a, b, float(generator.random() < p), i if prompts else None)
        for (a, b), p in probabilities.items()
        for i in range(each)
    ]


def transitive(seed, items=4) -> dict[tuple[str, str], float]:
    theta = np.random.default_rng(seed).normal(size=items)
    return {
        (str(i), str(j)): 1 / (1 + math.exp(theta[j] - theta[i]))
        for i in range(items)
        for j in range(i)
    }


def test_rock_paper_scissors_has_no_scalar():
    for seed in range(10):
        found = verdict_on(drawn(GAME, 40, seed))
        assert found.verdict == "not adequate"
    assert found.sentence.startswith("A scalar reward is not adequate: the best Bradley-Terry fit")
    assert "120 votes on 3 pairs of 3 items" in found.sentence and "G² = " in found.sentence
    assert found.misfit.distance.low <= 0.34 <= found.misfit.distance.high
    assert found.over_all_votes is not None and found.over_all_votes.cyclic == 1
    assert found.within_prompts is None
    assert found.lines()[0] == found.sentence


def test_on_prompts_it_has_cycles_too():
    found = verdict_on(drawn(GAME, 200, 1, prompts=True))
    assert found.verdict == "not adequate" and "% of triads within prompts" in found.sentence
    within = found.within_prompts
    assert within is not None and within.cyclic + within.transitive == 200
    assert within.share.value == pytest.approx(0.9 * 0.8 * 0.8 + 0.1 * 0.2 * 0.2, abs=0.08)


def test_a_few_votes_cannot_tell():
    for seed in range(4):
        found = verdict_on(drawn(GAME, 1, seed))
        assert found.verdict == "cannot be told"
        for each in (1, 2, 3):
            assert verdict_on(drawn(transitive(seed, 3), each, seed)).verdict == "cannot be told"
    assert "cannot be told from 3 votes on 3 pairs of 3 items" in found.sentence
    # three votes each, and all of them round: a scalar gives that twice in 2⁹ times
    votes = [Vote(a, b) for a, b in CYCLE] * 3
    found = verdict_on(votes, simulations=1000)
    assert found.verdict == "not adequate"
    assert found.misfit.p_value == pytest.approx(2 / 2**9, abs=0.005)


def test_a_scalar_world_raises_no_false_alarm():
    verdicts = [verdict_on(drawn(transitive(s), 60, s)).verdict for s in range(25)]
    assert verdicts.count("not adequate") <= 4  # 1 expected
    assert "adequate" not in verdicts  # 60 votes a pair are too few for that
    enough = [verdict_on(drawn(transitive(s), 600, s)).verdict for s in range(10)]
    assert enough.count("adequate") >= 9


@pytest.mark.slow
@pytest.mark.parametrize(("each", "prompts"), [(8, False), (60, False), (60, True)])
def test_false_alarms_are_as_rare_as_they_should_be(each, prompts):
    verdicts = [verdict_on(drawn(transitive(s), each, s, prompts)).verdict for s in range(300)]
    assert verdicts.count("not adequate") <= 25  # 15 expected at most


def test_what_is_off_by_more_than_the_margin_does_not_pass():
    """A round game .06 off is beyond a margin of .05, and within one of .1."""
    off = {pair: 0.56 for pair in GAME}
    votes = [drawn(off, 1500, seed) for seed in range(8)]
    assert all(verdict_on(one).verdict != "adequate" for one in votes)
    found = verdict_on(votes[0], margin=0.1)
    assert found.verdict == "adequate"
    assert "a small misfit that is no accident" in found.sentence
    assert "at most 0.0" in found.sentence and "margin 0.1" in found.sentence


def test_cycles_that_cancel_over_prompts_are_seen():
    """Each prompt goes round, in one direction or the other: the pairs are even, as a scalar with
    equal strengths would have them, and only the triads tell."""
    generator = np.random.default_rng(0)
    votes = []
    for prompt in range(40):
        way = float(generator.integers(2))
        votes += [Vote(a, b, way, prompt) for a, b in CYCLE]
    found = verdict_on(votes)
    assert found.misfit.p_value > 0.05
    assert found.verdict == "not adequate"
    assert "100.0 % of triads within prompts are cyclic" in found.sentence
    assert "more than the quarter" in found.sentence
    assert found.notes[0].startswith("More triads within prompts are cyclic")


def test_two_tests_share_the_level():
    """56 of 100 round: p = .037, which is enough alone, but not beside a test of the triads."""
    generator = np.random.default_rng(1)
    votes = [
        Vote(a, b, float(x), i)
        for a, b in CYCLE
        for i, x in enumerate(generator.permutation(100) < 56)
    ]
    both = verdict_on(votes)
    assert both.misfit.p_value == pytest.approx(0.0374, abs=1e-4)
    assert both.verdict == "cannot be told"
    alone = verdict_on([Vote(v.a, v.b, v.p) for v in votes])
    assert alone.misfit.p_value == both.misfit.p_value and alone.verdict == "not adequate"


def test_an_order_in_each_prompt_is_told_from_noise():
    """Rewards of responses, not of models: each prompt has an order of its own, never a cycle."""
    generator = np.random.default_rng(1)
    votes = []
    for prompt in range(60):
        reward = dict(zip("abc", generator.normal(size=3), strict=True))
        votes += [Vote(x, y, float(reward[x] > reward[y]), prompt) for x, y in CYCLE]
    found = verdict_on(votes)
    assert found.verdict != "not adequate"
    assert found.notes[0].startswith("Fewer triads within prompts are cyclic (0.00 %)")


def test_several_annotators_of_a_prompt_count_as_one():
    one = [Vote(a, b, p, a + str(i)) for (a, b), p in GAME.items() for i in range(4)]
    found = verdict_on(one * 25)
    assert found.verdict == "cannot be told"
    assert found.notes[0].startswith("300 votes count as 12")
    assert found.misfit.deviance == pytest.approx(verdict_on(one).misfit.deviance)


def test_pairs_that_close_no_loop_tell_nothing():
    votes = [Vote("base", name, float(i % 3 == 0)) for name in "abcd" for i in range(300)]
    found = verdict_on(votes)
    assert found.verdict == "cannot be told"
    assert "the pairs close no loop" in found.sentence
    assert json.dumps(found.plain(), allow_nan=False)


def test_baseball_cannot_be_told():
    wins = [[0, 7, 9, 7], [6, 0, 7, 5], [4, 6, 0, 7], [6, 8, 6, 0]]
    found = verdict_on(votes_from_wins(wins))
    assert found.verdict == "cannot be told" and "the fit may be off by 0.00 to" in found.sentence


def test_it_is_stored_and_the_seed_decides():
    votes = drawn(GAME, 12, 0, prompts=True)
    found, again = verdict_on(votes, seed=5), verdict_on(votes, seed=5)
    assert found == again
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["verdict"] == found.verdict and plain["within_prompts"]["where"]
    assert plain["misfit"]["pairs"][0]["n"] == 12
    assert any("coin" in line for line in found.lines())


def test_what_cannot_be_asked():
    votes = drawn(GAME, 3, 0)
    with pytest.raises(LuceError, match="margin is 0"):
        intransitivity(votes, margin=0.0)
    with pytest.raises(LuceError, match="level is 1"):
        intransitivity(votes, level=1.0)
    with pytest.raises(LuceError, match="10 simulations cannot show what happens once in 40"):
        intransitivity(votes, simulations=10)
    many = [Vote(f"r{i}", f"r{i + 1}") for i in range(401)]
    with pytest.raises(LuceError, match="402 items are more than 400. Name the items by who wrote"):
        intransitivity(many)


def test_real_triads(real_data):
    """60 of 6,977: the 7,066 rows less 89 in which some vote is a tie."""
    with gzip.open(real_data("triads.jsonl.gz"), "rt") as file:
        rows = [json.loads(line) for line in file]
    votes = []
    for row in rows:
        x, d, g, prompt = row["x"], row["d"], row["g"], row["index"]
        votes += [
            Vote(x, d, row["p_x_beats_d"], prompt),
            Vote(x, g, row["p_x_beats_g"], prompt),
            Vote(g, d, row["p_g_beats_d"], prompt),
        ]
    assert len(rows) == 7066
    found = verdict_on(votes, resamples=400)
    within = found.within_prompts
    assert within is not None
    assert (within.cyclic, within.cyclic + within.transitive, within.tied) == (60, 6977, 89)
    assert within.cyclic == sum(row["cyclic"] is True for row in rows)
    assert within.tied == sum(row["cyclic"] is None for row in rows)
    assert within.share.n == 644
    assert 0.004 < within.share.low < within.share.value < within.share.high < 0.014
    assert within.coin.share.value == pytest.approx(0.25, abs=0.002)
    assert within.bradley_terry.share.value == pytest.approx(0.0256, abs=0.002)
    assert within.bradley_terry.share.low > within.share.high
    assert found.over_all_votes is not None and found.over_all_votes.cyclic == 0
    assert found.verdict == "adequate"
    assert found.misfit.distance.high == pytest.approx(0.044, abs=0.002)
