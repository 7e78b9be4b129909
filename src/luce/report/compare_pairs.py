"""Differences between two runs on the very same held-out pairs and prompts.

What two runs have in common cancels in a paired difference, so its interval is often far narrower
than those of the two numbers would suggest.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.intervals import Estimate, bootstrap
from luce.report.numbers import is_number, number, number_range
from luce.report.run import Run

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """A number of one run less that of the first.

    Attributes:
        name, title, unit: what is compared; shares in percentage points, as 100 times the share.
        run: the number of the run, from 1 on; the first run is 0.
        estimate: the mean difference, its interval by drawing prompts, n prompts.
        rows: pairs or prompts that both runs have.
    """

    name: str
    title: str
    unit: str
    run: int
    estimate: Estimate
    rows: int

    @property
    def words(self) -> str:
        """Value, interval and what it says."""
        value, low, high = self.estimate.value, self.estimate.low, self.estimate.high
        verdict = "higher" if low > 0 else "lower" if high < 0 else "open"
        sign = "+" if value > 0 else ""
        return f"{sign}{number(value)} ({number_range(low, high)}) {self.unit}: {verdict}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "unit": self.unit, "run": self.run, "rows": self.rows} | (
            self.estimate.plain()
        )


def paired_differences(runs: Sequence[Run]) -> list[Difference]:
    """Every run against the first, in each number that both have on the same rows."""
    found: list[Difference] = []
    for number_, run in enumerate(runs[1:], start=1):
        found += _held_out(runs[0], run, number_) + _sampled(runs[0], run, number_)
    return found


def _held_out(first: Run, other: Run, run: int) -> list[Difference]:
    """Of held-out pairs: whether the margin is above 0, a tie half; and the margin itself where
    both objectives are the same."""
    pairs = _matched_pairs(first, other)
    prompts = [a["prompt"] for a, _ in pairs]
    wins = [_win(b["margin"]) - _win(a["margin"]) for a, b in pairs]
    found = _difference("accuracy", "held-out accuracy", "points", run, wins, prompts, 100.0)
    formula = first.get("objective.formula")
    if formula is not None and formula == other.get("objective.formula"):
        margins = [b["margin"] - a["margin"] for a, b in pairs]
        found += _difference("margin", "held-out margin", "score", run, margins, prompts)
    return found


def _matched_pairs(first: Run, other: Run) -> list[tuple[Row, Row]]:
    """The pairs that both runs held out: of the same place in the same file, wherever that lies
    now; of other files, those with one id and the same tokens for a prompt."""
    same_files = _same(first, other, "data.train.sha256") and (
        first.get("data.eval.sha256") == other.get("data.eval.sha256")
    )

    def key(row: Row) -> Hashable:
        name = str(row.get("id"))
        if same_files:
            return row.get("line"), name.removeprefix(str(row.get("file")))
        return name, row.get("prompt")

    theirs = {key(row): row for row in other.pairs if is_number(row.get("margin"))}
    pairs = [(row, theirs.get(key(row))) for row in first.pairs if is_number(row.get("margin"))]
    return [(row, twin) for row, twin in pairs if twin is not None]


def _sampled(first: Run, other: Run, run: int) -> list[Difference]:
    """Of samples on the same prompts: length, whether they end, reward, and P(better than the
    initial policy's) where the initial policy and the annotator are the same."""
    theirs = dict(_by_prompt(other.samples))
    pairs = [(row, theirs[key]) for key, row in _by_prompt(first.samples) if key in theirs]
    prompts = [row["prompt"] for row, _ in pairs]

    def of(name: str, title: str, unit: str, key: str, factor: float = 1.0) -> list[Difference]:
        kept = [
            (float(b[key]) - float(a[key]), prompt)
            for (a, b), prompt in zip(pairs, prompts, strict=True)
            if _known(a.get(key)) and _known(b.get(key))
        ]
        values, drawn = [value for value, _ in kept], [prompt for _, prompt in kept]
        return _difference(name, title, unit, run, values, drawn, factor)

    found = []
    if _same(first, other, "model.initial_hash") and _annotator(first) == _annotator(other):
        title = "win rate over the initial policy"
        found += of("win_rate", title, "points", "preference", 100.0)
    found += of("reward", "reward of samples", "reward", "after_reward")
    found += of("length", "length of samples", "tokens", "after_tokens")
    return found + of("ended", "samples that end", "points", "after_ended", 100.0)


def _difference(
    name: str,
    title: str,
    unit: str,
    run: int,
    values: Sequence[float],
    prompts: Sequence[Hashable],
    factor: float = 1.0,
) -> list[Difference]:
    if len(values) < 2:
        return []
    column = factor * np.asarray(values, dtype=float)
    mean = bootstrap(lambda rows: float(column[rows].mean()), len(column), prompts)
    return [Difference(name, title, unit, run, mean, len(column))]


def _by_prompt(samples: Sequence[Row]) -> list[tuple[tuple[str, int], Row]]:
    """Samples under their prompt and how often it came before."""
    seen: Counter[str] = Counter()
    found = []
    for row in samples:
        prompt = str(row.get("prompt"))
        found.append(((prompt, seen[prompt]), row))
        seen[prompt] += 1
    return found


def _known(value: Any) -> bool:
    return isinstance(value, bool) or is_number(value)


def _same(first: Run, other: Run, path: str) -> bool:
    return first.get(path) is not None and first.get(path) == other.get(path)


def _annotator(run: Run) -> Any:
    rate = run.evaluation.get("win_rate")
    return rate.get("annotator") if isinstance(rate, Mapping) else None


def _win(margin: float | int) -> float:
    return 1.0 if margin > 0 else 0.5 if margin == 0 else 0.0
