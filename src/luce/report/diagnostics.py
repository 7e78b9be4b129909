"""What was looked for in a run: `diagnostics` of evaluation.json in words, with a figure each."""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from luce.report.diagnostic_plots import (
    displacement_plot,
    divergence_plot,
    gold_plot,
    pulls_plot,
    survival_plot,
    tastes_plot,
)
from luce.report.run import Run, dig
from luce.report.svg import inline_svg

Drawing = tuple[Figure, str]

TITLES = {
    "divergence": "Divergence",
    "displacement": "Likelihood displacement",
    "length": "Length",
    "calibration": "Calibration",
    "over_optimization": "Over-optimization",
    "annotators": "Annotators",
    "saturation": "Saturation",
}

PLOTS: dict[str, tuple[str, Callable[[Run, Mapping[str, Any]], Drawing | None]]] = {
    "divergence": ("Below the data's curve, the loss sees more than KL", divergence_plot),
    "displacement": ("Below the horizontal line, the preferred response fell", displacement_plot),
    "length": ("Share of samples that go on after so many tokens", survival_plot),
    "over_optimization": ("What the loss improves, and what the annotator says", gold_plot),
    "annotators": ("Negative log-likelihood of labels that a fit did not see", tastes_plot),
    "saturation": ("Pull of training pairs at the start and at the end", pulls_plot),
}


def diagnostics(run: Run) -> list[dict[str, Any]]:
    """What the page shows of each diagnostic, those with an alarm first: name, title, findings,
    whether one is an alarm, the figure and its caption."""
    found = dig(run.evaluation, "diagnostics")
    shown = []
    for name, entry in (found if isinstance(found, Mapping) else {}).items():
        findings = entry.get("findings") if isinstance(entry, Mapping) else None
        if not findings:
            continue
        caption, draw = PLOTS.get(name, ("", None))
        drawn = None if draw is None else draw(run, entry)
        plot: Markup | None = None
        if drawn is not None:
            figure, words = drawn
            plot = inline_svg(figure, f"diagnostic-{name}", str(TITLES.get(name, name)), words)
        shown.append(
            {
                "name": name,
                "title": TITLES.get(name, name),
                "findings": findings,
                "alarm": any(finding.get("alarm") for finding in findings),
                "plot": plot,
                "caption": caption,
            }
        )
    return sorted(shown, key=lambda entry: not entry["alarm"])
