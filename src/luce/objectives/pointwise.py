"""Objectives on responses judged one by one.

[KTO] Ethayarajh et al. (2024), KTO: model alignment as prospect theoretic optimization,
      arXiv:2402.01306.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.errors import LuceError
from luce.objectives.check import check_lengths, number
from luce.objectives.labels import check_label
from luce.objectives.objective import log_prob_metrics
from luce.objectives.scores import Score
from luce.types import PerGroup, Structure, Unpaired


@dataclass(frozen=True)
class Pointwise:
    """λ_D (1 − σ(Ω − z₀)) of a desirable response, λ_U (1 − σ(z₀ − Ω)) of an undesirable one
    [KTO, section 4], with Ω the score and z₀ the score's baseline.

    z₀ = scale · max(0, KL), where KL is the running mean of log π/π_ref of responses under prompts
    that are not theirs (`statistics`; 0 until there is one). No gradient flows through it.

    Attributes:
        score: Ω.
        lam_d, lam_u: λ_D, λ_U.
        name, parameters, source: which published method this is, for the run's manifest.
    """

    score: Score
    lam_d: float = 1.0
    lam_u: float = 1.0
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "unpaired"

    @property
    def needs_reference(self) -> bool:
        return self.score.needs_reference

    @property
    def needs_reward(self) -> bool:
        return self.score.needs_reward

    @property
    def formula(self) -> str:
        """The cost of a desirable and of an undesirable response, with the numbers that run."""
        omega, beta = f"{self.score.formula}(y)", number(self.score.scale)
        return (
            f"desirable: {number(self.lam_d)}·[1 − σ({omega} − z₀)]; "
            f"undesirable: {number(self.lam_u)}·[1 − σ(z₀ − {omega})]; z₀ = {beta}·max(0, KL)"
        )

    def baseline(self, batch: Unpaired) -> float:
        """z₀."""
        return self.score.scale * max(0.0, batch.running.get("kl", 0.0))

    def margin(self, batch: Unpaired) -> PerGroup:
        """How far each response is on its right side of z₀: Ω − z₀ of a desirable one, z₀ − Ω of
        an undesirable one."""
        check_lengths(batch.response, "completion")
        check_label(batch.desirable)
        above = self.score(batch.response) - self.baseline(batch)
        return torch.where(batch.desirable >= 0.5, above, -above)

    def __call__(self, batch: Unpaired) -> PerGroup:
        """The cost of each response."""
        z = self.margin(batch)
        # full tensors, for `where` takes plain numbers as float32
        lam_d, lam_u = torch.full_like(z, self.lam_d), torch.full_like(z, self.lam_u)
        return torch.where(batch.desirable >= 0.5, lam_d, lam_u) * torch.sigmoid(-z)

    def weight(self, batch: Unpaired) -> PerGroup:
        """1: every response counts alike."""
        return torch.ones_like(batch.response.length)

    @torch.no_grad()
    def metrics(self, batch: Unpaired) -> Mapping[str, PerGroup]:
        """rewards/*, logps/*, logps_per_token/* and length/* with `chosen` the desirable responses
        and `rejected` the others (nan elsewhere); `kl` of the mismatched responses, nats."""
        y, desirable = batch.response, batch.desirable >= 0.5
        omega, nan = self.score(y), torch.full_like(y.length, torch.nan)
        values: dict[str, PerGroup] = {}
        for role, mine in (("chosen", desirable), ("rejected", ~desirable)):
            reported = {f"rewards/{role}": omega, f"length/{role}": y.length}
            reported |= log_prob_metrics(y, role)
            values |= {name: torch.where(mine, value, nan) for name, value in reported.items()}
        return {**values, **self.statistics(batch)}

    @torch.no_grad()
    def statistics(self, batch: Unpaired) -> Mapping[str, PerGroup]:
        """`kl`: log π/π_ref of each mismatched response, nats; its mean estimates KL(π ‖ π_ref)."""
        if batch.mismatched is None:
            return {}
        check_lengths(batch.mismatched, "mismatched")
        if len(batch.mismatched) != len(batch.response):
            raise LuceError(
                f"mismatched: {len(batch.mismatched)} responses for {len(batch.response)} rows. "
                "Give every row one, or none."
            )
        return {"kl": batch.mismatched.log_prob - batch.mismatched.reference_log_prob}
