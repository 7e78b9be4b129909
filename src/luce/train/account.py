"""What the micro-batches of a step cost, read once, when the step is through.

Reading a number off a GPU waits for everything that was sent to it before. So costs, weights and
metrics of all micro-batches are kept as tensors, and come over together when the gradients are
there and before the weights move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from luce.train.metrics import Means
from luce.types import Group


@dataclass(frozen=True)
class Entry:
    """A batch: its groups, the cost and the weight of each, metrics and statistics by name."""

    groups: Sequence[Group]
    cost: Tensor
    weight: Tensor
    metrics: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]


@dataclass
class Account:
    """The batches of a step, as they come."""

    entries: list[Entry] = field(default_factory=list)

    def add(
        self,
        groups: Sequence[Group],
        cost: Tensor,
        weight: Tensor,
        metrics: Mapping[str, Tensor],
        statistics: Mapping[str, Tensor],
    ) -> None:
        """Take in a batch. Reads nothing."""
        entry = Entry(groups, cost.detach(), weight.detach(), metrics, statistics)
        self.entries.append(entry)

    def read(self) -> list[Entry]:
        """The batches with their numbers on the CPU in float64, in one transfer a device."""
        every = [
            tensor
            for entry in self.entries
            for tensor in (
                entry.cost,
                entry.weight,
                *entry.metrics.values(),
                *entry.statistics.values(),
            )
        ]
        here = iter(_on_cpu(every))
        return [
            Entry(
                entry.groups,
                next(here),
                next(here),
                {name: next(here) for name in entry.metrics},
                {name: next(here) for name in entry.statistics},
            )
            for entry in self.entries
        ]


def tell(entry: Entry, means: Means, statistics: Means) -> float:
    """Add a batch that was read to means and statistics; returns its weight."""
    weight = float(entry.weight.sum())
    means.add_sum("loss", float((entry.cost * entry.weight).sum()), weight)
    means.add_sum("loss/groups", len(entry.groups), len(entry.groups))
    means.add(entry.metrics)
    statistics.add(entry.statistics)
    return weight


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers in float64, flat, on the CPU."""
    found: dict[int, Tensor] = {}
    for device in {tensor.device for tensor in tensors}:
        numbers = [n for n, tensor in enumerate(tensors) if tensor.device == device]
        flat = [tensors[n].detach().reshape(-1) for n in numbers]
        together = torch.cat([t if t.is_floating_point() else t.float() for t in flat])
        parts = together.cpu().double().split([len(t) for t in flat])
        found |= dict(zip(numbers, parts, strict=True))
    return [found[n] for n in range(len(tensors))]
