"""Margin losses φ(z): what a margin costs, and the preference that it stands for.

[GPO] Tang et al. (2024), Generalized preference optimization, arXiv:2402.05749, Table 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from luce.errors import LuceError
from luce.numerics import bounded_exp
from luce.objectives.check import number
from luce.objectives.writing import bracket, negative


@dataclass(frozen=True)
class MarginLoss:
    """A loss φ(z) of a margin. Unless it says otherwise (`bayes_consistent=False`) it must fall
    where z passes 0, or its minimizer need not favour the preferred response.

    Attributes:
        phi: φ, element by element, finite for every margin of a few thousand or less.
        formula: φ of a margin, written out.
        probability: the inverse link, margin -> P(chosen ≻ rejected). None where φ has no link:
            the hinge loss learns which response is preferred, but not how strongly.
        convex: whether φ is.
        tail: "I": φ keeps pushing however large the margin is; "II": it stops, or pulls back
            [GPO, eq. 7].
        bayes_consistent: whether its minimizer has the sign of 2p − 1 [GPO, theorem 2].
        link: `probability` written out.
    """

    phi: Callable[[Tensor], Tensor]
    formula: Callable[[str], str]
    probability: Callable[[Tensor], Tensor] | None = None
    convex: bool = True
    tail: Literal["I", "II"] = "I"
    bayes_consistent: bool = True
    link: str = ""

    def __post_init__(self) -> None:
        before, after = self.phi(torch.tensor([-1e-3, 1e-3], dtype=torch.float64)).tolist()
        if self.bayes_consistent and not before > after:
            raise LuceError(
                f"{self.formula('z')} does not fall at z = 0, so it need not favour the preferred "
                "response. Is its sign reversed? If it is meant, say `bayes_consistent=False`."
            )


def _linear_probability(z: Tensor) -> Tensor:
    return ((1 + z) / 2).clamp(0, 1)


def hinge(delta: float = 1.0) -> MarginLoss:
    """max(0, δ − z): SLiC's hinge, GPO's with δ = 1."""
    return MarginLoss(
        lambda z: F.relu(delta - z), lambda z: f"max(0, {number(delta)} − {bracket(z)})", tail="II"
    )


def blend(tau: float = 0.05) -> MarginLoss:
    """DiscoPOP's log-ratio modulated loss: (1 − m)(−log σ(z)) + m e⁻ᶻ with m = σ(z/τ) (Lu et al.,
    2024, arXiv:2406.08414, eq. 5). It is not convex, and rises where z passes 0."""

    def phi(z: Tensor) -> Tensor:
        # m e⁻ᶻ as one exponential: e⁻ᶻ alone overflows where m is tiny
        modulated = bounded_exp(F.logsigmoid(z / tau) - z)
        return torch.sigmoid(-z / tau) * -F.logsigmoid(z) + modulated

    t = number(tau)
    return MarginLoss(
        phi,
        lambda z: f"(1 − m)·(−log σ({z})) + m·exp(−{bracket(z)}), m = σ({bracket(z)}/{t})",
        convex=False,
        bayes_consistent=False,
    )


def clipped_logistic(bound: float = 2.0) -> MarginLoss:
    """−log σ(clip(z, ±bound)): χPO's. Beyond the bound it is flat, so it is not convex."""
    return MarginLoss(
        lambda z: -F.logsigmoid(z.clamp(-bound, bound)),
        lambda z: f"−log σ(clip({z}, ±{number(bound)}))",
        probability=lambda z: torch.sigmoid(z.clamp(-bound, bound)),
        convex=False,
        tail="II",
        link=f"σ(clip(z, ±{number(bound)}))",
    )


LOSSES = {
    "logistic": MarginLoss(
        lambda z: -F.logsigmoid(z),
        lambda z: f"−log σ({z})",
        probability=torch.sigmoid,
        link="σ(z)",
    ),
    "hinge": hinge(1.0),
    "square": MarginLoss(
        lambda z: (1 - z) ** 2,
        lambda z: f"(1 − {bracket(z)})²",
        probability=_linear_probability,
        tail="II",
        link="clip((1 + z)/2, 0, 1)",
    ),
    "exponential": MarginLoss(
        lambda z: bounded_exp(-z),
        lambda z: f"exp(−{bracket(z)})",
        probability=lambda z: torch.sigmoid(2 * z),
        link="σ(2·z)",
    ),
    "truncated_quadratic": MarginLoss(
        lambda z: F.relu(1 - z) ** 2,
        lambda z: f"max(0, 1 − {bracket(z)})²",
        probability=_linear_probability,
        tail="II",
        link="clip((1 + z)/2, 0, 1)",
    ),
    "savage": MarginLoss(
        lambda z: torch.sigmoid(-z) ** 2,
        lambda z: f"1/(1 + exp({z}))²",
        probability=torch.sigmoid,
        convex=False,  # it is bounded and falls
        link="σ(z)",
    ),
    "linear": MarginLoss(lambda z: -z, negative),
    "sigmoid": MarginLoss(
        lambda z: torch.sigmoid(-z),
        lambda z: f"σ({negative(z)})",
        convex=False,  # it is bounded and falls
    ),
    "squared_error": MarginLoss(
        lambda z: z**2,
        lambda z: f"{bracket(z)}²",
        tail="II",
        bayes_consistent=False,  # a regression: the target margin says which sign is right
    ),
    "blend": blend(0.05),
    "clipped_logistic": clipped_logistic(2.0),
}
