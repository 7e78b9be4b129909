"""Do the labels look like those of one annotator, or of two who disagree?

Two annotators of the responses' words and lengths, mixed, P = Σ_k w_k σ(x·a_k), against one who
sometimes answers at random, P = (1 − ε) σ(x·a) + ε/2: both are fitted to training pairs, and
compared on pairs that neither saw (Dumoulin et al., 2023, arXiv:2311.14115, sections 5.1 and 6).
The second is a mixture too, with an annotator who goes by nothing; so what is told apart is not
noise, but a second taste.

x is a dozen numbers of a pair: what a bag of words says of it that was fitted to the other half of
the pairs, the difference of lengths, and where the difference of the bags stands on their principal
axes. More would be fitted to noise. No language model is asked, and what its features would tell is
not seen: `luce annotators` fits mixtures of reward models.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse.linalg import svds

from luce.diagnostics.baselines import TokenPair, bag_features, bag_of_words
from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import Estimate, bootstrap_all
from luce.objectives import make_objective
from luce.types import Pairs, Responses

MOST_PAIRS, FEWEST_PAIRS, FOLDS = 6000, 300, 3
"""Pairs that are looked at, at most; below which two annotators are not looked for; and parts, each
of which is judged by what was fitted to the others."""

AXES = 10
"""Principal axes of the bags of words."""

STEPS = 300
"""Of L-BFGS, from each start."""

DISAGREE, WORTH = 0.3, 0.005
"""Share of pairs on which two tastes must put different responses first: below, the second is a
correction to the shape of the first. And nats a pair that it must explain at least, a hundredth of
what a coin leaves open."""


@dataclass(frozen=True)
class Tastes:
    """One annotator beside two, each pair judged by fits that did not see it.

    Attributes:
        n: pairs.
        one, two: mean negative log-likelihood of the labels, nats.
        gain: one − two, as a paired difference.
        disagree: share of pairs on which the two annotators put different responses first.
        share: of the less frequent of the two, as fitted; the mean over the fits.
        longer: the shares of unequal pairs in which each puts the longer response first, the more
            frequent one first: the taste that is told most easily.
    """

    n: int
    one: Estimate
    two: Estimate
    gain: Estimate
    disagree: Estimate
    share: float
    longer: tuple[float, float]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"n": self.n, "share": self.share, "longer": self.longer}
        for name in ("one", "two", "gain", "disagree"):
            estimate: Estimate = getattr(self, name)
            found |= estimate.flat(name)
        return found

    @property
    def finding(self) -> Finding:
        """In words."""
        words = (
            f"Two annotators explain {self.gain.words(4)} nats a pair more than one "
            f"(n = {self.n}), and would disagree on {self.disagree.percent()} of the pairs."
        )
        if self.gain.low > WORTH and self.disagree.low > DISAGREE:
            a, b = self.longer
            return Finding(
                f"The labels look like those of two tastes, of shares {1 - self.share:.2f} and "
                f"{self.share:.2f}: one puts the longer response first in {100 * a:.0f} % of the "
                f"pairs, the other in {100 * b:.0f} %. One policy for both pleases neither. "
                f"{words}",
                True,
                "Fit a mixture (`luce annotators`, objective `mixture`), name the annotators in "
                "the rows, or train on those whom you want to please.",
            )
        return Finding(f"{words} That is no sign of two tastes.")


def tastes(
    pairs: Sequence[TokenPair],
    prompts: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Tastes | None:
    """Whether two annotators explain labels better than one; None with fewer pairs than can tell.

    Args:
        prompts: whose prompt each pair is; pairs of one prompt are fitted or judged together. None:
            each its own.

    Raises:
        LuceError: one prompt each is not what was given.
    """
    whose = list(range(len(pairs)) if prompts is None else prompts)
    if len(whose) != len(pairs):
        raise LuceError(f"tastes: {len(pairs)} pairs and {len(whose)} prompts; one each is wanted.")
    pairs, whose = pairs[:MOST_PAIRS], whose[:MOST_PAIRS]
    number = {key: i for i, key in enumerate(dict.fromkeys(whose))}
    if len(pairs) < FEWEST_PAIRS or len(number) < FOLDS:
        return None
    part = np.random.default_rng(seed).permutation(len(number)) % FOLDS
    fold = part[[number[key] for key in whose]]
    costs, first, shares = np.zeros((len(pairs), 2)), np.zeros((len(pairs), 2)), []
    for k in range(FOLDS):
        there = fold == k
        judged = [pair for pair, one in zip(pairs, there, strict=True) if one]
        fitted = [pair for pair, one in zip(pairs, there, strict=True) if not one]
        costs[there], first[there], share = _compared(fitted, judged, seed)
        shares.append(share)
    differ = first[:, 0] * first[:, 1] < 0

    def values(rows: np.ndarray) -> np.ndarray:
        one, two = costs[rows].mean(0)
        return np.array([one, two, one - two, differ[rows].mean()])

    one, two, gain, disagree = bootstrap_all(values, len(pairs), whose, resamples=1000)
    share, longer = float(np.mean(shares)), _longer(pairs, first)
    return Tastes(len(pairs), one, two, gain, disagree, share, longer)


def _compared(
    fitted: Sequence[TokenPair], judged: Sequence[TokenPair], seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Of each judged pair its cost by one annotator and by two, and the sign of the margin of each
    of the two, the more frequent one first; and the share of the other."""
    x, seen = _features(fitted, judged, seed)
    label = np.array([pair.label for pair in fitted])
    alone, chance = _fit(x, label, np.zeros((1, x.shape[1])), np.zeros(2))
    # two annotators who differ in one thing; there is more than one optimum
    starts = [np.concatenate([alone + e, alone - e]) for e in np.eye(x.shape[1])[:, None]]
    found = [_fit(x, label, start, np.zeros(2)) for start in starts]
    both, prior = min(found, key=lambda f: float(_costs(x, label, *f).sum()))
    held = np.array([pair.label for pair in judged])
    costs = [_costs(seen, held, a, w) for a, w in ((alone, chance), (both, prior))]
    weights = np.exp(prior - np.logaddexp.reduce(prior))
    order = np.argsort(-weights)
    return np.stack(costs, 1), np.sign(seen @ both[order].T), float(weights.min())


def _features(
    train: Sequence[TokenPair], held_out: Sequence[TokenPair], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of each pair, in units of their spread in training; pairs × numbers."""
    half = np.random.default_rng(seed).permutation(len(train)) < len(train) // 2
    said, told = np.zeros(len(train)), np.zeros(len(held_out))
    for part in (half, ~half):
        fitted = [pair for pair, one in zip(train, part, strict=True) if one]
        others = [pair for pair, one in zip(train, part, strict=True) if not one]
        margins = np.array(bag_of_words(fitted, [*others, *held_out]))
        said[~part], told = margins[: len(others)], told + margins[len(others) :] / 2
    bags, seen = bag_features(train, held_out)
    columns = [(said, told), (_gaps(train), _gaps(held_out))]
    rows, terms = len(train), int(np.asarray(bags.sum(axis=0)).size)
    axes = min(AXES, rows - 1, terms - 1)
    if axes > 0 and bags.nnz:
        start = np.random.default_rng(seed).normal(size=min(rows, terms))
        found = np.asarray(svds(bags, k=axes, v0=start)[2])
        columns += zip(np.asarray(bags @ found.T).T, np.asarray(seen @ found.T).T, strict=True)
    scales = [float(np.sqrt(np.mean(np.square(a)))) or 1.0 for a, _ in columns]
    pairs = [(a / c, b / c) for (a, b), c in zip(columns, scales, strict=True)]
    return np.stack([a for a, _ in pairs], 1), np.stack([b for _, b in pairs], 1)


def _gaps(pairs: Sequence[TokenPair]) -> np.ndarray:
    """Tokens by which the chosen response is longer."""
    return np.array([float(len(pair.chosen) - len(pair.rejected)) for pair in pairs])


def _fit(
    x: np.ndarray, label: np.ndarray, start: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Annotators [K, numbers] and logits of their weights that minimize the cost; held back by as
    much as one pair's worth of evidence, so that the least is at a finite place."""
    shape = start.shape

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a, w = flat[:-2].reshape(shape), flat[-2:]
        loss, dz, dw = _priced(x @ a.T, w, label)
        slope = np.concatenate([(dz.T @ x).ravel(), dw])
        return float(loss.sum() + 0.5 * flat @ flat), slope + flat

    flat = np.concatenate([start.ravel(), prior])
    best = minimize(cost, flat, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return best[:-2].reshape(shape), best[-2:]


def _costs(x: np.ndarray, label: np.ndarray, a: np.ndarray, w: np.ndarray) -> np.ndarray:
    return _priced(x @ a.T, w, label)[0]


def _priced(
    z: np.ndarray, prior: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mixture's cost of each pair, its gradient in the margins and that of the sum in the
    logits. One annotator's second margin is 0: who answers at random."""
    given = torch.from_numpy(z).requires_grad_()
    logits = torch.from_numpy(prior.copy()).requires_grad_()
    heads = given if z.shape[1] == 2 else torch.cat([given, torch.zeros_like(given)], 1)
    cost = _mixture()(_pairs(heads, logits, torch.from_numpy(label)))
    cost.sum().backward()
    dz, dw = given.grad, logits.grad
    assert dz is not None and dw is not None
    return cost.detach().numpy(), dz.numpy(), dw.numpy()


def _mixture() -> Any:
    return make_objective("mixture", {"K": 2, "of": "reward"})


def _pairs(heads: torch.Tensor, prior: torch.Tensor, label: torch.Tensor) -> Pairs:
    """Pairs whose chosen response has these rewards and whose rejected one has 0."""
    n = len(heads)
    nothing, one = torch.zeros(n, dtype=heads.dtype), torch.ones(n, dtype=torch.int64)

    def side(rewards: torch.Tensor) -> Responses:
        return Responses(policy=nothing, lengths=one, reward=rewards.mean(1), rewards=rewards)

    return Pairs(chosen=side(heads), rejected=side(torch.zeros_like(heads)), label=label,
                 prior=prior)  # fmt: skip


def _longer(pairs: Sequence[TokenPair], first: np.ndarray) -> tuple[float, float]:
    gaps = _gaps(pairs)
    unequal = gaps != 0
    if not unequal.any():
        return 0.5, 0.5
    longer = (first[unequal] * np.sign(gaps[unequal])[:, None] + 1) / 2
    return float(longer[:, 0].mean()), float(longer[:, 1].mean())
