"""Weighted sums of objectives: MPO, Cal-DPO, APO-down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.errors import RecipeError
from luce.objectives.check import number
from luce.objectives.needs import Needing, union
from luce.objectives.writing import is_sum, total
from luce.types import CostFunction, PerGroup, Scope, Structure


@dataclass(frozen=True)
class WeightedSum(Needing):
    """Σ λ_i · cost_i of objectives that take the same batch.

    Attributes:
        parts: (λ, objective), at least one; margins and metrics are the first part's.
        name, parameters, source: which published method this is, for the run's manifest.

    Raises:
        RecipeError: the parts take batches of different structure, or weigh groups differently.
    """

    parts: Sequence[tuple[float, CostFunction]]
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        structures = {part.structure for _, part in self.parts}
        if len(structures) != 1:
            found = ", ".join(f"{part.name} ({part.structure})" for _, part in self.parts)
            raise RecipeError(
                f"objective.{self.name}: its parts take different rows: {found}. All must be of "
                "one structure."
            )

    @property
    def structure(self) -> Structure:
        return self.parts[0][1].structure

    @property
    def needs(self) -> frozenset[str]:
        """What the batch must carry besides log π (`luce.objectives.needs`)."""
        return union(part.needs for _, part in self.parts)

    @property
    def scope(self) -> Scope:
        """ "batch" where that of any part is."""
        return "batch" if any(part.scope == "batch" for _, part in self.parts) else "group"

    @property
    def formula(self) -> str:
        """Every part with its weight."""
        terms = [_weighted(weight, part.formula) for weight, part in self.parts]
        if self.structure == "unpaired":  # each says of both kinds of responses what they cost
            return " + ".join(terms)
        return total(terms)

    def margin(self, batch: Any) -> PerGroup:
        """The first part's."""
        first: Any = self.parts[0][1]
        return first.margin(batch)

    def __call__(self, batch: Any) -> PerGroup:
        """The cost of each group."""
        weight, first = self.parts[0]
        total = weight * first(batch)
        for weight, part in self.parts[1:]:
            total = total + weight * part(batch)
        return total

    def weight(self, batch: Any) -> PerGroup:
        """The first part's, which must be everybody's."""
        first, *others = [part.weight(batch) for _, part in self.parts]
        if not all(torch.equal(first, other) for other in others):
            raise RecipeError(
                f"objective.{self.name}: its parts weigh groups differently, so their sum has no "
                "mean. Combine objectives that weigh groups alike."
            )
        return first

    @torch.no_grad()
    def metrics(self, batch: Any) -> Mapping[str, PerGroup]:
        """Of all parts, the first one's where two report the same; and `loss/NAME` of each part,
        before its weight."""
        values: dict[str, PerGroup] = {}
        for _, part in reversed(self.parts):
            values |= part.metrics(batch)
        return values | {f"loss/{part.name}": part(batch) for _, part in self.parts}

    @torch.no_grad()
    def statistics(self, batch: Any) -> Mapping[str, PerGroup]:
        """Of all parts."""
        values: dict[str, PerGroup] = {}
        for _, part in self.parts:
            values |= part.statistics(batch)
        return values


def _weighted(weight: float, formula: str) -> str:
    """λ · cost, with what needs explaining after it."""
    if formula.startswith("desirable: "):
        return f"[{formula}]" if weight == 1 else f"{number(weight)}·[{formula}]"
    cost, _, where = formula.partition("; ")
    if weight != 1:
        cost = f"{number(weight)}·[{cost}]" if is_sum(cost) else f"{number(weight)}·{cost}"
    return f"{cost}; {where}" if where else cost
