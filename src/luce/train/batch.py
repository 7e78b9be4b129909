"""From responses and the rows they came from to what an objective takes."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from luce.errors import DataError
from luce.types import (
    Batch,
    Demonstrations,
    Group,
    Lists,
    Pairs,
    Responses,
    Structure,
    Unpaired,
)

SIZES: Mapping[Structure, tuple[int, int]] = {
    "pair": (2, 2),
    "unpaired": (1, 2),
    "list": (2, 1 << 30),
    "demonstration": (1, 1),
}


def check_structure(groups: Sequence[Group], structure: Structure) -> None:
    """Raise where a group does not hold as many responses as the objective's structure asks."""
    low, high = SIZES[structure]
    for group in groups:
        if not low <= len(group.branches) <= high:
            raise DataError(
                f"{group.place}: {len(group.branches)} responses, but a {structure!r} objective "
                f"takes {low if low == high else f'{low} or more'} to a prompt."
            )


def collate(
    responses: Responses,
    groups: Sequence[Group],
    structure: Structure,
    running: Mapping[str, float] | None = None,
) -> Batch:
    """The batch that an objective of this structure takes.

    Args:
        responses: of all groups, group after group, as `pack` lays them out.
        groups: where labels, margins and scores come from.
        running: running statistics that the objective asked for (unpaired only).
    """
    like, device = responses.policy.dtype, responses.lengths.device

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=like, device=device)

    first = torch.tensor([0, *[len(g.branches) for g in groups[:-1]]], device=device).cumsum(0)
    match structure:
        case "pair":
            scores = [g.scores if g.scores else (math.nan, math.nan) for g in groups]
            return Pairs(
                chosen=responses.take(first),
                rejected=responses.take(first + 1),
                label=column([g.label for g in groups]),
                margin=column([g.margin for g in groups]),
                score_chosen=column([s[0] for s in scores]),
                score_rejected=column([s[1] for s in scores]),
            )
        case "unpaired":
            mismatched = all(len(g.branches) == 2 for g in groups)
            return Unpaired(
                response=responses.take(first),
                desirable=column([g.label for g in groups]),
                mismatched=responses.take(first + 1) if mismatched else None,
                running=dict(running or {}),
            )
        case "list":
            return Lists(
                responses=responses,
                sizes=torch.tensor([len(g.branches) for g in groups], device=device),
                scores=column([s for g in groups for s in g.scores]),
            )
        case "demonstration":
            return Demonstrations(response=responses)
