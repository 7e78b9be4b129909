"""Margin losses φ(z): what a margin costs, and the preference that it stands for.

[GPO] Tang et al. (2024), Generalized preference optimization, arXiv:2402.05749, Table 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import number


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
    """

    phi: Callable[[Tensor], Tensor]
    formula: Callable[[str], str]
    probability: Callable[[Tensor], Tensor] | None = None
    convex: bool = True
    tail: Literal["I", "II"] = "I"
    bayes_consistent: bool = True

    def __post_init__(self) -> None:
        before, after = self.phi(torch.tensor([-1e-3, 1e-3], dtype=torch.float64)).tolist()
        if self.bayes_consistent and not before > after:
            raise LuceError(
                f"{self.formula('z')} does not fall at z = 0, so it need not favour the preferred "
                "response. Is its sign reversed? If it is meant, say `bayes_consistent=False`."
            )


def bracket(text: str) -> str:
    """`text` in brackets where it is a sum, or starts with a sign.

    >>> bracket("a − b"), bracket("2·[a − b]")
    ('(a − b)', '2·[a − b]')
    """
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and (text.startswith("−") or text[i : i + 3] in (" − ", " + ")):
            return f"({text})"
    return text


def _linear_probability(z: Tensor) -> Tensor:
    return ((1 + z) / 2).clamp(0, 1)


def _exponential(z: Tensor) -> Tensor:
    """e⁻ᶻ as far as the dtype holds it. Eight nats before it would overflow (z < −80 in float32,
    −701 in float64) the curve goes on as its tangent: still convex, with a continuous slope."""
    limit = math.log(torch.finfo(z.dtype).max) - 8
    held = (-z).clamp(max=limit)
    return torch.exp(held) * (1 + (-z - held))


def hinge(delta: float = 1.0) -> MarginLoss:
    """max(0, δ − z): SLiC's hinge, GPO's with δ = 1."""
    return MarginLoss(
        lambda z: F.relu(delta - z), lambda z: f"max(0, {number(delta)} − {bracket(z)})", tail="II"
    )


LOSSES = {
    "logistic": MarginLoss(
        lambda z: -F.logsigmoid(z), lambda z: f"−log σ({z})", probability=torch.sigmoid
    ),
    "hinge": hinge(1.0),
    "square": MarginLoss(
        lambda z: (1 - z) ** 2,
        lambda z: f"(1 − {bracket(z)})²",
        probability=_linear_probability,
        tail="II",
    ),
    "exponential": MarginLoss(
        _exponential,
        lambda z: f"exp(−{bracket(z)})",
        probability=lambda z: torch.sigmoid(2 * z),
    ),
    "truncated_quadratic": MarginLoss(
        lambda z: F.relu(1 - z) ** 2,
        lambda z: f"max(0, 1 − {bracket(z)})²",
        probability=_linear_probability,
        tail="II",
    ),
    "savage": MarginLoss(
        lambda z: torch.sigmoid(-z) ** 2,
        lambda z: f"1/(1 + exp({z}))²",
        probability=torch.sigmoid,
        convex=False,  # it is bounded and falls
    ),
}
