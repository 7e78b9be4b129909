"""The page of a sweep: reward against KL, the table over seeds, and the runs."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from luce.report.compare_results import Metric
from luce.report.numbers import NBSP, counted, number, percent
from luce.report.page import Frame, render
from luce.report.plots import FAINT, INK, RUN_COLORS, RUN_MARKS, library_style
from luce.report.svg import inline_svg
from luce.report.sweep_fold import (
    TABLED,
    Mean,
    Setting,
    SweepRun,
    fold,
    frontier,
    metric_of,
    reward_metric,
)

MOST_LABELS = 24
"""Points that are labelled in the figure; more would cover each other."""


def sweep_page(
    folder: Path,
    recipe: str,
    runs: Sequence[SweepRun],
    command: Sequence[str] = (),
    frame: Frame | None = None,
    link: Callable[[SweepRun], str | None] | None = None,
) -> str:
    """The page, to stand in `folder`: links lead to the reports of the runs in it, or where `link`
    says."""
    link = link or (lambda run: _link(folder, run))
    settings = fold(runs)
    shown = [name for name in TABLED if any(name in s.means for s in settings)]
    figure = frontier_figure(settings)
    return render(
        "sweep.html.j2",
        {
            "name": folder.resolve().name,
            "recipe": recipe,
            "command": shlex.join(command),
            "headline": headline(settings),
            "figure": figure,
            "metrics": [metric_of(name) for name in shown],
            "settings": [
                {
                    "title": setting_words(setting),
                    "finished": setting.finished,
                    "runs": len(setting.runs),
                    "means": [mean_words(setting, name) for name in shown],
                    "frontier": figure is not None and setting in _frontier(settings),
                }
                for setting in settings
            ],
            "runs": [
                {
                    "run": run,
                    "link": link(run),
                    "results": [_told(metric_of(name), run.results.get(name)) for name in shown],
                }
                for run in runs
            ],
        },
        frame,
    )


def headline(settings: Sequence[Setting]) -> list[str]:
    """What came of the sweep, in sentences."""
    runs = [run for setting in settings for run in setting.runs]
    done = sum(run.status == "finished" for run in runs)
    failed = sum(run.status == "failed" for run in runs)
    told = f"{done} of {counted(len(runs), 'run')} of {counted(len(settings), 'setting')} finished"
    said = [f"{told}; {failed} failed." if failed else f"{told}."]
    reward = reward_metric(settings)
    if reward is None:
        return said
    metric = metric_of(reward)
    best = [
        f"{setting_words(s)} ({plus_minus(metric, s.means[reward])} at "
        f"{plus_minus(metric_of('kl'), s.means['kl'])} nats)"
        for s in frontier(settings, reward)
    ]
    if best:
        said.append(f"Not beaten in both {metric.title} and KL: {'; '.join(best)}.")
    return said


def setting_words(setting: Setting) -> str:
    """Its values, keys by their last part.

    >>> setting_words(Setting({"objective.dpo.beta": "0.1"}, (), {}))
    'beta=0.1'
    """
    parts = [f"{key.rpartition('.')[2]}={value}" for key, value in setting.values.items()]
    return ", ".join(parts) or "the recipe"


def plus_minus(metric: Metric, mean: Mean) -> str:
    """`mean ± sd`; the mean alone of one seed.

    >>> plus_minus(metric_of("accuracy"), Mean(0.78, 0.01, 3))
    '78.0\\xa0±\\xa01.0\\xa0%'
    """
    if math.isnan(mean.sd):
        return metric.told(mean.mean)
    if metric.share:
        return f"{100 * mean.mean:.1f}{NBSP}±{NBSP}{percent(mean.sd)}"
    return f"{metric.told(mean.mean)}{NBSP}±{NBSP}{number(mean.sd, 2)}"


def mean_words(setting: Setting, name: str) -> str:
    """A cell of the table: mean ± sd, and n where not all runs count."""
    mean = setting.means.get(name)
    if mean is None:
        return "–"
    told = plus_minus(metric_of(name), mean)
    return told if mean.n == len(setting.runs) else f"{told} (n = {mean.n})"


def frontier_figure(settings: Sequence[Setting]) -> Markup | None:
    """Reward against KL: a point a setting with its sd over seeds, fainter ones for the runs; None
    where no run has both numbers."""
    reward = reward_metric(settings)
    if reward is None:
        return None
    metric = metric_of(reward)
    placed = [s for s in settings if reward in s.means and "kl" in s.means]
    with library_style():
        figure = Figure(figsize=(8.4, 4.2))
        axes = figure.add_axes((0.1, 0.13, 0.87, 0.76))
        for index, (label, members) in enumerate(_series(placed).items()):
            color = RUN_COLORS[index % len(RUN_COLORS)]
            mark = RUN_MARKS[index % len(RUN_MARKS)]
            _draw_series(axes, members, reward, color, mark, label)
        best = frontier(settings, reward)
        axes.plot(
            [s.means["kl"].mean for s in best],
            [s.means[reward].mean for s in best],
            color=FAINT,
            linewidth=5,
            alpha=0.35,
            zorder=0,
            solid_joinstyle="round",
        )
        if len(placed) <= MOST_LABELS:
            _label_points(axes, placed, reward)
        _finish(axes, metric)
    words = "; ".join(
        f"{setting_words(s)}: {plus_minus(metric, s.means[reward])} at "
        f"{plus_minus(metric_of('kl'), s.means['kl'])} nats"
        for s in placed
    )
    return inline_svg(figure, "frontier", f"{metric.title} against KL", f"{words}.")


def _frontier(settings: Sequence[Setting]) -> list[Setting]:
    reward = reward_metric(settings)
    return [] if reward is None else frontier(settings, reward)


def line_key(settings: Sequence[Setting]) -> str | None:
    """The key along which points are joined: the one with the most different numbers."""
    columns: dict[str, set[str]] = {}
    for setting in settings:
        for key, value in setting.values.items():
            if _number(value) is not None:
                columns.setdefault(key, set()).add(value)
    varied = {key: values for key, values in columns.items() if len(values) > 1}
    return max(varied, key=lambda key: len(varied[key])) if varied else None


def _series(placed: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Settings that differ in the line key alone, in its order, by what they share."""
    key = line_key(placed)
    varied = {
        k
        for s in placed
        for k in s.values
        if len({o.values.get(k) for o in placed}) > 1 and k != key
    }
    found: dict[str, list[Setting]] = {}
    for setting in placed:
        shared = [(k, v) for k, v in setting.values.items() if k in varied]
        label = ", ".join(f"{k.rpartition('.')[2]}={v}" for k, v in shared)
        found.setdefault(label, []).append(setting)
    if key is not None:
        for members in found.values():
            members.sort(key=lambda s: _number(s.values.get(key, "")) or 0.0)
    return found


def _draw_series(
    axes: Axes, members: Sequence[Setting], reward: str, color: str, mark: str, label: str
) -> None:
    x, y = ([s.means[name].mean for s in members] for name in ("kl", reward))
    for setting in members:
        pairs = [
            (run.results["kl"], run.results[reward])
            for run in setting.runs
            if run.status == "finished" and "kl" in run.results and reward in run.results
        ]
        if len(pairs) > 1:
            axes.scatter(*zip(*pairs, strict=True), s=9, color=color, alpha=0.35, linewidths=0)
        kl, r = setting.means["kl"], setting.means[reward]
        if not (math.isnan(kl.sd) or math.isnan(r.sd)):
            axes.hlines(r.mean, kl.mean - kl.sd, kl.mean + kl.sd, color=color, alpha=0.5, lw=1.2)
            axes.vlines(kl.mean, r.mean - r.sd, r.mean + r.sd, color=color, alpha=0.5, lw=1.2)
    axes.plot(x, y, color=color, marker=mark, markersize=5, linewidth=1.2, label=label or "_")


def _label_points(axes: Axes, placed: Sequence[Setting], reward: str) -> None:
    key = line_key(placed)
    for setting in placed:
        text = setting.values.get(key, "") if key else setting_words(setting)
        axes.annotate(
            text,
            (setting.means["kl"].mean, setting.means[reward].mean),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
        )


def _finish(axes: Axes, metric: Metric) -> None:
    axes.set_xlabel("KL from the initial policy, nats per response", labelpad=2)
    axes.set_ylabel(metric.title)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(0.08)
    if metric.share:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(_share_tick))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.01), min(high, 1.01))  # there is no share beyond
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.tick_params(length=3, width=0.8, pad=3)
    if any(not label.startswith("_") for label in axes.get_legend_handles_labels()[1]):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.01), ncols=4, borderaxespad=0.2)


def _share_tick(value: float, _: object) -> str:
    return f"{100 * value:.4g} %" if -1e-9 <= value <= 1 + 1e-9 else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _told(metric: Metric, value: float | None) -> str:
    return "–" if value is None else metric.told(value)


def _link(folder: Path, run: SweepRun) -> str | None:
    """The address of a run's report from the sweep's folder; None where it has none."""
    report = run.folder / "report.html"
    if not report.is_file():
        return None
    return quote(report.resolve().relative_to(folder.resolve()).as_posix())


def sweep_json(
    recipe: str, runs: Sequence[SweepRun], command: Sequence[str] = ()
) -> dict[str, Any]:
    """sweep.json: every run, every setting over its seeds, and the frontier."""
    settings = fold(runs)
    reward = reward_metric(settings)
    best: Sequence[Mapping[str, str]] = [s.values for s in _frontier(settings)]
    return {
        "recipe": recipe,
        "command": list(command),
        "settings": [setting.plain() for setting in settings],
        "frontier": {"reward": reward, "settings": [dict(values) for values in best]},
        "runs": [run.plain() for run in runs],
    }
