"""Means with their counts, added up over micro-batches and ranks."""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

from luce.intervals import wilson_interval


class Means:
    """Sums and counts by name; what becomes of per-group values before anybody sees a mean.

    nan means "does not apply to this group" and is left out of sum and count.
    """

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add per-group values."""
        for name, tensor in values.items():
            finite = tensor.detach().double()
            finite = finite[~finite.isnan()]
            self.add_sum(name, float(finite.sum()), len(finite))

    def add_sum(self, name: str, total: float | int, count: float | int) -> None:
        """Add a sum over `count` things."""
        before, n = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before + total, n + count)

    def merge(self, others: Iterable["Means"]) -> "Means":
        """The means over this and the others' groups."""
        merged = Means()
        for means in (self, *others):
            for name, (total, count) in means.sums.items():
                merged.add_sum(name, total, count)
        return merged

    def __getitem__(self, name: str) -> float:
        total, count = self.sums.get(name, (0.0, 0.0))
        return total / count if count else math.nan

    def count(self, name: str) -> float:
        """How many values went into a mean."""
        return self.sums.get(name, (0.0, 0.0))[1]

    def values(self) -> dict[str, float]:
        """Every mean that has at least one value."""
        return {name: self[name] for name, (_, count) in self.sums.items() if count}


def held_out_record(means: Means, step: int) -> dict[str, object]:
    """A line of metrics.jsonl for held-out rows: means, their n, and intervals of accuracies."""
    record: dict[str, object] = {
        "split": "eval",
        "step": step,
        "n": int(means.count("loss/groups")),
    }
    for name, value in means.values().items():
        if name == "loss/groups":
            continue
        record[f"eval_{name}"] = value
        if name.endswith("accuracies"):
            n = means.count(name)
            low, high = wilson_interval(value * n, n)
            record[f"eval_{name}_low"], record[f"eval_{name}_high"] = low, high
    return record
