"""Objectives on demonstrations: make a given response likely."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.objectives.check import check_lengths
from luce.objectives.needs import Needing
from luce.types import Demonstrations, PerGroup, Scope, Structure


@dataclass(frozen=True)
class Likelihood(Needing):
    """The negative log-likelihood of each response, in nats.

    Attributes:
        per_token: whether a response costs −log π(y|x)/|y| with weight |y|, so that their weighted
            mean is that of all tokens of the global batch; else it costs −log π(y|x), weight 1.
        name, parameters, source: which published method this is, for the run's manifest.
    """

    per_token: bool = True
    name: str = "sft"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "demonstration"

    @property
    def scope(self) -> Scope:
        return "group"

    @property
    def formula(self) -> str:
        """The cost of a response."""
        return "−log π(y)/|y|, weighted by |y|" if self.per_token else "−log π(y)"

    def __call__(self, batch: Demonstrations) -> PerGroup:
        """The cost of each response, nats (per token)."""
        check_lengths(batch.response, "completion")
        y = batch.response
        return -y.log_prob / y.length if self.per_token else -y.log_prob

    def weight(self, batch: Demonstrations) -> PerGroup:
        """|y|, so that every token counts alike; or 1."""
        length = batch.response.length
        return length if self.per_token else torch.ones_like(length)

    @torch.no_grad()
    def metrics(self, batch: Demonstrations) -> Mapping[str, PerGroup]:
        """nll and mean_token_log_prob (nats per token), length (tokens)."""
        y = batch.response
        mean = y.log_prob / y.length
        return {"nll": -mean, "mean_token_log_prob": mean, "length": y.length}

    def statistics(self, batch: Demonstrations) -> Mapping[str, PerGroup]:
        """Nothing."""
        return {}
