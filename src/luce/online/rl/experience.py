"""A round as training reads it: its rollouts, and what each of their tokens is credited with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from luce.online.rl.advantages import Drawn, credit
from luce.online.rl.losses import Taken
from luce.online.rl.methods import Method
from luce.online.rl.rollout import Rollout


@dataclass(frozen=True)
class Experience:
    """A round with its credit; tensors are ragged, one for each rollout.

    Attributes:
        rollouts: of each prompt.
        advantage, returns: of each rollout's tokens; returns are () where there is no critic.
        total: of each rollout's responses, R: everything that enters the reward.
    """

    rollouts: tuple[Rollout, ...]
    advantage: tuple[Tensor, ...]
    returns: tuple[Tensor, ...]
    total: tuple[Tensor, ...]

    def take(self, numbers: Sequence[int], device: torch.device) -> Taken:
        """The rollouts of these numbers, as a loss takes them."""

        def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
            whole = [part for part in parts if part is not None]
            return torch.cat(whole).to(device) if whole else None

        own = [self.rollouts[i] for i in numbers]
        advantage, behavior = (
            torch.cat(parts).to(device)
            for parts in ([self.advantage[i] for i in numbers], [r.behavior for r in own])
        )
        return Taken(
            lengths=torch.tensor([n for r in own for n in r.lengths], device=device),
            behavior=behavior,
            advantage=advantage,
            reference=joined([r.reference for r in own]),
            value=joined([r.value for r in own]),
            returns=joined([self.returns[i] for i in numbers] if self.returns else []),
        )


def experience(
    method: Method, rollouts: Sequence[Rollout], running_mean: float = 0.0
) -> Experience:
    """The credit of a round.

    Args:
        running_mean: of R over all earlier rounds.

    Raises:
        LuceError: see `luce.online.rl.advantages.credit`.
    """

    def joined(name: str) -> Tensor | None:
        parts = [getattr(r, name) for r in rollouts]
        return None if any(p is None for p in parts) else torch.cat(parts)

    drawn = Drawn(
        reward=torch.cat([r.reward for r in rollouts]),
        ended=torch.cat([r.ended for r in rollouts]),
        lengths=torch.tensor([n for r in rollouts for n in r.lengths]),
        sizes=torch.tensor([len(r.lengths) for r in rollouts]),
        behavior=torch.cat([r.behavior for r in rollouts]),
        reference=joined("reference"),
        value=joined("value"),
    )
    found = credit(method, drawn, running_mean)
    tokens = [sum(r.lengths) for r in rollouts]
    return Experience(
        rollouts=tuple(rollouts),
        advantage=found.advantage.split(tokens),
        returns=() if found.returns is None else found.returns.split(tokens),
        total=found.total.split([len(r.lengths) for r in rollouts]),
    )
