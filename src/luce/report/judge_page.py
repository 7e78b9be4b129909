"""The audit of a judge as one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from luce.data.audit import Finding
from luce.intervals import Estimate
from luce.report.numbers import counted, is_number, percent
from luce.report.page import render
from luce.report.plots.dots import intervals
from luce.report.svg import inline_svg

LINES = 60
"""Lines of a part that the page shows."""


@dataclass(frozen=True)
class Share:
    """A share of the figure, which a half divides.

    Attributes:
        name: what it is the share of.
        estimate: with its interval.
        found: whether it is a finding.
        shift: what is added to the estimate to make it a share.
    """

    name: str
    estimate: Estimate
    found: bool
    shift: float = 0.0


def judge_page(
    name: str,
    facts: Sequence[tuple[str, str]],
    findings: Sequence[Finding],
    sections: Sequence[tuple[str, Sequence[str]]],
    shares: Sequence[Share] = (),
) -> str:
    """The page.

    Args:
        name: of the file of verdicts.
        facts: what was looked at, as (name, value).
        findings: all of them.
        sections: title and lines of each part, as at the terminal.
        shares: what is drawn against a half; those without a number are left out.
    """
    told = "Nothing was found against this judge."
    if findings:
        told = f"{counted(len(findings), 'finding')} about this judge."
    return render(
        "judge_audit.html.j2",
        {
            "name": name,
            "headline": told,
            "facts": facts,
            "findings": findings,
            "figure": _figure([one for one in shares if is_number(one.estimate.value)]),
            "sections": [
                (title[:1].upper() + title[1:], list(lines[:LINES]), max(0, len(lines) - LINES))
                for title, lines in sections
            ],
        },
    )


def _figure(shown: Sequence[Share]) -> Markup | None:
    if not shown:
        return None
    shifted = [(one.name, _moved(one.estimate, one.shift)) for one in shown]
    found = {one.name for one in shown if one.found}
    figure = intervals(shifted, found=found, x_label="of comparisons")
    told = "; ".join(f"{name}: {percent(one.value)}" for name, one in shifted)
    return inline_svg(figure, "shares", "The judge against a half", f"{told}.")


def _moved(one: Estimate, by: float) -> Estimate:
    return Estimate(one.value + by, one.low + by, one.high + by, one.n)
