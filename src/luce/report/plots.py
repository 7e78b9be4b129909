"""The curves of a run as matplotlib figures that read on light and on dark paper.

Transparent ground, mid-toned ink. Where a figure is set into a page, `luce.report.svg` replaces
the colors below by the page's own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from luce.report.curves import CURVES, Curve, Stroke, downsample, strokes
from luce.report.numbers import MINUS
from luce.report.run import Run

INK = "#7a8591"
FAINT = "#8f99a3"
COLORS = {"single": "#5f7fa8", "chosen": "#3d7fc0", "rejected": "#d0693a"}
# runs laid over each other are told apart by color, dash and marker, at most this many
RUN_COLORS = (
    "#3d7fc1",
    "#d0693b",
    "#3f9a6b",
    "#9a6fc0",
    "#b08a2e",
    "#c05a86",
    "#5b93a6",
    "#84786c",
)
RUN_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_MARKERS = 60
"""A line through more points than this goes without a marker on each."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


@contextmanager
def library_style() -> Iterator[None]:
    """The library's own style, whatever matplotlibrc the user keeps; restored on leaving."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


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
        figure, axes = _canvas(curve)
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
        figure, axes = _canvas(curve)
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


def _canvas(curve: Curve) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.7, 2.9))
    axes = figure.add_axes((0.175, 0.16, 0.80, 0.70))
    axes.set_xlabel("step", labelpad=2)
    axes.set_ylabel(curve.unit)
    axes.yaxis.set_label_coords(-0.185, 0.5)
    return figure, axes


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
        axes.axhline(curve.level, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y, powers)))
    axes.tick_params(length=3, width=0.8, pad=3)
    if legend:
        columns = 2 if len(axes.get_legend_handles_labels()[0]) in (2, 4) else 4
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.215, 1.015),
            ncols=columns,
            borderaxespad=0.2,
            borderpad=0.2,
            labelspacing=0.25,
        )


def _tick(value: float, powers: bool) -> str:
    """A round number without trailing zeros; one axis writes all its ticks in the same way."""
    text = f"{value:.1e}" if powers and value else f"{value:.6f}"
    mantissa, *power = text.split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    text = "e".join([mantissa, *(str(int(p)) for p in power)])
    return "0" if text == "-0" else text.replace("-", MINUS)
