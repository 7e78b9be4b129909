"""The lab on one page: every figure beside the paper's claim and what we make of it."""

import base64
from collections import Counter
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
    counts = Counter(entry.verdict for entry in ran)
    parts = [
        f"{counts[one]} {one if counts[one] == 1 else several}"
        for one, several in (
            ("holds", "hold"),
            ("holds in part", "hold in part"),
            ("does not hold", "do not hold"),
        )
        if counts[one]
    ]
    before = ", ".join(parts[:-1]) + " and " if len(parts) > 1 else ""
    if not parts:
        return "No experiment has ended."
    return f"Of {len(ran)} claim{'s' if len(ran) > 1 else ''} of the papers {before}{parts[-1]}."


def _embedded(path: Path) -> Markup:
    """The source of an image that holds the figure itself."""
    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}")
