"""Which pairs still pull on the policy, and how hard.

The pull of a pair is |∂ cost / ∂ log π| of its responses: β |φ′(z − γ)| under a log-ratio score. It
is the weight with which the pair enters the gradient. A loss whose slope goes out (logistic,
hinge) gives a pair no weight once its margin is large; what then goes on is the few pairs that
contradict it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import Estimate, bootstrap_all

OUT = 0.01
"""Of the pull at the start: a pair below it is done."""

MOST_OUT = 0.5
"""Share of training pairs that may be done. Beyond it a run spends most of its compute on nothing,
and margins have grown past what labels can tell apart (σ(z) > 0.99 under DPO)."""


@dataclass(frozen=True)
class Saturation:
    """Pulls of training pairs, now and at the start.

    Attributes:
        n: pairs with a pull at the start.
        before, after: mean pull, per nat of log-probability.
        left: mean pull now over mean pull at the start.
        out: share of pairs whose pull is below `OUT` of what it was.
        effective: share of the pairs that the gradient amounts to, (Σ pull)² / (n Σ pull²): 1 where
            all pull alike, 1/n where one does.
        beta: the β that the mean pull stands for, where at the start it stands for `beta_before`:
            mean pull over |φ′(0)|. None where the objective has no slope at 0.
        beta_before: the same at the start.
    """

    n: int
    before: Estimate
    after: Estimate
    left: Estimate
    out: Estimate
    effective: Estimate
    beta: float | None
    beta_before: float | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"n": self.n}
        for name in ("before", "after", "left", "out", "effective"):
            estimate: Estimate = getattr(self, name)
            found |= estimate.flat(name)
        return found | {"beta": self.beta, "beta_before": self.beta_before}

    @property
    def finding(self) -> Finding:
        """In words."""
        beta = (
            ""
            if self.beta is None or self.beta_before is None
            else f", an effective beta of {self.beta:.3g} after {self.beta_before:.3g}"
        )
        words = (
            f"The mean pull of a training pair is {100 * self.left.value:.0f} % of what it was at "
            f"the start{beta}. {self.out.percent()} of {self.n} pairs pull less than "
            f"{100 * OUT:.0f} % of that; the gradient is that of "
            f"{100 * self.effective.value:.0f} % of the pairs."
        )
        if self.out.low > MOST_OUT:
            return Finding(
                f"Most pairs give no gradient any more. {words}",
                True,
                "Train for fewer epochs or with a smaller learning rate, look for pairs that are "
                "repeated (`luce data check`), or take a loss whose slope does not go out (`ipo`).",
            )
        return Finding(words)


def saturation(
    before: Sequence[float | int],
    after: Sequence[float | int],
    slope_at_zero: float | None = None,
    prompts: Sequence[Hashable] | None = None,
) -> Saturation | None:
    """Pulls now beside those at the start; None where no pair pulled at the start.

    Args:
        before, after: pulls of the same pairs, ≥ 0.
        slope_at_zero: |φ′(0)| of the margin loss.
        prompts: whose prompt each pair is, for the intervals; None: each its own.

    Raises:
        LuceError: lists of different lengths.

    >>> found = saturation([0.5, 0.5], [0.5, 0.001], slope_at_zero=0.5)
    >>> found.out.value, found.beta_before
    (0.5, 1.0)
    """
    then, now = np.asarray(before, float), np.asarray(after, float)
    if len(then) != len(now) or (prompts is not None and len(prompts) != len(now)):
        raise LuceError(f"saturation: {len(then)} pulls before and {len(now)} after.")
    kept = then > 0
    if not kept.any():
        return None
    whose = None if prompts is None else [k for k, one in zip(prompts, kept, strict=True) if one]
    then, now = then[kept], now[kept]

    def values(rows: np.ndarray) -> np.ndarray:
        a, b = then[rows], now[rows]
        squares = float(np.square(b).sum())
        return np.array(
            [
                a.mean(),
                b.mean(),
                b.mean() / a.mean(),
                (b < OUT * a).mean(),
                b.sum() ** 2 / (len(b) * squares) if squares > 0 else 0.0,
            ]
        )

    found = bootstrap_all(values, len(then), whose, resamples=1000)
    beta, beta_before = None, None
    if slope_at_zero:
        beta, beta_before = (float(side.mean()) / slope_at_zero for side in (now, then))
    return Saturation(len(then), *found, beta=beta, beta_before=beta_before)
