"""A symmetric table of numbers as a figure: who agrees or goes along with whom."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from luce.errors import LuceError
from luce.report.numbers import MINUS, NONE, counted
from luce.report.plots.style import FAINT, INK, library_style

# opaque and of their own: the numbers on them must be readable on any page
RISING = ("#eef3f8", "#9fc0df", "#3f7fb8", "#174a7c")
DIVERGING = ("#8f3a12", "#dd9468", "#f4f2ef", "#7fabd3", "#174a7c")
DARK, LIGHT = "#000000", "#ffffff"

LONGEST_NAME = 32
"""Letters of a name that are shown."""

FEW = 8
"""With no more columns than this, each cell also says its n."""

INCHES_A_LETTER = 0.07


def heatmap(
    names: Sequence[str],
    values: np.ndarray,
    counts: np.ndarray,
    *,
    title: str,
    low: float = -1.0,
    unit: str = "item",
    middle: float | None = None,
) -> Figure:
    """The values as a square of colored cells with their numbers; a dash where one is nan. The
    caption says of how many items the cells are.

    Args:
        names: of the rows, and in the same order of the columns.
        values: rows × columns, in [−1, 1].
        counts: rows × columns, how many items each value is of.
        low: where the colors begin; they end at 1. From 0 on, one color rises; below 0, whatever
            the number, two colors part at 0 and begin at −1.
        unit: what the counts count, in the singular.
        middle: where two colors part, halfway between `low` and 1, for `low` of 0 or more.

    Raises:
        LuceError: there is no name, the tables are not square with a row for each, or a value is
            outside [−1, 1].
    """
    k = len(names)
    if not k or values.shape != (k, k) or counts.shape != (k, k):
        raise LuceError(
            f"A heatmap of {counted(k, 'name')} with values of shape {values.shape} and counts of "
            f"shape {counts.shape}. Give at least one name, and a row and a column for each."
        )
    if (wrong := values[np.abs(values) > 1 + 1e-9]).size:
        raise LuceError(
            f"A heatmap holds {wrong[0]:g}; shares, kappas and correlations lie in [−1, 1]."
        )
    shown = [n if len(n) <= LONGEST_NAME else f"{n[: LONGEST_NAME - 1]}…" for n in names]
    cell = 0.75 if k <= FEW else 0.40
    side, margin = cell * k, INCHES_A_LETTER * max(len(name) for name in shown) + 0.15
    width = max(margin + side + 0.2, 3.6)
    title = textwrap.fill(title, int((width - 0.2) / 0.095))
    height = margin + side + 0.85 + 0.2 * title.count("\n")
    with library_style():
        figure = Figure(figsize=(width, height))
        left, bottom = margin / width, (margin + 0.35) / height
        axes = figure.add_axes((left, bottom, side / width, side / height))
        _draw_cells(axes, values, counts, low, k <= FEW, middle is not None)
        # a name may hold dollar signs, which are no mathematics
        axes.set_xticks(np.arange(k) + 0.5, shown, rotation=90, parse_math=False)
        axes.set_yticks(np.arange(k) + 0.5, shown, parse_math=False)
        axes.tick_params(length=0, pad=4, labelsize=9)
        figure.text(0.1 / width, 1 - 0.12 / height, title, va="top", fontsize=11, parse_math=False)
        figure.text(0.1 / width, 0.1 / height, caption(counts, unit), fontsize=9, color=INK)
        return figure


def caption(counts: np.ndarray, unit: str = "item") -> str:
    """Of how many items the cells off the diagonal are.

    >>> caption(np.array([[9, 4], [4, 9]]))
    'n = 4 items in every cell'
    """
    off = counts[~np.eye(len(counts), dtype=bool)] if len(counts) > 1 else counts.ravel()
    low, high = int(off.min()), int(off.max())
    if low == high:
        return f"n = {counted(low, unit)} in every cell"
    return f"n = {low:,} to {counted(high, unit)} in a cell"


def _draw_cells(
    axes: Axes,
    values: np.ndarray,
    counts: np.ndarray,
    low: float,
    with_counts: bool,
    parted: bool,
) -> None:
    k = len(values)
    colors = DIVERGING if low < 0 or parted else RISING
    norm = Normalize(low if low >= 0 else -1.0, 1.0, clip=True)
    colormap = LinearSegmentedColormap.from_list("luce", colors)
    for row in range(k):
        for column in range(k):
            value, place = float(values[row, column]), (column, row)
            known = not np.isnan(value)
            color = colormap(float(norm(value))) if known else "none"
            axes.add_patch(
                Rectangle(
                    place, 1, 1, facecolor=color, edgecolor=FAINT, linewidth=0.4, clip_on=False
                )
            )
            ink = _readable(color) if isinstance(color, tuple) else INK
            middle = row + (0.42 if with_counts else 0.52)
            size = 10 if with_counts else 8
            text = _two_decimals(value) if known else NONE
            axes.text(
                column + 0.5, middle, text, ha="center", va="center", fontsize=size, color=ink
            )
            if with_counts:
                n = f"{int(counts[row, column]):,}"
                axes.text(
                    column + 0.5, row + 0.74, n, ha="center", va="center", fontsize=7, color=ink
                )
    axes.set_xlim(0, k)
    axes.set_ylim(k, 0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _two_decimals(value: float) -> str:
    """The number as it fits into a small cell: without its leading zero; 1 where it is 1 indeed.

    >>> _two_decimals(0.847), _two_decimals(-0.5), _two_decimals(-0.001)
    ('.85', '−.50', '.00')
    >>> _two_decimals(1.0), _two_decimals(0.996), _two_decimals(-0.996)
    ('1', '>.99', '<−.99')
    """
    sign = MINUS if value < -0.005 else ""
    if 1 - abs(value) < 1e-9:
        return f"{sign}1"
    if abs(value) >= 0.995:
        return f"<{sign}.99" if sign else ">.99"
    return f"{sign}{abs(value):.2f}".replace("0.", ".", 1)


def _readable(color: tuple[float, ...]) -> str:
    """Black or white, whichever differs more from the ground: at least 4.58 to 1 by WCAG 2.1, from
    its relative luminance."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]
    )
    return DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else LIGHT
