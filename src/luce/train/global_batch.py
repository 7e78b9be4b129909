"""Responses of a whole step under one cost, where a group's cost depends on all groups.

A cost of the global batch cannot be added up over micro-batches. So a step goes through it twice:

1. every micro-batch of every process gives its responses; their token values are gathered, put in
   the order of the step's rows, and handed to the objective as one batch;
2. the gradient of the cost with respect to this process's own token values is carried back through
   each of its micro-batches, which are made again for it.

What is kept meanwhile are numbers per token, not activations: memory is that of a micro-batch. The
result does not depend on how the step was cut or on how many processes it was spread over. A
process with a single micro-batch keeps its graph and makes it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from luce.train.ahead import cut_for, smallest
from luce.train.distributed import World
from luce.train.learner import Learner
from luce.types import Group, Responses


@dataclass(frozen=True)
class Part:
    """A micro-batch of this process.

    Attributes:
        groups: its groups.
        seed: of its dropout masks, which must be the same whenever it is made; None: not seeded.
        leaves: its token values, cut off the learner, as the cost sees them.
        graph: the same as the learner gave them, where they were kept.
        counts: False of one that is made because other processes have more (`World.lockstep`).
    """

    groups: list[Group]
    seed: int | None
    leaves: Responses
    graph: Responses | None
    counts: bool = True

    def backward(self, learner: Learner, gradients: Sequence[Tensor | None]) -> None:
        """Carry the gradients of `values(leaves)` into the learner's parameters."""
        responses = self.graph
        if responses is None:
            responses = _respond(learner, self.groups, self.seed)
        pairs = [
            (value, gradient)
            for value, gradient in zip(values(responses), gradients, strict=True)
            if value.requires_grad and gradient is not None
        ]
        if pairs:
            torch.autograd.backward([v for v, _ in pairs], [g for _, g in pairs])


@dataclass(frozen=True)
class GlobalBatch:
    """The responses of all groups of a step, in the order of its rows.

    Attributes:
        responses: of every process; those of this one hang on the leaves of `parts`.
        parts: the micro-batches of this process.
    """

    responses: Responses
    parts: tuple[Part, ...]

    def finite(self, groups: Sequence[Group]) -> list[bool]:
        """Whether the token values of each group are numbers."""
        of = [number for number, group in enumerate(groups) for _ in group.branches]
        bad = ~self.responses.log_prob.isfinite()
        spoilt = {of[i] for i in bad.nonzero().flatten().tolist()}
        return [number not in spoilt for number in range(len(groups))]

    def backward(self, learner: Learner, total: Tensor) -> None:
        """Add ∂total/∂θ to the learner's gradients, as far as it goes through this process's
        groups; summed over processes it is the gradient of the step."""
        own = [part for part in self.parts if part.counts]
        leaves = [value for part in own for value in values(part.leaves)]
        found = iter(torch.autograd.grad(total, leaves, allow_unused=True) if leaves else ())
        for part in own:
            part.backward(learner, [next(found) for _ in values(part.leaves)])
        for part in self.parts[len(own) :]:
            part.backward(learner, [torch.zeros_like(value) for value in values(part.leaves)])


def gather_batch(
    learner: Learner,
    groups: Sequence[Group],
    world: World,
    budget: int,
    seed: int | None = None,
) -> GlobalBatch:
    """The responses of these groups, each made on one process and known to all.

    Where gradients are recorded the values are made as the second pass makes them, dropout
    included, and cut off the graph.

    Args:
        groups: of the whole step, the same on every process.
        budget: input tokens of a micro-batch.
        seed: of dropout; a micro-batch draws the same masks whenever it is made.
    """
    cut, idle = cut_for(list(groups), world, budget)
    every = [[groups[i] for i in positions] for positions in cut]
    if torch.is_grad_enabled():  # in evaluation every process has the whole weights
        every += [smallest(list(groups))] * idle
    parts = []
    for number, some in enumerate(every):
        masks = None if seed is None else (seed + number * 1_000_000_007) % 2**63
        made = _respond(learner, some, masks)
        kept = made if len(every) == 1 else None
        parts.append(Part(some, masks, _apart(made), kept, counts=number < len(cut)))
    leaves = _join([part.leaves for part in parts[: len(cut)]]) if cut else None
    told = ([i for positions in cut for i in positions], leaves and _moved(leaves, "cpu"))
    device = next(iter(learner.trainable().values())).device
    rows, shares = [], []
    for rank, (numbers, share) in enumerate(world.gather(told)):
        rows += numbers
        if share is not None:  # this process's own values hang on their leaves
            shares.append(leaves if rank == world.rank else _moved(share, device))
    return GlobalBatch(_in_order(_join(shares), rows, groups), tuple(parts))


def values(responses: Responses) -> list[Tensor]:
    """The numbers of responses that may carry a gradient, in a fixed order."""
    columns = [responses.columns[name] for name in sorted(responses.columns)]
    reward = [] if responses.reward is None else [responses.reward]
    return [responses.policy, *columns, *reward]


def _respond(learner: Learner, groups: list[Group], seed: int | None) -> Responses:
    if seed is not None:
        torch.manual_seed(seed)
    return learner.respond(groups)


def _apart(responses: Responses) -> Responses:
    """The same numbers off the graph; leaves that record a gradient, where one is recorded."""
    record = torch.is_grad_enabled()

    def leaf(value: Tensor) -> Tensor:
        return value.detach().clone().requires_grad_(record)

    return replace(
        responses,
        policy=leaf(responses.policy),
        columns={name: leaf(value) for name, value in responses.columns.items()},
        reward=None if responses.reward is None else leaf(responses.reward),
    )


def _moved(responses: Responses, device: torch.device | str) -> Responses:
    """The same numbers on another device, without gradient."""

    def to(value: Tensor) -> Tensor:
        return value.detach().to(device)

    return Responses(
        policy=to(responses.policy),
        lengths=to(responses.lengths),
        reference=None if responses.reference is None else to(responses.reference),
        columns={name: to(value) for name, value in responses.columns.items()},
        reward=None if responses.reward is None else to(responses.reward),
    )


def _join(shares: Sequence[Responses]) -> Responses:
    """Responses one after another."""
    first = shares[0]
    references = [share.reference for share in shares if share.reference is not None]
    rewards = [share.reward for share in shares if share.reward is not None]
    return Responses(
        policy=torch.cat([share.policy for share in shares]),
        lengths=torch.cat([share.lengths for share in shares]),
        reference=torch.cat(references) if references else None,
        columns={
            name: torch.cat([share.columns[name] for share in shares]) for name in first.columns
        },
        reward=torch.cat(rewards) if rewards else None,
    )


def _in_order(responses: Responses, rows: Sequence[int], groups: Sequence[Group]) -> Responses:
    """Responses that stand in the order of the groups numbered `rows`, put in the groups' own."""
    start, starts = 0, {}
    for row in rows:
        starts[row] = start
        start += len(groups[row].branches)
    index = [starts[i] + n for i, group in enumerate(groups) for n in range(len(group.branches))]
    return responses.take(torch.tensor(index, device=responses.lengths.device))
