"""Explorers: of n responses to a prompt, the two whose comparison is worth an annotation.

The main agent's response is the first one; an enhancer picks what it is compared with. Worlds of
a few features and language models (last-layer features) use the same explorers.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.online.explore.uncertainty import Uncertainty


@dataclass(frozen=True)
class Candidates:
    """n ≥ 2 responses to each prompt; the first of them is a sample of the policy that learns.

    Attributes:
        rewards: of each under the current reward model.
        features: φ of each; None where no explorer needs them.
        members: rewards of each by the members of an ensemble; None likewise.
    """

    rewards: Float[Tensor, "*prompts n"] = field(repr=False)
    features: Float[Tensor, "*prompts n d"] | None = field(default=None, repr=False)
    members: Float[Tensor, "*prompts n members"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.rewards.shape[-1] < 2:
            raise LuceError("An explorer needs 2 responses or more to each prompt. Raise n.")

    def differences(self) -> Float[Tensor, "*prompts n d"]:
        """φ(y) − φ(the first response)."""
        if self.features is None:
            raise LuceError("This explorer needs the features of the responses.")
        return self.features - self.features[..., :1, :]

    def compared(self, pairs: Int[Tensor, "*prompts 2"]) -> Float[Tensor, "*prompts d"]:
        """φ(a) − φ(b) of chosen pairs."""
        if self.features is None:
            raise LuceError("This explorer needs the features of the responses.")
        both = self.features.take_along_dim(pairs.unsqueeze(-1), -2)
        return both[..., 0, :] - both[..., 1, :]


@runtime_checkable
class Explorer(Protocol):
    """Chooses pairs, and remembers which were annotated if it has to."""

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """Two different responses to each prompt; ties are broken at random by `generator`."""
        ...

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """These pairs were annotated."""
        ...


@dataclass(frozen=True)
class TwoSamples:
    """The first two: no exploration beyond sampling."""

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(0, 1) everywhere."""
        shape = (*candidates.rewards.shape[:-1], 2)
        return torch.arange(2, device=candidates.rewards.device).expand(shape)

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Nothing to remember."""


@dataclass(frozen=True)
class BestWorst:
    """Highest against lowest reward. Where all are equal, as under the reward model of a first
    round that is still constant, the two are drawn at random: an argmax and an argmin would both
    return the first response, and nothing could ever be learnt of the pair."""

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(best, worst), never the same response."""
        order = _ascending(candidates.rewards, generator)
        return order[..., [-1, 0]]

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Nothing to remember."""


@dataclass(frozen=True)
class Enhancer:
    """The first response against the one whose features differ from it most in Σ⁻¹: π² = argmax
    Γ(π¹, ·) among the responses given.

    Attributes:
        uncertainty: Σ; it grows by every pair that is observed.
    """

    uncertainty: Uncertainty = field(repr=False)

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(0, the widest of the others)."""
        return _first_against(self.uncertainty.width(candidates.differences()), generator)

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Σ ← Σ + Δφ Δφᵀ of each pair."""
        self.uncertainty.update(candidates.compared(pairs))


@dataclass(frozen=True)
class Optimism:
    """The first response against the one with the highest reward + c · width: at c = 0 the best,
    at large c the enhancer's (the linear form of the optimism whose loss is XPO's; Xie et al.,
    2024, arXiv:2405.21046).

    Attributes:
        uncertainty: Σ; it grows by every pair that is observed.
        c: reward per unit of width, ≥ 0.
    """

    uncertainty: Uncertainty = field(repr=False)
    c: float

    def __post_init__(self) -> None:
        if not self.c >= 0:
            raise LuceError(f"Optimism: c = {self.c:g} must be 0 or greater.")

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(0, the most promising of the others)."""
        width = self.uncertainty.width(candidates.differences())
        return _first_against(candidates.rewards + self.c * width, generator)

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Σ ← Σ + Δφ Δφᵀ of each pair."""
        self.uncertainty.update(candidates.compared(pairs))


@dataclass(frozen=True)
class Disagreement:
    """The first response against the one about which an ensemble disagrees most: the standard
    deviation over members of r_m(y) − r_m(first). Differences, since comparisons determine each
    member's reward only up to a constant of its own."""

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(0, the most disputed of the others)."""
        members = candidates.members
        if members is None or members.shape[-1] < 2:
            raise LuceError("Disagreement needs the rewards of an ensemble of 2 members or more.")
        spread = (members - members[..., :1, :]).std(-1)
        return _first_against(spread, generator)

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Nothing to remember: the ensemble is trained again on the new pairs."""


def _ascending(values: Tensor, generator: torch.Generator) -> Tensor:
    """Indices from the least value to the greatest, those of equal values in random order."""
    noise = torch.rand(values.shape, generator=generator, device=generator.device)
    shuffled = noise.to(values.device).argsort(-1)
    order = values.take_along_dim(shuffled, -1).argsort(dim=-1, stable=True)
    return shuffled.take_along_dim(order, -1)


def _first_against(bonus: Tensor, generator: torch.Generator) -> Tensor:
    """(0, the argmax of the bonus over the other responses)."""
    other = _ascending(bonus[..., 1:], generator)[..., -1] + 1
    return torch.stack([torch.zeros_like(other), other], -1)
