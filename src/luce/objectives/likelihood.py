"""Objectives on demonstrations: make a given response likely."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.objectives.check import check_lengths
from luce.types import Demonstrations, PerGroup, Structure


@dataclass(frozen=True)
class Likelihood:
    """−log π(y|x)/|y| of each response, with weight |y|: their weighted mean is the mean negative
    log-likelihood of all tokens of the global batch, in nats.

    Attributes:
        name, parameters, source: which published method this is, for the run's manifest.
    """

    name: str = "sft"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "demonstration"

    @property
    def needs_reference(self) -> bool:
        return False

    @property
    def needs_reward(self) -> bool:
        return False

    @property
    def formula(self) -> str:
        """The cost of a response."""
        return "−log π(y)/|y|, weighted by |y|"

    def __call__(self, batch: Demonstrations) -> PerGroup:
        """The cost of each response, nats per token."""
        check_lengths(batch.response, "completion")
        return -batch.response.log_prob / batch.response.length

    def weight(self, batch: Demonstrations) -> PerGroup:
        """|y|, so that every token counts alike."""
        return batch.response.length

    @torch.no_grad()
    def metrics(self, batch: Demonstrations) -> Mapping[str, PerGroup]:
        """nll and mean_token_log_prob (nats per token), length (tokens)."""
        nll = self(batch)
        return {"nll": nll, "mean_token_log_prob": -nll, "length": batch.response.length}

    def statistics(self, batch: Demonstrations) -> Mapping[str, PerGroup]:
        """Nothing."""
        return {}
