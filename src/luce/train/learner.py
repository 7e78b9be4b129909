"""What the loop trains: parameters with names, and the responses that they give to groups."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

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
