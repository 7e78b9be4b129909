"""Numbers over something: with bands or bars, over KL, and over its square root."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from luce.errors import LuceError
from luce.intervals import Estimate, mean_interval
from luce.report.plots.style import (
    FAINT,
    INK,
    MOST_MARKERS,
    RUN_COLORS,
    RUN_MARKS,
    canvas,
    finish,
    library_style,
    rule,
)

Numbers: TypeAlias = Sequence[float | int] | np.ndarray
Found: TypeAlias = Sequence[Estimate] | Sequence[float | int] | np.ndarray
"""Estimates with their intervals; plain numbers; or a table, points × seeds, of which the mean and
its 95 % interval over seeds is drawn. nan is a gap."""


@dataclass(frozen=True)
class Points:
    """Values with the ends of their intervals, nan where there is none; all of one length."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Where both ends of the interval are finite numbers."""
        return np.isfinite(self.low) & np.isfinite(self.high)


def points_of(found: Found) -> Points:
    """What was found as values and ends.

    Raises:
        LuceError: Estimates and plain numbers are mixed, or a table has more than two dimensions.

    >>> points_of([Estimate(0.5, 0.4, 0.6, 9)]).low.tolist()
    [0.4]
    >>> [round(x, 2) for x in points_of(np.array([[1.0, 2.0, 3.0]])).high.tolist()]
    [3.13]
    """
    if isinstance(found, np.ndarray) and found.ndim == 2:
        seeds = [mean_interval([float(v) for v in row if np.isfinite(v)]) for row in found]
        table = np.array(seeds, dtype=float).reshape(-1, 3)
        return Points(table[:, 0], table[:, 1], table[:, 2])
    estimates = [one for one in found if isinstance(one, Estimate)]
    if estimates and len(estimates) < len(found):
        raise LuceError("Estimates and plain numbers in one line. Give one kind.")
    if estimates:
        rows = np.array([(e.value, e.low, e.high) for e in estimates], dtype=float)
        return Points(rows[:, 0], rows[:, 1], rows[:, 2])
    values = np.asarray(found, dtype=float)
    if values.ndim != 1:
        raise LuceError(f"Values of shape {values.shape}. Give one a point, or points × seeds.")
    none = np.full(len(values), math.nan)
    return Points(values, none, none)


def line_with_band(
    axes: Axes, x: Numbers, points: Points, label: str, number: int, marks: bool = True
) -> None:
    """Draw a line in the color and with the marks of its number, and its intervals as a band; an
    interval without a neighbour is a bar."""
    at = np.asarray(x, dtype=float)
    if at.shape != points.value.shape:
        raise LuceError(
            f"{label or 'a line'}: {at.size} places and {points.value.size} values. Give a value "
            "for each place."
        )
    color = RUN_COLORS[number % len(RUN_COLORS)]
    known = points.known
    axes.fill_between(
        at, points.low, points.high, where=known.tolist(), color=color, alpha=0.18, linewidth=0
    )
    beside = np.zeros_like(known)
    beside[1:] |= known[:-1]
    beside[:-1] |= known[1:]
    alone = known & ~beside
    axes.vlines(at[alone], points.low[alone], points.high[alone], color=color, alpha=0.5)
    mark = RUN_MARKS[number % len(RUN_MARKS)] if marks and len(at) <= MOST_MARKERS else ""
    axes.plot(at, points.value, color=color, marker=mark, markersize=4, linewidth=1.4, label=label)


def curve(
    lines: Mapping[str, tuple[Numbers, Found]],
    *,
    x_label: str = "step",
    y_label: str = "",
    level: float | None = None,
    log: bool = False,
) -> Figure:
    """Lines with their intervals as bands: learning curves, sweeps, means over seeds.

    Args:
        lines: name → (places, values there).
        level: a value worth a dotted rule of its own.
        log: whether places are on a logarithmic axis.

    Raises:
        LuceError: no line, or a line whose places and values do not match.
    """
    _some(lines, "lines")
    with library_style():
        figure, axes = canvas(x_label, y_label)
        for number, (name, (x, found)) in enumerate(lines.items()):
            line_with_band(axes, x, points_of(found), name, number)
        if level is not None:
            rule(axes, level)
        finish(axes, legend=len(lines) > 1)
        if log:
            axes.set_xscale("log")
        return figure


def frontier(
    policies: Mapping[str, tuple[Found, Found]],
    *,
    x_label: str = "KL(π ‖ π₀), nats per response",
    y_label: str = "reward",
) -> Figure:
    """What each method gains for how far it goes: reward against KL, one point a policy, with the
    intervals of both; the points of a method are joined in the order of their KL (Gao et al., 2023,
    arXiv:2210.10760, figure 1; Rafailov et al., 2023, arXiv:2305.18290, figure 2).

    Args:
        policies: method → (KL of its policies, their reward).

    Raises:
        LuceError: no method, or one with more KLs than rewards or fewer.
    """
    _some(policies, "policies")
    with library_style():
        figure, axes = canvas(x_label, y_label)
        for number, (name, (kl, reward)) in enumerate(policies.items()):
            across, up = points_of(kl), points_of(reward)
            if len(across.value) != len(up.value):
                raise LuceError(
                    f"{name}: {len(across.value)} KLs and {len(up.value)} rewards. Give a pair for "
                    "each policy."
                )
            color = RUN_COLORS[number % len(RUN_COLORS)]
            axes.vlines(
                across.value[up.known], up.low[up.known], up.high[up.known], color=color, alpha=0.5
            )
            side = across.known
            axes.hlines(up.value[side], across.low[side], across.high[side], color=color, alpha=0.5)
            order = np.argsort(across.value)
            mark = RUN_MARKS[number % len(RUN_MARKS)]
            axes.plot(
                across.value[order],
                up.value[order],
                color=color,
                marker=mark,
                markersize=4.5,
                linewidth=0.9,
                label=name,
            )
        finish(axes, legend=len(policies) > 1)
        return figure


def over_optimization(
    kl: Numbers,
    proxy: Found,
    gold: Found,
    *,
    fitted: Callable[[float], float] | None = None,
    y_label: str = "reward gained over π₀",
) -> Figure:
    """The proxy reward and the gold reward against √KL, the policy with the highest gold marked
    (Gao, Schulman & Hilton, 2023, arXiv:2210.10760, figure 1).

    Args:
        kl: KL(π ‖ π₀) of each policy, nats, ≥ 0.
        proxy, gold: their rewards less those of π₀.
        fitted: KL → gold reward, drawn dashed: `value` of `luce.diagnostics.fit_gold_curve(…)`.

    Raises:
        LuceError: a KL below 0, or places and values of different lengths.
    """
    at = np.asarray(kl, dtype=float)
    if not np.all(at >= 0):
        raise LuceError("KL is 0 or greater; √KL has no other place on the axis.")
    way, order = np.sqrt(at), np.argsort(at)
    with library_style():
        figure, axes = canvas("√KL(π ‖ π₀), √nats", y_label)
        for number, (name, found) in enumerate((("gold", gold), ("proxy", proxy))):
            points = points_of(found)
            if len(points.value) != len(at):
                raise LuceError(f"{name}: {len(points.value)} rewards of {len(at)} policies.")
            ordered = Points(points.value[order], points.low[order], points.high[order])
            line_with_band(axes, way[order], ordered, name, number)
            if name == "gold" and np.isfinite(points.value).any():
                best = int(np.nanargmax(points.value))
                axes.axvline(way[best], color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        if fitted is not None:
            grid = np.linspace(0.0, float(way.max()), 101)[1:]
            drawn = [fitted(float(d) ** 2) for d in grid]
            axes.plot(grid, drawn, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label="fitted")
        finish(axes, legend=True)
        return figure


def _some(found: Mapping[str, object], what: str) -> None:
    if not found:
        raise LuceError(f"{what}: there are none to draw.")
