"""Policies over three responses, in a triangle."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from luce.errors import LuceError
from luce.report.plots.lines import Numbers
from luce.report.plots.style import FAINT, INK, RUN_COLORS, RUN_MARKS, library_style

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def simplex(
    ways: Mapping[str, np.ndarray | Sequence[Numbers]],
    *,
    names: Sequence[str] = ("1", "2", "3"),
    goals: Mapping[str, Numbers] | None = None,
) -> Figure:
    """The ways of policies through the triangle of distributions over three responses: a corner is
    the policy that always gives one, the middle gives all alike. A ring is where a way begins, a
    filled mark where it ends.

    Args:
        ways: name → probabilities, steps × 3; one step is a point.
        names: of the three responses.
        goals: name → probabilities of policies to mark with a star: optima, references.

    Raises:
        LuceError: no way, other than three responses, or rows that are no probabilities.
    """
    if not ways or len(names) != 3:
        raise LuceError("simplex: give one way at least, and the names of three responses.")
    with library_style():
        figure = Figure(figsize=(4.7, 4.3))
        axes = figure.add_axes((0.04, 0.04, 0.92, 0.84))
        edge = CORNERS[[0, 1, 2, 0]]
        axes.plot(edge[:, 0], edge[:, 1], color=INK, linewidth=0.8)
        for number, (name, way) in enumerate(ways.items()):
            at = place(name, way)
            color = RUN_COLORS[number % len(RUN_COLORS)]
            mark = RUN_MARKS[number % len(RUN_MARKS)]
            axes.plot(at[:, 0], at[:, 1], color=color, linewidth=1.2)
            if len(at) > 1:
                axes.plot(*at[0], marker="o", color=color, fillstyle="none", markersize=5)
            axes.plot(*at[-1], mark, color=color, markersize=5.5, label=name)
        for name, goal in (goals or {}).items():
            star = place(name, np.asarray(goal, dtype=float).reshape(1, -1))[0]
            axes.plot(*star, marker="*", color=FAINT, markersize=12, linestyle="none", label=name)
        for corner, name, where in zip(CORNERS, names, ("top", "top", "bottom"), strict=True):
            axes.annotate(
                name, (corner[0], corner[1]), (0, -5 if where == "top" else 5),
                textcoords="offset points", ha="center", va=where, parse_math=False,
            )  # fmt: skip
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.margins(0.06)
        figure.legend(*axes.get_legend_handles_labels(), loc="upper left", ncols=3)
        return figure


def place(name: str, way: np.ndarray | Sequence[Numbers]) -> np.ndarray:
    """Where policies lie in the triangle, steps × 2: the mean of the corners, weighed by them.

    >>> place("even", [[1 / 3, 1 / 3, 1 / 3]]).round(4).tolist()
    [[0.5, 0.2887]]
    """
    rows = np.asarray(way, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows):
        raise LuceError(f"{name}: of shape {rows.shape}; a way is steps × 3 probabilities.")
    if not (np.all(rows >= -1e-6) and np.allclose(rows.sum(1), 1.0, atol=1e-4)):
        raise LuceError(f"{name}: a row is no distribution: each is 0 or more, with sum 1.")
    return rows @ CORNERS
