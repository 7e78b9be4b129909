"""Solvers as a picture: where they go on the simplex, and how fast the gap closes."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from luce.errors import LuceError
from luce.online.nash.trajectory import Trajectory

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
FLOOR = 1e-16
"""The smallest gap that is drawn: below it there is rounding only."""


def draw(trajectories: Mapping[str, Trajectory], names: tuple[str, ...] | None = None) -> Figure:
    """A figure of solvers of one game: the duality gap against the step, and beside it, where there
    are three responses, their ways on the simplex to the equilibrium (a star).

    Nothing is saved; the caller has `figure.savefig`.

    Args:
        trajectories: by the name that the legend shows.
        names: of the three responses; by default 1, 2, 3.

    Raises:
        LuceError: no trajectories, or trajectories of different games.
    """
    drawn = list(trajectories.values())
    if not drawn:
        raise LuceError("trajectories: there are none to draw.")
    game = drawn[0].game
    if any(not _same(game.preference, t.game.preference) or t.game.eta != game.eta for t in drawn):
        raise LuceError("trajectories: they are of different games. Draw a figure of each.")
    three = len(game.preference) == 3
    figure = Figure(figsize=(10.0 if three else 5.5, 4.4), layout="constrained")
    if three:
        left, right = figure.subplots(1, 2)
        _simplex(left, trajectories, names or ("1", "2", "3"))
    else:
        right = figure.subplots(1, 1)
    for name, trajectory in trajectories.items():
        right.plot(trajectory.gap.clamp(min=FLOOR).numpy(), label=name, linewidth=1.2)
    right.set_yscale("log")
    right.set_xlabel("step")
    right.set_ylabel("duality gap (win rate)")
    right.set_title(f"η = {game.eta:g}")
    right.legend(frameon=False, fontsize="small")
    return figure


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def _simplex(axes: Axes, trajectories: Mapping[str, Trajectory], names: tuple[str, ...]) -> None:
    edge = CORNERS[[0, 1, 2, 0]].numpy()
    axes.plot(edge[:, 0], edge[:, 1], color="0.6", linewidth=0.8)
    for trajectory in trajectories.values():
        way = place(trajectory.probabilities)
        axes.plot(way[:, 0].numpy(), way[:, 1].numpy(), linewidth=0.9, marker=".", markersize=2)
    game = next(iter(trajectories.values())).game
    goal = place(game.equilibrium.probability.unsqueeze(0))[0].tolist()
    axes.plot(*goal, marker="*", markersize=13, color="black", linestyle="none", zorder=5)
    for corner, name, where in zip(CORNERS.tolist(), names, ("top", "top", "bottom"), strict=True):
        axes.annotate(name, corner, ha="center", va=where)
    axes.set_aspect("equal")
    axes.set_axis_off()


def place(probabilities: Float[Tensor, "steps 3"]) -> Float[Tensor, "steps 2"]:
    """Where a policy lies in the triangle: the mean of the corners, weighed by it."""
    return probabilities @ CORNERS
