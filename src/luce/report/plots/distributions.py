"""How numbers are spread: margins, lengths, responses that go on; and whether margins hold."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import CensoredData, ecdf

from luce.errors import LuceError
from luce.report.plots.lines import Numbers
from luce.report.plots.style import COLORS, FAINT, RUN_COLORS, canvas, finish, library_style

BINS = 30
TAIL = 0.5
"""Percent of the values at each end that are drawn in the outermost bin."""


@runtime_checkable
class Bin(Protocol):
    """Pairs of like confidence; `luce.diagnostics.calibration(…).bins` are such."""

    @property
    def predicted(self) -> float: ...
    @property
    def agreed(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...


def margins(
    before: Numbers | None,
    after: Numbers,
    *,
    x_label: str = "margin of the preferred response",
    y_label: str = "pairs",
) -> Figure:
    """How far the preferred response is ahead in each pair, before training and after.

    Args:
        before: margins of the policy as it began; None to draw one histogram.
        after: margins of the same pairs.

    Raises:
        LuceError: fewer than two margins.
    """
    with library_style():
        figure, axes = canvas(x_label, y_label, top=0.94)
        _histograms(axes, before, after, around=0.0)
        axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        return figure


def lengths(before: Numbers | None, after: Numbers, *, y_label: str = "responses") -> Figure:
    """Lengths of responses in tokens before training and after; a dotted line at each mean.

    Raises:
        LuceError: fewer than two lengths.
    """
    with library_style():
        figure, axes = canvas("tokens", y_label, top=0.94)
        _histograms(axes, before, after)
        for values, role in ((before, "rejected"), (after, "chosen")):
            if values is not None:
                mean = float(np.mean(np.asarray(values, dtype=float)))
                axes.axvline(mean, color=COLORS[role], linewidth=1.0, linestyle=(0, (1, 2)))
        axes.set_xlim(left=0)
        return figure


def _histograms(
    axes: Axes, before: Numbers | None, after: Numbers, around: float | None = None
) -> None:
    """Both as outlines over the same bins; what lies beyond the outermost bins is drawn there."""
    given = [(before, COLORS["rejected"], "before"), (after, COLORS["chosen"], "after")]
    drawn = [(np.asarray(v, dtype=float), color, name) for v, color, name in given if v is not None]
    everything = np.concatenate([values for values, _, _ in drawn])
    if min(len(values) for values, _, _ in drawn) < 2 or not np.all(np.isfinite(everything)):
        raise LuceError("A histogram needs two finite numbers at least, before and after.")
    low, high = np.percentile(everything, [TAIL, 100 - TAIL])
    if around is not None:
        low, high = min(low, around - 1e-6), max(high, around + 1e-6)
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    for values, color, name in drawn:
        held = np.clip(values, edges[0], edges[-1])
        axes.hist(held, bins=edges.tolist(), histtype="step", color=color, label=name)
    if len(drawn) > 1:
        axes.legend(loc="best")


def survival(
    responses: Mapping[str, tuple[Numbers, Sequence[bool] | np.ndarray]], *, log: bool = True
) -> Figure:
    """The share of responses longer than so many tokens, with 95 % bands (Kaplan & Meier, 1958,
    log-log intervals). A response cut at the limit of tokens is known to be longer than that, and
    no more: its end is censored. A curve that stays level up to the limit is of a policy that does
    not stop.

    Args:
        responses: name → (tokens, whether each ended by itself).
        log: whether the share is on a logarithmic axis.

    Raises:
        LuceError: none, lengths without an end or the reverse, or no response that ended.
    """
    if not responses:
        raise LuceError("responses: there are none to draw.")
    with library_style():
        figure, axes = canvas("tokens", "share longer than that")
        for number, (name, (tokens, ended)) in enumerate(responses.items()):
            many, own = np.asarray(tokens, dtype=float), np.asarray(ended, dtype=bool)
            if many.shape != own.shape or not own.any():
                raise LuceError(
                    f"{name}: {many.size} lengths, {own.size} words on their ends, of which "
                    f"{int(own.sum())} are yes. Give both of each response, with one that ended."
                )
            found = ecdf(CensoredData(uncensored=many[own], right=many[~own])).sf
            with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
                # undefined where nobody is left: drawn as a gap
                warnings.simplefilter("ignore", RuntimeWarning)
                ends = found.confidence_interval(method="log-log")
            last = float(many.max())
            x = np.concatenate([[0.0], found.quantiles, [last]])
            color = RUN_COLORS[number % len(RUN_COLORS)]
            alive = _from_one(found.probabilities)
            axes.step(x, alive, where="post", color=color, linewidth=1.4, label=name)
            axes.fill_between(
                x,
                _from_one(ends.low.probabilities),
                _from_one(ends.high.probabilities),
                step="post",
                color=color,
                alpha=0.18,
                linewidth=0,
            )
            if not own.all():
                axes.plot([last], [alive[-1]], "o", color=color, fillstyle="none", markersize=5)
        finish(axes, legend=len(responses) > 1)
        if log:
            axes.set_yscale("log")
        axes.set_xlim(left=0)
        return figure


def _from_one(probabilities: np.ndarray) -> np.ndarray:
    """From 1 before the first end, and on after the last one."""
    return np.concatenate([[1.0], probabilities, probabilities[-1:]])


def calibration(bins: Sequence[Bin]) -> Figure:
    """Share of pairs in which the likelier response was preferred, over the probability that the
    model gave it, with its intervals; the size of a point grows with its pairs.

    Args:
        bins: of pairs of like confidence, 0.5 to 1.

    Raises:
        LuceError: no bin.
    """
    if not bins:
        raise LuceError("bins: there are none to draw.")
    most = max(b.n for b in bins)
    with library_style():
        figure, axes = canvas("probability of the likelier response", "share preferred", top=0.94)
        axes.plot([0.5, 1], [0.5, 1], color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        single = COLORS["single"]
        for b in bins:
            axes.vlines(b.predicted, b.low, b.high, color=single, alpha=0.5, linewidth=1)
        axes.scatter(
            [b.predicted for b in bins],
            [b.agreed for b in bins],
            s=[12 + 28 * b.n / most for b in bins],
            color=single,
            linewidths=0,
            zorder=3,
        )
        axes.set_xlim(0.49, 1.01)
        axes.set_ylim(0.0, 1.02)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        return figure
