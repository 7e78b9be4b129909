"""Sweeps on the board: the runs that `luce sweep` made stand below one line, with their table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from luce.errors import LuceError
from luce.report.page import Frame, visible
from luce.report.sweep_fold import SEED, SweepRun, fold
from luce.report.sweep_page import headline, sweep_page
from luce.report.watch import is_held

FILE = "sweep.json"
STATUSES = ("finished", "failed", "waiting")

State = Literal["running", "finished", "failed", "stopped"]


@dataclass(frozen=True)
class Sweep:
    """What sweep.json says.

    Attributes:
        recipe: as it was named on the command line.
        command: that made the sweep.
        runs: all that were planned.
    """

    recipe: str
    command: tuple[str, ...]
    runs: tuple[SweepRun, ...]

    @property
    def keys(self) -> list[str]:
        """What is varied, the seed last, by the last part of each key."""
        found = list(dict.fromkeys(key for run in self.runs for key in run.values))
        return [key.rpartition(".")[2] for key in sorted(found, key=lambda key: key == SEED)]

    def state(self, folder: Path) -> State:
        """What becomes of it: a process that makes it holds its folder."""
        statuses = {run.status for run in self.runs}
        if "waiting" in statuses:
            return waiting_state(folder)
        return "failed" if "failed" in statuses else "finished"


def waiting_state(folder: Path) -> State:
    """Of a sweep with runs that wait: whether a process works on it."""
    return "running" if is_held(folder) else "stopped"


def load_sweep(folder: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        LuceError: sweep.json is not what `luce sweep` writes.
        OSError: there is none.
    """
    try:
        found = json.loads((folder / FILE).read_text("utf-8", "replace"))
        runs = tuple(_run(folder, record) for record in found["runs"])
        recipe = visible(str(found["recipe"]))
        command = tuple(visible(str(word)) for word in found["command"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LuceError(f"{FILE} is damaged ({error}).") from error
    return Sweep(recipe, command, runs)


def _run(folder: Path, record: Mapping[str, Any]) -> SweepRun:
    name, status = record["name"], record["status"]
    if not isinstance(name, str) or PurePosixPath(name).name != name or status not in STATUSES:
        raise ValueError(f"a run {name!r} that is {status!r}")
    values = {visible(str(key)): visible(str(value)) for key, value in record["values"].items()}
    results = {str(key): float(value) for key, value in record["results"].items()}
    error = visible(str(record.get("error", "")))
    return SweepRun(visible(name), folder / name, values, status, error, results)


def sweep_cells(folder: Path) -> dict[str, Any]:
    """What the line of a sweep has beside name and path."""
    sweep = load_sweep(folder)
    done = sum(run.status == "finished" for run in sweep.runs)
    return {
        "state": sweep.state(folder),
        "headline": visible(headline(fold(sweep.runs))[0]),
        "objective": f"varies {', '.join(sweep.keys)}" if sweep.keys else "",
        "runs": len(sweep.runs),
        "done": done,
    }


def served_sweep(folder: Path, frame: Frame, link: Callable[[SweepRun], str | None]) -> str:
    """The page of a sweep as the board serves it: `link` is the address of a run's report."""
    sweep = load_sweep(folder)
    return sweep_page(folder, sweep.recipe, sweep.runs, sweep.command, frame, link)


def sweep_of(path: str, sweeps: set[str]) -> str:
    """The path of the sweep that a run belongs to; "" for none."""
    parent = PurePosixPath(path).parent.as_posix()
    return parent if path != "." and parent in sweeps else ""
