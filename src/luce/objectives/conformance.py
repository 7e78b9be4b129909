"""Whether an objective keeps the laws of its kind: for objectives of one's own.

from luce.objectives.conformance import check_objective
assert check_objective(mine) == []
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import number
from luce.objectives.combine import WeightedSum
from luce.objectives.objective import Objective
from luce.objectives.sample import GROUPS, leaves, placed, sample, sides
from luce.types import Batch, CostFunction, Pairs

MOST = 90.0
"""How far log-probabilities go, nats."""


def check_objective(objective: CostFunction) -> list[str]:
    """What an objective does not keep, a sentence each; [] where it keeps everything.

    Tried on random rows: one finite number for each group in float32 and float64; the same where a
    pair is swapped with its label, and where both scores are moved by a constant (likelihood terms
    apart); finite costs and gradients where log-probabilities are 0 and −90, and where policy and
    reference agree; a gradient that is that of finite differences. A part that is meant to carry no
    gradient is found by the last one and may stay.

    >>> from luce.objectives import make_objective
    >>> check_objective(make_objective("dpo", {}))
    []
    """
    for dtype in (torch.float32, torch.float64):
        batch = sample(objective, dtype=dtype)
        try:
            wrong = shape_problem(objective, batch)
        except LuceError as error:
            wrong = f"it does not take random rows: {error}"
        if wrong:
            return [wrong]
    return [*_symmetry(objective, batch), *_finite(objective), *_gradient(objective, batch)]


def shape_problem(objective: CostFunction, batch: Batch) -> str | None:
    """What is wrong with the form of costs, weights, metrics and statistics, or None."""
    like = next(iter(sides(batch).values()))
    kind = like.policy.dtype if like.reward is None else like.reward.dtype
    values: dict[str, Any] = {"cost": objective(batch), "weight": objective.weight(batch)}
    values |= {f"metric {name!r}": x for name, x in objective.metrics(batch).items()}
    values |= {f"statistic {name!r}": x for name, x in objective.statistics(batch).items()}
    for name, x in values.items():
        if not isinstance(x, Tensor) or x.shape != (GROUPS,):
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            return f"its {name} of {GROUPS} groups is {found}; expected a tensor of ({GROUPS},)."
        if name == "cost" and x.dtype != kind:
            return f"its cost is {x.dtype} where log-probabilities are {kind}."
    if not values["cost"].isfinite().all():
        return f"its cost of random rows is not finite: {values['cost'].tolist()}."
    return None


def _symmetry(objective: CostFunction, batch: Batch) -> Iterator[str]:
    """The laws of pairs."""
    if not isinstance(batch, Pairs):
        return
    bare, wide = _without_likelihood(objective), objective.scope == "batch"
    if wide and batch.label is not None:  # it may match responses across pairs, but not labels
        batch = replace(batch, label=torch.full_like(batch.label, 0.7))
    label = torch.ones_like(batch.chosen.length) if batch.label is None else batch.label
    try:
        one, other = bare(batch), bare(replace(batch, label=label).swap())
    except LuceError:  # it refuses a label under ½
        one, other = bare(batch), bare(batch)
    if wide:
        one, other = one.sum(), other.sum()
    if not torch.allclose(one, other):
        yield (
            "swapping a pair and its label changes the cost: the cost of (chosen, rejected, p) "
            "should be that of (rejected, chosen, 1 − p). Does it read the label?"
        )
    if isinstance(bare, Objective):
        score = bare.score
        moved = replace(score, value=lambda y, z: score.value(y, z) + 3.7)
        if not torch.allclose(bare(batch), replace(bare, score=moved)(batch)):
            yield "adding a constant to both scores changes the cost."


def _without_likelihood(objective: CostFunction) -> CostFunction:
    """The preference alone: terms of the chosen response are not symmetric, and need not be."""
    if isinstance(objective, Objective):
        return replace(objective, regularizers=())
    if isinstance(objective, WeightedSum):
        parts = tuple((w, _without_likelihood(part)) for w, part in objective.parts)
        return replace(objective, parts=parts)
    return objective


def _finite(objective: CostFunction) -> Iterator[str]:
    """Costs and gradients where log-probabilities (or rewards) are 0 and −90."""
    ends = (0.0, -MOST)
    for dtype in (torch.float32, torch.float64):
        batch = sample(objective, dtype=dtype)
        for values in itertools.product(ends, ends, ends, ends):
            moved = placed(batch, values)
            to = leaves(moved)
            cost = objective(moved)
            gradients = torch.autograd.grad(cost.sum(), to, materialize_grads=True)
            if not all(x.isfinite().all() for x in (cost, *gradients)):
                a, b, c, d = map(number, values)
                what = "gradient" if cost.isfinite().all() else "cost"
                yield (
                    f"its {what} is not finite in {str(dtype).removeprefix('torch.')} where the "
                    f"log-probabilities of two responses are {a} and {b}, and those of the "
                    f"reference {c} and {d}."
                )
                return


def _gradient(objective: CostFunction, batch: Batch) -> Iterator[str]:
    """Finite differences."""
    judged = sides(batch)

    def cost(*values: Tensor) -> Tensor:
        moved = {
            name: replace(y, **{"policy" if y.reward is None else "reward": value})
            for (name, y), value in zip(judged.items(), values, strict=True)
        }
        return objective(replace(batch, **moved))

    if not torch.autograd.gradcheck(cost, tuple(leaves(batch)), raise_exception=False):
        yield (
            "its gradient is not that of finite differences. Is part of it meant to carry none, "
            "or is a value detached by mistake?"
        )
