"""The models that the loop trains: policies beside their reference, and reward models."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from luce.data.pack import pack
from luce.models.logprob import COLUMNS
from luce.models.policy import CausalPolicy, Reference
from luce.models.reference import ReferenceCache
from luce.models.reward import RewardModel
from luce.types import Group, Responses


class PolicyLearner:
    """A policy with what its objective compares it with.

    Args:
        policy: what is trained.
        reference: log π_ref of every token, or None.
        history: the same of an earlier iterate, or None.
        needs: what the objective needs; of it the policy gives `sum_p2` and `kl`.
        resident: the reference as a network, for `kl`.
    """

    def __init__(
        self,
        policy: CausalPolicy,
        reference: ReferenceCache | None,
        history: ReferenceCache | None = None,
        needs: Collection[str] = (),
        resident: Reference | None = None,
    ):
        self.policy, self.reference, self.history = policy, reference, history
        self.columns = tuple(name for name in COLUMNS if name in needs)
        self.resident = resident

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return self.policy.trainable()

    def respond(self, groups: Sequence[Group]) -> Responses:
        device = self.policy.device
        packed = pack(groups).to(device)
        reference = None if self.reference is None else self.reference.lookup(groups).to(device)
        log_probs, columns = self.policy.respond(packed, self.columns, self.resident)
        if self.history is not None:
            columns["history"] = self.history.lookup(groups).to(device)
        return Responses(log_probs, packed.lengths, reference, columns)


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
