"""A figure for each diagnostic of a run, and what it shows in words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from luce.report.numbers import is_number, number
from luce.report.plots import survival
from luce.report.plots.style import COLORS, FAINT, canvas, legend_above, library_style
from luce.report.run import Run

FLOOR = 1e-3
"""What is drawn at the left edge of a logarithmic axis: anything smaller."""

MOST_DOTS = 500
"""Pairs of which a dot is drawn."""


@contextmanager
def _paper(x: str, y: str) -> Iterator[tuple[Figure, Axes]]:
    with library_style():
        figure, axes = canvas(x, y)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        yield figure, axes


def divergence_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """KL on the policy's own samples and ½ L_μ on the data over training; None without a point."""
    kl = run.series("kl", "samples").finite
    steps, values = list(kl.steps), list(kl.values)
    last = run.get("exported_step") or run.get("steps")
    if not steps and is_number(entry.get("kl")) and is_number(last):
        steps, values = [int(last)], [float(entry["kl"])]
    squared = run.series("divergence/squared", "eval").finite
    if not steps and not len(squared):
        return None
    with _paper("step", "nats, log scale") as (figure, axes):
        half = [max(FLOOR, value / 2) for value in squared.values]
        if half:
            axes.plot(squared.steps, half, color=COLORS["single"], marker="o", markersize=3.5,
                      label="½ squared loss on the data")  # fmt: skip
        if steps:
            axes.plot(steps, np.maximum(FLOOR, values), color=COLORS["rejected"], marker="s",
                      markersize=3.5, label="KL on own samples")  # fmt: skip
        axes.set_yscale("log")
        legend_above(axes)
    told = [f"KL {number(values[-1])} nats" if values else "", f"½ squared loss {number(half[-1])}"
            if half else ""]  # fmt: skip
    return figure, "At the end: " + ", ".join(filter(None, told)) + "."


def displacement_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """Each held-out pair by the change of log π of its preferred and of its other response."""
    names = ("log_ratio_chosen", "log_ratio_rejected", "label")
    rows = [row for row in run.pairs if all(is_number(row.get(name)) for name in names)]
    rows = [row for row in rows if row["label"] != 0.5]
    if not rows:
        return None
    ups, downs = np.array([_preferred_first(row) for row in rows]).T
    some = slice(None, None, max(1, len(rows) // MOST_DOTS))
    with _paper("change of rejected, nats", "change of chosen, nats") as (figure, axes):
        axes.axhline(0, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.plot(downs[some], ups[some], ".", color=COLORS["single"], markersize=3, alpha=0.6)
        axes.plot([downs.mean()], [ups.mean()], "D", color=COLORS["rejected"], markersize=6,
                  label="mean")  # fmt: skip
        legend_above(axes)
    both = float(((ups < 0) & (downs < 0)).mean())
    return figure, (
        f"Mean change of chosen {number(float(ups.mean()))}, of rejected "
        f"{number(float(downs.mean()))} nats; both fell in {100 * both:.0f} % of {len(rows)} pairs."
    )


def _preferred_first(row: Mapping[str, Any]) -> tuple[float, float]:
    chosen, rejected = float(row["log_ratio_chosen"]), float(row["log_ratio_rejected"])
    return (chosen, rejected) if row["label"] > 0.5 else (rejected, chosen)


def survival_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """How long responses go on before and after training; None where nothing was sampled, or
    nothing ended."""
    sides: dict[str, tuple[np.ndarray, list[bool]]] = {}
    for side in ("before", "after"):
        tokens = [row.get(f"{side}_tokens") for row in run.samples]
        ended = [row.get(f"{side}_ended") is True for row in run.samples]
        if not all(map(is_number, tokens)) or not any(ended):
            return None
        sides[side] = np.array(tokens, float), ended
    told = [f"{sum(not one for one in ended)} of {len(ended)} {side} training"
            for side, (_, ended) in sides.items()]  # fmt: skip
    figure = survival(sides, log=False)
    return figure, "Had not ended at the token limit: " + ", ".join(told) + "."


def gold_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """The annotator's win rate over the initial policy, and the held-out margin, against √KL."""
    kl, gold, proxy = (np.array(entry.get(name) or [], float) for name in ("kl", "gold", "proxy"))
    if len(kl) < 2:
        return None
    error = 1.96 * np.array(entry["gold_error"], float)
    far = np.sqrt(kl)
    with _paper("√KL, √nats", "win rate − ½") as (figure, axes):
        axes.errorbar(far, gold, yerr=error, color=COLORS["chosen"], marker="o", markersize=3.5,
                      linewidth=1.2, label="annotator")  # fmt: skip
        other = axes.twinx()
        other.plot(far, proxy, color=COLORS["rejected"], linestyle=(0, (4, 2)), marker="s",
                   markersize=3)  # fmt: skip
        axes.plot([], [], color=COLORS["rejected"], linestyle=(0, (4, 2)), marker="s",
                  markersize=3, label="held-out margin (right)")  # fmt: skip
        other.spines["right"].set_visible(True)
        other.tick_params(length=3, width=0.8, pad=3)
        axes.set_position((0.175, 0.16, 0.72, 0.70))
        other.set_position((0.175, 0.16, 0.72, 0.70))
        legend_above(axes)
    return figure, (
        f"From √KL 0 to {number(float(far[-1]))}: win rate less one half from 0 to "
        f"{number(float(gold[-1]))}, held-out margin by {number(float(proxy[-1]))}."
    )


def tastes_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """Negative log-likelihood under one annotator and under two, with intervals."""
    rows = {"one annotator": "one", "two annotators": "two"}
    keys = [f"{name}{end}" for name in rows.values() for end in ("", "_low", "_high")]
    if not all(is_number(entry.get(key)) for key in keys):
        return None
    with _paper("nats a pair", "") as (figure, axes):
        for place, (name, color) in enumerate((("two", "rejected"), ("one", "single"))):
            low, value, high = (float(entry[f"{name}{end}"]) for end in ("_low", "", "_high"))
            axes.plot([low, high], [place, place], color=COLORS[color], linewidth=1.5)
            axes.plot([value], [place], "o", color=COLORS[color], markersize=6)
        axes.set_yticks([0, 1], ["two", "one"])
        axes.set_ylim(-0.7, 1.7)
    told = [f"{title} {number(entry[name])}" for title, name in rows.items()]
    return figure, f"Nats a pair: {', '.join(told)}."


def pulls_plot(run: Run, entry: Mapping[str, Any]) -> tuple[Figure, str] | None:
    """Histograms of the pulls of training pairs, on a logarithmic axis."""
    sides = [_positive(entry.get(f"pulls_{name}")) for name in ("before", "after")]
    if not len(sides[0]):
        return None
    top = float(max(side.max() for side in sides if len(side)))
    edges = np.geomspace(top * 1e-4, top * 1.05, 31)
    with _paper("pull, relative to the largest, log scale", "pairs") as (figure, axes):
        for side, name, color in zip(
            sides, ("start", "end"), (COLORS["single"], COLORS["rejected"]), strict=True
        ):
            axes.hist(np.clip(side, edges[0], None) / top, bins=(edges / top).tolist(),
                      histtype="step", color=color, label=name)  # fmt: skip
        axes.set_xscale("log")
        legend_above(axes)
    middles = [number(float(np.median(side))) for side in sides]
    return figure, f"Median pull at the start {middles[0]}, at the end {middles[1]}."


def _positive(values: Sequence[float] | None) -> np.ndarray:
    return np.array([v for v in values or () if is_number(v)], float)
