"""The audit of a data set as one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from luce.annotate import Agreement
from luce.data.audit import Audit, Finding
from luce.data.audit.separability import Separation
from luce.intervals import Estimate
from luce.report.heatmap import heatmap
from luce.report.numbers import is_number, number, number_range, percent, percent_range
from luce.report.page import render
from luce.report.plots.dots import intervals
from luce.report.svg import inline_svg

MARKS = 14
"""Features in the figure, the most telling ones."""

ROWS = 60
"""Features in the table."""

TOLD_ABOVE = ("rows", "length", "one look at a response", "by source and annotator")
"""Sections of the text that the page shows as tables."""

LINES = 60


@dataclass(frozen=True)
class _Shown:
    """A number of a table: the value, and the interval under it."""

    value: str
    interval: str
    n: int


def audit_page(
    name: str,
    facts: Sequence[tuple[str, str]],
    audit: Audit,
    findings: Sequence[Finding],
    sections: Sequence[tuple[str, Sequence[str]]],
    agreement: Agreement | None = None,
) -> str:
    """The page.

    Args:
        name: of the data set.
        facts: what was looked at, as (name, value).
        audit: what texts and labels say.
        findings: all of them, others than the audit's too.
        sections: title and lines of each part, as at the terminal; those that are tables here are
            left out.
        agreement: between the annotators that the rows name, drawn where they are three or more.
    """
    return render(
        "audit.html.j2",
        {
            "name": name,
            "headline": _headline(findings),
            "facts": facts,
            "findings": findings,
            "faults": [
                {"what": fault.what, "pairs": len(fault.pairs), "share": _share(fault.share)}
                for fault in audit.faults
            ],
            "lengths": [
                {
                    "unit": by.unit,
                    "longer": by.longer,
                    "shorter": by.shorter,
                    "equal": by.equal,
                    "ties": by.ties,
                    "preferred": _share(by.preferred),
                    "separable": _share(by.separable),
                }
                for by in (audit.lengths.characters, audit.lengths.words)
            ],
            "slope": _mean(audit.lengths.slope),
            "effect": _mean(audit.lengths.effect),
            "means": [_mean(audit.lengths.mean_chosen), _mean(audit.lengths.mean_rejected)],
            "features": [_feature(one) for one in audit.separability.features[:ROWS]],
            "tests": len(audit.separability.features),
            "figure": _figure(audit.separability.features),
            "agreement": _agreement(agreement),
            "parts": [
                {
                    "kind": part.kind,
                    "name": part.name,
                    "pairs": part.pairs,
                    "prompts": part.prompts,
                    "faulty": part.faulty,
                    "preferred": _share(part.length.preferred),
                }
                for part in audit.parts
            ],
            "sections": [
                (title[:1].upper() + title[1:], list(lines[:LINES]), max(0, len(lines) - LINES))
                for title, lines in sections
                if title not in TOLD_ABOVE
            ],
        },
    )


def _headline(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Nothing was found in this data set."
    rows = sum(finding.rows > 0 for finding in findings)
    whole = len(findings) - rows
    parts = [
        f"{count} {'finding' if count == 1 else 'findings'} {about}"
        for count, about in ((rows, "in single rows"), (whole, "about the set as a whole"))
        if count
    ]
    return f"{' and '.join(parts)}."


def _share(estimate: Estimate) -> _Shown:
    return _Shown(percent(estimate.value), percent_range(estimate.low, estimate.high), estimate.n)


def _mean(estimate: Estimate) -> _Shown:
    return _Shown(number(estimate.value), number_range(estimate.low, estimate.high), estimate.n)


def _feature(one: Separation) -> dict[str, Any]:
    return {
        "name": one.name,
        "pairs": one.pairs,
        "decides": _share(one.decides),
        "preferred": _share(one.preferred),
        "p": number(one.p_value, 2) if is_number(one.p_value) else "–",
        "found": one.found,
    }


def _agreement(found: Agreement | None) -> tuple[Markup, float] | None:
    """Who gives the same votes as whom, and how wide the figure is to be, in rem; of two annotators
    a sentence says as much."""
    if found is None or len(found.names) < 3:
        return None
    values, counts = found.matrix()
    figure = heatmap(
        found.names, values, counts, title="Share of equal votes", low=0.0, unit="pair"
    )
    told = "; ".join(
        f"{pair.first} and {pair.second}: {percent(pair.agreement.value)} of {pair.items}"
        for pair in found.pairs
    )
    svg = inline_svg(figure, "agreement", "Share of equal votes", told)
    return svg, round(6.0 * figure.get_figwidth(), 1)


def _figure(features: Sequence[Separation]) -> Markup | None:
    """How often the response with each mark is preferred, with intervals; None without any."""
    shown = features[:MARKS]
    if not shown:
        return None
    figure = intervals(
        [(one.name, one.preferred) for one in shown],
        found={one.name for one in shown if one.found},
        x_label="preferred where it differs",
    )
    told = "; ".join(f"{one.name}: {percent(one.preferred.value)}" for one in shown)
    return inline_svg(
        figure, "preferred", "How often a response with a mark is preferred", f"{told}."
    )
