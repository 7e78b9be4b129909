"""The account of a run: report.html, the model card, and comparisons of runs."""

from luce.report.card import write_card
from luce.report.compare import write_comparison
from luce.report.html import write_report
from luce.report.plots import figures
from luce.report.run import Run, Series, load_run

__all__ = [
    "Run",
    "Series",
    "figures",
    "load_run",
    "write_card",
    "write_comparison",
    "write_report",
]
