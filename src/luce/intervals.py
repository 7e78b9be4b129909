"""A number with its interval and its n: by formula, and by drawing the data again."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
"""Draws of a bootstrap, unless said otherwise."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: the number; nan where n = 0.
        low, high: the 95 % interval; infinite where n = 1, since one value has no spread.
        n: independent units that it was made of (prompts, pairs or responses).
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def standard_error(self) -> float:
        """The interval's width in units of 2 · 1.96: the standard error of a mean."""
        return (self.high - self.low) / (2 * 1.959964)


def wilson_interval(
    successes: float | int, n: float | int, z: float = 1.959964
) -> tuple[float, float]:
    """Wilson's score interval of a proportion, 95 % by default; (0, 1) where n = 0.

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    if n <= 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Iterable[float | int], z: float = 1.959964) -> tuple[float, float, float]:
    """(mean, low, high) of a sample: mean ± z standard errors (ddof = 1); (nan, nan, nan) if empty.

    >>> mean_interval([1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    sample = [float(v) for v in values]
    n = len(sample)
    if n == 0:
        return math.nan, math.nan, math.nan
    mean = math.fsum(sample) / n
    if n == 1:
        return mean, -math.inf, math.inf
    variance = math.fsum((v - mean) ** 2 for v in sample) / (n - 1)
    half = z * math.sqrt(variance / n)
    return mean, mean - half, mean + half


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    rows: int,
    prompts: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Estimate:
    """A statistic of some rows, with the central `level` of its values when prompts are drawn
    again, with replacement and with all their rows. n counts prompts.

    Rows of one prompt resemble each other; an interval that took them for independent would be too
    narrow.

    Args:
        statistic: row numbers (some of them repeatedly) → number. A draw in which it is nan, for
            want of what it needs, does not count; where most are, the interval is (nan, nan).
        rows: how many there are.
        prompts: for each row, whose prompt it is; None: each its own.

    >>> found = bootstrap(lambda i: float(np.array([0.0, 1.0, 2.0, 3.0])[i].mean()), 4)
    >>> found.value, found.n, found.low < 1.0 < 2.0 < found.high
    (1.5, 4, True)
    """
    members = _members(rows, prompts)
    generator, n = np.random.default_rng(seed), len(members) if members else rows
    value = float(statistic(np.arange(rows))) if rows else math.nan
    if n < 2:
        return Estimate(value, -math.inf, math.inf, n)
    found = np.empty(resamples)
    for number in range(resamples):
        drawn = generator.integers(0, n, n)
        if members:
            drawn = np.concatenate([members[i] for i in drawn])
        found[number] = statistic(drawn)
    known = found[~np.isnan(found)]
    if 2 * len(known) <= resamples:
        return Estimate(value, math.nan, math.nan, n)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), n)


def _members(rows: int, prompts: Sequence[Hashable] | None) -> list[np.ndarray]:
    """The rows of each prompt; [] where every row is a prompt of its own."""
    if prompts is None:
        return []
    if len(prompts) != rows:
        raise ValueError(f"{len(prompts)} prompts for {rows} rows; one each is wanted.")
    numbers: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        numbers.setdefault(prompt, []).append(row)
    return [] if len(numbers) == rows else [np.array(found) for found in numbers.values()]
