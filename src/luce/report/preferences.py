"""How a model's preferences fit the labels: the reliability plot, the histogram of margins and the
numbers beside them, from `calibration` and `length_dependence` of evaluation.json and from
held_out.jsonl."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from luce.report.numbers import is_number, number, number_range, percent, percent_range, signed
from luce.report.plots.distributions import calibration, margins
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
    shown: dict[str, Any] = {"n": None, "verdict": "", "plot": None, "histogram": None}
    drawn = margin_histogram(run.pairs)
    if drawn is not None:
        figure, words = drawn
        shown["histogram"] = inline_svg(figure, "margins", "Margins of held-out pairs", words)
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
    bins = [_Bin(**b) for b in fit.get("bins", ()) if is_number(b.get("predicted"))]
    return calibration(bins) if bins else None


@dataclass(frozen=True)
class _Bin:
    predicted: float
    agreed: float
    low: float
    high: float
    n: int


def margin_histogram(pairs: Sequence[Mapping[str, Any]]) -> tuple[Figure, str] | None:
    """How far the preferred response is ahead in each held-out pair, before and after training, and
    the same in words; pairs labelled ½ prefer nothing and are left out. None without pairs."""
    told = [
        (sign * p["initial_margin"], sign * p["margin"])
        for p in pairs
        if is_number(p.get("margin")) and is_number(p.get("initial_margin"))
        and (sign := math.copysign(1, p["label"] - 0.5) if p["label"] != 0.5 else 0)
    ]  # fmt: skip
    if len(told) < 2:
        return None
    before, after = (np.array(column) for column in zip(*told, strict=True))
    figure = margins(before, after)
    parts = []
    for name, values in (("before", before), ("after", after)):
        middle, ahead = number(float(np.median(values))), percent(float((values > 0).mean()))
        parts.append(f"{name} {middle}, above 0 in {ahead}")
    words = ", ".join(parts)
    return figure, f"Median margin of the preferred response in {len(told)} pairs: {words}."


def _range(record: Mapping[str, Any], key: str) -> str:
    return number_range(record.get(f"{key}_low"), record.get(f"{key}_high"))


def _describe(fit: Mapping[str, Any]) -> str:
    points = [
        f"{number(b['predicted'])}: {number(b['agreed'])} of {b['n']} pairs" for b in fit["bins"]
    ]
    return "Probability given, and share preferred: " + "; ".join(points) + "."
