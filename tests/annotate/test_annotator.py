import math
from collections.abc import Sequence

import pytest

from luce.annotate import (
    draw,
    length_biased,
    luce_choice,
    mixture,
    noisy,
    opinions,
    position_biased,
    two_tastes,
)
from luce.errors import LuceError
from luce.types import Annotator, Comparison, Text

REWARDS = {"good": 2.0, "fair": 1.0, "bad": -1.0, "two words": 1.0, "far": 800.0}
GOOD_BAD = Comparison("x", "good", "bad")
FAIR_TWO = Comparison("x", "fair", "two words")


def reward(prompt: Text, responses: Sequence[str]) -> list[float]:
    return [REWARDS[response] for response in responses]


def opposite(prompt: Text, responses: Sequence[str]) -> list[float]:
    return [-REWARDS[response] for response in responses]


def always(p: float) -> Annotator:
    return lambda comparisons: [p for _ in comparisons]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_luce_choice_is_the_sigmoid_of_the_difference_over_the_temperature() -> None:
    annotator = luce_choice(reward, temperature=2.0)
    assert isinstance(annotator, Annotator)
    assert annotator([GOOD_BAD, FAIR_TWO]) == pytest.approx([sigmoid(3 / 2), 0.5], abs=1e-15)
    # the Luce rule itself: shares of exp(reward)
    share = math.exp(2) / (math.exp(2) + math.exp(-1))
    assert luce_choice(reward)([GOOD_BAD]) == pytest.approx([share], abs=1e-15)


def test_luce_choice_does_not_overflow() -> None:
    far = Comparison("x", "far", "bad")
    assert luce_choice(reward)([far, far.swap()]) == [1.0, 0.0]


def test_length_bias_adds_slope_times_the_difference_in_words_to_the_logit() -> None:
    annotator = length_biased(luce_choice(reward), slope=0.7)
    assert annotator([FAIR_TWO]) == pytest.approx([sigmoid(0.7 * (1 - 2))])
    assert annotator([Comparison("x", "two words", "bad")]) == pytest.approx([sigmoid(2 + 0.7)])


def test_position_bias_likes_the_first_by_so_many_logits() -> None:
    annotator = position_biased(luce_choice(reward), bias=0.4)
    assert annotator([GOOD_BAD]) == pytest.approx([sigmoid(3.4)])
    assert annotator([GOOD_BAD.swap()]) == pytest.approx([sigmoid(-3 + 0.4)])


def test_a_bias_does_not_move_certainty() -> None:
    for p in (0.0, 1.0):
        assert position_biased(always(p), 5.0)([GOOD_BAD]) == [p]
        assert length_biased(always(p), 5.0)([FAIR_TWO]) == [p]


def test_noise_flips_with_its_probability() -> None:
    assert noisy(always(0.9), flip=0.2)([GOOD_BAD]) == pytest.approx([0.8 * 0.9 + 0.2 * 0.1])
    assert noisy(always(0.9), flip=0.5)([GOOD_BAD]) == pytest.approx([0.5])


def test_a_mixture_is_the_weighted_mean_of_opinions() -> None:
    annotator = mixture([always(0.9), always(0.2), always(0.5)], [0.5, 0.3, 0.2])
    assert annotator([GOOD_BAD]) == pytest.approx([0.45 + 0.06 + 0.1])
    assert mixture([always(1.0)] * 3, [0.1, 0.2, 0.7])([GOOD_BAD]) == [1.0]


def test_two_tastes_are_two_luce_choices() -> None:
    annotator = two_tastes(reward, opposite, share=0.75, temperature=3.0)
    assert annotator([GOOD_BAD]) == pytest.approx([0.75 * sigmoid(1) + 0.25 * sigmoid(-1)])


@pytest.mark.parametrize(
    "unbiased", [luce_choice(reward), noisy(luce_choice(reward), 0.1), two_tastes(reward, opposite)]
)
def test_an_annotator_without_position_bias_gives_opinions_that_sum_to_one(
    unbiased: Annotator,
) -> None:
    for comparison in (GOOD_BAD, FAIR_TWO):
        assert sum(unbiased([comparison, comparison.swap()])) == pytest.approx(1.0)


def test_labels_are_drawn_with_the_probabilities_and_the_seed() -> None:
    annotator = luce_choice(reward, temperature=3.0)
    comparisons = [GOOD_BAD] * 4000
    labels = draw(annotator, comparisons, seed=1)
    assert sum(labels) / 4000 == pytest.approx(sigmoid(1), abs=0.025)  # 3 standard errors: 0.021
    assert labels == draw(annotator, comparisons, seed=1)
    assert labels != draw(annotator, comparisons, seed=2)
    assert draw(always(1.0), comparisons, 0) == [True] * 4000
    assert draw(always(0.0), comparisons, 0) == [False] * 4000


def test_opinions_that_are_none_are_refused() -> None:
    with pytest.raises(LuceError, match=r"gave 1.5 on comparison 0"):
        opinions(always(1.5), [GOOD_BAD])
    with pytest.raises(LuceError, match="gave nan on comparison 0"):
        draw(always(math.nan), [GOOD_BAD], seed=0)
    with pytest.raises(LuceError, match="1 opinions on 2 comparisons"):
        noisy(lambda comparisons: [0.5], 0.1)([GOOD_BAD, FAIR_TWO])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(LuceError, match="temperature is 0"):
        luce_choice(reward, temperature=0.0)
    with pytest.raises(LuceError, match="flip is 1.1"):
        noisy(always(0.5), 1.1)
    with pytest.raises(LuceError, match="1 annotators and 2 weights"):
        mixture([always(0.5)], [0.5, 0.5])
    with pytest.raises(LuceError, match="not shares of a whole"):
        mixture([always(0.5), always(0.5)], [0.5, 0.6])
