"""How every figure of luce looks: on light and on dark paper alike.

Transparent ground, mid-toned ink. Where a figure is set into a page, `luce.report.svg` replaces
the colors below by the page's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


def canvas(x_label: str, y_label: str, *, top: float = 0.86) -> tuple[Figure, Axes]:
    """A figure of the size that reports use, with one axes up to `top` of its height; above that
    is room for a legend."""
    figure = Figure(figsize=(4.7, 2.9))
    axes = figure.add_axes((0.175, 0.16, 0.80, top - 0.16))
    axes.set_xlabel(x_label, labelpad=2)
    axes.set_ylabel(y_label)
    axes.yaxis.set_label_coords(-0.185, 0.5)
    axes.tick_params(length=3, width=0.8, pad=3)
    return figure, axes


def rule(axes: Axes, level: float) -> None:
    """A dotted line across at a value that means something."""
    axes.axhline(level, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)


def finish(axes: Axes, legend: bool) -> None:
    """Grid, a few ticks, and the legend above the axes."""
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if legend:
        legend_above(axes)


def legend_above(axes: Axes) -> None:
    """A legend over the axes, from the left end of the figure."""
    columns = 2 if len(axes.get_legend_handles_labels()[0]) in (2, 4) else 4
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.215, 1.015),
        ncols=columns,
        borderaxespad=0.2,
        borderpad=0.2,
        labelspacing=0.25,
    )
