"""Steps that would have put a nan or an infinity into the weights, and whose rows are to blame."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from luce.errors import NonFiniteError
from luce.numerics import first_non_finite
from luce.train.ahead import cut_for, smallest
from luce.train.distributed import World
from luce.train.global_batch import gather_batch, values
from luce.train.learner import Learner
from luce.train.sharded import gradient_norm, local_gradients
from luce.types import Group, Responses

Price: TypeAlias = Callable[[list[Group], Responses], tuple[Tensor, Tensor]]
"""The cost and the weight of each group, from the responses to all of them."""


@dataclass(frozen=True)
class Bad:
    """A group that spoils a step.

    Attributes:
        group: its row.
        cost: of the group.
        gradient: the norm of its own gradient; None where its cost is not finite already.
    """

    group: Group
    cost: float
    gradient: float | None = None


class NonFiniteStep(NonFiniteError):
    """A step that would have put a nan or an infinity into the weights. Nothing was updated."""

    def __init__(self, message: str, bad: Sequence[Bad] = ()):
        super().__init__(message)
        self.bad = tuple(bad)

    def rows(self, step: int) -> list[dict[str, Any]]:
        """The lines of nonfinite.jsonl; `step` is the one that was not taken."""
        return [
            {"file": b.group.place.file, "line": b.group.place.line, "id": b.group.id,
             "step": step, "cost": str(b.cost)}
            | ({} if b.gradient is None else {"grad_norm": str(b.gradient)})
            for b in self.bad
        ]  # fmt: skip


def overflow(parameters: Mapping[str, nn.Parameter], world: World, norm: float) -> str:
    """What is wrong with a gradient whose norm is not finite. All ranks must ask."""
    names = [name for name, p in parameters.items() if p.grad is not None]
    gradients = local_gradients(list(parameters.values()))
    found = first_non_finite(zip(names, gradients, strict=True))
    name = next(filter(None, world.gather(found)), None)
    what = f"the gradient of {name!r} is not finite" if name else "the gradient overflows"
    return f"{what} (norm {norm})"


def gradient_failure(step: int, what: str, found: Sequence[Bad], remedy: str) -> NonFiniteStep:
    """The error of a step whose gradient is not finite, with the rows to blame.

    Args:
        step: the one that is not taken, from 1.
        what: is wrong with the gradient.
        found: every row of the step, with the norm of its own gradient.
        remedy: what to do.
    """
    bad = [one for one in found if not _finite(one.gradient)]
    if bad:
        rows = f"{bad[0].group.place}: the gradient of this row alone is not finite "
        rows += f"({len(bad)} such rows in the batch)."
    else:  # a fault of the moment: of the machine, or of what was drawn for the step
        bad = [max(found, key=lambda one: one.gradient or 0.0)]
        rows = "Gone through again, one by one, every row has a finite one; the largest is that of "
        rows += f"{bad[0].group.place} (norm {bad[0].gradient:.3g})."
    return NonFiniteStep(
        f"step {step}: {what}. {rows} No weight was changed; the rows are in nonfinite.jsonl. "
        f"{remedy}",
        bad,
    )


def row_by_row(
    learner: Learner, groups: list[Group], world: World, seed: int, price: Price, together: bool
) -> list[Bad]:
    """Every row of a step with the norm of its own gradient, in the order of the ranks that took
    them; each is gone through alone, so this is slow. The gradients are cleared. All ranks must
    ask.

    Args:
        groups: of the whole step, the same on every rank.
        seed: of dropout.
        price: the cost and the weight of each group.
        together: whether a group's cost depends on all groups.
    """
    parameters = list(learner.trainable().values())
    passes = (_of_all if together else _of_each)(learner, groups, world, seed, price)
    _clear(parameters)
    found = []
    for group, cost, counts in passes:
        norm = gradient_norm(parameters)
        if counts:
            found.append(Bad(group, cost, norm))
        _clear(parameters)
    return [one for share in world.gather(found) for one in share]


def _of_each(
    learner: Learner, groups: list[Group], world: World, seed: int, price: Price
) -> Iterator[tuple[Group, float, bool]]:
    """This rank's groups with their costs, the gradient of each in place when it is yielded; and
    whether it counts (`World.lockstep`)."""
    cut, idle = cut_for(groups, world, 1)  # a micro-batch of one token holds one group
    every = [[groups[i] for i in part] for part in cut] + [smallest(groups)] * idle
    torch.manual_seed(seed)
    for number, some in enumerate(every):
        cost, weight = price(some, learner.respond(some))
        (cost * weight).sum().backward()
        yield some[0], float(cost.detach()), number < len(cut)


def _of_all(
    learner: Learner, groups: list[Group], world: World, seed: int, price: Price
) -> Iterator[tuple[Group, float, bool]]:
    """The same under a cost of the whole batch, each group's share of its gradient."""
    whole = gather_batch(learner, groups, world, 1, seed)
    cost, weight = price(groups, whole.responses)
    total = (cost * weight).sum()
    costs = {id(g): c for g, c in zip(groups, cost.tolist(), strict=True)}
    for part in whole.parts:
        leaves = values(part.leaves)
        if part.counts:
            own = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
        else:
            own = [torch.zeros_like(leaf) for leaf in leaves]
        part.backward(learner, own)
        yield part.groups[0], costs[id(part.groups[0])], part.counts


def _clear(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
