"""An annotator against itself: repeated draws, and both orders of two responses."""

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.annotate.consistency import both_orders, self_consistency, shown_first
from luce.annotate.ratings import Ratings, ratings_of_items
from luce.errors import LuceError
from luce.intervals import bootstrap, wilson_interval

NAN = math.nan
FEW = {"resamples": 20}
VERDICT = {"1": 1.0, "2": 0.0, None: NAN}


def table(values, prompts=None) -> Ratings:
    found = np.asarray(values, dtype=float)
    return Ratings(found, tuple("abcdefghij"[: found.shape[1]]), prompts)


@pytest.fixture
def real(real_data):
    def read(name):
        with gzip.open(real_data(f"{name}.jsonl.gz"), "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    return read


# ---- repeated draws


def test_draws_on_four_items():
    """Pairs of draws that are equal: 6 of 6, 3 of 6, 2 of 6 and, of two draws, 1 of 1."""
    rows = [[1, 1, 1, 1], [1, 1, 1, 2], [1, 2, 1, 2], [2, NAN, NAN, 2], [1, NAN, NAN, NAN]]
    found = self_consistency(table(rows), **FEW)
    assert (found.items, found.draws) == (4, 14)
    assert found.agreement.value == pytest.approx((1 + 3 / 6 + 2 / 6 + 1) / 4)
    assert found.unanimous.value == 0.5 and found.unanimous.estimate.n == 4
    assert found.lines()[0] == "14 draws on 4 items."
    assert json.loads(json.dumps(found.plain()))["unanimous"]["value"] == 0.5


def test_always_the_same_is_not_certain():
    found = self_consistency(table([[1, 1], [2, 2], [2, 2]]), **FEW)
    for share in (found.agreement.estimate, found.unanimous.estimate):
        assert (share.value, share.low, share.high) == (1.0, *wilson_interval(3, 3))
    assert found.alpha.value == 1 and found.alpha.estimate.low < 0.2


@pytest.mark.parametrize("rows", [[[1.0], [2.0]], [[1.0, NAN], [NAN, 1.0]], np.zeros((0, 2))])
def test_nothing_was_asked_twice(rows):
    found = self_consistency(table(rows), **FEW)
    for measure in (found.agreement, found.unanimous, found.alpha):
        assert math.isnan(measure.value) and measure.why == "No item was asked about twice."
    json.dumps(found.plain(), allow_nan=False)


def test_one_answer_to_everything():
    found = self_consistency(table([[1, 1], [1, 1]]), **FEW)
    assert found.unanimous.value == 1 and "Every vote is 1" in found.alpha.why


def test_eight_draws_of_gpt4(real):
    """Batches of one are steadier than batches of five; both far from a coin."""
    rows = real("multi_gpt4_8draws")
    prompts = [(row["instruction"], row["input"]) for row in rows]

    def of(batch):
        items = [{k: v for k, v in r["preferences"].items() if batch in k} for r in rows]
        return self_consistency(ratings_of_items(items, prompts), resamples=200)

    one, five, both = of("b1"), of("b5"), of("gpt4")
    assert (both.items, both.draws, both.agreement.estimate.n) == (509, 8 * 509, 478)
    # counted by hand: pairs of equal draws over all pairs of draws
    votes = np.array([list(row["preferences"].values()) for row in rows])
    equal = np.mean([np.mean(votes[:, i] == votes[:, j]) for i in range(8) for j in range(i)])
    assert both.agreement.value == pytest.approx(equal) == pytest.approx(0.800, abs=0.0005)
    assert one.agreement.value == pytest.approx(0.852, abs=0.0005)
    assert five.agreement.value == pytest.approx(0.783, abs=0.0005)
    assert one.agreement.estimate.low > five.agreement.estimate.high
    assert both.unanimous.value == pytest.approx(np.mean(np.ptp(votes, axis=1) == 0))


# ---- both orders


def test_five_pairs_in_both_orders():
    """a, a | a, b | b, a | tie, a | b, b: the second, third and fourth flip."""
    found = both_orders([1, 1, 0, 0.5, 0, NAN, 1], [1, 0, 1, 1, 0, 1, NAN], **FEW)
    assert (found.pairs, found.incomplete) == (5, 2)
    assert found.flip_rate.value == pytest.approx(3 / 5)
    assert (found.to_first, found.to_second) == (1, 2)
    # what stood first was preferred: (1 + 1 + 0 + ½ + 0) + (0 + 1 + 0 + 0 + 1) of ten verdicts
    assert found.first_preferred.value == pytest.approx(4.5 / 10)
    assert found.effect.value == pytest.approx(-0.05)


def test_soft_verdicts_flip_where_they_lean_the_other_way():
    found = both_orders([0.9, 0.6, 0.8], [0.7, 0.4, 0.1], **FEW)
    assert found.flip_rate.value == pytest.approx(2 / 3) and found.to_first == 2
    assert found.effect.value == pytest.approx((0.2 + 0.2 + 0.7) / 6)


def test_the_first_shown_always_wins_or_never():
    first = both_orders([1] * 6, [0] * 6, **FEW)
    low, high = wilson_interval(6, 6)
    effect = first.effect.estimate
    assert first.flip_rate.value == 1 and effect.value == 0.5
    assert (effect.low, effect.high) == pytest.approx((low - 0.5, high - 0.5))
    assert first.lines()[-1].endswith("what stands first is favoured")
    second = both_orders([0, 0, 0, 0, 0], [1, 1, 1, 1, 1], **FEW)
    assert second.effect.value == -0.5 and second.to_second == 5
    assert second.lines()[-1].endswith("what stands second is favoured")
    unbiased = both_orders([1, 0, 1, 0], [1, 0, 0, 1], **FEW)
    assert unbiased.effect.value == 0
    assert unbiased.lines()[-1].endswith("no bias for a position can be told")
    assert "0.500" in unbiased.lines()[1] and "1 to the first shown, 1 to" in unbiased.lines()[1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN])] * 2), max_size=12))
def test_which_response_is_called_a_changes_nothing(pairs):
    one, other = np.array(pairs).reshape(-1, 2).T
    found = both_orders(one, other, resamples=2)
    # a becomes b: what was the swapped order is the original one
    renamed = both_orders(1 - other, 1 - one, resamples=2)
    for name in ("flip_rate", "first_preferred", "effect"):
        before, after = getattr(found, name).value, getattr(renamed, name).value
        assert after == pytest.approx(before, nan_ok=True)
    assert (renamed.pairs, renamed.to_first) == (found.pairs, found.to_first)
    backwards = both_orders(other, one, resamples=2)
    assert backwards.effect.value == pytest.approx(-found.effect.value, nan_ok=True)


def test_intervals_by_prompt():
    rng = np.random.default_rng(2)
    one, other = (rng.integers(0, 2, 90).astype(float) for _ in range(2))
    prompts = np.sort(rng.integers(0, 25, 90)).tolist()
    options = {"seed": 4, "resamples": 100}
    found = both_orders(one, other, prompts, **options)
    flips = bootstrap(lambda i: float((one[i] != other[i]).mean()), 90, prompts, **options)
    effect = bootstrap(lambda i: float((one - other)[i].mean()) / 2, 90, prompts, **options)
    for measure, plain in ((found.flip_rate, flips), (found.effect, effect)):
        assert measure.estimate.n == plain.n < 90
        assert [measure.value, measure.estimate.low, measure.estimate.high] == pytest.approx(
            [plain.value, plain.low, plain.high]
        )


def test_no_pair_in_both_orders():
    for pairs in ([], [1.0, NAN]):
        found = both_orders(pairs, [NAN] * len(pairs), **FEW)
        assert found.incomplete == len(pairs)
        assert found.flip_rate.why == found.effect.why == "No pair has a verdict in both orders."
        json.dumps(found.plain(), allow_nan=False)
        assert found.lines()


def test_judges_of_llmbar_in_both_orders(real):
    """Of 331 pairs GPT-4 flips 24 (15 to the first shown), Falcon most, nearly always to it; pairs
    with a verdict that could not be read are left out."""
    rows = [row for row in real("multi_llmbar_judges") if "Falcon/CoT" in row["judges"]]

    def of(judge):
        said = [row["judges"][judge] for row in rows]
        one, other = ([VERDICT[pair[k]] for pair in said] for k in (0, 1))
        return both_orders(one, other, [row["instruction"] for row in rows], resamples=200)

    gpt4, falcon, palm = of("GPT-4/Vanilla"), of("Falcon/CoT"), of("PaLM2/Vanilla")
    assert (gpt4.pairs, gpt4.to_first, gpt4.to_second) == (331, 15, 9)
    assert gpt4.flip_rate.value == pytest.approx(24 / 331)
    assert gpt4.effect.value == pytest.approx((15 - 9) / 331 / 2)
    assert gpt4.effect.estimate.low < 0 < gpt4.effect.estimate.high
    assert (falcon.pairs, falcon.incomplete, falcon.to_first) == (329, 2, 291)
    assert falcon.effect.estimate.low > 0.4
    assert (palm.pairs, palm.incomplete) == (327, 4)


# ---- one order


def test_one_order_weighs_both_orders_equally():
    """a is preferred in 3 of 3 when first and in 1 of 1 when second: a is better, not favoured."""
    found = shown_first([1, 1, 1, 1], [1, 1, 1, 2], **FEW)
    assert found.first_preferred.value == 0.75 and found.effect.value == 0
    favoured = shown_first([1, 0.5, 0, 0, 1, NAN, 1], [1, 1, 2, 2, 2, 1, NAN], **FEW)
    assert (favoured.pairs, favoured.incomplete) == (5, 2)
    assert favoured.first_preferred.value == pytest.approx(3.5 / 5)
    assert favoured.effect.value == pytest.approx((3 / 4 + 2 / 3) / 2 - 0.5)
    assert favoured.to_first == favoured.to_second == 0
    assert favoured.flip_rate.why == "Each pair was shown in one order."
    assert math.isnan(favoured.flip_rate.value) and favoured.flip_rate.estimate.n == 5


def test_what_always_stands_first_cannot_be_told_from_what_is_better():
    found = shown_first([1, 1, 0], [1, 1, 1], **FEW)
    assert found.first_preferred.value == pytest.approx(2 / 3)
    assert math.isnan(found.effect.value) and "cannot be told" in found.effect.why
    nothing = shown_first([NAN, 1], [1, NAN], **FEW)
    assert nothing.effect.why == "No pair has both a verdict and a known order."
    assert nothing.first_preferred.why == nothing.effect.why


def test_one_order_drawn_by_a_coin_tells_what_both_tell(real):
    """Of each pair in both orders keep one verdict: the effect stays within its interval."""
    rows = real("multi_llmbar_judges")
    said = [row["judges"]["ChatGPT/Vanilla_NoRules"] for row in rows]
    one, other = ([VERDICT[pair[k]] for pair in said] for k in (0, 1))
    order = np.random.default_rng(0).integers(1, 3, len(rows))
    kept = np.where(order == 1, one, other)
    both, single = both_orders(one, other, **FEW), shown_first(kept, order, resamples=200)
    assert single.effect.estimate.low < both.effect.value < single.effect.estimate.high
    assert both.effect.value == pytest.approx(0.195, abs=0.001)


def test_gpt4_and_claude_in_one_order(real):
    rows = real("multi_gpt4_vs_claude")
    prompts, order = [row["index"] for row in rows], [row["first_shown"] for row in rows]
    verdicts = [2 - row["preferences"]["alpaca_eval_gpt4"] for row in rows]
    found = shown_first(verdicts, order, prompts, resamples=200)
    assert (found.pairs, found.effect.estimate.n) == (2566, 645)
    first = sum(row["preferences"]["alpaca_eval_gpt4"] == row["first_shown"] for row in rows)
    assert found.first_preferred.value == pytest.approx(first / 2566)
    assert found.effect.estimate.low < 0 < found.effect.estimate.high


def test_what_is_no_probability_or_order_is_refused():
    with pytest.raises(LuceError, match="original: 2 is no probability"):
        both_orders([1, 2], [1, 1])
    with pytest.raises(LuceError, match="2 verdicts in the original order and 1 in the swapped"):
        both_orders([1, 0], [1])
    with pytest.raises(LuceError, match="shown_first: 0 stood first"):
        shown_first([1, 0], [1, 0])
    with pytest.raises(LuceError, match="2 verdicts and 1 orders"):
        shown_first([1, 0], [1])
    with pytest.raises(LuceError, match="1 prompts for 2 items"):
        both_orders([1, 0], [1, 0], ["x"])
