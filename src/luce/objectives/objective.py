"""Objectives on pairs: a score, a margin loss, and what goes with them.

With the margin z = κ [Ω(chosen) − Ω(rejected)], target margins γ and γ′ (where the chosen, and
where the rejected response is the preferred one), p the probability that it is the chosen one, and
w a weight without gradient, a pair costs

    scale · w · [p φ(z − γ) + (1 − p) φ(−z − γ′)] + Σ λ · regularizer    [GPO, eq. 4, p = 1, γ = 0]

κ = w = 1, γ = γ′ = 0 and no regularizer unless an objective says otherwise.

[GPO] Tang et al. (2024), Generalized preference optimization, arXiv:2402.05749.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from luce.objectives.batch_terms import Aggregator
from luce.objectives.check import check_lengths, number
from luce.objectives.labels import LabelModel, soft
from luce.objectives.losses import MarginLoss
from luce.objectives.needs import Needing, union
from luce.objectives.regularizers import Regularizer
from luce.objectives.score import Score
from luce.objectives.terms import MarginScale, PairTerm, PairWeight, TargetMargin, View
from luce.objectives.writing import bracket, tidy, total
from luce.types import Pairs, PerGroup, Responses, Scope, Structure


@dataclass(frozen=True)
class Objective(Needing):
    """What a pair costs.

    Attributes:
        score: Ω.
        loss: φ.
        target_margin: γ, a number or one for each pair.
        scale: of the preference term.
        regularizers: added to it.
        labels: what a label p makes of φ.
        weights: w of each pair, or None for 1.
        margin_scale: κ of each pair, or None for 1.
        view: what of the pairs score, target margin and weight look at; None for all of it.
        aggregate: what the costs of a batch become together; None for themselves.
        name, parameters, source: which published method this is, for the run's manifest.
    """

    score: Score
    loss: MarginLoss
    target_margin: float | TargetMargin = 0.0
    scale: float = 1.0
    regularizers: tuple[Regularizer, ...] = ()
    labels: LabelModel = field(default_factory=soft)
    weights: PairWeight | None = None
    margin_scale: MarginScale | None = None
    view: View | None = None
    aggregate: Aggregator | None = None
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "pair"

    @property
    def _terms(self) -> list[PairTerm | View]:
        found = (self.target_margin, self.weights, self.margin_scale, self.view)
        return [term for term in found if isinstance(term, PairTerm | View)]

    @property
    def needs(self) -> frozenset[str]:
        """What the batch must carry besides log π (`luce.objectives.needs`)."""
        return union(part.needs for part in (self.score, *self._terms, *self.regularizers))

    @property
    def scope(self) -> Scope:
        """ "batch" where a pair's cost depends on the other pairs of the global batch."""
        wide = self.aggregate or any(term.scope == "batch" for term in self._terms)
        return "batch" if wide else "group"

    @property
    def formula(self) -> str:
        """The cost of a pair with a hard label, with the numbers that run."""
        z, target = self.score.margin_formula, ""
        if self.margin_scale is not None:
            z = f"{self.margin_scale.formula}·{z}"
        z = f"{self.labels.factor}{z}"
        if isinstance(self.target_margin, TargetMargin):
            target = f" − {self.target_margin.formula}"
        elif self.target_margin:
            sign = "−" if self.target_margin > 0 else "+"
            target = f" {sign} {number(abs(self.target_margin))}"
        cost = self.labels.formula(
            self.loss.formula(f"{z}{target}"), self.loss.formula(f"−{z}{target}")
        )
        factors = [] if self.scale == 1 else [number(self.scale)]
        weight, _, where = self.weights.formula.partition("; ") if self.weights else ("", "", "")
        factors += [weight] if weight else []
        scaled = "·".join([*factors, bracket(cost)]) if factors else cost
        whole = total([scaled, *(r.formula for r in self.regularizers)])
        whole = self.aggregate.formula(whole) if self.aggregate else whole
        over = f"over {self.view.formula}" if self.view else ""
        return tidy("; ".join(filter(None, [whole, where, over])))

    def seen(self, batch: Pairs) -> Pairs:
        """What score, target margin and weight look at."""
        return self.view.value(batch) if self.view else batch

    def margin(self, batch: Pairs) -> PerGroup:
        """z = κ [Ω(chosen) − Ω(rejected)], before the target margin."""
        check_lengths(batch.chosen, "chosen")
        check_lengths(batch.rejected, "rejected")
        return self._margin(self.seen(batch))

    def _margin(self, seen: Pairs) -> PerGroup:
        chosen, rejected = seen.chosen, seen.rejected
        z = self.score(chosen, rejected) - self.score(rejected, chosen)
        return z if self.margin_scale is None else self.margin_scale.value(seen).detach() * z

    def __call__(self, batch: Pairs) -> PerGroup:
        """The cost of each pair."""
        check_lengths(batch.chosen, "chosen")
        check_lengths(batch.rejected, "rejected")
        seen, target = self.seen(batch), self.target_margin

        def gamma(pairs: Pairs) -> float | PerGroup:
            return target.value(pairs) if isinstance(target, TargetMargin) else target

        cost = self.labels.cost(
            self.loss.phi, self._margin(seen), gamma(seen), lambda: gamma(seen.swap()), seen.label
        )
        cost = self.scale * cost
        if self.weights is not None:
            cost = self.weights.value(seen).detach() * cost
        for regularizer in self.regularizers:
            cost = cost + regularizer.weight * regularizer.value(batch)
        return self.aggregate.value(cost) if self.aggregate else cost

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
        z, seen = self.margin(batch), self.seen(batch)
        omega = self.score(seen.chosen, seen.rejected), self.score(seen.rejected, seen.chosen)
        values = pair_metrics(batch, *omega, z)
        return values | {r.metric: r.value(batch) for r in self.regularizers if r.metric}

    @torch.no_grad()
    def statistics(self, batch: Pairs) -> Mapping[str, PerGroup]:
        """What the parts want running means of."""
        found: dict[str, PerGroup] = {}
        for term in self._terms:
            if isinstance(term, PairTerm) and term.statistics is not None:
                found |= term.statistics(self.seen(batch))
        return found


def pair_metrics(
    batch: Pairs, omega_chosen: PerGroup, omega_rejected: PerGroup, z: PerGroup
) -> dict[str, PerGroup]:
    """rewards/*, logps/*, logps_per_token/*, length/* of pairs with these scores and margins;
    no logps where a reward model gave the scores."""
    values = {
        "rewards/chosen": omega_chosen,
        "rewards/rejected": omega_rejected,
        "rewards/margins": z,
        "rewards/accuracies": _accuracy(z, batch.label),
    }
    for role, y in (("chosen", batch.chosen), ("rejected", batch.rejected)):
        values |= log_prob_metrics(y, role) if y.reward is None else {}
        values[f"length/{role}"] = y.length
    return values


def _accuracy(z: PerGroup, label: PerGroup | None) -> PerGroup:
    correct = (torch.sign(z) + 1) / 2
    if label is None:
        return correct
    correct = torch.where(label < 0.5, 1 - correct, correct)
    return torch.where(label == 0.5, torch.full_like(z, torch.nan), correct)


def log_prob_metrics(y: Responses, role: str) -> dict[str, PerGroup]:
    """Summed and per-token log-probabilities of responses that play `role`, in nats."""
    return {f"logps/{role}": y.log_prob, f"logps_per_token/{role}": y.log_prob / y.length}
