"""The page of a probe: what short runs at several learning rates and β did, and which to take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from luce.report.curves import smooth
from luce.report.numbers import is_number, number, number_range, percent, percent_range, signed
from luce.report.page import render
from luce.report.plots import COLORS, FAINT, RUN_COLORS, RUN_MARKS, library_style
from luce.report.run import Series
from luce.report.svg import inline_svg

Row = Mapping[str, Any]
Curve = tuple[str, str, Markup]
"""Title, note, figure."""


@dataclass(frozen=True)
class Panel:
    """A figure over the values that were tried.

    Attributes:
        name, title, unit, note: of the figure.
        lines: entry of a row → role of its color.
        bound: a line that must not be crossed, as a key of `bounds` and its sign.
    """

    name: str
    title: str
    unit: str
    note: str
    lines: tuple[tuple[str, str], ...]
    bound: tuple[str, int] | None = None


PANELS = (
    Panel(
        "kl",
        "KL a step",
        "nats per response",
        "From the initial policy, over the steps of the run. Broken line: the bound.",
        (("kl_per_step", "single"),),
        ("kl_per_step", 1),
    ),
    Panel(
        "moved",
        "Change of log-probability",
        "nats per token",
        "On held-out rows, end less start: chosen blue, rejected orange. Broken line: the bound on "
        "chosen.",
        (("chosen", "chosen"), ("rejected", "rejected")),
        ("chosen_fall", -1),
    ),
    Panel(
        "margin",
        "Growth of the margin a step",
        "score",
        "On held-out rows. Of several β on scales of their own.",
        (("margin", "single"),),
    ),
    Panel(
        "accuracy",
        "Held-out accuracy",
        "share of pairs",
        "After the run; bars are 95 % intervals.",
        (("accuracy", "single"),),
    ),
    Panel(
        "grad_norm",
        "Gradient norm",
        "norm",
        "Median over the steps, before clipping.",
        (("grad_norm", "single"),),
    ),
)

OVER_STEPS = (
    ("loss", "Loss in training", "loss", "Running mean over a tenth of the steps.", "loss"),
    (
        "chosen_steps",
        "Log-probability of chosen, held out",
        "nats per token",
        "Where it falls, the policy makes the data's good answers less likely.",
        "eval_logps_per_token/chosen",
    ),
)


def probe_page(found: Mapping[str, Any]) -> str:
    """The page of a probe.json."""
    key = found["beta_key"]
    parts = [
        _part(found, "learning_rates", "learning_rate", "train.learning_rate", "Learning rate"),
        _part(found, "betas", "beta", key, f"β ({key})" if key else "β"),
    ]
    taken = [f"`{name}={value:g}`" for name, value in found["recommended"].items()]
    sources = {r["kl_from"] for r in found["learning_rates"] if r["kl_from"]}
    return render(
        "probe.html.j2",
        {
            "found": found,
            "headline": f"Take {' and '.join(taken)}."
            if taken
            else "Nothing that was tried will do.",
            "parts": [part for part in parts if part is not None],
            "kl_from": sources.pop() if len(sources) == 1 else None,
        },
    )


def _part(
    found: Mapping[str, Any], rows_key: str, value_key: str, recipe_key: str | None, title: str
) -> dict[str, Any] | None:
    rows: Sequence[Row] = found[rows_key]
    if not rows:
        return None
    taken = found["recommended"].get(recipe_key)
    curves: list[Curve] = []
    for panel in PANELS:
        figure = _over_values(rows, panel, value_key, found["bounds"], taken)
        if figure is not None:
            name = f"{rows_key}-{panel.name}"
            words = _words(rows, panel, value_key)
            curves.append((panel.title, panel.note, inline_svg(figure, name, panel.title, words)))
    for name, head, unit, note, metric in OVER_STEPS:
        figure = _over_steps(rows, metric, unit, value_key)
        if figure is not None:
            words = f"{head}, by {title}."
            curves.append((head, note, inline_svg(figure, f"{rows_key}-{name}", head, words)))
    return {
        "id": rows_key,
        "title": title,
        "reason": found["reasons"].get(recipe_key, ""),
        "rows": [_row(row, value_key, taken) for row in rows],
        "curves": curves,
    }


def _row(row: Row, value_key: str, taken: float | None) -> dict[str, Any]:
    def cell(name: str, show: Any = number, span: Any = number_range) -> tuple[str, str]:
        estimate = row[name]
        if estimate is None or not is_number(estimate["value"]):
            return "–", ""
        ends = estimate["low"], estimate["high"]
        return show(estimate["value"]), span(*ends) if all(map(is_number, ends)) else ""

    return {
        "value": f"{row[value_key]:g}",
        "taken": row[value_key] == taken,
        "refused": row["refused"],
        "loss": "–"
        if row["loss_after"] is None
        else f"{number(row['loss_before'])} → {number(row['loss_after'])}",
        "cells": [
            cell("kl_per_step"),
            cell("chosen", signed),
            cell("rejected", signed),
            cell("margin", signed),
            cell("accuracy", percent, percent_range),
            (number(row["grad_norm"]), ""),
            cell("length"),
        ],
    }


def _points(rows: Sequence[Row], entry: str, value_key: str) -> list[tuple[float, ...]]:
    """(tried value, number, low, high) of the rows that have the number."""
    found = []
    for row in rows:
        estimate = row[entry]
        if is_number(estimate):
            found.append((row[value_key], estimate, math.nan, math.nan))
        elif isinstance(estimate, Mapping) and is_number(estimate["value"]):
            ends = [estimate[k] if is_number(estimate[k]) else math.nan for k in ("low", "high")]
            found.append((row[value_key], estimate["value"], *ends))
    return found


def _over_values(
    rows: Sequence[Row],
    panel: Panel,
    value_key: str,
    bounds: Mapping[str, float],
    taken: float | None,
) -> Figure | None:
    series = {role: _points(rows, entry, value_key) for entry, role in panel.lines}
    if not any(series.values()):
        return None
    with library_style():
        figure, axes = _canvas(panel.unit)
        values = [row[value_key] for row in rows]
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 1.6, max(values) * 1.6)
        for role, points in series.items():
            if points:
                x, y, low, high = (list(column) for column in zip(*points, strict=True))
                axes.vlines(x, low, high, color=COLORS[role], alpha=0.5, linewidth=1.2)
                axes.plot(x, y, color=COLORS[role], marker="o", markersize=4.5, linewidth=1.4)
        if panel.bound is not None:
            key, sign = panel.bound
            axes.axhline(
                sign * bounds[key], color=COLORS["rejected"], linewidth=1, linestyle=(0, (4, 3))
            )
        if taken is not None:
            axes.axvline(taken, color=FAINT, linewidth=6, alpha=0.3, zorder=0)
        axes.set_xticks(values, [f"{value:.2g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(value_key.replace("beta", "β").replace("_", " "), labelpad=2)
        if panel.name == "accuracy":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
        _wide(axes, [p[1] for points in series.values() for p in points], panel, bounds)
        return figure


def _wide(axes: Axes, values: Sequence[float], panel: Panel, bounds: Mapping[str, float]) -> None:
    """A logarithmic axis where the values go over more than two powers of ten; of changes one that
    is linear near 0."""
    least = panel.bound and bounds[panel.bound[0]]
    sizes = [abs(v) for v in values if v]
    if not sizes or panel.name == "accuracy":
        return
    if max(sizes) / min(sizes) <= 100 and not (least and max(sizes) > 20 * least):
        return
    if min(values) > 0:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=float(least or max(min(sizes), max(sizes) / 1000)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number(y, 1)))


def _over_steps(rows: Sequence[Row], metric: str, unit: str, value_key: str) -> Figure | None:
    with library_style():
        figure, axes = _canvas(unit)
        drawn = 0
        for index, row in enumerate(rows):
            found = [(r["step"], r[metric]) for r in row["records"] if is_number(r.get(metric))]
            if not found:
                continue
            series = Series(*(tuple(column) for column in zip(*found, strict=True)))
            looks = metric.startswith("eval_")
            if not looks:
                series = smooth(series, max(1, len(series) // 10))
            axes.plot(
                series.steps,
                series.values,
                color=RUN_COLORS[index % len(RUN_COLORS)],
                marker=RUN_MARKS[index % len(RUN_MARKS)] if looks else "",
                markersize=4,
                linewidth=1.4,
                label=f"{row[value_key]:.2g}",
            )
            drawn += 1
        if not drawn:
            return None
        axes.set_xlabel("step", labelpad=2)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.215, 1.015), ncols=5, borderaxespad=0.2)
        values = [y for line in axes.get_lines() for y in _ys(line) if math.isfinite(y)]
        if metric == "loss" and values and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number(y, 1)))
        return figure


def _ys(line: Any) -> list[float]:
    return [float(y) for y in line.get_ydata()]


def _canvas(unit: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.7, 2.9))
    axes = figure.add_axes((0.175, 0.16, 0.80, 0.70))
    axes.set_ylabel(unit)
    axes.yaxis.set_label_coords(-0.185, 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.tick_params(length=3, width=0.8, pad=3)
    return figure, axes


def _words(rows: Sequence[Row], panel: Panel, value_key: str) -> str:
    said = [
        f"{entry.replace('_', ' ')}: "
        + ", ".join(f"{number(p[1])} at {p[0]:g}" for p in _points(rows, entry, value_key))
        for entry, _ in panel.lines
    ]
    return f"{panel.title} ({panel.unit}). {'; '.join(said)}."
