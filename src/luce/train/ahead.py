"""The micro-batches of a step, the next step's made ready while this one computes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from luce.data.pack import balance, micro_batches
from luce.models.out_of_memory import blamed
from luce.train.distributed import World
from luce.train.learner import Learner, PreparedLearner
from luce.types import Group, Responses


@dataclass(frozen=True)
class Part:
    """A micro-batch: its groups, what the learner has prepared of them, if it does, and whether it
    counts; one that does not is gone through because other ranks have more (`World.lockstep`)."""

    groups: list[Group]
    prepared: Any = None
    counts: bool = True

    def respond(self, learner: Learner) -> Responses:
        """The responses of its groups; a LuceError names them where memory runs out."""
        with blamed(self.groups):
            if isinstance(learner, PreparedLearner):
                return learner.respond_to(self.prepared)
            return learner.respond(self.groups)


def mine(groups: list[Group], world: World) -> list[int]:
    """Numbers of the groups that this rank takes: ranks get the same tokens, as far as can be."""
    return balance([group.tokens for group in groups], world.size)[world.rank]


def cut_for(groups: list[Group], world: World, budget: int) -> tuple[list[list[int]], int]:
    """Numbers of the groups in each of this rank's micro-batches, and how many more there are on
    the rank that has the most; 0 unless ranks go in lockstep."""
    parts = balance([group.tokens for group in groups], world.size)
    cuts = [micro_batches([groups[i] for i in own], budget) for own in parts]
    own, cut = parts[world.rank], cuts[world.rank]
    most = max(map(len, cuts)) if world.lockstep else len(cut)
    return [[own[i] for i in numbers] for numbers in cut], most - len(cut)


def smallest(groups: list[Group]) -> list[Group]:
    """What a rank goes through that has nothing left to do."""
    return [min(groups, key=lambda group: group.tokens)]


class Ahead:
    """Steps by number, prepared one in advance by one thread; what it gives is a function of the
    number alone.

    Args:
        groups: the groups of a step, on all ranks.
        steps: how many there are.
    """

    def __init__(
        self,
        learner: Learner,
        groups: Callable[[int], list[Group]],
        steps: int,
        world: World,
        budget: int,
    ) -> None:
        self.learner, self.groups, self.steps = learner, groups, steps
        self.world, self.budget = world, budget
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._next: tuple[int, Future[list[Part]]] | None = None

    def take(self, step: int) -> list[Part]:
        """This rank's micro-batches of a step; starts on those of the step after it."""
        if self._next is not None and self._next[0] == step:
            parts = self._next[1].result()
        else:
            parts = self._prepare(step)
        self._next = None
        if step + 1 < self.steps and isinstance(self.learner, PreparedLearner):
            # in this context: the kernel that is asked for holds for rows laid out there too
            job = copy_context().run, self._prepare, step + 1
            self._next = step + 1, self._pool.submit(*job)
        return parts

    def close(self) -> None:
        """Let the thread go."""
        if self._next is not None:
            self._next[1].cancel()
        self._pool.shutdown()

    def _prepare(self, step: int) -> list[Part]:
        groups = self.groups(step)
        cut, idle = cut_for(groups, self.world, self.budget)
        parts = [([groups[i] for i in numbers], True) for numbers in cut]
        parts += [(smallest(groups), False)] * idle
        learner = self.learner
        if not isinstance(learner, PreparedLearner):
            return [Part(part, None, counts) for part, counts in parts]
        return [Part(part, learner.prepare(part), counts) for part, counts in parts]
