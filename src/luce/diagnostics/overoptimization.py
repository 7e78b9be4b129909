"""Over-optimization: the proxy reward rises while the gold reward falls.

Gao, Schulman & Hilton (2023), arXiv:2210.10760, fit the gold reward, less that of the initial
policy, as a function of d = √KL(π ‖ π₀):

    best of n:  R(d) = d (α − β d)          reinforcement learning:  R(d) = d (α − β log d)
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import RESAMPLES, Estimate, bootstrap_all

Form = Literal["best_of_n", "rl"]
Action = Literal["continue", "stop", "roll_back"]


PATIENCE = 2
"""Points in a row at which gold must have fallen, unless said otherwise."""


def best_of_n_kl(n: int) -> float:
    """log n − (n − 1)/n, nats: KL(best of n ‖ π₀) where no two samples tie, and its upper bound
    where some do (Beirami et al., 2024, arXiv:2401.01879).

    >>> round(best_of_n_kl(4), 6)
    0.636294
    """
    if n < 1:
        raise LuceError(f"best of n: n = {n} must be 1 or more.")
    return math.log(n) - (n - 1) / n


@dataclass(frozen=True)
class Point:
    """One policy on the way away from π₀.

    Attributes:
        kl: KL(π ‖ π₀), nats, ≥ 0.
        proxy: mean reward by the reward that is optimized, less that of π₀.
        gold: the same by a held-out annotator, or the lower bound of an ensemble.
        gold_error: standard error of `gold`; 0 where it is exact.
        proxy_error: standard error of `proxy`.
    """

    kl: float
    proxy: float
    gold: float
    gold_error: float = 0.0
    proxy_error: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.kl, self.proxy, self.gold, self.gold_error, self.proxy_error)
        if not all(math.isfinite(x) for x in numbers):
            raise LuceError(f"A point of the curve needs finite numbers, not {numbers}.")
        if min(self.kl, self.gold_error, self.proxy_error) < 0:
            raise LuceError(f"KL and standard errors are 0 or greater, not {numbers}.")


@dataclass(frozen=True)
class GoldCurve:
    """R(d) fitted to points, with 95 % intervals.

    Attributes:
        form: which R.
        alpha, beta: its coefficients, in units of gold reward.
        peak_kl: the KL where R is highest; nan where R never falls (β ≤ 0). Its interval is of the
            draws that do fall, and (nan, nan) where most do not.
        peak_gold: R there; likewise.
        residual: root mean square of gold − R(d).
    """

    form: Form
    alpha: Estimate
    beta: Estimate
    peak_kl: Estimate
    peak_gold: Estimate
    residual: float

    def value(self, kl: float) -> float:
        """R(√KL), gold reward less that of π₀."""
        column = _columns(np.array([math.sqrt(kl)]), self.form)[0]
        return float(column @ np.array([self.alpha.value, self.beta.value]))


def fit_gold_curve(
    points: Sequence[Point],
    form: Form = "rl",
    runs: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> GoldCurve:
    """The least-squares fit of R to the gold rewards; R is linear in α and β.

    Args:
        points: at KL > 0 (a point at KL 0 says nothing: R(0) = 0).
        form: `best_of_n` for best-of-n sampling, `rl` for policies that were trained.
        runs: whose run each point is of; whole runs are drawn again for the intervals. None: points
            are. Points of one run err together, so that intervals from a single run are too narrow.
        seed, resamples: of the bootstrap.

    Raises:
        LuceError: fewer than 3 points at different KL > 0.
    """
    kept = [i for i, point in enumerate(points) if point.kl > 0]
    if len({points[i].kl for i in kept}) < 3:
        raise LuceError("The curve of gold reward needs 3 points or more at different KL > 0.")
    d = np.sqrt([points[i].kl for i in kept])
    gold = np.array([points[i].gold for i in kept])
    columns = _columns(d, form)

    def statistic(drawn: np.ndarray) -> np.ndarray:
        (alpha, beta), _, rank, _ = np.linalg.lstsq(columns[drawn], gold[drawn], rcond=None)
        if rank < 2:
            return np.full(4, math.nan)
        peak = _peak(float(alpha), float(beta), form)
        top = float(_columns(np.array([peak]), form)[0] @ [alpha, beta])
        return np.array([alpha, beta, peak**2, top])

    whose = None if runs is None else [runs[i] for i in kept]
    found = bootstrap_all(statistic, len(kept), whose, seed=seed, resamples=resamples)
    fitted = columns @ np.array([found[0].value, found[1].value])
    return GoldCurve(form, *found, residual=float(np.sqrt(np.mean((gold - fitted) ** 2))))


def _columns(d: np.ndarray, form: Form) -> np.ndarray:
    """R(d) = columns @ (α, β)."""
    positive = np.where(d > 0, d, 1.0)
    bend = d * d if form == "best_of_n" else d * np.log(positive)
    return np.stack([d, -bend], axis=1)


def _peak(alpha: float, beta: float, form: Form) -> float:
    """The d where R is highest: 0 where it only falls, nan where it never falls, or so far out that
    no number holds it."""
    if beta <= 0:
        return math.nan
    if form == "best_of_n":
        return max(alpha / (2 * beta), 0.0)
    return math.exp(alpha / beta - 1) if alpha / beta < 300 else math.nan


@dataclass(frozen=True)
class Decision:
    """What a guard says after a point.

    Attributes:
        action: `continue`; `stop`: gold is falling, but only a little has been lost yet;
            `roll_back`: the policy of point `keep` is better by more than that.
        keep: number of the point, from 0, whose gold reward is the highest for certain: the lower
            end of its interval is.
        why: the reason in words.
    """

    action: Action
    keep: int
    why: str


class Guard:
    """Watches gold reward point after point, in the order of training, and says when to stop.

    Gold has fallen at a point if its interval lies wholly below that of an earlier point with no
    more KL: more was spent and less was got. (A policy that returns towards π₀ and gives up some
    gold has made a trade.) The guard speaks when gold has fallen at `patience` points in a row:
    noise around a curve that does not fall seldom does that. At the defaults a flat curve of 20
    equally noisy points raises an alarm in 2 runs of 100, a rising one less often.

    What is lost is told as a share of what was gained: `stop` up to `tolerance`, `roll_back` above.

    >>> guard = Guard()
    >>> gold = [0.0, 0.9, 1.2, 1.0, 0.6]
    >>> points = [Point(0.5 * i, 0.8 * i, g, gold_error=0.02) for i, g in enumerate(gold)]
    >>> [guard.step(point).action for point in points]
    ['continue', 'continue', 'continue', 'continue', 'roll_back']
    """

    def __init__(self, patience: int = PATIENCE, z: float = 1.96, tolerance: float = 0.1) -> None:
        """patience ≥ 1 points; z > 0 standard errors each side; 0 ≤ tolerance of the gain."""
        if patience < 1 or not z > 0 or not tolerance >= 0:
            raise LuceError(
                f"A guard needs patience ≥ 1, z > 0 and tolerance ≥ 0, not {patience}, {z:g} and "
                f"{tolerance:g}."
            )
        self.patience, self.z, self.tolerance = patience, z, tolerance
        self.points: list[Point] = []
        self._below = 0

    def step(self, point: Point) -> Decision:
        """Take the next point and judge."""
        nearer = (self._low(p) for p in self.points if p.kl <= point.kl)
        floor = max(nearer, default=-math.inf)
        fallen = point.gold + self.z * point.gold_error < floor
        self._below = self._below + 1 if fallen else 0
        self.points.append(point)
        keep = max(range(len(self.points)), key=lambda i: self._low(self.points[i]))
        if self._below < self.patience:
            return Decision("continue", keep, self._calm(keep))
        best, first = self.points[keep], self.points[0]
        gain, fall = best.gold - first.gold, best.gold - point.gold
        action: Action = "stop" if fall <= self.tolerance * gain else "roll_back"
        rose = point.proxy - best.proxy
        proxy = "rose by" if rose > 0 else "fell by"
        why = (
            f"gold fell by {fall:.3g} from {best.gold:.3g} at point {keep} (KL {best.kl:.3g}) to "
            f"{point.gold:.3g} (KL {point.kl:.3g}), {self._below} points in a row beyond noise, "
            f"while the proxy {proxy} {abs(rose):.3g}: "
        )
        where = "stop here" if action == "stop" else f"roll back to point {keep}"
        return Decision(action, keep, why + where)

    def _low(self, point: Point) -> float:
        return point.gold - self.z * point.gold_error

    def _calm(self, keep: int) -> str:
        if self._below:
            return (
                f"gold is below point {keep} beyond noise, {self._below} of {self.patience} points "
                "in a row: wait for the next"
            )
        now = self.points[-1]
        return f"gold {now.gold:.3g} at KL {now.kl:.3g}: no fall beyond noise"


def watched(points: Sequence[Point], steps: Sequence[int]) -> Finding:
    """What a guard says after the last of these points, in the order of training.

    Args:
        points: the first is the start, at KL 0.
        steps: the optimizer step of each.
    """
    guard = Guard()
    decision = [guard.step(point) for point in points][-1]
    best, last = points[decision.keep], points[-1]
    words = (
        f"At step {steps[-1]} the annotator's preference over the initial policy is "
        f"{last.gold:+.3f} (win rate less ½) at KL {last.kl:.2f} nats; for certain it was best at "
        f"step {steps[decision.keep]}: {best.gold:+.3f} at KL {best.kl:.2f}."
    )
    if decision.action == "continue":
        return Finding(f"{words} No fall beyond noise.")
    rose = last.proxy - best.proxy
    proxy = f"{'rose' if rose > 0 else 'fell'} by {abs(rose):.2f}"
    return Finding(
        "The loss goes on where the annotator no longer follows. "
        f"{words} It fell beyond noise while the held-out margin {proxy}.",
        True,
        f"Take the policy of step {steps[decision.keep]} (`evaluate.best: win_rate`), train for "
        "less, or raise beta.",
    )
