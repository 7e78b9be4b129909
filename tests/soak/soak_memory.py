"""Whether memory is flat: within a process that lives long, and from each process of a workload to
the next."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.intervals import Estimate, bootstrap

WARM_UP = 0.2
"""The share of a process's life that is left out: it loads, and its caches fill."""
BLOCK_S = 180.0
"""Samples of the same three minutes resemble each other: they are drawn together."""
WEEK = 168
"""Hours."""
ENOUGH = 6
"""Blocks, or processes, below which nothing is said of a slope."""


@dataclass(frozen=True)
class Slope:
    """How memory changes.

    Attributes:
        name: of the process, or of the workload.
        mib: of a process, memory at the start (after warm-up) and at the end; of a workload, the
            peak of the undisturbed run and the largest one of the others.
        slope: MiB an hour, or MiB from one process to the next.
        n: samples, or processes.
        bounded: no process of the workload held more than the undisturbed one did.
    """

    name: str
    mib: tuple[float, float]
    slope: Estimate
    n: int
    bounded: bool = False

    @property
    def flat(self) -> bool:
        """Whether the interval does not lie above 0, or a week at its upper end (`WEEK` hours, or
        processes) would add less than a tenth, or memory is bounded."""
        if self.bounded or not self.slope.low > 0.0:
            return True
        return self.slope.high * WEEK < self.mib[0] / 10

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "mib": [round(each, 1) for each in self.mib], "n": self.n,
                "slope": self.slope.plain(), "flat": self.flat}  # fmt: skip


def least_squares(x: np.ndarray, y: np.ndarray) -> float:
    """The slope of y on x; nan where all x are the same."""
    apart = x - x.mean()
    square = float(apart @ apart)
    return float(apart @ y) / square if square > 0.0 else float("nan")


def within(name: str, t: Sequence[float], rss_mib: Sequence[float]) -> Slope | None:
    """MiB an hour of one process; None where it lived too short for an interval.

    Args:
        t: seconds.
        rss_mib: the resident set at these times.
    """
    x, y = np.asarray(t, dtype=float), np.asarray(rss_mib, dtype=float)
    if len(x) == 0:
        return None
    warm = x >= x[0] + WARM_UP * (x[-1] - x[0])
    x, y = x[warm], y[warm]
    blocks = [int(b) for b in (x - x[0]) // BLOCK_S]
    if len(set(blocks)) < ENOUGH:
        return None
    slope = bootstrap(lambda rows: 3600 * least_squares(x[rows], y[rows]), len(x), blocks)
    edge = max(1, len(y) // 20)
    return Slope(name, (float(y[:edge].mean()), float(y[-edge:].mean())), slope, len(x))


def between(name: str, calm_mib: Sequence[float], peaks_mib: Sequence[float]) -> Slope | None:
    """MiB of peak from one process of a workload to the next; None where there are too few.

    Args:
        calm_mib: peaks of the undisturbed runs.
        peaks_mib: of the processes that were killed and resumed, in the order of their start.
    """
    y = np.asarray(peaks_mib, dtype=float)
    if len(y) < ENOUGH or not calm_mib:
        return None
    x = np.arange(len(y), dtype=float)
    slope = bootstrap(lambda rows: least_squares(x[rows], y[rows]), len(y))
    calm, largest = max(calm_mib), float(y.max())
    return Slope(name, (calm, largest), slope, len(y), bounded=largest <= calm)


def slopes_within(samples: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[Slope]:
    """Of each of these processes, from the lines of memory.jsonl."""
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for line in samples:
        if line["name"] in names:
            found[line["name"]][0].append(line["t"])
            found[line["name"]][1].append(line["rss"] / 1024)
    each = (within(name, *found[name]) for name in names if name in found)
    return [slope for slope in each if slope is not None]


def slopes_between(events: Iterable[Mapping[str, Any]]) -> list[Slope]:
    """Of each workload, from the ledger. Exports of votes do not count: they do other work."""
    calm: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["event"] != "end" or event["role"].endswith((".votes", ".pairs")):
            continue
        name, kind = event["work"].rsplit("-", 1)[0], event["role"].split()[0]
        if kind in ("calm", "cycle"):
            (calm if kind == "calm" else peaks)[name].append(event["peak_mib"])
    each = (between(name, calm[name], found) for name, found in sorted(peaks.items()))
    return [slope for slope in each if slope is not None]
