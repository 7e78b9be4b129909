"""A sweep at the terminal: a line a setting, in 80 columns."""

import math
import textwrap
from collections.abc import Sequence

from luce.report.numbers import number
from luce.report.sweep_fold import Setting, SweepRun, fold, metric_of
from luce.report.sweep_page import headline, setting_words

WIDTH = 80
CELL = 11
"""Columns of a number with its standard deviation."""

COLUMNS = (
    ("win_rate", "win rate %"),
    ("kl", "KL"),
    ("accuracy", "accuracy %"),
    ("nll", "NLL"),
    ("equal_length", "equal len %"),
    ("length", "length"),
    ("chosen_per_token", "Δchosen/tok"),
)
"""Results in the order in which they get room, with their heads."""


def sweep_lines(runs: Sequence[SweepRun]) -> list[str]:
    """The table of settings, what failed, and the frontier in words."""
    settings = fold(runs)
    shown = [(name, head) for name, head in COLUMNS if any(name in s.means for s in settings)]
    longest = max(len(setting_words(s)) for s in settings)
    shown = shown[: max(3, (WIDTH - 5 - min(longest, 24)) // (CELL + 1))]
    room = WIDTH - 5 - (CELL + 1) * len(shown)
    heads = "".join(f" {head:>{CELL}}" for _, head in shown)
    lines = [f"{'setting':<{room}} n/N {heads}".rstrip()]
    for setting in settings:
        title = setting_words(setting)
        if len(title) > room:
            lines.append(title[:WIDTH])
            title = ""
        n = f"{setting.finished}/{len(setting.runs)}"
        cells = "".join(f" {_cell(setting, name):>{CELL}}" for name, _ in shown)
        lines.append(f"{title:<{room}} {n:<4}{cells}".rstrip())
    lines += [f"failed: {run.name}: {run.error}" for run in runs if run.status == "failed"]
    told = [part for said in headline(settings) for part in textwrap.wrap(said, WIDTH)]
    return [line.replace("\xa0", " ") for line in [*lines, "", *told]]


def _cell(setting: Setting, name: str) -> str:
    mean = setting.means.get(name)
    if mean is None:
        return "–"
    share = metric_of(name).share
    told = f"{100 * mean.mean:.1f}" if share else number(mean.mean)
    if math.isnan(mean.sd):
        return told
    return f"{told}±{f'{100 * mean.sd:.1f}' if share else number(mean.sd, 2)}"
