"""The baselines against worlds of which the answer is known."""

import numpy as np
import pytest

from luce.diagnostics.baselines import TokenPair, bag_of_words, length_rule
from luce.errors import LuceError


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def world(n: int, seed: int, mark: int = 7) -> list[TokenPair]:
    """The preferred response holds the token `mark`; all else is chance."""
    draw = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        a, b = (draw.integers(10, 60, draw.integers(3, 12)).astype(np.int32) for _ in range(2))
        a[draw.integers(len(a))] = mark
        swapped = draw.random() < 0.5
        pairs.append(TokenPair(b, a, 0.0) if swapped else TokenPair(a, b, 1.0))
    return pairs


def accuracy(margins: list[float], pairs: list[TokenPair]) -> float:
    return float(np.mean([(z > 0) == (p.label == 1) for z, p in zip(margins, pairs, strict=True)]))


def test_the_length_rule_is_that_of_training():
    longer = [
        TokenPair(ids(1, 2, 3), ids(1)),
        TokenPair(ids(1, 2), ids(1)),
        TokenPair(ids(1), ids(1, 2)),
    ]
    name, margins = length_rule(longer, [TokenPair(ids(1), ids(1, 2, 3))])
    assert (name, margins) == ("longer wins", [-2.0])
    turned = [TokenPair(p.chosen, p.rejected, 0.0) for p in longer]
    assert length_rule(turned, longer)[0] == "shorter wins"


def test_a_word_that_decides_is_found():
    train, test = world(300, 0), world(200, 1)
    assert accuracy(bag_of_words(train, test), test) > 0.97
    chance = world(200, 2, mark=8)  # a token that training does not know
    assert abs(accuracy(bag_of_words(train, chance), chance) - 0.5) < 0.15


def test_two_words_in_a_row_are_told_from_the_same_apart():
    draw = np.random.default_rng(0)
    pairs = []
    for _ in range(300):
        x = int(draw.integers(10, 60))
        pairs.append(TokenPair(ids(1, 2, x), ids(2, x, 1)))
    margins = bag_of_words(pairs[:200], pairs[200:])
    assert min(margins) > 0


def test_numbers_worked_by_hand():
    """One token on each side: the least of 2 log(1 + e^−z) + ½ |w|² with z = w₁ − w₂ = 2 w₁."""
    pair = TokenPair(ids(1), ids(2))
    (z,) = bag_of_words([pair, pair], [pair])
    # by w₁: −4 σ(−z) + z = 0
    assert -4 / (1 + np.exp(z)) + z == pytest.approx(0, abs=1e-4)


def test_swapping_all_pairs_with_their_labels_changes_nothing():
    train, test = world(100, 3), world(20, 4)
    swapped = [TokenPair(p.rejected, p.chosen, 1 - p.label) for p in train]
    assert bag_of_words(train, test) == pytest.approx(bag_of_words(swapped, test), abs=1e-3)


def test_nothing_to_fit_and_nothing_to_tell():
    with pytest.raises(LuceError, match="no pair to fit"):
        bag_of_words([], [])
    pair = TokenPair(ids(1, 2), ids(3))
    assert bag_of_words([pair], [pair, pair]) == [0.0, 0.0]  # no token stands in two responses
    assert bag_of_words([pair, pair], []) == []
