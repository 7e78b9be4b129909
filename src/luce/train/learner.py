"""What the loop trains: parameters with names, and the responses that they give to groups."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from luce.data.pack import pack
from luce.models.policy import CausalPolicy
from luce.models.reference import ReferenceCache
from luce.models.reward import RewardModel
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


class PolicyLearner:
    """A policy with the log-probabilities of its reference, where the objective compares."""

    def __init__(self, policy: CausalPolicy, reference: ReferenceCache | None):
        self.policy, self.reference = policy, reference

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return self.policy.trainable()

    def respond(self, groups: Sequence[Group]) -> Responses:
        packed = pack(groups).to(self.policy.device)
        reference = None
        if self.reference is not None:
            reference = self.reference.lookup(groups).to(self.policy.device)
        return Responses(self.policy.log_probs(packed), packed.lengths, reference)


class RewardLearner:
    """A reward model: its responses carry a grade and no log-probabilities."""

    def __init__(self, model: RewardModel):
        self.model = model

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return self.model.trainable()

    def respond(self, groups: Sequence[Group]) -> Responses:
        packed = pack(groups, keep_last=True).to(self.model.device)
        reward = self.model.rewards(packed)
        return Responses(
            policy=torch.zeros(int(packed.lengths.sum()), device=reward.device),
            lengths=packed.lengths,
            reward=reward,
        )
