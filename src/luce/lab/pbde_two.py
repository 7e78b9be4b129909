"""A mixture of two annotators, learnt from judgements that do not say who gave them."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from luce.lab.pbde_networks import Setting, descend, in_runs, pretrained
from luce.lab.pbde_world import World, judge
from luce.models.tabular import TabularPolicy, luce_annotator, mixture, mixture_of_annotators
from luce.objectives import OBJECTIVES
from luce.types import Pairs, Responses

NOISE = 1e-4
"""Standard deviation of what sets the two networks apart at the start."""


@dataclass(frozen=True)
class Found:
    """Two annotators, the one with the smaller share first.

    Attributes:
        policies: what each likes.
        shares: how often each was asked.
    """

    policies: tuple[TabularPolicy, TabularPolicy]
    shares: Float[Tensor, " annotators"] = field(repr=False)

    @property
    def marginal(self) -> TabularPolicy:
        """Σ wᵢ πᵢ."""
        return mixture(self.policies, self.shares)

    @property
    def preference(self) -> Float[Tensor, "n n"]:
        """Σ wᵢ Pᵢ: what the mixture foretells of every pair."""
        people = [luce_annotator(p) for p in self.policies]
        return mixture_of_annotators(people, self.shares.tolist())


def disentangle(world: World, size: Setting, seeds: int) -> list[Found]:
    """For every seed: two networks start at π_pre, their shares at ½, and all are learnt."""
    start = pretrained(world, size, seeds)
    networks = start.take([s for s in range(seeds) for _ in range(2)], NOISE, seed=7)
    prior = torch.zeros(seeds, 2, requires_grad=True)
    judged = [judge(world.two_people, world.pretrained, size.pairs, 5000 + s) for s in range(seeds)]
    a, b = in_runs(judged, world)
    share = torch.cat([of.share for of in judged]).float()
    weight = torch.cat([of.weight for of in judged]).float()
    ends = torch.tensor([len(of.a) for of in judged]).cumsum(0).tolist()
    parts = [slice(low, high) for low, high in zip([0, *ends], ends, strict=False)]
    objective = OBJECTIVES["mixture"]()

    def responses(first: Tensor, second: Tensor, at: Tensor) -> Responses:
        one = Responses(first[at], torch.ones_like(at))
        return replace(one, columns={"policy_2": second[at]})

    def cost() -> Tensor:
        # a mixture's prior is one for its batch: seed after seed
        log_prob = networks.normalize(networks.energies()).reshape(seeds, 2, -1)
        first, second = log_prob[:, 0].flatten(), log_prob[:, 1].flatten()
        total = prior.new_zeros(())
        for s, part in enumerate(parts):
            pairs = Pairs(
                responses(first, second, a[part]),
                responses(first, second, b[part]),
                share[part],
                prior=prior[s],
            )
            total = total + (weight[part] * objective(pairs)).sum()
        return total

    descend([*networks.parameters, prior], cost, size.steps, size.rate)
    energies = networks.energies().detach().double().reshape(seeds, 2, -1)
    return [_sorted(world, energies[s], prior[s].detach().double()) for s in range(seeds)]


def _sorted(world: World, energies: Tensor, prior: Tensor) -> Found:
    shares, order = prior.softmax(0).sort()
    first, second = (world.space.normalize(energies[i]) for i in order.tolist())
    return Found((first, second), shares)


def undecided(preference: Float[Tensor, "n n"]) -> float:
    """Share of the square in which neither is preferred with more than 65 %."""
    return ((preference > 0.35) & (preference < 0.65)).double().mean().item()
