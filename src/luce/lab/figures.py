"""Parts of figures that several experiments share."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from luce.report.plots import FAINT, RUN_COLORS, RUN_MARKS


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
    """The mean over seeds and ± 1.96 standard errors; where a seed has nan it does not count."""
    table = values.numpy()
    known = np.isfinite(table)
    counts = known.sum(1)
    filled = np.where(known, table, 0.0)
    mean = filled.sum(1) / np.maximum(counts, 1)
    spread = np.where(known, table - mean[:, None], 0.0)
    error = np.sqrt((spread**2).sum(1) / np.maximum(counts - 1, 1) / np.maximum(counts, 1))
    drawn = counts >= 2
    at = np.asarray(x)[drawn]
    mean, half = mean[drawn], 1.96 * error[drawn]
    color = RUN_COLORS[number % len(RUN_COLORS)]
    axes.fill_between(at, mean - half, mean + half, color=color, alpha=0.18, linewidth=0)
    mark = RUN_MARKS[number % len(RUN_MARKS)] if marks else ""
    axes.plot(at, mean, color=color, marker=mark, markersize=4, linewidth=1.4, label=label)


def legend_below(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """One legend for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
