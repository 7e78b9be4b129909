import math

import pytest

from luce.errors import LuceError
from luce.evaluate import accuracy_by, accuracy_gain, held_out_accuracy, held_out_record
from luce.intervals import wilson_interval


def test_a_tie_counts_half():
    accuracy = held_out_accuracy([1.0, 0.5, 0.0, -3.0])
    assert accuracy.value == (1 + 1 + 0.5 + 0) / 4
    assert (accuracy.wins, accuracy.ties, accuracy.losses, accuracy.n) == (2, 1, 1, 4)
    assert (accuracy.low, accuracy.high) == wilson_interval(2.5, 4)


def test_the_initial_policy_under_a_ratio_score_is_at_one_half_exactly():
    assert held_out_accuracy([0.0] * 7).value == 0.5


def test_swapping_every_pair_mirrors_the_interval():
    margins = [0.3, -0.2, 0.0, 1.5, 2.0]
    here, there = held_out_accuracy(margins), held_out_accuracy([-z for z in margins])
    assert here.value == pytest.approx(1 - there.value)
    assert here.low == pytest.approx(1 - there.high)


def test_a_margin_that_is_not_a_number_is_refused_by_its_place():
    with pytest.raises(LuceError, match=r"margins\[2\] is nan"):
        held_out_accuracy([1.0, 2.0, math.nan])


def test_no_pairs_claim_nothing():
    accuracy = held_out_accuracy([])
    assert math.isnan(accuracy.value)
    assert (accuracy.low, accuracy.high, accuracy.n) == (0.0, 1.0, 0)


def test_slices_partition_the_pairs_and_come_largest_first():
    slices = accuracy_by([1.0, -1.0, 1.0, 1.0, 0.0], ["a", "b", None, "b", "b"])
    assert [(key, part.n) for key, part in slices.items()] == [("b", 3), (None, 1), ("a", 1)]
    assert slices["b"].value == 0.5


def test_slices_need_one_key_per_margin():
    with pytest.raises(LuceError, match="margins has 2, keys has 1"):
        accuracy_by([1.0, 2.0], ["a"])


def test_the_gain_is_paired_so_shared_outcomes_cancel():
    gain = accuracy_gain([1.0, 1.0, -1.0, 1.0], [1.0, -1.0, -1.0, 0.0])
    assert gain.value == (0 + 1 + 0 + 0.5) / 4
    unchanged = accuracy_gain([1.0, -1.0, 2.0], [3.0, -2.0, 0.1])
    assert (unchanged.value, unchanged.low, unchanged.high) == (0.0, 0.0, 0.0)


def test_the_record_holds_what_the_run_folder_promises():
    record = held_out_record(
        [1.0, -1.0, 2.0], initial_margins=[0.0, 0.0, 0.0], sources=["hh", "hh", None]
    )
    assert record["n"] == 3
    assert record["accuracy"] == pytest.approx(2 / 3)
    assert record["initial_accuracy"] == 0.5
    assert record["gain"] == pytest.approx(1 / 6)
    assert record["by_source"]["hh"]["accuracy"] == 0.5
    assert record["by_source"][""]["n"] == 1
    assert "by_annotator" not in record
