"""What an objective makes of a margin, drawn: cost, slope, and the preference it stands for."""

import io
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from luce.errors import LuceError
from luce.files import write_atomic
from luce.objectives.build import make_objective
from luce.objectives.card_lines import short, value_text
from luce.objectives.cards import find
from luce.objectives.curves import Curve, Curves, curves, derivative, of_loss, satisfied
from luce.objectives.losses import LOSSES
from luce.report.plots.style import COLORS, FAINT, INK, library_style

POINTS = 1201
KINDS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


def save_plot(name: str, parameters: Mapping[str, Any], path: Path) -> None:
    """Draw an objective or a margin loss into a file; the same picture gives the same bytes.

    Raises:
        LuceError: there is nothing of that name or nothing to draw of it, or the file's ending is
            none of .png, .svg, .pdf.
    """
    if path.suffix not in KINDS:
        raise LuceError(f"{path}: no picture is called {path.suffix!r}. Use .png, .svg or .pdf.")
    figure = figure_of(name, parameters)
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(KINDS[path.suffix], {})
    stream = io.BytesIO()
    with library_style():
        matplotlib.rcParams["svg.hashsalt"] = name
        figure.savefig(stream, format=KINDS[path.suffix], dpi=160, metadata=date)
    write_atomic(path, stream.getvalue())


def figure_of(name: str, parameters: Mapping[str, Any]) -> Figure:
    """An objective or a margin loss, drawn.

    Raises:
        LuceError: there is nothing of that name or nothing to draw of it.
    """
    kind, entry = find(name)
    if kind == "objectives":
        objective = make_objective(entry, parameters)
        return draw(title(entry, objective.parameters), curves(objective))
    if kind == "losses":
        return draw(f"{entry}: φ(z) = {LOSSES[entry].formula('z')}", of_loss(LOSSES[entry]))
    raise LuceError(f"{kind}/{entry}: only objectives and losses are drawn.")


def title(name: str, parameters: Mapping[str, Any]) -> str:
    """`name(key = value, …)`, without what is unset.

    >>> title("dpo", {"beta": 0.1})
    'dpo(beta = 0.1)'
    """
    given = [f"{key} = {value_text(value)}" for key, value in parameters.items()]
    return f"{name}({', '.join(given)})" if given else name


def draw(heading: str, what: Curves) -> Figure:
    """Panels for cost, slope and, where there is a link, P(chosen ≻ rejected), against the margin;
    a dot marks where the cost is satisfied."""
    linked = [curve for curve in what.curves if curve.probability is not None]
    with library_style():
        panels = 3 if linked else 2
        figure = Figure(figsize=(3.6 * panels, 3.5))
        axes = figure.subplots(1, panels)
        figure.subplots_adjust(
            left=0.24 / panels, right=1 - 0.06 / panels, bottom=0.24, top=0.80, wspace=0.42
        )
        x = torch.linspace(*_range(what), POINTS, dtype=torch.float64)
        for curve, color in zip(what.curves, _colors(what), strict=True):
            _line(axes[0], what, curve, color, x, curve.cost)
            _line(axes[1], what, curve, color, x, lambda v, c=curve: derivative(c.cost, v))
            if curve.probability is not None:
                _line(axes[2], what, curve, color, x, curve.probability)
        for panel, label in zip(axes, ("cost", "slope of the cost", "link"), strict=False):
            _finish(panel, label, x)
        if linked:
            axes[2].set_ylim(-0.03, 1.03)
            axes[2].set_ylabel("P(chosen ≻ rejected)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", ncols=4, bbox_to_anchor=(0.0, 0.92))
        figure.text(0.012, 0.975, heading, va="top", fontsize=11)
        figure.text(0.5, 0.135, _x_label(what), ha="center", va="top", fontsize=9.5)
        if what.left_out:
            left = textwrap.shorten(
                f"without: {', '.join(what.left_out)}", 34 * panels, placeholder=" …"
            )
            figure.text(0.5, 0.045, left, ha="center", va="top", fontsize=8.5, color=FAINT)
        return figure


def _colors(what: Curves) -> list[str]:
    if len(what.curves) == 1:
        return [COLORS["single"]]
    return [COLORS["chosen"], COLORS["rejected"]]


def _range(what: Curves) -> tuple[float, float]:
    """As far as the cost is interesting, a little beyond where it is satisfied."""
    found = [satisfied(curve, what.scale).at for curve in what.curves]
    far = max((at for at in found if at is not None), default=0.0) or 5 / what.scale
    both = any(not curve.rising for curve in what.curves)
    return (-1.3 * far if both else -far), 1.3 * far if both else 1.6 * far


def _line(
    axes: Axes,
    what: Curves,
    curve: Curve,
    color: str,
    x: torch.Tensor,
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    done = satisfied(curve, what.scale)
    y = function(x.clone())
    label = curve.label
    if done.at is not None:
        sign = "" if curve.rising else "−"
        label += f", satisfied at {sign}{short(done.at)}"
    axes.plot(x.tolist(), y.tolist(), color=color, linewidth=1.6, label=label)
    if done.at is not None:
        at = done.at if curve.rising else -done.at
        # a kink has two slopes; the mark stands on the one that the pair comes from
        inside = at * (1 - 1e-9)
        height = function(torch.tensor([inside], dtype=torch.float64)).item()
        axes.axvline(at, color=color, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.plot([at], [height], marker="o", markersize=4.5, color=color)


def _finish(axes: Axes, label: str, x: torch.Tensor) -> None:
    axes.set_ylabel(label)
    axes.axvline(0, color=INK, linewidth=0.6, alpha=0.5, zorder=0)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(x[0].item(), x[-1].item())
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.tick_params(length=3, width=0.8, pad=3)


def _tick(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−") if abs(value) >= 1000 else short(value)


def _x_label(what: Curves) -> str:
    unit = f" ({what.unit})" if what.unit else ""
    return f"{what.quantity}{unit}"
