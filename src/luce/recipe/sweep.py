"""`luce sweep`: one recipe with several values of some keys, each combination a run of its own.

A run is a process, so that its memory is free when it ends. What is finished is not run again; what
was interrupted goes on; what fails is recorded, and the others go on.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from luce.errors import LuceError
from luce.files import write_atomic, write_json
from luce.recipe.sweep_plan import Plan, Planned, state_of
from luce.report import write_report
from luce.report.sweep_fold import SweepRun, metric_of, results_of
from luce.report.sweep_page import sweep_json, sweep_page
from luce.train.fit import locked
from luce.train.lines import TERMINATED, sigterm_noted

POLL_S = 0.2
"""Seconds between looks at the processes."""


@dataclass
class Sweep:
    """A sweep under way.

    Attributes:
        plan: what is to be run.
        workers: processes at once.
        console: where progress is told.
        command: what was typed, for the page.
        outcomes: name → the run as it ended.
    """

    plan: Plan
    workers: int = 1
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    command: Sequence[str] = ()
    outcomes: dict[str, SweepRun] = field(default_factory=dict)
    _live: dict[str, tuple[Planned, subprocess.Popen[bytes]]] = field(default_factory=dict)
    _waits: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise LuceError(f"--workers: expected 1 or more, got {self.workers}.")

    def carry_out(self) -> list[SweepRun]:
        """Run what is not finished; returns every run as it ended, in the plan's order.

        Raises:
            LuceError: another sweep uses the folder.
            SystemExit: 143 after a SIGTERM, which the runs are sent as well: each leaves a
                checkpoint, and the same command goes on from there.
        """
        folder = self.plan.folder
        with locked(folder), sigterm_noted() as stop:
            if self.plan.recipe.resolve() != (folder / "recipe.yaml").resolve():
                # what an editor does to the recipe meanwhile must not reach the later runs
                shutil.copyfile(self.plan.recipe, folder / "recipe.yaml")
            waiting: list[Planned] = []
            for run in self.plan.runs:
                if run.state == "finished":
                    self._end(run, "")
                else:
                    waiting.append(run)
            if self.outcomes:
                self._tell(f"{len(self.outcomes)} of {len(self.plan.runs)} runs are finished")
            self._write()
            try:
                while waiting or self._live:
                    self._start(waiting)
                    self._collect()
                    if stop["now"]:
                        raise SystemExit(TERMINATED)
                    time.sleep(POLL_S)
            finally:
                self._stop_all()
        return self._write()

    def _start(self, waiting: list[Planned]) -> None:
        """Start runs until all workers are busy; one that another process trains has to wait."""
        for run in list(waiting):
            if len(self._live) >= self.workers:
                return
            if in_use(run.folder):
                if run.name not in self._waits:
                    self._waits.add(run.name)
                    self._tell(f"{run.name}: waits, for another process trains it")
                continue
            waiting.remove(run)
            state = state_of(run.folder)
            if state == "finished":  # by the process that it waited for
                self._end(run, "")
                continue
            self._tell(f"{run.name}: {'goes on' if state == 'resume' else 'starts'}")
            self._live[run.name] = run, self._process(run, resume=state == "resume")

    def _process(self, run: Planned, resume: bool) -> subprocess.Popen[bytes]:
        words = [*train_command(self.plan.folder / "recipe.yaml", run), *["--resume"] * resume]
        log = self.log_of(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if self.workers > 1:  # several that all take every core wait for each other
            threads = max(1, (os.cpu_count() or 1) // self.workers)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        with open(log, "ab") as stream:
            # a session of its own: Ctrl-C reaches this process, which asks the runs to stop
            return subprocess.Popen(
                words, stdout=stream, stderr=stream, env=environment, start_new_session=True
            )

    def _collect(self) -> None:
        for name, (run, process) in list(self._live.items()):
            code = process.poll()
            if code is not None:
                del self._live[name]
                done = code == 0 and state_of(run.folder) == "finished"
                self._end(run, "" if done else self._reason(run, code))
                self._write()

    def _end(self, run: Planned, error: str) -> None:
        status, results = ("failed", {}) if error else ("finished", results_of(run.folder))
        if not error and not (run.folder / "report.html").exists():
            write_report(run.folder)  # a kill came between the last number and its page
        self.outcomes[run.name] = SweepRun(run.name, run.folder, run.values, status, error, results)
        if run.state != "finished" or error:
            told = [
                f"{metric_of(key).title} {metric_of(key).told(results[key])}"
                for key in ("win_rate", "accuracy", "kl")
                if key in results
            ]
            self._tell(f"{run.name}: {f'failed: {error}' if error else ', '.join(told) or 'done'}")

    def _reason(self, run: Planned, code: int) -> str:
        """Why a run failed: what its log says last, or how the process ended."""
        lines = self.log_of(run).read_text("utf-8", "replace").splitlines()
        told = [line.removeprefix("luce: ") for line in lines if line.startswith("luce: ")]
        if code > 0 and told:
            return told[-1]
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        return f"the process ended {how}; see {self.log_of(run)}."

    def _stop_all(self) -> None:
        """Ask what still runs to leave a checkpoint and end."""
        for _, process in self._live.values():
            process.terminate()
        for _, process in self._live.values():
            process.wait()

    def _write(self) -> list[SweepRun]:
        runs = [
            self.outcomes.get(r.name, SweepRun(r.name, r.folder, r.values, "waiting"))
            for r in self.plan.runs
        ]
        folder, recipe = self.plan.folder, str(self.plan.recipe)
        write_json(folder / "sweep.json", sweep_json(recipe, runs, self.command))
        write_atomic(folder / "sweep.html", sweep_page(folder, recipe, runs, self.command))
        return runs

    def log_of(self, run: Planned) -> Path:
        """What the process of a run said."""
        return self.plan.folder / "logs" / f"{run.name}.log"

    def _tell(self, text: str) -> None:
        done = len(self.outcomes)
        self.console.print(
            f"[{done}/{len(self.plan.runs)}] {text}".replace("\xa0", " "),
            markup=False,
            soft_wrap=True,
        )


def train_command(recipe: Path, run: Planned) -> list[str]:
    """The command line of a run's process."""
    return [sys.executable, "-m", "luce", "train", str(recipe), *run.overrides]


def in_use(folder: Path) -> bool:
    """Whether another process holds a run folder: one that an earlier sweep left behind, say."""
    try:
        with open(folder / ".lock") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
