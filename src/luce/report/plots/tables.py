"""Who wins against whom, as a table of colors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from luce.errors import LuceError


def win_rates(
    names: Sequence[str],
    values: np.ndarray,
    counts: np.ndarray,
    *,
    title: str = "Win rate of the row over the column",
    unit: str = "prompt",
) -> Figure:
    """Win rates of every model against every other one; the colors part at a half.

    Args:
        names: of the models.
        values: models × models, row over column, in [0, 1]; nan is a dash, as on the diagonal.
        counts: models × models, prompts of each.
        unit: what the counts count, in the singular.

    Raises:
        LuceError: tables that are not square with a row for each name, or a rate outside [0, 1].
    """
    from luce.report.heatmap import heatmap  # draws with this package's style

    if (wrong := values[(values < -1e-9) | (values > 1 + 1e-9)]).size:
        raise LuceError(f"A win rate of {wrong[0]:g}; rates lie in [0, 1].")
    return heatmap(names, values, counts, title=title, low=0.0, unit=unit, middle=0.5)
