"""Objectives on pairs: a score, a margin loss, and what goes with them.

With the margin z = Ω(chosen) − Ω(rejected), a target margin γ and p the probability that `chosen`
is the preferred response, a pair costs

    scale · [p φ(z − γ) + (1 − p) φ(−z − γ)] + Σ λ · regularizer         [GPO, eq. 4, p = 1, γ = 0]

[GPO] Tang et al. (2024), Generalized preference optimization, arXiv:2402.05749.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.objectives.check import check_lengths, number
from luce.objectives.labels import LabelModel, soft
from luce.objectives.losses import MarginLoss, bracket
from luce.objectives.regularizers import Regularizer
from luce.objectives.scores import Score
from luce.types import Pairs, PerGroup, Responses, Structure


@dataclass(frozen=True)
class TargetMargin:
    """A target margin γ that differs from pair to pair, or depends on the whole batch.

    Attributes:
        value: pairs -> γ of each.
        formula: `value` written out.
        needs_reference: whether it reads reference log-probabilities.
    """

    value: Callable[[Pairs], PerGroup]
    formula: str
    needs_reference: bool = False


def annotated_margin() -> TargetMargin:
    """γ = the margin that the annotator gave; 0 where the row has none."""

    def value(pairs: Pairs) -> PerGroup:
        if pairs.margin is None:
            return torch.zeros_like(pairs.chosen.length)
        return torch.nan_to_num(pairs.margin, nan=0.0)

    return TargetMargin(value, "margin")


@dataclass(frozen=True)
class Objective:
    """What a pair costs.

    Attributes:
        score: Ω.
        loss: φ.
        target_margin: γ, a number or one for each pair.
        scale: of the preference term.
        regularizers: added to it.
        labels: what a label p makes of φ.
        name, parameters, source: which published method this is, for the run's manifest.
    """

    score: Score
    loss: MarginLoss
    target_margin: float | TargetMargin = 0.0
    scale: float = 1.0
    regularizers: tuple[Regularizer, ...] = ()
    labels: LabelModel = field(default_factory=soft)
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "pair"

    @property
    def needs_reference(self) -> bool:
        """Whether the batch must carry reference log-probabilities."""
        target = isinstance(self.target_margin, TargetMargin) and self.target_margin.needs_reference
        return self.score.needs_reference or target or any(_references(self.regularizers))

    @property
    def needs_reward(self) -> bool:
        """Whether the batch must carry a reward model's rewards in place of log-probabilities."""
        return self.score.needs_reward

    @property
    def formula(self) -> str:
        """The cost of a pair with a hard label, with the numbers that run."""
        z, target = self.score.margin_formula, ""
        if isinstance(self.target_margin, TargetMargin):
            target = f" − {self.target_margin.formula}"
        elif self.target_margin:
            sign = "−" if self.target_margin > 0 else "+"
            target = f" {sign} {number(abs(self.target_margin))}"
        cost = self.labels.formula(
            self.loss.formula(f"{z}{target}"), self.loss.formula(f"−{z}{target}")
        )
        scaled = cost if self.scale == 1 else f"{number(self.scale)}·{bracket(cost)}"
        return " + ".join([scaled, *(r.formula for r in self.regularizers)])

    def margin(self, batch: Pairs) -> PerGroup:
        """z = Ω(chosen) − Ω(rejected), before the target margin."""
        check_lengths(batch.chosen, "chosen")
        check_lengths(batch.rejected, "rejected")
        return self.score(batch.chosen, batch.rejected) - self.score(batch.rejected, batch.chosen)

    def __call__(self, batch: Pairs) -> PerGroup:
        """The cost of each pair."""
        target = self.target_margin
        gamma = target.value(batch) if isinstance(target, TargetMargin) else target
        cost = self.labels.cost(self.loss.phi, self.margin(batch), gamma, batch.label)
        cost = self.scale * cost
        for regularizer in self.regularizers:
            cost = cost + regularizer.weight * regularizer.value(batch)
        return cost

    def weight(self, batch: Pairs) -> PerGroup:
        """1: every pair counts alike."""
        return torch.ones_like(batch.chosen.length)

    @torch.no_grad()
    def metrics(self, batch: Pairs) -> Mapping[str, PerGroup]:
        """rewards/* (the score Ω), logps/* (nats), logps_per_token/*, length/* (tokens), nll.

        A pair is judged accurately where the higher score has the preferred response: 1, 0, or 0.5
        on a tie. Where the label is under 0.5 the preferred response is `rejected`; where it is
        0.5 there is none, and the pair is left out (nan).
        """
        chosen, rejected = batch.chosen, batch.rejected
        z = self.margin(batch)
        values = {
            "rewards/chosen": self.score(chosen, rejected),
            "rewards/rejected": self.score(rejected, chosen),
            "rewards/margins": z,
            "rewards/accuracies": _accuracy(z, batch.label),
        }
        if not self.needs_reward:
            values |= log_prob_metrics(chosen, "chosen") | log_prob_metrics(rejected, "rejected")
        values |= {"length/chosen": chosen.length, "length/rejected": rejected.length}
        return values | {r.metric: r.value(batch) for r in self.regularizers if r.metric}

    def statistics(self, batch: Pairs) -> Mapping[str, PerGroup]:
        """Nothing: no part here keeps a running mean."""
        return {}


def _references(regularizers: tuple[Regularizer, ...]) -> list[bool]:
    return [r.needs_reference for r in regularizers]


def _accuracy(z: PerGroup, label: PerGroup | None) -> PerGroup:
    correct = (torch.sign(z) + 1) / 2
    if label is None:
        return correct
    correct = torch.where(label < 0.5, 1 - correct, correct)
    return torch.where(label == 0.5, torch.full_like(z, torch.nan), correct)


def log_prob_metrics(y: Responses, role: str) -> dict[str, PerGroup]:
    """Summed and per-token log-probabilities of responses that play `role`, in nats."""
    return {f"logps/{role}": y.log_prob, f"logps_per_token/{role}": y.log_prob / y.length}
