"""The lab on one page: every figure beside the paper's claim and what we make of it."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from luce.lab.errata import ERRATA
from luce.report.page import render

if TYPE_CHECKING:
    from luce.lab.run_all import Entry


def page(entries: Sequence["Entry"], folder: Path) -> str:
    """The page as HTML, figures and all: it loads nothing from elsewhere.

    Args:
        folder: where each experiment's folder of figures is.
    """
    shown = [
        {
            "entry": entry,
            "figures": [_embedded(folder / entry.name / file) for file in entry.figures],
        }
        for entry in entries
    ]
    wrong = [entry.name for entry in entries if entry.state == "failed"]
    broken = [entry.name for entry in entries if entry.state == "error"]
    return render(
        "lab.html.j2",
        {
            "headline": headline(entries),
            "shown": shown,
            "wrong": wrong,
            "broken": broken,
            "cpu_s": sum(entry.cpu_s for entry in entries),
            "errata": ERRATA,
        },
    )


def headline(entries: Sequence["Entry"]) -> str:
    """How many claims hold, in words."""
    ran = [entry for entry in entries if entry.state != "error"]
    parts = [
        f"{sum(entry.verdict == verdict for entry in ran)} {words}"
        for verdict, words in (
            ("holds", "hold"),
            ("holds in part", "hold in part"),
            ("does not hold", "do not hold"),
        )
        if any(entry.verdict == verdict for entry in ran)
    ]
    several = ", ".join(parts[:-1]) + " and " if len(parts) > 1 else ""
    if not parts:
        return "No experiment has ended."
    return f"Of {len(ran)} claims of the papers {several}{parts[-1]}."


def _embedded(path: Path) -> Markup:
    """The source of an image that holds the figure itself."""
    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}")
