"""Several runs side by side: what differs in their making, results, paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from luce.errors import LuceError
from luce.files import write_atomic
from luce.report import summary
from luce.report.compare_pairs import Difference, paired_differences
from luce.report.compare_recipes import Fact, KeyDifference, facts, recipe_differences
from luce.report.compare_results import METRICS, Metric
from luce.report.curves import CURVES, Curve, Line
from luce.report.numbers import number
from luce.report.page import render
from luce.report.plots import RUN_COLORS, draw_overlaid
from luce.report.run import Run, load_run
from luce.report.summary import Interval
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


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, lettered A, B, C … in their order.

    Attributes:
        runs, letters, names: of each run.
        keys: in which the recipes differ.
        facts: data, model, reference and versions, the same or not.
        results: a metric, and each run's number; those that no run has are left out.
        differences: of each later run from the first, on the same pairs or prompts.
        same_data: whether all were trained and held out on the same rows, and say so.
    """

    runs: tuple[Run, ...]
    letters: tuple[str, ...]
    names: tuple[str, ...]
    keys: tuple[KeyDifference, ...]
    facts: tuple[Fact, ...]
    results: tuple[tuple[Metric, tuple[Interval | None, ...]], ...]
    differences: tuple[Difference, ...]
    same_data: bool

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": [
                {
                    "letter": letter,
                    "name": name,
                    "folder": str(run.folder),
                    "status": run.get("status"),
                    "results": {metric.name: _plain(values[i]) for metric, values in self.results},
                }
                for i, (run, letter, name) in enumerate(
                    zip(self.runs, self.letters, self.names, strict=True)
                )
            ],
            "recipe": [key.plain() for key in self.keys],
            "facts": [fact.plain() for fact in self.facts],
            "differences": [
                difference.plain() | {"run": self.letters[difference.run], "from": "A"}
                for difference in self.differences
            ],
        }


def compare_runs(run_folders: Sequence[Path | str]) -> Comparison:
    """Two to eight runs side by side.

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
    return compare([load_run(folder) for folder in run_folders])


def compare(runs: Sequence[Run]) -> Comparison:
    """The comparison of loaded runs."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # two runs of one recipe are told apart by their folders
        names = [f"{run.name} ({run.folder.resolve().name})" for run in runs]
    results = [(metric, tuple(metric.of(run) for run in runs)) for metric in METRICS]
    data = {summary.data_fingerprint(run) for run in runs}
    return Comparison(
        tuple(runs),
        tuple(chr(ord("A") + index) for index in range(len(runs))),
        tuple(names),
        tuple(recipe_differences(runs)),
        tuple(facts(runs)),
        tuple((metric, values) for metric, values in results if any(values)),
        tuple(paired_differences(runs)),
        len(data) == 1 and None not in data,
    )


def write_comparison(run_folders: Sequence[Path | str], path: Path) -> Path:
    """Write one page that compares two to eight runs; returns its path.

    Raises:
        LuceError: as `compare_runs` does.
    """
    write_atomic(path, render_comparison(compare_runs(run_folders)))
    return path


def render_comparison(found: Comparison) -> str:
    """The page. Runs are lettered in the figures and named in the table."""
    curves = []
    for curve in COMPARED:
        figure = draw_overlaid(found.runs, found.letters, curve)
        if figure is not None:
            said = _words(found.runs, curve)
            curves.append((curve, inline_svg(figure, curve.name, curve.title, said)))
    return render(
        "compare.html.j2",
        {
            "found": found,
            "rows": [
                _row(run, letter, index, name)
                for index, (run, letter, name) in enumerate(
                    zip(found.runs, found.letters, found.names, strict=True)
                )
            ],
            "curves": curves,
        },
    )


def _row(run: Run, letter: str, index: int, name: str) -> dict[str, Any]:
    parameters = run.get("objective.parameters") or {}
    return {
        "letter": letter,
        "color": f"--run-{index}",
        "name": name,
        "folder": str(run.folder),
        "objective": run.get("objective.name"),
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()),
        "status": run.get("status"),
        "seed": run.get("seed"),
        "steps": run.get("steps"),
    }


def _plain(value: Interval | None) -> dict[str, Any] | None:
    if value is None:
        return None
    ends = {"value": value.value, "low": value.low, "high": value.high}
    return {name: x if x == x else None for name, x in ends.items()} | {"n": value.n}


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
