"""Whether the loss on the data still knows how far the policy has gone.

An offline objective holds the policy near π₀ through the data's responses alone: to second order it
keeps L_μ = ½ E_μ[(ρ(y) − ρ(y′))²] small, ρ = log π/π₀, which is not KL(π ‖ π₀). The two agree near
π₀ where the data are its own samples: KL ≈ ½ Var(ρ) = ½ L_μ. Further out KL may grow while L_μ does
not (Tang et al., 2024, arXiv:2402.05749, section 4).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import Estimate, bootstrap

FAR = 1.0
"""Nats of KL a token: every token that the policy writes is e times likelier than it was. Policies
that improve keep to a few tenths; those that took too large steps go beyond several."""

BLIND = 4.0
"""Times ½ L_μ that KL may be. Near π₀ it is once; a policy that moved where the data do not look is
far above. Counted only from one nat of KL on, below which both are small."""


@dataclass(frozen=True)
class Divergence:
    """How far a policy is from its start, on its own responses and on the data's.

    Attributes:
        kl: KL(π ‖ π₀), nats a response of the policy; None where nothing was sampled.
        per_token: KL over the mean length of those responses, nats.
        squared: L_μ = ½ E_μ[(ρ_chosen − ρ_rejected)²], nats², on pairs of the data; None where
            there are none.
    """

    kl: Estimate | None
    per_token: float | None
    squared: Estimate | None

    @property
    def ratio(self) -> float | None:
        """KL over ½ L_μ: 1 near π₀ on its own samples."""
        if self.kl is None or self.squared is None or self.squared.value <= 0:
            return None
        return 2 * self.kl.value / self.squared.value

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"per_token": self.per_token, "ratio": self.ratio}
        for name, value in (("kl", self.kl), ("squared", self.squared)):
            found |= {f"{name}_n": None} if value is None else value.flat(name)
            found[f"{name}_n"] = None if value is None else value.n
        return found

    @property
    def finding(self) -> Finding:
        """In words."""
        parts = []
        if self.kl is not None:
            each = "" if self.per_token is None else f", {self.per_token:.2f} a token"
            parts.append(
                f"KL from the initial policy is {_words(self.kl)} nats a response{each} "
                f"({self.kl.n} prompts)"
            )
        if self.squared is not None:
            parts.append(
                "the squared loss on the data, to which an offline objective holds on, is "
                f"{_words(self.squared)} nats² ({self.squared.n} prompts)"
            )
        words = "; ".join(parts)
        words = words[:1].upper() + words[1:] + "."
        if self.ratio is not None:
            words += f" KL is {self.ratio:.2g} times what that loss leads to expect."
        if self.kl is None:
            return Finding(words)
        low = self.kl.low
        if self.per_token is not None and self.per_token * low > FAR * self.kl.value > 0:
            return Finding(
                f"The policy has gone far from its start. {words}",
                True,
                "Lower the learning rate, raise beta, or train for fewer steps.",
            )
        if self.squared is not None and low > max(1.0, BLIND * self.squared.high / 2):
            return Finding(
                f"The policy moved where the data do not look. {words}",
                True,
                "Train on the policy's own samples (`luce online`), lower the learning rate, or "
                "raise beta.",
            )
        return Finding(words)


def _words(estimate: Estimate) -> str:
    return estimate.words(2 if abs(estimate.value) < 100 else 0)


def squared_divergence(
    chosen: Sequence[float | int],
    rejected: Sequence[float | int],
    prompts: Sequence[Hashable] | None = None,
) -> Estimate:
    """L_μ = ½ E_μ[(ρ_chosen − ρ_rejected)²], nats² (Tang et al., 2024, eq. 6).

    Args:
        chosen, rejected: ρ = log π(y|x) − log π₀(y|x) of each pair's responses, nats.
        prompts: whose prompt each pair is, for the interval; None: each its own.

    Raises:
        LuceError: no pair, or lists of different lengths.

    >>> squared_divergence([1.0, 0.0], [-1.0, 0.0]).value
    1.0
    """
    if not len(chosen) or len(chosen) != len(rejected):
        raise LuceError(
            f"squared_divergence: {len(chosen)} chosen and {len(rejected)} rejected log-ratios; "
            "one each of at least one pair is wanted."
        )
    half = np.square(np.asarray(chosen, float) - np.asarray(rejected, float)) / 2
    return bootstrap(lambda rows: float(half[rows].mean()), len(half), prompts)
