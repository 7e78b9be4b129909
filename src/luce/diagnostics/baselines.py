"""What can be had without a model: the length rule, and a bag of words.

A reward model that does not beat these has learned no more than they have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array
from scipy.special import expit

from luce.errors import LuceError

MOST_PAIRS = 20_000
"""Pairs that a bag of words is fitted on, at most: the first so many."""

FEWEST_RESPONSES = 2
"""Responses in which a token, or two in a row, must stand to count."""


@dataclass(frozen=True)
class TokenPair:
    """The scored tokens of two responses, and P(the first is preferred)."""

    chosen: np.ndarray
    rejected: np.ndarray
    label: float = 1.0


def length_rule(
    train: Sequence[TokenPair], held_out: Sequence[TokenPair]
) -> tuple[str, list[float]]:
    """`longer wins` or `shorter wins`, whichever is right more often in training, and its margin
    (a difference of lengths, in tokens) on every held-out pair.

    >>> pair = TokenPair(np.array([1]), np.array([1, 2]))
    >>> length_rule([pair], [pair])
    ('shorter wins', [1.0])
    """
    vote = sum(np.sign(_longer(pair)) * (2 * pair.label - 1) for pair in train)
    name, sign = ("longer wins", 1.0) if vote >= 0 else ("shorter wins", -1.0)
    return name, [sign * _longer(pair) for pair in held_out]


def bag_of_words(
    train: Sequence[TokenPair], held_out: Sequence[TokenPair], strength: float = 1.0
) -> list[float]:
    """Margins on held-out pairs of a logistic regression on the difference of the responses' TF-IDF
    vectors, of tokens and of two in a row.

    Term frequencies are damped, 1 + log tf; idf = 1 + log((1 + n)/(1 + df)) over the responses of
    training; vectors have length 1. There is no intercept: which response is called chosen says
    nothing. The prompt is not looked at.

    Args:
        strength: C, of the sum of losses against ½|w|²: raising it fits training more closely.

    Raises:
        LuceError: no pair to fit.
    """
    if not train:
        raise LuceError("bag_of_words: no pair to fit.")
    train = train[:MOST_PAIRS]
    x, seen = bag_features(train, held_out)
    if not x.nnz or not held_out:
        return [0.0] * len(held_out)
    weights = _logistic(x, np.array([pair.label for pair in train]), strength)
    return [float(z) for z in seen @ weights]


def bag_features(
    train: Sequence[TokenPair], held_out: Sequence[TokenPair]
) -> tuple[csr_array, csr_array]:
    """Differences of TF-IDF vectors as `bag_of_words` takes them, of training pairs and of held-out
    pairs: pairs × terms that stand in two responses of training or more."""
    columns: dict[int, int] = {}
    texts = [side for pair in train for side in (pair.chosen, pair.rejected)]
    counts = _counts(texts, columns, grows=True)
    df = np.bincount(counts.indices, minlength=len(columns))
    kept = np.flatnonzero(df >= FEWEST_RESPONSES)
    idf = 1 + np.log((1 + len(texts)) / (1 + df[kept]))
    seen = [side for pair in held_out for side in (pair.chosen, pair.rejected)]
    found = _counts(seen, columns, grows=False)
    return _differences(counts[:, kept], idf), _differences(found[:, kept], idf)


def _longer(pair: TokenPair) -> float:
    return float(len(pair.chosen) - len(pair.rejected))


def _counts(texts: Sequence[np.ndarray], columns: dict[int, int], grows: bool) -> csr_array:
    """How often each token, and each two in a row, stand in each text."""
    rows, places = [], []
    for row, ids in enumerate(texts):
        single = ids.astype(np.int64)
        double = (single[:-1] + 1 << 32) + single[1:]
        for term in (*single.tolist(), *double.tolist()):
            place = columns.setdefault(term, len(columns)) if grows else columns.get(term)
            if place is not None:
                rows.append(row)
                places.append(place)
    shape = (len(texts), len(columns))
    found = csr_array((np.ones(len(rows)), (rows, places)), shape=shape)
    found.sum_duplicates()
    return found


def _differences(counts: csr_array, idf: np.ndarray) -> csr_array:
    """TF-IDF of each first text minus that of each second."""
    weighed = csr_array(counts, copy=True)
    weighed.data = 1 + np.log(weighed.data)
    weighed = csr_array(weighed @ diags_array(idf))
    norms = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    unit = csr_array(diags_array(1 / np.where(norms > 0, norms, 1)) @ weighed)
    return csr_array(unit[0::2] - unit[1::2])


def _logistic(x: csr_array, label: np.ndarray, strength: float) -> np.ndarray:
    turned = csr_array(x.T)

    def cost(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        loss = (label * np.logaddexp(0, -z) + (1 - label) * np.logaddexp(0, z)).sum()
        return strength * loss + 0.5 * w @ w, strength * (turned @ (expit(z) - label)) + w

    return minimize(cost, 0 * (turned @ label), jac=True, method="L-BFGS-B").x
