"""How far a preference for long or short responses explains the labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from luce.data.audit.estimates import draws, of_sums, share
from luce.data.audit.findings import Finding
from luce.data.audit.pairs import Pairs
from luce.intervals import Estimate, bootstrap

SEPARABLE = 0.6
"""Share of pairs that length alone may decide rightly before it is a finding."""

EFFECT, GAP = 0.2, 0.1
"""Or: a Cohen's d (0.2 is what Cohen calls small) with means this far apart."""

NEWTON_STEPS = 60


@dataclass(frozen=True)
class LengthShare:
    """Who is preferred, the longer or the shorter response, by one measure of length.

    Attributes:
        unit: "characters" or "words".
        longer, shorter: pairs in which the longer, or the shorter, response is preferred.
        equal: pairs of equal length; no part of the share.
        ties: pairs in which neither is preferred; no part of the share.
        preferred: longer / (longer + shorter).
        separable: share of those pairs that length alone gets right: max(share, 1 − share).
    """

    unit: str
    longer: int
    shorter: int
    equal: int
    ties: int
    preferred: Estimate
    separable: Estimate

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {k: getattr(self, k) for k in ("unit", "longer", "shorter", "equal", "ties")}
        return counts | {"preferred": self.preferred.plain(), "separable": self.separable.plain()}

    def line(self) -> str:
        """One line for a terminal."""
        return (
            f"longer preferred, in {self.unit:11} {self.preferred.words()}  ({self.longer:,} of "
            f"{self.longer + self.shorter:,} pairs, {self.preferred.n:,} prompts; {self.equal:,} "
            f"of equal length and {self.ties:,} ties apart)"
        )


@dataclass(frozen=True)
class Lengths:
    """Length and preference.

    Attributes:
        characters, words: shares by both measures.
        slope: b of P(chosen is preferred) = σ(b · Δwords), per word; nan where length separates
            all pairs, for then it has no bound.
        effect: Cohen's d of the responses' words, chosen against rejected.
        mean_chosen, mean_rejected: words.
    """

    characters: LengthShare
    words: LengthShare
    slope: Estimate
    effect: Estimate
    mean_chosen: Estimate
    mean_rejected: Estimate

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        names = ("slope", "effect", "mean_chosen", "mean_rejected")
        return {"characters": self.characters.plain(), "words": self.words.plain()} | {
            name: getattr(self, name).plain() for name in names
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        odds = math.exp(10 * self.slope.value) if math.isfinite(self.slope.value) else math.nan
        slope = (
            f"{self.slope.words(4)}  (ten words more: odds × {odds:.2f})"
            if math.isfinite(odds)
            else "unbounded: length separates every pair, or none differs in length"
        )
        return [
            self.characters.line(),
            self.words.line(),
            f"separable by length alone        {self.characters.separable.words()}",
            f"slope of the log-odds per word   {slope}",
            f"Cohen's d, in words              {self.effect.words()}  (means "
            f"{self.mean_chosen.value:.1f} chosen, {self.mean_rejected.value:.1f} rejected)",
        ]

    def findings(self) -> list[Finding]:
        """A finding where length says too much about the labels."""
        by, d = self.characters, self.effect
        apart = by.separable.value >= SEPARABLE and _beyond(by.preferred, 0.5)
        means = sorted((self.mean_chosen.value, self.mean_rejected.value))
        gap = means[1] / means[0] - 1 if means[0] > 0 else math.inf
        strong = abs(d.value) >= EFFECT and _beyond(d, 0.0) and gap >= GAP
        if not (apart or strong):
            return []
        return [
            Finding(
                "length",
                self._said(shares_first=apart),
                "A model can learn the length instead: use an objective that normalises or "
                "penalises length, balance the pairs, and look at accuracy on pairs of like "
                "length.",
            )
        ]

    def _said(self, shares_first: bool) -> str:
        """Share and means in a sentence; "yet" where they point in different directions."""
        by, d = self.characters, self.effect
        which = "longer" if by.preferred.value >= 0.5 else "shorter"
        shares = (
            f"the {which} response is preferred in {by.separable.percent()} of pairs "
            f"({max(by.longer, by.shorter):,} of {by.longer + by.shorter:,}, by characters; "
            f"{by.preferred.n:,} prompts)"
        )
        means = (
            f"chosen responses have {self.mean_chosen.value:.0f} words on average and rejected "
            f"ones {self.mean_rejected.value:.0f} (Cohen's d {d.words(2)})"
        )
        first, second = (shares, means) if shares_first else (means, shares)
        alike = (by.preferred.value >= 0.5) == (d.value >= 0)
        return f"{first[0].upper()}{first[1:]}; {'' if alike else 'yet '}{second}."


def lengths(pairs: Pairs) -> Lengths:
    """Length and preference on these pairs; intervals draw prompts.

    >>> from luce.data.audit.pairs import pairs_of
    >>> from luce.types import Place, Preference
    >>> row = Preference(prompt="p", chosen="a b", rejected="a", place=Place("f", 1), id="1")
    >>> lengths(pairs_of([row])).characters.preferred.value
    1.0
    """
    characters = length_share(pairs, "characters")
    in_words = length_share(pairs, "words")
    chosen, rejected = _measured(pairs, "words")
    one = np.ones(len(pairs))
    known = pairs.decided
    table = np.stack([one, chosen, chosen**2, rejected, rejected**2]) * known

    def value(sums: np.ndarray) -> np.ndarray:
        n, c, c2, r, r2 = sums
        if n <= 0:
            return np.full(3, math.nan)
        variance = (c2 - c * c / n + r2 - r * r / n) / (2 * max(n - 1, 1))
        d = (c - r) / n / math.sqrt(variance) if variance > 1e-12 else math.nan
        return np.array([d, c / n, r / n])

    effect, mean_chosen, mean_rejected = of_sums(table, pairs.prompts, value)
    return Lengths(
        characters, in_words, slope(chosen - rejected, pairs.p, pairs.prompts), effect,
        mean_chosen, mean_rejected,
    )  # fmt: skip


def length_share(pairs: Pairs, unit: str) -> LengthShare:
    """The share of pairs in which the longer response is preferred, by one measure of length."""
    chosen, rejected = _measured(pairs, unit)
    known = pairs.decided * (chosen != rejected)
    wins = known * (chosen > rejected)
    found = share(wins, known, pairs.prompts)
    # folded at a half: of an interval that holds it, both ends become the farther one
    ends = (abs(found.low - 0.5), abs(found.high - 0.5))
    low = 0.5 if found.low <= 0.5 <= found.high else 0.5 + min(ends)
    separable = replace(found, value=0.5 + abs(found.value - 0.5), low=low, high=0.5 + max(ends))
    return LengthShare(
        unit=unit,
        longer=int(wins.sum()),
        shorter=int((known - wins).sum()),
        equal=int((pairs.decided * (chosen == rejected)).sum()),
        ties=int((1 - pairs.decided).sum()),
        preferred=found,
        separable=separable,
    )


def slope(gap: np.ndarray, p: np.ndarray, prompts: np.ndarray) -> Estimate:
    """The maximum-likelihood b of P = σ(b · gap), with an interval by prompt.

    Args:
        gap: difference of lengths of each pair.
        p: P(the first response is preferred).
    """
    count = int(prompts.max()) + 1 if len(prompts) else 0
    start = _fit(gap, p, np.ones(len(gap)), 0.0)

    def statistic(drawn: np.ndarray) -> float:
        weight = np.bincount(drawn, minlength=count)[prompts].astype(float)
        return _fit(gap, p, weight, 0.0 if math.isnan(start) else start)

    return bootstrap(statistic, count, resamples=draws(count))


def _fit(gap: np.ndarray, p: np.ndarray, weight: np.ndarray, start: float) -> float:
    used = (weight > 0) & (gap != 0)
    x, p, w = gap[used], p[used], weight[used]
    if not len(x):
        return math.nan
    for sign in (1, -1):  # the label may follow the sign of the gap without exception
        if np.all(np.where(sign * x > 0, p, 1 - p) == 1):
            return math.nan
    size = float(np.abs(x).mean())
    x = x / size

    def cost(b: float) -> float:
        return float(w @ (np.logaddexp(0, -b * x) * p + np.logaddexp(0, b * x) * (1 - p)))

    b = start * size
    now = cost(b)
    for _ in range(NEWTON_STEPS):
        q = 1 / (1 + np.exp(-np.clip(b * x, -500, 500)))
        step = float(w @ ((p - q) * x)) / max(float(w @ (q * (1 - q) * x * x)), 1e-12)
        step = max(-2.0, min(2.0, step))
        while cost(b + step) > now and abs(step) > 1e-12:
            step /= 2
        b, now = b + step, cost(b + step)
        if abs(step) < 1e-8:
            break
    return b / size


def _beyond(found: Estimate, null: float) -> bool:
    """Whether an interval of 99 % would leave out the null: two rules are tried, on every file."""
    return abs(found.value - null) > 2.576 / 1.96 * (found.high - found.low) / 2


def _measured(pairs: Pairs, unit: str) -> tuple[np.ndarray, np.ndarray]:
    def of(texts: Sequence[str]) -> np.ndarray:
        sizes = [len(t) if unit == "characters" else len(t.split()) for t in texts]
        return np.array(sizes, dtype=float)

    return of([x.chosen for x in pairs.items]), of([x.rejected for x in pairs.items])
