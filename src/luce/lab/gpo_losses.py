"""Figure 1 and table 1 of GPO: the six losses, how they push, and which of them are convex."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure

from luce.intervals import Estimate
from luce.lab.experiment import Check, Experiment, Result, above, near, over_seeds
from luce.lab.figures import legend_below, panels
from luce.lab.gpo_family import (
    CASE_I,
    CASE_II,
    FAMILY,
    SOURCE,
    exact,
    line,
    shape_of,
    slope,
    stiffness,
    told,
)
from luce.objectives.curves import Curve, satisfied
from luce.objectives.losses import LOSSES
from luce.report.plots import INK, library_style

CHORDS = 2000
"""Chords of each loss that a seed draws."""
FAR = 2.0
"""A margin past which the tail is looked at."""
# f(0), f′(0), f″(0) by hand
BY_HAND = {
    "logistic": (0.6931471805599453, -0.5, 0.25),
    "hinge": (1.0, -1.0, 0.0),
    "square": (1.0, -2.0, 2.0),
    "exponential": (1.0, -1.0, 1.0),
    "truncated_quadratic": (1.0, -2.0, 2.0),
    "savage": (0.25, -0.25, 0.125),
}
TURNS = -0.6931471805599453
"""Savage is concave left of −log 2: with s = σ(−z) it is s², and f″ = 2 s² (1 − s)(2 − 3s)."""


def run(seeds: int, quick: bool) -> Result:
    """Values and derivatives at 0, the tail, and chords drawn by `seeds` generators; a `quick` run
    draws fewer of them."""
    above_chord = {name: _chords(name, seeds, CHORDS // 4 if quick else CHORDS) for name in FAMILY}
    with library_style():
        figures = {"losses": _figure()}
    return Result(
        _checks(above_chord), figures, {"losses": _table(above_chord)}, _verdict(above_chord)
    )


def _chords(name: str, seeds: int, chords: int) -> Estimate:
    """The share of chords between −6 and 6 that the loss passes above in the middle: 0 of a convex
    one."""
    shares = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        ends = 12 * torch.rand(2, chords, generator=generator, dtype=torch.float64) - 6
        phi = LOSSES[name].phi
        shares.append((phi(ends.mean(0)) > phi(ends).mean(0) + 1e-12).double().mean())
    return over_seeds(torch.stack(shares))


def _inflection() -> float:
    """Where the curvature of savage changes its sign, by bisection."""
    low, high = -3.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        step = torch.tensor([middle - 1e-4, middle + 1e-4], dtype=torch.float64)
        low, high = (middle, high) if slope("savage", step).diff().item() < 0 else (low, middle)
    return (low + high) / 2


def _checks(above_chord: Mapping[str, Estimate]) -> tuple[Check, ...]:
    found: list[Check] = []
    for name, values in BY_HAND.items():
        at_zero = shape_of(name)
        for what, value, expected in zip(
            ("f(0)", "f′(0)", "f″(0)"),
            (at_zero.value, at_zero.slope, at_zero.curvature),
            values,
            strict=True,
        ):
            found.append(near(f"{told(name)}: {what}", exact(value), expected, 1e-9))
    for name, share in above_chord.items():
        what = f"{told(name)}: share of chords that it passes above"
        found.append(above(what, share, 0.1) if name == "savage" else near(what, share, 0.0, 0.0))
    found.append(near("savage: concave left of", exact(_inflection()), TURNS, 1e-6))
    far = torch.tensor([FAR], dtype=torch.float64)
    for name in FAMILY:
        pull = exact(-slope(name, far).item())
        what = f"{told(name)}: push −f′ at z = {FAR:g}"
        if name in CASE_I:
            found.append(Check(what, pull, "> 0, still pushing", low=1e-300))
        else:
            found.append(Check(what, pull, "≤ 0, stopped or pulling back", high=0.0))
    return tuple(found)


def _table(above_chord: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    rows = []
    for name, objective in FAMILY.items():
        at_zero, done = shape_of(name), satisfied(Curve("a pair", LOSSES[name].phi), 1.0)
        rows.append(
            {
                "loss": told(name),
                "objective": objective,
                "formula": LOSSES[name].formula("z"),
                "f(0)": at_zero.value,
                "slope": at_zero.slope,
                "curvature": at_zero.curvature,
                "stiffness": stiffness(name),
                "convex": above_chord[name].value == 0,
                **above_chord[name].flat("chords_passed_above"),
                "case": LOSSES[name].tail,
                "satisfied_at": done.at,
                "satisfied_how": done.how,
            }
        )
    return rows


def _verdict(above_chord: Mapping[str, Estimate]) -> str:
    convex = [told(name) for name, share in above_chord.items() if share.value == 0]
    others = [told(name) for name in FAMILY if told(name) not in convex]
    return (
        f"Holds of {len(convex)}: {', '.join(convex)} are convex and fall at 0. "
        f"{', '.join(others).capitalize()} falls at 0 too but is not convex, though the text "
        "counts it among convex losses: left of z = −log 2 it is concave, and a pair that is badly "
        "wrong is pushed ever less. The hinge has no curvature at 0, so it has no equivalent β. "
        f"Past the margin 1 {', '.join(map(told, CASE_II))} push no further (the square pulls "
        f"back); {', '.join(map(told, CASE_I))} never stop."
    )


def _figure() -> Figure:
    figure, (values, pushes) = panels(["the losses f(z)", "the push −f′(z)"], height=3.7)
    z = torch.linspace(-4, 4, 801, dtype=torch.float64)
    zero_one = (z < 0).double()
    values.plot(z.tolist(), zero_one.tolist(), color=INK, linestyle=(0, (1, 2)), label="0-1 loss")
    for name in FAMILY:
        line(values, z, LOSSES[name].phi(z), name)
        line(pushes, z, -slope(name, z), name)
    values.set_ylim(-0.1, 4.0)
    values.set_xlim(-3, 3)
    pushes.set_ylim(-2.2, 4.2)
    pushes.axhline(0.0, color=INK, linewidth=0.8)
    pushes.annotate("pulls back", (3.9, -1.9), fontsize=8.5, ha="right")
    for axes in (values, pushes):
        axes.axvline(1.0, color=INK, linewidth=0.6, linestyle=(0, (1, 3)))
        axes.set_xlabel("margin z = βρ")
    legend_below(figure, values, columns=4)
    return figure


EXPERIMENT = Experiment(
    name="gpo-losses",
    claim="Supervised losses of a margin, convex and falling at 0, give objectives on preference "
    "pairs: DPO, SLiC, IPO, and three new ones.",
    source=f"{SOURCE}, figure 1, table 1, section 4.1",
    run=run,
    seeds=20,
    quick_seeds=20,
    verdict="holds in part",
    stops="Savage is not convex: left of z = −log 2 it is concave. The hinge has no curvature.",
    cpu_s=(1, 1),
)
