import math

import numpy as np
import pytest

from luce.errors import LuceError
from luce.evaluate import ended_share, kl_k1, kl_k3, kl_record, length_record, mean_by_prompt


def test_the_unit_of_a_mean_is_the_prompt():
    estimate = mean_by_prompt([1, 3, 5, 5, 5], ["a", "a", "b", "b", "b"])
    assert (estimate.value, estimate.n) == (3.5, 2)
    # two prompt means, 2 and 5: standard error |5 − 2| / 2
    assert estimate.standard_error == pytest.approx(1.5)


def test_copies_of_the_same_responses_do_not_narrow_the_interval():
    values, prompts = [1.0, 2.0, 4.0], ["a", "b", "c"]
    once, thrice = mean_by_prompt(values, prompts), mean_by_prompt(values * 3, prompts * 3)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low)


def test_one_value_has_no_spread_to_judge_by():
    estimate = mean_by_prompt([2.0])
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)


def test_the_length_record_holds_both_sides():
    record = length_record([10, 12], [20, 24], before_ended=[True, True], after_ended=[True, False])
    assert record["before"]["mean"] == 11 and record["after"]["mean"] == 22
    assert record["after"]["n"] == 2
    assert record["after"]["ended"] == 0.5
    assert "ended" not in length_record([1, 2], [1, 2])["after"]


def test_no_responses_leave_the_share_that_ended_unknown():
    share = ended_share([])
    assert math.isnan(share.value) and (share.low, share.high) == (0.0, 1.0)


def test_kl_sums_over_tokens_and_averages_over_responses():
    kl = kl_k1([[-1.0, -2.0], [-0.5]], [[-1.5, -3.0], [-0.25]])
    assert kl.value == pytest.approx((0.5 + 1.0 - 0.25) / 2)
    assert kl.n == 2


def test_both_estimators_find_the_exact_kl_of_two_coins():
    p, q = 0.7, 0.4
    exact = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    heads = np.random.default_rng(0).random(4000) < p
    policy = [[math.log(p if h else 1 - p)] for h in heads]
    initial = [[math.log(q if h else 1 - q)] for h in heads]
    for estimate in (kl_k1(policy, initial), kl_k3(policy, initial)):
        assert estimate.low < exact < estimate.high
        assert estimate.high - estimate.low < 0.1


def test_equal_policies_have_no_divergence():
    logps = [[-1.0, -2.0], [-3.0]]
    record = kl_record(logps, logps)
    assert record["value"] == record["k3"] == 0.0


def test_k3_is_never_negative_where_k1_may_be():
    assert kl_k1([[-2.0]], [[-1.0]]).value < 0
    assert kl_k3([[-2.0]], [[-1.0]]).value > 0


def test_unequal_token_counts_name_the_response():
    with pytest.raises(LuceError, match="Response 1 has 1 token log-probabilities"):
        kl_k1([[-1.0], [-1.0]], [[-1.0], [-1.0, -2.0]])


def test_an_overflowing_ratio_is_an_error_not_infinity():
    with pytest.raises(LuceError, match="is inf"):
        kl_k3([[-1000.0]], [[-1.0]])
