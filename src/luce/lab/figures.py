"""Parts of figures that several experiments share."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from luce.report.plots import FAINT, lines
from luce.report.plots.lines import Points, points_of


def panels(titles: Sequence[str], height: float = 3.3) -> tuple[Figure, list[Axes]]:
    """A row of axes with titles, and room for a legend below them."""
    figure = Figure(figsize=(0.9 + 3.3 * len(titles), height), layout="constrained")
    made = [figure.add_subplot(1, len(titles), i + 1) for i in range(len(titles))]
    for axes, title in zip(made, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10.5)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=3, width=0.8, pad=3)
    return figure, made


def line_with_band(
    axes: Axes,
    x: Sequence[float],
    values: Float[Tensor, "points seeds"],
    label: str,
    number: int,
    marks: bool = True,
) -> None:
    """The mean over seeds and its 95 % interval; a seed with nan does not count, and a point
    that fewer than two seeds have is left out."""
    points = points_of(values.numpy())
    kept = points.known
    at, ends = np.asarray(x, dtype=float)[kept], (points.low[kept], points.high[kept])
    lines.line_with_band(axes, at, Points(points.value[kept], *ends), label, number, marks)


def legend_below(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """One legend for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
