"""GPO's six losses, and what its experiments share."""

import math
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from luce.intervals import Estimate
from luce.objectives.curves import Shape, derivative, shape
from luce.objectives.losses import LOSSES
from luce.report.plots import RUN_COLORS

SOURCE = "Tang et al., 2024, arXiv:2402.05749"
FAMILY = {
    "logistic": "dpo",
    "hinge": "gpo_hinge",
    "square": "gpo_square",
    "exponential": "gpo_exponential",
    "truncated_quadratic": "gpo_truncated_quadratic",
    "savage": "gpo_savage",
}
"""Loss → the objective on pairs that is made of it (table 1)."""
CASE_I = tuple(name for name in FAMILY if LOSSES[name].tail == "I")
CASE_II = tuple(name for name in FAMILY if LOSSES[name].tail == "II")
COLORS = dict(zip(FAMILY, RUN_COLORS, strict=False))
DASHES: dict[str, Any] = {
    name: "-" if LOSSES[name].tail == "I" else (0, (4, 1.5)) if name != "hinge" else (0, (1.5, 1.2))
    for name in FAMILY
}
"""Case I is drawn with a whole line, case II with a broken one."""


def told(name: str) -> str:
    """The loss in words."""
    return name.replace("_", " ")


def exact(value: float) -> Estimate:
    """A number that nothing random enters."""
    return Estimate(value, value, value, 1)


def shape_of(name: str) -> Shape:
    """f(0), f′(0), f″(0)."""
    return shape(LOSSES[name].phi)


def stiffness(name: str) -> float | None:
    """f″(0)/|f′(0)|: what β is multiplied by for the square of the same local regularization
    (section 4.1); None where f is not curved at 0.

    >>> stiffness("logistic"), stiffness("square"), stiffness("hinge")
    (0.5, 1.0, None)
    """
    ratio = shape_of(name).ratio
    return None if ratio is None else 1 / ratio


def slope(name: str, z: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """f′ at each point."""
    return derivative(LOSSES[name].phi, z)


def line(axes: Axes, x: Tensor, y: Tensor, name: str, label: str | None = None) -> None:
    """A curve in the loss's own color and dash."""
    axes.plot(
        x.tolist(),
        y.tolist(),
        color=COLORS[name],
        linestyle=DASHES[name],
        linewidth=1.5,
        label=told(name) if label is None else label,
    )


def log_odds(p: float) -> float:
    """log p/(1 − p)."""
    return math.log(p / (1 - p))


def certain_order(n: int) -> Float[Tensor, "n n"]:
    """An annotator of n actions who always prefers the earlier one."""
    ones = torch.ones(n, n, dtype=torch.float64)
    return torch.triu(ones, 1) + 0.5 * torch.eye(n, dtype=torch.float64)
