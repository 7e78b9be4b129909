"""What a score is: how much a policy prefers a response.

Most scores are affine in the log-probability of the response,

    Ω(y) = β · [f(y) · log π(y|x) + g(y)],    f(y) > 0                              [PBDE, eq. 11]

and it is for these that the papers have closed-form optima. A score may be any other function of
a response, and of the response it is compared with.

[PBDE] Dumoulin et al. (2023), A density estimation perspective on learning from pairwise human
       preferences, arXiv:2311.14115.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from luce.objectives.check import number
from luce.objectives.needs import NOTHING
from luce.types import Responses

PerResponse: TypeAlias = Float[Tensor, " responses"]

Unit: TypeAlias = Literal["sum", "mean", "reward"]
"""What a score counts: nats of a whole response, nats per token, or a reward of its own scale."""


@dataclass(frozen=True)
class Affine:
    """f(y) · log π(y|x) + g(y), with f(y) > 0. Neither f nor g depends on the policy."""

    f: Callable[[Responses], float | PerResponse]
    g: Callable[[Responses], float | PerResponse]

    def __call__(self, y: Responses, other: Responses) -> PerResponse:
        return self.f(y) * y.log_prob + self.g(y)


@dataclass(frozen=True)
class Score:
    """Ω(y) = `scale` · `value`(y, other).

    Attributes:
        term: `value` as a formula prints it.
        value: `Affine`, or any function of a response and of the one it is compared with; token
            weights that depend on both lengths belong here, and so do per-token `columns`.
        scale: β.
        needs: what it reads besides log π (`luce.objectives.needs`).
        unit: "sum" where Ω counts nats of the whole response, "mean" where it counts nats per
            token (a β of one is not comparable with a β of the other), else "reward".
    """

    term: str
    value: Callable[[Responses, Responses], PerResponse]
    scale: float = 1.0
    needs: frozenset[str] = NOTHING
    unit: Unit = "sum"

    @property
    def affine(self) -> Affine | None:
        """f and g (without the scale) where the score has them, or None."""
        return self.value if isinstance(self.value, Affine) else None

    @property
    def formula(self) -> str:
        """Ω(y) with its numbers."""
        return self.term if self.scale == 1 else f"{number(self.scale)}·{self.term}"

    @property
    def margin_formula(self) -> str:
        """Ω(chosen) − Ω(rejected) with its numbers."""
        scale = "" if self.scale == 1 else f"{number(self.scale)}·"
        return f"{scale}[{self.term}(chosen) − {self.term}(rejected)]"

    def __call__(self, y: Responses, other: Responses | None = None) -> PerResponse:
        return self.scale * self.value(y, y if other is None else other)
