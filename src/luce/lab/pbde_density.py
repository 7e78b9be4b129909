"""Experiments that learn a density from judgements: what was learnt beside what was foretold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from luce.intervals import Estimate
from luce.lab.experiment import Check, at_most, exactly, near, over_seeds
from luce.lab.pbde_networks import Arm, Learnt
from luce.lab.pbde_world import World
from luce.models.tabular import TabularPolicy
from luce.report.plots import FAINT, INK

BLUE, ORANGE, GREEN, RED = "#3d7fc1", "#d0693b", "#3f9a6b", "#b5443c"
"""p*, π_pre, what was learnt, what theory foretells: the colors of the paper's figures."""


@dataclass(frozen=True)
class Foretold:
    """An arm and the density that it has to end at.

    Attributes:
        arm: what is learnt.
        theory: closed form, or the exact optimum of the population.
        formula: of that density, for the legend.
        bound: total variation from it, at most: at the published size.
        quick: and of a quick run.
    """

    arm: Arm
    theory: TabularPolicy = field(repr=False)
    formula: str
    bound: float
    quick: float


def over(learnt: Sequence[Learnt], of: Callable[[TabularPolicy], float]) -> Estimate:
    """One number of every seed's policy, with its interval."""
    return over_seeds(torch.tensor([of(one.policy) for one in learnt], dtype=torch.float64))


def peak_in(policy: TabularPolicy, left: bool) -> float:
    """The highest density left of 0, or right of it."""
    assert policy.outcomes.points is not None
    side = policy.outcomes.points < 0 if left else policy.outcomes.points > 0
    return policy.density[side].max().item()


def distances(
    foretold: Sequence[Foretold], learnt: Sequence[Sequence[Learnt]], quick: bool
) -> list[Check]:
    """How far every arm ended from its theory."""
    return [
        at_most(
            f"{one.arm.label}: TV(learnt, {one.formula})",
            over(ended, one.theory.total_variation),
            one.quick if quick else one.bound,
        )
        for one, ended in zip(foretold, learnt, strict=True)
    ]


def theory_is(label: str, policy: TabularPolicy, other: TabularPolicy, tv: float) -> Check:
    """How far the foretold density itself lies from another: to three digits, or equal."""
    if not tv:
        return at_most(label, exactly(policy.total_variation(other)), 1e-7)
    return near(label, exactly(policy.total_variation(other)), tv, 2e-3)


def rows(
    foretold: Sequence[Foretold], learnt: Sequence[Sequence[Learnt]], world: World
) -> list[dict[str, Any]]:
    """What the figure shows, in numbers."""
    found = []
    for one, ended in zip(foretold, learnt, strict=True):
        found.append({"arm": one.arm.label, "theory": one.formula})
        for name, number in _numbers(one.theory, world).items():
            found[-1] |= over(ended, number).flat(name) | {f"{name}_theory": number(one.theory)}
    return found


def _numbers(theory: TabularPolicy, world: World) -> dict[str, Callable[[TabularPolicy], float]]:
    return {
        "tv_to_theory": theory.total_variation,
        "tv_to_target": world.target.total_variation,
        "tv_to_pretrained": world.pretrained.total_variation,
        "peak_left": lambda p: peak_in(p, left=True),
        "peak_right": lambda p: peak_in(p, left=False),
        "mass_left": lambda p: p.mass(-10.0, 0.0),
        "at_0": lambda p: p.at(0.0),
    }


def sheet(titles: Sequence[str], columns: int) -> tuple[Figure, list[Axes]]:
    """Rows of small axes with titles, and room for a legend below them."""
    lines = -(-len(titles) // columns)
    figure = Figure(figsize=(0.6 + 3.1 * columns, 0.7 + 2.6 * lines), layout="constrained")
    made = [figure.add_subplot(lines, columns, i + 1) for i in range(len(titles))]
    for axes, title in zip(made, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10.5)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=3, width=0.8, pad=3)
    return figure, made


def densities(
    foretold: Sequence[Foretold],
    learnt: Sequence[Sequence[Learnt]],
    world: World,
    columns: int = 3,
    top: float | None = None,
) -> Figure:
    """p*, π_pre, what was learnt (all seeds, and their range) and the theory over it."""
    figure, all_axes = sheet([one.arm.label for one in foretold], columns)
    for axes, one, ended in zip(all_axes, foretold, learnt, strict=True):
        curve(axes, world.target, BLUE, "--", "$p^*$, the annotator")
        curve(axes, world.pretrained, ORANGE, ":", r"$\pi_{pre}$")
        band(axes, [run.policy for run in ended], GREEN, "learnt, range over seeds")
        curve(axes, one.theory, RED, "-.", "theory")
        axes.set_xlabel("x")
        if top is not None:
            axes.set_ylim(0, top)
    for axes in all_axes[::columns]:
        axes.set_ylabel("density")
    legend(figure, all_axes[0])
    return figure


def curve(axes: Axes, policy: TabularPolicy, color: str, dash: str, label: str) -> None:
    """A density as a line."""
    assert policy.outcomes.points is not None
    axes.plot(
        policy.outcomes.points.tolist(), policy.density.tolist(), dash, color=color,
        linewidth=1.3, label=label,
    )  # fmt: skip


def band(axes: Axes, policies: Sequence[TabularPolicy], color: str, label: str) -> None:
    """The mean density over seeds, and its least and largest value."""
    points = policies[0].outcomes.points
    assert points is not None
    values = torch.stack([policy.density for policy in policies])
    x = points.tolist()
    low, high = values.amin(0).tolist(), values.amax(0).tolist()
    axes.fill_between(x, low, high, color=color, alpha=0.3, linewidth=0)
    axes.plot(x, values.mean(0).tolist(), color=color, linewidth=2.4, alpha=0.75, label=label)


def legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend below all axes."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(columns, max(2, round(figure.get_figwidth() / 2.2)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, labelcolor=INK)
