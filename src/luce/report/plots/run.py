"""The curves of a run, and those of several laid over each other."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from luce.report.curves import CURVES, Curve, Stroke, downsample, strokes
from luce.report.numbers import MINUS
from luce.report.plots.style import (
    COLORS,
    FAINT,
    MOST_MARKERS,
    RUN_COLORS,
    RUN_MARKS,
    canvas,
    legend_above,
    library_style,
    rule,
)
from luce.report.run import Run


def figures(run: Run) -> dict[str, tuple[Curve, Figure]]:
    """Every curve the run has numbers for: name -> (what it is, the figure)."""
    drawn = ((curve, draw(run, curve)) for curve in CURVES)
    return {curve.name: (curve, figure) for curve, figure in drawn if figure is not None}


def draw(run: Run, curve: Curve) -> Figure | None:
    """One curve: training as a line (its running mean over a fainter one), held-out evaluations
    as points, with the interval as a band where it was recorded. None without any number."""
    drawn = strokes(run, curve)
    if not drawn:
        return None
    with library_style():
        figure, axes = canvas("step", curve.unit)
        for stroke in drawn:
            _draw_stroke(axes, stroke)
        labels = [stroke.kind for stroke in drawn if stroke.label]
        several = "points" in labels or len(labels) > 1
        _finish(axes, curve, legend=not curve.sampled and several)
        return figure


def draw_overlaid(runs: Sequence[Run], labels: Sequence[str], curve: Curve) -> Figure | None:
    """The held-out (or sampled) values of one metric for several runs; None where no run has
    any."""
    with library_style():
        figure, axes = canvas("step", curve.unit)
        drawn = 0
        for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
            split = "samples" if curve.sampled else "eval"
            series = downsample(run.series(curve.lines[0].metric, split).finite)
            if not len(series):
                continue
            axes.plot(
                series.steps,
                series.values,
                color=RUN_COLORS[index % len(RUN_COLORS)],
                marker=RUN_MARKS[index % len(RUN_MARKS)] if len(series) <= MOST_MARKERS else "",
                markersize=4,
                linewidth=1.4,
                label=label,
            )
            drawn += 1
        if not drawn:
            return None
        _finish(axes, curve, legend=True)
        return figure


def _draw_stroke(axes: Axes, stroke: Stroke) -> None:
    color, x, y = COLORS[stroke.role], stroke.series.steps, stroke.series.values
    if stroke.kind == "batches":
        axes.plot(x, y, color=color, linewidth=0.7, alpha=0.3)
        return
    if stroke.kind == "line":
        alone = len(stroke.series.finite) == 1
        mark = "." if alone else ""
        axes.plot(x, y, color=color, linewidth=1.5, marker=mark, label=stroke.label)
        return
    if stroke.low is not None and stroke.high is not None:
        low, high = stroke.low, stroke.high
        axes.fill_between(low.steps, low.values, high.values, color=color, alpha=0.18, linewidth=0)
        if len(low) == 1:  # a band of one point has no width to be seen
            axes.vlines(low.steps, low.values, high.values, color=color, alpha=0.5)
    axes.plot(
        x,
        y,
        color=color,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        marker="o" if len(stroke.series) <= MOST_MARKERS else "",
        markersize=4.5,
        label=stroke.label,
    )


def _finish(axes: Axes, curve: Curve, legend: bool) -> None:
    low, high = axes.get_ylim()
    if curve.level is not None:
        rule(axes, curve.level)
        low, high = min(low, curve.level), max(high, curve.level)
    if math.isclose(low, high):
        low, high = low - 0.5, high + 0.5
    axes.set_ylim(low, high)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    largest = max(abs(low), abs(high))
    powers = bool(largest < 1e-3 or largest >= 1e6)
    # so many digits that two ticks of a short axis do not read the same
    digits = 1 + max(0, math.ceil(math.log10(largest / (high - low))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y, powers, digits)))
    if legend:
        legend_above(axes)


def _tick(value: float, powers: bool, digits: int = 1) -> str:
    """A round number without trailing zeros; one axis writes all its ticks in the same way."""
    text = f"{value:.{digits}e}" if powers and value else f"{value:.6f}"
    mantissa, *power = text.split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    text = "e".join([mantissa, *(str(int(p)) for p in power)])
    return "0" if text == "-0" else text.replace("-", MINUS)
