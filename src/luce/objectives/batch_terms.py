"""Terms of pairs that are defined over the whole global batch.

The trainer computes them on all pairs of a step at once: they are the same however the step is cut
into micro-batches and over how many processes it is spread. Before they compare pairs with each
other they turn them, so that a pair labelled 0 is the same as that pair swapped and labelled 1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import number
from luce.objectives.needs import needs
from luce.objectives.score import Score
from luce.objectives.terms import (
    MarginScale,
    PairWeight,
    TargetMargin,
    View,
    uniform,
    with_responses,
)
from luce.objectives.writing import bracket, negative
from luce.types import Pairs, PerGroup, Responses

LOWEST_BETA = 1e-3
"""β-DPO's floor of β."""


@dataclass(frozen=True)
class Aggregator:
    """What the costs of a batch's pairs become together.

    Attributes:
        value: costs of all pairs -> a cost for each, whose mean is that of the batch.
        formula: the cost of one pair, written out -> the cost of the batch.
    """

    value: Callable[[PerGroup], PerGroup]
    formula: Callable[[str], str]


def robust_mean(beta_prime: float = 1.0) -> Aggregator:
    """−β′ log mean exp(−cost/β′): pairs that cost much weigh less, as wrong labels do (Dr. DPO, Wu
    et al., 2024, arXiv:2407.07880). β′ → ∞ is the mean. Every pair reports the
    batch's cost."""

    def value(costs: PerGroup) -> PerGroup:
        pooled = torch.logsumexp(-costs / beta_prime, 0) - math.log(len(costs))
        return (-beta_prime * pooled).expand(len(costs))

    b = number(beta_prime)
    factor, divided = ("", "") if beta_prime == 1 else (f"{b}·", f"/{b}")
    return Aggregator(
        value, lambda cost: f"−{factor}log mean exp({bracket(negative(cost))}{divided})"
    )


def matched_by_rank(score: Score) -> View:
    """The k-th highest chosen response against the k-th highest rejected one, whatever prompts they
    answer (AOT, unpaired: Melnyk et al., 2024, arXiv:2406.05882)."""

    def value(pairs: Pairs) -> Pairs:
        n, upright = len(pairs), _side(pairs) > 0
        index = torch.arange(n, device=upright.device)
        both = _together(pairs.chosen, pairs.rejected)
        omega = score(both).detach()
        better, worse = index + n * ~upright, index + n * upright
        opponent = worse[omega[worse].argsort(stable=True)[_rank(omega[better])]]
        return with_responses(
            pairs,
            both.take(torch.where(upright, better, opponent)),
            both.take(torch.where(upright, opponent, better)),
        )

    return View(value, "chosen and rejected of the batch, each sorted", score.needs, "batch")


def reference_margin_of_same_rank(beta: float) -> TargetMargin:
    """γ = β · the reference's log-ratio of the pair whose rank among the reference's is that of
    this pair among the policy's (AOT, paired: Melnyk et al., 2024, arXiv:2406.05882)."""

    def value(pairs: Pairs) -> PerGroup:
        chosen, rejected, side = pairs.chosen, pairs.rejected, _side(pairs)
        reference = side * (chosen.reference_log_prob - rejected.reference_log_prob)
        rank = _rank(side * (chosen.log_prob - rejected.log_prob).detach())
        return beta * side * reference.sort().values[rank]

    term = f"{number(beta)}·[log π_ref(chosen) − log π_ref(rejected)] of the same rank"
    return TargetMargin(value, term, needs("reference"), "batch")


def standardized_margin(score: Score, scale: float, gamma: float, alpha: float) -> TargetMargin:
    """γ_i = sg scale · [γ + α (h_i − mean h)/sd h] over the batch, h the margins under `score`
    (α-DPO, Wu et al., 2024, arXiv:2410.10148). sd has ddof 1; where it is 0, γ_i = scale · γ."""

    def value(pairs: Pairs) -> PerGroup:
        h = _margin(score, pairs)
        centred = h - h.mean()
        spread = centred.square().sum().div(max(1, len(h) - 1)).sqrt()
        flat = spread <= 1e-12 * (1 + h.abs().max())
        z = torch.where(flat, torch.zeros_like(h), centred / torch.where(flat, 1.0, spread))
        return scale * (gamma + alpha * _side(pairs) * z)

    term = f"{number(scale)}·({number(gamma)} + {number(alpha)}·z-score{score.margin_formula})"
    return TargetMargin(value, term, score.needs, "batch")


@dataclass(frozen=True)
class DynamicBeta:
    """β-DPO's two uses of how far a pair's margin M is from its running mean M₀ (Wu et al., 2024,
    arXiv:2407.08639): which pairs to keep, and how large β is on what is kept.

    Attributes:
        score: whose margins M are; its scale is β₀.
        alpha: how fast β follows, β = β₀ [1 + α (mean M − M₀)], at least 1e-3.
        drop: ρ, the share of pairs left out; at least one stays. They are drawn without
            replacement, one being kept with odds N(M; M₀, σ²); the draw depends on the seed and the
            pair's key alone.
        seed: of the draw.
    """

    score: Score
    alpha: float
    drop: float
    seed: int

    def center(self, pairs: Pairs, margins: PerGroup) -> tuple[float, Tensor]:
        """M₀ (0 until there is one) and σ (of this batch until there is one)."""
        mean, square = (pairs.running.get(name) for name in ("margin", "margin_squared"))
        if mean is None or square is None:
            return 0.0, margins.std(correction=0)
        return mean, margins.new_tensor(max(0.0, square - mean**2)).sqrt()

    def kept(self, pairs: Pairs, margins: PerGroup) -> Tensor:
        """Whether each pair stays."""
        n = len(margins)
        stay = max(1, n - math.floor(self.drop * n))
        if stay == n:
            return torch.ones_like(margins, dtype=torch.bool)
        if pairs.keys is None:
            raise LuceError("keys: the batch has none, and pairs are drawn by them.")
        mean, sd = self.center(pairs, margins)
        log_odds = -0.5 * ((margins - mean) / sd.clamp(min=1e-12)).square()
        # the largest of log-odds plus Gumbel noise are a draw without replacement
        noise = -(-uniform(pairs.keys, torch.zeros_like(pairs.keys), self.seed).log()).log()
        chosen = (log_odds.double() + noise).argsort(descending=True, stable=True)[:stay]
        keep = torch.zeros_like(margins, dtype=torch.bool)
        keep[chosen] = True
        return keep

    def beta_factor(self, pairs: Pairs) -> PerGroup:
        """β/β₀, the same for every pair."""
        margins = _margin(self.score, pairs)
        mean, _ = self.center(pairs, margins)
        used = margins[self.kept(pairs, margins)].mean()
        factor = 1 + self.alpha * (used - mean)
        lowest = LOWEST_BETA / self.score.scale
        return factor.clamp(min=lowest).expand(len(margins))

    def weight(self, pairs: Pairs) -> PerGroup:
        """0 where a pair is left out; the rest shares its weight, so that means stay means."""
        keep = self.kept(pairs, _margin(self.score, pairs)).to(pairs.chosen.policy.dtype)
        return keep * len(keep) / keep.sum()

    def statistics(self, pairs: Pairs) -> Mapping[str, PerGroup]:
        """M and M², for their running means."""
        margins = _margin(self.score, pairs)
        return {"margin": margins, "margin_squared": margins.square()}

    @property
    def margin_scale(self) -> MarginScale:
        """β/β₀ as a part of an objective."""
        term = f"(1 + {number(self.alpha)}·[mean M − M₀])"
        return MarginScale(self.beta_factor, term, self.score.needs, "batch", self.statistics)

    @property
    def filter(self) -> PairWeight:
        """The pairs kept, as a part of an objective."""
        share = number(1 - self.drop)
        term = f"kept; {share} of the pairs are kept, drawn by N(M | M₀, σ²), M the margins"
        return PairWeight(self.weight, term, self.score.needs | needs("keys"), "batch")


@torch.no_grad()
def _margin(score: Score, pairs: Pairs) -> PerGroup:
    """How much higher the preferred response scores than the other."""
    z = score(pairs.chosen, pairs.rejected) - score(pairs.rejected, pairs.chosen)
    return _side(pairs) * z


def _side(pairs: Pairs) -> Tensor:
    """−1 where the label says that `rejected` is the preferred response, else 1."""
    one = torch.ones_like(pairs.chosen.length)
    return one if pairs.label is None else torch.where(pairs.label < 0.5, -one, one)


def _together(chosen: Responses, rejected: Responses) -> Responses:
    """All responses: the chosen ones, then the rejected ones. Without rewards."""
    reference = None
    if chosen.reference is not None and rejected.reference is not None:
        reference = torch.cat([chosen.reference, rejected.reference])
    return Responses(
        torch.cat([chosen.policy, rejected.policy]),
        torch.cat([chosen.lengths, rejected.lengths]),
        reference,
        {k: torch.cat([v, rejected.columns[k]]) for k, v in chosen.columns.items()},
    )


def _rank(values: Tensor) -> Tensor:
    """How many values of the batch are lower; ties in order."""
    return values.argsort(stable=True).argsort()
