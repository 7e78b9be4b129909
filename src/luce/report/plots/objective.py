"""An objective as a picture."""

from typing import Any

from matplotlib.figure import Figure


def objective(name: str, /, **parameters: Any) -> Figure:
    """What an objective or a margin loss makes of a margin: its cost, the slope of its cost, and
    where it has a link P(chosen ≻ rejected); a dot marks where the cost is satisfied.

    Args:
        name: as in a recipe: `dpo`, `simpo`, or of a loss: `savage`.
        parameters: of the objective, as in a recipe; others keep the paper's values.

    Raises:
        LuceError: there is nothing of that name, or nothing to draw of it.
    """
    from luce.report.objective_plot import figure_of  # loads torch, which other figures do not need

    return figure_of(name, parameters)
