"""An ensemble of rewards: every member learns the same objective from its own draw of the rows.

Members agree where the data told them, and drift apart where it did not, so that their spread is a
sign of not knowing (Lakshminarayanan et al., 2017, arXiv:1612.01474; of reward models: Coste et
al., 2023, arXiv:2310.02743). A draw with replacement of n rows takes each Poisson(1) times as n
grows (Oza and Russell, 2001): so every row can be drawn for itself, in whatever batch it stands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from luce.errors import LuceError, RecipeError
from luce.objectives.mixture import annotator
from luce.objectives.needs import NEEDS, Needing, needs
from luce.objectives.objective import Objective, pair_metrics
from luce.objectives.terms import uniform
from luce.types import Pairs, PerGroup, Scope, Structure

MOST_DRAWS = 12
"""A row is drawn more often with a probability of 6e-11."""


@dataclass(frozen=True)
class Ensemble(Needing):
    """(1/K) Σ_k n_k · cost(pair under reward r_k), n_k how often member k drew the pair.

    Attributes:
        base: what each member learns; its score reads rewards.
        members: K ≥ 2.
        seed: of the draws.

    Raises:
        RecipeError: the objective scores no rewards, or its cost is one of the whole batch.
    """

    base: Objective
    members: int
    seed: int = 0

    def __post_init__(self) -> None:
        if "reward" not in self.base.needs or self.base.scope != "group" or self.members < 2:
            raise RecipeError(
                f"objective.{self.base.name}: no ensemble of {self.members} can be made of it. "
                "That takes two members or more, and an objective of pairs that scores rewards, "
                "each pair for itself, such as bradley_terry."
            )

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.base.parameters

    @property
    def source(self) -> str:
        """Which published method each member learns by."""
        return self.base.source

    @property
    def structure(self) -> Structure:
        return "pair"

    @property
    def needs(self) -> frozenset[str]:
        """What the batch must carry besides log π (`luce.objectives.needs`)."""
        return self.base.needs | needs("heads", "keys")

    @property
    def scope(self) -> Scope:
        return "group"

    @property
    def formula(self) -> str:
        """The cost of a pair to one member, and what is made of all."""
        return f"{self.base.formula}; the mean over {self.members} rewards, each on its own draw"

    def margins(self, batch: Pairs) -> Float[Tensor, "groups members"]:
        """z_k of each pair."""
        return torch.stack([self.base.margin(one) for one in self._views(batch)], 1)

    def margin(self, batch: Pairs) -> PerGroup:
        """log-odds of the members' mean probability, under σ, that the chosen is preferred."""
        z = self.margins(batch)
        return logsigmoid(z).logsumexp(1) - logsigmoid(-z).logsumexp(1)

    def draws(self, batch: Pairs) -> Float[Tensor, "groups members"]:
        """How often each member drew each pair: Poisson(1), the same at every visit."""
        if batch.rows is None:
            raise LuceError(f"rows: the batch has none. This objective needs {NEEDS['keys']}.")
        chances = [math.exp(-1) / math.factorial(n) for n in range(MOST_DRAWS)]
        below = torch.tensor(chances, dtype=torch.float64).cumsum(0).to(batch.rows.device)
        members = (torch.full_like(batch.rows, k) for k in range(self.members))
        columns = [torch.searchsorted(below, uniform(batch.rows, k, self.seed)) for k in members]
        return torch.stack(columns, 1).to(batch.chosen.policy.dtype)

    def __call__(self, batch: Pairs) -> PerGroup:
        """The cost of each pair."""
        costs = torch.stack([self.base(one) for one in self._views(batch)], 1)
        return (self.draws(batch) * costs).mean(1)

    def weight(self, batch: Pairs) -> PerGroup:
        """1: every pair counts alike, however often it was drawn."""
        return self.base.weight(batch)

    @torch.no_grad()
    def metrics(self, batch: Pairs) -> Mapping[str, PerGroup]:
        """As of any pair, with `rewards/*` the members' means and margins of the whole ensemble;
        and `rewards/std`, the standard deviation of the members' margins."""
        views = list(self._views(batch))
        score = self.base.score
        chosen = torch.stack([score(one.chosen, one.rejected) for one in views], 1)
        rejected = torch.stack([score(one.rejected, one.chosen) for one in views], 1)
        found = pair_metrics(batch, chosen.mean(1), rejected.mean(1), self.margin(batch))
        return found | {"rewards/std": (chosen - rejected).std(1)}

    def statistics(self, batch: Pairs) -> Mapping[str, PerGroup]:
        """Nothing."""
        return {}

    def _views(self, batch: Pairs) -> list[Pairs]:
        """The batch as each member sees it."""
        found = batch.chosen.rewards
        if found is None or found.shape[1] != self.members:
            has = "no rewards" if found is None else f"{found.shape[1]} rewards"
            raise LuceError(
                f"rewards: an ensemble of {self.members}, but {has} of each response. Load the "
                "reward model with as many heads."
            )
        return [
            replace(batch, chosen=annotator(batch.chosen, k), rejected=annotator(batch.rejected, k))
            for k in range(1, self.members + 1)
        ]
