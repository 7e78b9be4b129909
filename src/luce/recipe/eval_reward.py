"""`luce eval reward-bench --scores`: accuracies of scores in a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from luce.evaluate.reward_bench import RewardBench, reward_bench
from luce.evaluate.reward_bench_2 import RewardBench2, reward_bench_2
from luce.evaluate.reward_files import read_outcomes, read_scored_lists
from luce.intervals import RESAMPLES

Version: TypeAlias = Literal[1, 2]
"""Of RewardBench: pairs, or best of several and ties."""


@dataclass(frozen=True)
class RewardBenchRun:
    """Accuracies, and what gave them.

    Attributes:
        result: of version 1 or 2.
        about: what the scores are.
        skipped: why rows have no scores → how many.
        notes: of a judge: what the order did, calls and price, what is invalid and what is left.
        judging: the same for programs; None where nobody was asked.
        complete: whether every row has its verdicts.
    """

    result: RewardBench | RewardBench2
    about: str
    skipped: dict[str, int]
    notes: tuple[str, ...] = ()
    judging: Mapping[str, Any] | None = None
    complete: bool = True

    def plain(self) -> dict[str, Any]:
        """Values for JSON."""
        found = {"scores": self.about, "skipped": self.skipped} | self.result.plain()
        return found if self.judging is None else found | {"judging": dict(self.judging)}

    def lines(self) -> list[str]:
        """A table for a terminal, and what to know about it."""
        said = [f"{self.about}", *self.result.lines()]
        if self.skipped:
            left_out = sum(self.skipped.values())
            said.append(f"{left_out:,} rows have no scores: {words(self.skipped)}.")
        return [*said, *self.notes]


def words(skipped: Mapping[str, int]) -> str:
    """Reasons with their counts, most frequent first.

    >>> words({"empty": 1, "longer than 512 tokens": 2})
    'longer than 512 tokens 2, empty 1'
    """
    ordered = sorted(skipped.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered)


def from_scores(
    path: Path, version: Version = 1, *, seed: int = 0, resamples: int = RESAMPLES
) -> RewardBenchRun:
    """The accuracies of scores in a file (`read_outcomes`, `read_scored_lists`).

    Raises:
        DataError: the file cannot be used.
        LuceError: no row has scores.
    """
    about = f"scores of {path}"
    if version == 1:
        result = reward_bench(read_outcomes(path), seed=seed, resamples=resamples)
    else:
        result = reward_bench_2(read_scored_lists(path), seed=seed, resamples=resamples)
    return RewardBenchRun(result, about, {})
