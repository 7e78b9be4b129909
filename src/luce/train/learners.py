"""The models that the loop trains: policies beside their reference, and reward models."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from luce.data.pack import pack
from luce.models.policy import CausalPolicy
from luce.models.reference import ReferenceCache
from luce.models.reward import RewardModel
from luce.types import Group, Responses


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
