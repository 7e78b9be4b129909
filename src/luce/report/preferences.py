"""How a model's preferences fit the labels: the reliability plot and the numbers beside it, from
`calibration` and `length_dependence` of evaluation.json."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from luce.report.numbers import is_number, number, number_range, percent, percent_range, signed
from luce.report.plots import COLORS, FAINT, library_style
from luce.report.run import Run, dig
from luce.report.svg import inline_svg

LENGTH_ROWS = (
    ("longer_preferred", "Pairs in which the longer response is preferred"),
    ("longer_scored", "Pairs in which the model puts the longer one first"),
    ("accuracy_longer", "Accuracy where the longer one is preferred"),
    ("accuracy_shorter", "Accuracy where the shorter one is preferred"),
)


def preferences(run: Run) -> dict[str, Any] | None:
    """What the page shows: sentences, rows (name, value, interval) and the plot; None where the run
    has no held-out pairs, or an older run did not record this."""
    fit, length = dig(run.evaluation, "calibration"), dig(run.evaluation, "length_dependence")
    if not isinstance(fit, Mapping) and not isinstance(length, Mapping):
        return None
    rows: list[tuple[str, str, str]] = []
    shown: dict[str, Any] = {"n": None, "verdict": "", "plot": None}
    shown["baselines"] = _baselines(run)
    if isinstance(fit, Mapping):
        shown |= {"n": fit.get("n"), "verdict": str(fit.get("verdict", ""))}
        for key, name in (
            ("nll", "Negative log-likelihood, nats (a coin: 0.693)"),
            ("brier", "Brier score (a coin: 0.25)"),
            ("ece", "Expected calibration error"),
            ("temperature", "Temperature that fits best"),
        ):
            rows.append((name, number(fit.get(key)), _range(fit, key)))
        figure = reliability(fit)
        if figure is not None:
            shown["plot"] = inline_svg(figure, "reliability", "Reliability", _describe(fit))
    if isinstance(length, Mapping):
        shown["n"] = shown["n"] or length.get("n")
        for key, name in LENGTH_ROWS:
            ends = [length.get(f"{key}_{end}") for end in ("low", "high")]
            rows.append((name, percent(length.get(key)), percent_range(*ends)))
        rows.append(
            (
                "Rank correlation of margin and difference of lengths",
                number(length.get("correlation")),
                _range(length, "correlation"),
            )
        )
    return shown | {"rows": rows}


def _baselines(run: Run) -> list[tuple[str, str, str, str]]:
    """(name, accuracy, its interval, what the model has on it) of each rule that needs no model."""
    found = dig(run.evaluation, "baselines")
    rows = []
    for name, entry in (found if isinstance(found, Mapping) else {}).items():
        gain, low, high = (entry.get(key) for key in ("gain", "gain_low", "gain_high"))
        known = is_number(low) and is_number(high)
        word = "open" if not known or low <= 0 <= high else "better" if low > 0 else "worse"
        ends = [entry.get(f"accuracy_{end}") for end in ("low", "high")]
        told = f"{word}: {signed(gain)} ({number_range(low, high)})"
        rows.append((name, percent(entry.get("accuracy")), percent_range(*ends), told))
    return rows


def reliability(fit: Mapping[str, Any]) -> Figure | None:
    """Share of pairs in which the likelier response was preferred, over the probability that the
    model gave it, with Wilson's intervals; the size of a point grows with its pairs."""
    bins = [b for b in fit.get("bins", ()) if is_number(b.get("predicted"))]
    if not bins:
        return None
    most = max(b["n"] for b in bins)
    with library_style():
        figure = Figure(figsize=(4.7, 2.9))
        axes = figure.add_axes((0.175, 0.16, 0.80, 0.78))
        axes.plot([0.5, 1], [0.5, 1], color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        for b in bins:
            axes.vlines(
                b["predicted"], b["low"], b["high"], color=COLORS["single"], alpha=0.5, linewidth=1
            )
        axes.scatter(
            [b["predicted"] for b in bins],
            [b["agreed"] for b in bins],
            s=[12 + 28 * b["n"] / most for b in bins],
            color=COLORS["single"],
            linewidths=0,
            zorder=3,
        )
        axes.set_xlabel("probability of the likelier response", labelpad=2)
        axes.set_ylabel("share preferred")
        axes.yaxis.set_label_coords(-0.185, 0.5)
        axes.set_xlim(0.49, 1.01)
        axes.set_ylim(0.0, 1.02)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.tick_params(length=3, width=0.8, pad=3)
        return figure


def _range(record: Mapping[str, Any], key: str) -> str:
    return number_range(record.get(f"{key}_low"), record.get(f"{key}_high"))


def _describe(fit: Mapping[str, Any]) -> str:
    points = [
        f"{number(b['predicted'])}: {number(b['agreed'])} of {b['n']} pairs" for b in fit["bins"]
    ]
    return "Probability given, and share preferred: " + "; ".join(points) + "."
