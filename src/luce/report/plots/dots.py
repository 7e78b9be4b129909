"""Numbers with their intervals, one a row, against what would be no effect."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from luce.errors import LuceError
from luce.intervals import Estimate
from luce.report.numbers import is_number
from luce.report.plots.style import COLORS, FAINT, INK, library_style


def intervals(
    estimates: Mapping[str, Estimate] | Sequence[tuple[str, Estimate]],
    *,
    found: Collection[str] = (),
    level: float | None = 0.5,
    shares: bool = True,
    x_label: str = "",
) -> Figure:
    """A dot and its interval for each number, from above, as wide as a page.

    Args:
        estimates: name → number with its interval; an infinite interval is left away.
        found: names that are findings: drawn in the color of the rejected.
        level: where there would be no effect, a dashed line; None for no line.
        shares: whether numbers are shares, on an axis from 0 to 100 %.

    Raises:
        LuceError: no number, or one that is not finite.
    """
    given = estimates.items() if isinstance(estimates, Mapping) else estimates
    rows = list(given)
    if not rows or not all(is_number(one.value) for _, one in rows):
        raise LuceError("estimates: each needs a finite value, and there must be one at least.")
    with library_style():
        height = 0.7 + 0.27 * len(rows)
        figure = Figure(figsize=(8.4, height))
        axes = figure.add_axes((0.34, 0.6 / height, 0.62, 1 - 0.7 / height))
        if level is not None:
            axes.axvline(level, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        for row, (name, one) in enumerate(rows):
            color = COLORS["rejected"] if name in found else COLORS["single"]
            if is_number(one.low) and is_number(one.high):
                axes.plot([one.low, one.high], [row, row], color=color, linewidth=1.4)
            axes.plot([one.value], [row], "o", color=color, markersize=5, clip_on=not shares)
        # a name may hold dollar signs, which are no mathematics
        axes.set_yticks(np.arange(len(rows)), [name for name, _ in rows], parse_math=False)
        axes.tick_params(axis="y", length=0, colors=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if shares:
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label, labelpad=4)
        return figure
