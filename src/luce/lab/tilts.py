"""The path of policies from π₀ towards the greedy one under a fitted reward, and its rewards."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from luce.models.tabular import LinearWorld

ETAS = torch.logspace(1.3, float(np.log10(0.02)), 120, dtype=torch.float64)
"""η′ of the tilts π₀ exp(r̂/η′): from 20, nearly π₀, to 0.02, nearly greedy."""


@dataclass(frozen=True)
class Tilts:
    """Rewards gained over π₀ along the path, from least to most KL.

    Attributes:
        kl: KL(π ‖ π₀), nats.
        gold: under r*.
        proxy: under r̂, the reward that tilts.
    """

    kl: Float[Tensor, "etas worlds"] = field(repr=False)
    gold: Float[Tensor, "etas worlds"] = field(repr=False)
    proxy: Float[Tensor, "etas worlds"] = field(repr=False)

    def peak(self) -> tuple[Float[Tensor, " worlds"], Float[Tensor, " worlds"]]:
        """KL and gold gain where gold is highest."""
        best = self.gold.argmax(0, keepdim=True)
        return self.kl.gather(0, best)[0], self.gold.gather(0, best)[0]

    def lost(self) -> Float[Tensor, " worlds"]:
        """Gold at the peak less gold at the end of the path."""
        return self.peak()[1] - self.gold[-1]

    def at(
        self, kls: list[float]
    ) -> tuple[Float[Tensor, "kls worlds"], Float[Tensor, "kls worlds"]]:
        """(gold, proxy) at these KL; nan where a world's path does not get there."""
        found = torch.full((2, len(kls), self.kl.shape[1]), torch.nan, dtype=torch.float64)
        for w in range(self.kl.shape[1]):
            # the path starts at π₀, where both gains are 0
            x = np.r_[0.0, self.kl[:, w].numpy()]
            for i, values in enumerate((self.gold, self.proxy)):
                y = np.interp(kls, x, np.r_[0.0, values[:, w].numpy()], right=np.nan)
                found[i, :, w] = torch.from_numpy(y)
        return found[0], found[1]

    def within(
        self, kls: list[float]
    ) -> tuple[Float[Tensor, "kls worlds"], Float[Tensor, "kls worlds"]]:
        """(gold, proxy) where so much KL is spent at most: a path that has come to its end, the
        greedy policy, spends no more. A mean over it is of all worlds at every KL."""
        gold, proxy = self.at(kls)
        return (
            torch.where(gold.isfinite(), gold, self.gold[-1]),
            torch.where(proxy.isfinite(), proxy, self.proxy[-1]),
        )


def tilts(world: LinearWorld, theta: Float[Tensor, "worlds d"]) -> Tilts:
    """π₀ exp(r̂/η′) for every η′ of `ETAS`, r̂ = ⟨θ, φ⟩."""
    proxy = world.rewards(theta)
    path = (world.reference + proxy / ETAS.reshape(-1, 1, 1, 1)).log_softmax(-1)
    moved = path.exp() - world.reference.exp()
    kl = (path.exp() * (path - world.reference)).sum(-1).mean(-1)
    gold, gained = ((moved * reward).sum(-1).mean(-1) for reward in (world.reward, proxy))
    return Tilts(kl, gold, gained)
