"""Several runs on one page: a table of results and their held-out curves laid over each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from luce.errors import LuceError
from luce.files import write_atomic
from luce.report import summary
from luce.report.curves import CURVES, Curve, Line
from luce.report.numbers import number
from luce.report.page import render
from luce.report.plots import RUN_COLORS, draw_overlaid
from luce.report.run import Run, load_run
from luce.report.svg import inline_svg

MOST_RUNS = len(RUN_COLORS)

_CHOSEN = Curve(
    "chosen",
    "Log-probability of chosen, per token",
    "nats per token",
    (Line("logps_per_token/chosen"),),
    "Where it falls, the policy makes the data's good answers less likely.",
)
_NOTES = {
    "accuracy": "Pairs whose chosen response scores higher; ties count half.",
    "loss": "Comparable between runs of one objective with the same parameters only.",
    "nll": "Of the responses to imitate; lower is likelier.",
    "margins": "On each objective's own scale.",
    "win_rate": "Of each run's own samples over its own initial policy, where it was sampled.",
    "sampled_kl": "From each run's own initial policy, where it was sampled.",
}
COMPARED = (*(replace(c, note=_NOTES[c.name]) for c in CURVES if c.name in _NOTES), _CHOSEN)


def write_comparison(run_folders: Sequence[Path | str], path: Path) -> Path:
    """Write one page that compares two to eight runs; returns its path.

    Raises:
        LuceError: too few or too many runs, the same folder twice, or a folder that is not a run.
    """
    if not 2 <= len(run_folders) <= MOST_RUNS:
        raise LuceError(
            f"A comparison takes 2 to {MOST_RUNS} runs; {len(run_folders)} were given. For one "
            "run, write its report."
        )
    resolved = [Path(folder).resolve() for folder in run_folders]
    for index, folder in enumerate(resolved):
        if folder in resolved[:index]:
            raise LuceError(f"{run_folders[index]}: named twice. Name each run once.")
    write_atomic(path, render_comparison([load_run(folder) for folder in run_folders]))
    return path


def render_comparison(runs: Sequence[Run]) -> str:
    """The page. Runs are lettered A, B, C … in the figures and named in the table."""
    letters = [chr(ord("A") + index) for index in range(len(runs))]
    curves = []
    for curve in COMPARED:
        figure = draw_overlaid(runs, letters, curve)
        if figure is not None:
            curves.append((curve, inline_svg(figure, curve.name, curve.title, _words(runs, curve))))
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # two runs of one recipe are told apart by their folders
        names = [f"{run.name} ({run.folder.resolve().name})" for run in runs]
    data = {summary.data_fingerprint(run) for run in runs}
    return render(
        "compare.html.j2",
        {
            "rows": [
                _row(run, letter, index, name)
                for index, (run, letter, name) in enumerate(zip(runs, letters, names, strict=True))
            ],
            "same_data": len(data) == 1 and None not in data,
            "curves": curves,
        },
    )


def _row(run: Run, letter: str, index: int, name: str) -> dict[str, Any]:
    parameters = run.get("objective.parameters") or {}
    lengths = summary.length_of(run)
    return {
        "letter": letter,
        "color": f"--run-{index}",
        "name": name,
        "objective": run.get("objective.name"),
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()),
        "status": run.get("status"),
        "seed": run.get("seed"),
        "steps": run.get("steps"),
        "win_rate": summary.win_rate_of(run),
        "accuracy": summary.accuracy_of(run),
        "likelihood": summary.likelihood_of(run),
        "length": lengths[1] if lengths else None,
        "kl": summary.kl_of(run),
    }


def _words(runs: Sequence[Run], curve: Curve) -> str:
    said = []
    for index, run in enumerate(runs):
        series = run.series(curve.lines[0].metric, "eval").finite
        if len(series):
            said.append(
                f"{chr(ord('A') + index)}, {run.name}: {number(series.values[0])} at step "
                f"{series.steps[0]}, {number(series.values[-1])} at step {series.steps[-1]}"
            )
    return f"{curve.title} ({curve.unit}), held out. {'; '.join(said)}."
