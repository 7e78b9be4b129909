"""Random ragged batches with every column that any objective may need, and what laws do to them."""

from dataclasses import fields, replace
from functools import cache
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from luce.objectives import OBJECTIVES, Objective
from luce.types import Demonstrations, Lists, Pairs, Responses, Unpaired

LAW = settings(derandomize=True, deadline=None, database=None, max_examples=15)
QUICK = settings(LAW, max_examples=4)
"""For laws that are tried on every objective."""

LENGTHS = ((2, 4), (3, 1), (1, 1), (5, 2))
COLUMNS = ("history", "policy_2", "policy_3", "kl", "sum_p2")
DIFFERENTIABLE = ("kl", "policy_2", "policy_3")
RUNNING = {
    "kl": 0.3,
    "margin": 0.05,
    "margin_squared": 0.4,
    "rewards/good": 0.2,
    "rewards/bad": -0.1,
}
ON_PAIRS = [name for name in OBJECTIVES if OBJECTIVES[name]().structure == "pair"]


@cache
def made(name: str) -> Any:
    """The preset with its defaults."""
    return OBJECTIVES[name]()


def _side(
    generator: torch.Generator, lengths: tuple[int, ...], dtype: torch.dtype, spread: float
) -> Responses:
    n = sum(lengths)
    random = torch.rand(2 + len(COLUMNS), n, generator=generator, dtype=torch.float64)
    policy, reference, *others = (-spread * random).to(dtype)
    columns: dict[str, Tensor] = dict(zip(COLUMNS, others, strict=True))
    columns["kl"] = -columns["kl"]
    columns["sum_p2"] = (0.05 + 0.95 * random[-1]).to(dtype)
    for name in DIFFERENTIABLE:
        columns[name] = columns[name].clone().requires_grad_()
    grades = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    return Responses(
        policy.clone().requires_grad_(),
        torch.tensor(lengths),
        reference.clone(),
        columns,
        grades.to(dtype).requires_grad_(),
    )


def make_pairs(
    seed: int = 0,
    lengths: tuple[tuple[int, int], ...] | list[tuple[int, int]] = LENGTHS,
    spread: float = 3.0,
    dtype: torch.dtype = torch.float64,
) -> Pairs:
    """Random pairs with soft labels, of these numbers of tokens; log-probabilities lie between
    −spread and 0."""
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = (
        _side(generator, tuple(side), dtype, spread) for side in zip(*lengths, strict=True)
    )
    n = len(lengths)
    label, low, difference, margin, sample = torch.rand(
        5, n, generator=generator, dtype=torch.float64
    )
    return Pairs(
        chosen,
        rejected,
        label.to(dtype),
        margin=margin.to(dtype),
        score_chosen=(low + 0.1 + 2 * difference).to(dtype),
        score_rejected=low.to(dtype),
        reference_sample=sample.round().to(dtype),
        keys=torch.randint(2**62, (n,), generator=generator),
        running=RUNNING,
    )


def worlds(least: int = 1, most: int = 4, longest: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of `make_pairs`."""
    length = st.integers(1, longest)
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**31),
            "lengths": st.lists(st.tuples(length, length), min_size=least, max_size=most),
            "spread": st.sampled_from((0.01, 1.0, 6.0)),
        }
    )


def some_pairs(least: int = 1, most: int = 4, longest: int = 4) -> st.SearchStrategy[Pairs]:
    """Any `make_pairs`."""
    return worlds(least, most, longest).map(lambda world: make_pairs(**world))


def there(value: Tensor | None) -> Tensor:
    """The same: these batches lack nothing."""
    assert value is not None
    return value


def hard(pairs: Pairs) -> Pairs:
    """The same with labels of 0 and 1, and scores that agree with them."""
    label, grades = there(pairs.label).round(), torch.stack(graded(pairs))
    better, worse = grades.max(0).values, grades.min(0).values
    return replace(
        pairs,
        label=label,
        score_chosen=torch.where(label == 1, better, worse),
        score_rejected=torch.where(label == 1, worse, better),
    )


def graded(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Grades of chosen and of rejected."""
    return there(pairs.score_chosen), there(pairs.score_rejected)


def certain(pairs: Pairs) -> Pairs:
    """The same where every chosen response is the preferred one."""
    return replace(pairs, label=None)


def judged(objective: Any, pairs: Pairs) -> Pairs:
    """The pairs with the labels that the objective takes: an offset wants to know who is better."""
    return hard(pairs) if objective.name == "odpo" and pairs.label is not None else pairs


def joined(one: Responses, other: Responses) -> Responses:
    """All responses of both, one after the other."""
    return Responses(
        torch.cat([one.policy, other.policy]),
        torch.cat([one.lengths, other.lengths]),
        torch.cat([one.reference_tokens, other.reference_tokens]),
        {name: torch.cat([one.columns[name], other.columns[name]]) for name in one.columns},
        None if one.reward is None else torch.cat([one.reward, there(other.reward)]),
    )


def sizes(responses: int) -> list[int]:
    """Responses cut into lists of 3, 2, 3, 2 …, the last one a little longer where one is left."""
    found: list[int] = []
    while responses:
        size = min(2 if len(found) % 2 else 3, responses)
        size += responses - size == 1
        found.append(size)
        responses -= size
    return found


def batch_of(objective: Any, pairs: Pairs) -> Any:
    """The pairs, or the same responses as a batch of the objective's structure."""
    if objective.structure == "pair":
        return judged(objective, pairs)
    if objective.structure == "demonstration":
        return Demonstrations(pairs.chosen)
    both = joined(pairs.chosen, pairs.rejected)
    n = len(pairs)
    if objective.structure == "unpaired":
        desirable = torch.tensor([1.0, 0.0] * n).to(both.policy.dtype)
        backwards = both.take(torch.arange(2 * n - 1, -1, -1))
        return Unpaired(both, desirable, backwards, pairs.running)
    grades = torch.cat(graded(pairs))
    return Lists(both, torch.tensor(sizes(2 * n)), grades)


def leaves(pairs: Pairs) -> list[Tensor]:
    """Everything a gradient may flow to."""
    return [
        leaf
        for y in (pairs.chosen, pairs.rejected)
        for leaf in (y.policy, there(y.reward), *(y.columns[name] for name in DIFFERENTIABLE))
    ]


def gradients(costs: Tensor, pairs: Pairs) -> list[Tensor]:
    """Of the sum of the costs, with respect to `leaves`."""
    of = leaves(pairs)
    found = torch.autograd.grad(costs.sum(), of, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(of, found, strict=True)]


def select(batch: Any, index: Tensor) -> Any:
    """The groups with these numbers, in this order."""
    if isinstance(batch, Lists):
        starts = batch.sizes.cumsum(0) - batch.sizes
        runs = [torch.arange(int(batch.sizes[i])) + starts[i] for i in index.tolist()]
        these = torch.cat(runs)
        return Lists(batch.responses.take(these), batch.sizes[index], batch.scores[these])
    values: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Responses):
            values[field.name] = value.take(index)
        elif isinstance(value, Tensor) and field.name != "prior":
            values[field.name] = value[index]
    return replace(batch, **values)


def swap_some(pairs: Pairs, where: Tensor) -> Pairs:
    """The pairs, some of them with their responses in the other order and a label of 1 − p."""
    n, swapped = len(pairs), pairs.swap()
    both = joined(pairs.chosen, pairs.rejected)
    index = torch.arange(n)
    mixed = {
        name: torch.where(where, getattr(swapped, name), getattr(pairs, name))
        for name in ("label", "score_chosen", "score_rejected", "reference_sample")
        if getattr(pairs, name) is not None
    }
    return replace(
        pairs,
        chosen=both.take(torch.where(where, index + n, index)),
        rejected=both.take(torch.where(where, index, index + n)),
        **mixed,
    )


def without_likelihood(objective: Any) -> Any:
    """An objective on pairs without the terms that look at the chosen response alone."""
    if not isinstance(objective, Objective):
        return objective
    kept = tuple(r for r in objective.regularizers if r.metric is None)
    return replace(objective, regularizers=kept)
