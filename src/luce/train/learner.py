"""What the loop trains: parameters with names, and the responses that they give to groups."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

from luce.types import Group, Responses


@runtime_checkable
class Learner(Protocol):
    """A model in training. Policies, reward models and exact toy models all fit."""

    def trainable(self) -> Mapping[str, nn.Parameter]:
        """Parameters by name, in a fixed order."""
        ...

    def respond(self, groups: Sequence[Group]) -> Responses:
        """The responses of the groups, group after group, with a graph unless under `no_grad`."""
        ...


@runtime_checkable
class PreparedLearner(Learner, Protocol):
    """A learner whose groups can be made ready before it is their turn, in another thread:
    `respond(groups)` is `respond_to(prepare(groups))`."""

    def prepare(self, groups: Sequence[Group]) -> Any:
        """What depends on the groups alone: no weights, no random numbers, no graph."""
        ...

    def respond_to(self, prepared: Any) -> Responses:
        """The responses of the groups that were prepared."""
        ...
