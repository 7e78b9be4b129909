"""The runs of a sweep, folded over seeds: mean ± sd of every result, and which settings are not
beaten in both reward and KL."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from luce.report.compare_results import METRICS, Metric
from luce.report.run import Run, load_run

SEED = "train.seed"

TABLED = (
    "win_rate",
    "equal_length",
    "gold",
    "accuracy",
    "nll",
    "kl",
    "length",
    "chosen_per_token",
    "chosen",
)
"""Results in the table of a sweep, in its order."""

REWARDS = ("win_rate", "gold", "accuracy")
"""What the frontier puts against KL: the first that two settings have."""


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep and what came of it.

    Attributes:
        name: of its folder.
        folder: where it lies.
        values: key → value, as written on the command line.
        status: finished, failed, or waiting.
        error: why it failed.
        results: metric → value; those it has.
    """

    name: str
    folder: Path
    values: Mapping[str, str]
    status: str
    error: str = ""
    results: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "name": self.name,
            "folder": str(self.folder),
            "values": dict(self.values),
            "status": self.status,
        }
        if self.error:
            found["error"] = self.error
        return found | {"results": dict(self.results)}


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its standard deviation (n − 1 in the denominator; nan where n = 1)."""

    mean: float
    sd: float
    n: int

    def plain(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {"mean": self.mean, "sd": None if math.isnan(self.sd) else self.sd, "n": self.n}


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but their seed.

    Attributes:
        values: key → value, the seed left out.
        runs: of it, finished or not.
        means: metric → mean over the finished runs that have it.
    """

    values: Mapping[str, str]
    runs: tuple[SweepRun, ...]
    means: Mapping[str, Mean]

    @property
    def finished(self) -> int:
        """How many of its runs are."""
        return sum(run.status == "finished" for run in self.runs)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "values": dict(self.values),
            "runs": len(self.runs),
            "finished": self.finished,
            "means": {name: mean.plain() for name, mean in self.means.items()},
        }


def results_of(folder: Path | str) -> dict[str, float]:
    """The finite numbers of a finished run by the names of the metrics."""
    run: Run = load_run(folder)
    found = {metric.name: metric.of(run) for metric in METRICS}
    return {k: v.value for k, v in found.items() if v is not None and math.isfinite(v.value)}


def metric_of(name: str) -> Metric:
    """The metric of that name."""
    return next(metric for metric in METRICS if metric.name == name)


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Mean, standard deviation and n.

    >>> mean_over_seeds([1.0, 3.0])
    Mean(mean=2.0, sd=1.4142135623730951, n=2)
    """
    column = np.asarray(values, dtype=float)
    sd = float(column.std(ddof=1)) if len(column) > 1 else math.nan
    return Mean(float(column.mean()), sd, len(column))


def fold(runs: Sequence[SweepRun]) -> list[Setting]:
    """The settings, in the order of their first run."""
    groups: dict[tuple[tuple[str, str], ...], list[SweepRun]] = {}
    for run in runs:
        key = tuple((k, v) for k, v in run.values.items() if k != SEED)
        groups.setdefault(key, []).append(run)
    found = []
    for key, members in groups.items():
        done = [run for run in members if run.status == "finished"]
        columns = {name: [r.results[name] for r in done if name in r.results] for name in TABLED}
        means = {name: mean_over_seeds(column) for name, column in columns.items() if column}
        found.append(Setting(dict(key), tuple(members), means))
    return found


def reward_metric(settings: Sequence[Setting]) -> str | None:
    """Which reward the frontier shows; None where no setting has both a reward and a KL."""
    placed = [s for s in settings if "kl" in s.means]
    for least in (2, 1):
        for name in REWARDS:
            if sum(name in setting.means for setting in placed) >= least:
                return name
    return None


def frontier(settings: Sequence[Setting], reward: str) -> list[Setting]:
    """The settings that no other beats: with at least their reward at no more KL, one of the two
    better. By means; neighbours whose sds overlap are not told apart by it."""
    placed = [s for s in settings if reward in s.means and "kl" in s.means]

    def beaten(one: Setting) -> bool:
        r, kl = one.means[reward].mean, one.means["kl"].mean
        return any(
            o.means[reward].mean >= r
            and o.means["kl"].mean <= kl
            and (o.means[reward].mean > r or o.means["kl"].mean < kl)
            for o in placed
        )

    return sorted((s for s in placed if not beaten(s)), key=lambda s: s.means["kl"].mean)
