"""Label models: what a label p = P(chosen is preferred) makes of a margin loss.

soft        p φ(z − γ) + (1 − p) φ(−z − γ)
flipped     the same with p ← (1 − ε) p + ε (1 − p): labels are wrong at rate ε      (cDPO)
unbiased    the same with p ← (p − ε) / (1 − 2ε): its mean over flips is `soft`      (robust DPO)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import number
from luce.types import PerGroup

Phi: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LabelModel:
    """Attributes:
    cost: (φ, margin z, target margin γ, label p or None for 1) -> cost of each pair.
    formula: (φ(z − γ), φ(−z − γ)) written out -> the cost of a pair with a hard label.
    """

    cost: Callable[[Phi, PerGroup, float | PerGroup, PerGroup | None], PerGroup]
    formula: Callable[[str, str], str]


def check_label(label: Float[Tensor, " groups"]) -> None:
    """An error unless every label is a probability."""
    bad = (~((label >= 0) & (label <= 1))).nonzero().flatten().tolist()
    if bad:
        raise LuceError(
            f"label: {label[bad[0]].item():g} in pair {bad[0]} of the batch is no probability. "
            "A label is P(chosen is preferred), from 0 to 1."
        )


def _term(weight: PerGroup, phi: Phi, z: PerGroup) -> PerGroup:
    # where the weight is 0 the term is not taken: 0 · φ is nan where φ overflows
    taken = weight != 0
    zero = torch.zeros_like(z)
    return torch.where(taken, weight * phi(torch.where(taken, z, zero)), zero)


def _mixture(believed: Callable[[PerGroup], PerGroup]) -> Callable:
    def cost(
        phi: Phi, z: PerGroup, target_margin: float | PerGroup, label: PerGroup | None
    ) -> PerGroup:
        if label is not None:
            check_label(label)
        p = believed(torch.ones_like(z) if label is None else label)
        return _term(p, phi, z - target_margin) + _term(1 - p, phi, -z - target_margin)

    return cost


def soft() -> LabelModel:
    """p φ(z − γ) + (1 − p) φ(−z − γ): the label is what it says."""
    return LabelModel(_mixture(lambda p: p), lambda agrees, contradicts: agrees)


def flipped(epsilon: float) -> LabelModel:
    """Labels are wrong at rate ε in [0, 0.5): (1 − ε) φ(z) + ε φ(−z) of a hard label."""
    return LabelModel(
        _mixture(lambda p: (1 - epsilon) * p + epsilon * (1 - p)),
        lambda agrees, contradicts: (
            f"{number(1 - epsilon)}·({agrees}) + {number(epsilon)}·({contradicts})"
        ),
    )


def unbiased(epsilon: float) -> LabelModel:
    """[(1 − ε) φ(z) − ε φ(−z)] / (1 − 2ε) of a hard label: averaged over flips at rate ε in
    [0, 0.5) it is the cost of the true label. It can be negative."""
    return LabelModel(
        _mixture(lambda p: (p - epsilon) / (1 - 2 * epsilon)),
        lambda agrees, contradicts: (
            f"[{number(1 - epsilon)}·({agrees}) − {number(epsilon)}·({contradicts})]"
            f"/{number(1 - 2 * epsilon)}"
        ),
    )


LABELS = {"soft": soft, "flipped": flipped, "unbiased": unbiased}
