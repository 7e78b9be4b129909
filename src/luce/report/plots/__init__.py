"""Every figure of luce's reports and of its lab, for data of your own.

Each function gives a matplotlib `Figure`, which nothing has shown or saved: `figure.savefig(path)`
does. Grounds are transparent, and the ink reads on light and on dark paper.
"""

from luce.report.plots.distributions import Bin, calibration, lengths, margins, survival
from luce.report.plots.dots import intervals
from luce.report.plots.lines import (
    Points,
    curve,
    frontier,
    line_with_band,
    over_optimization,
    points_of,
)
from luce.report.plots.objective import objective
from luce.report.plots.run import draw, draw_overlaid, figures
from luce.report.plots.simplex import simplex
from luce.report.plots.style import (
    COLORS,
    FAINT,
    INK,
    MOST_MARKERS,
    RUN_COLORS,
    RUN_MARKS,
    STYLE,
    library_style,
)
from luce.report.plots.tables import win_rates

__all__ = [
    "COLORS",
    "FAINT",
    "INK",
    "MOST_MARKERS",
    "RUN_COLORS",
    "RUN_MARKS",
    "STYLE",
    "Bin",
    "Points",
    "calibration",
    "curve",
    "draw",
    "draw_overlaid",
    "figures",
    "frontier",
    "intervals",
    "lengths",
    "library_style",
    "line_with_band",
    "margins",
    "objective",
    "over_optimization",
    "points_of",
    "simplex",
    "survival",
    "win_rates",
]
