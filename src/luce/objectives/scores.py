"""Scores Ω: how much a policy prefers a response. What a score is stands in `score`."""

import math
from typing import Literal

import torch
import torch.nn.functional as F

from luce.errors import LuceError
from luce.numerics import bounded_exp, bounded_expm1, log1mexp, segment_sum
from luce.objectives.check import number
from luce.objectives.needs import column, needs
from luce.objectives.score import Affine, PerResponse, Score
from luce.objectives.token_scores import length_desensitized, log_ratio_with_kl
from luce.types import Responses

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]


def log_prob(beta: float = 1.0) -> Score:
    """Luce choice rule: Ω = β log π(y|x)  (SLiC, CPO; with β = 1 PBDE's f = 1, g = 0)."""
    return Score("log π", Affine(lambda y: 1.0, lambda y: 0.0), beta)


def mean_log_prob(beta: float = 2.0) -> Score:
    """Length-normalized: Ω = β log π(y|x) / |y|  (SimPO)."""
    return Score("(log π/|y|)", Affine(lambda y: 1 / y.length, lambda y: 0.0), beta, unit="mean")


def log_ratio(beta: float = 0.1) -> Score:
    """Implicit reward of DPO: Ω = β log π(y|x) / π_ref(y|x)."""
    value = Affine(lambda y: 1.0, lambda y: -y.reference_log_prob)
    return Score("log π/π_ref", value, beta, needs("reference"))


def mean_log_ratio(beta: float = 5.0) -> Score:
    """Length-normalized implicit reward: Ω = (β / |y|) log π(y|x) / π_ref(y|x)  (LN-DPO)."""
    value = Affine(lambda y: 1 / y.length, lambda y: -y.reference_log_prob / y.length)
    return Score("((log π/π_ref)/|y|)", value, beta, needs("reference"), unit="mean")


def geometric(alpha: float = 0.25) -> Score:
    """PBDE's interpolation: Ω = (1/α) log π/π_ref + log π_ref, whose optimum under a Luce annotator
    p* is π ∝ π_ref^(1−α) p*^α (Dumoulin et al., 2023, eq. 17, 18)."""
    value = Affine(lambda y: 1 / alpha, lambda y: (1 - 1 / alpha) * y.reference_log_prob)
    term = f"((log π/π_ref)/{number(alpha)} + log π_ref)"
    return Score(term, value, needs=needs("reference"))


def length_regularized(beta: float = 0.1, alpha: float = 0.01) -> Score:
    """R-DPO: Ω = β log π(y|x)/π_ref(y|x) + α|y|  (Park et al., 2024).

    A longer chosen response starts with a larger margin, and so has less left to gain: length
    stops being a way to win.
    """
    value = Affine(lambda y: beta, lambda y: alpha * y.length - beta * y.reference_log_prob)
    term = f"({number(beta)}·log π/π_ref + {number(alpha)}·|y|)"
    return Score(term, value, needs=needs("reference"))


def two_reference(beta: float = 1.0, share: float = 1 / 3) -> Score:
    """INPO: Ω = β [log π − κ log π_ref − (1 − κ) log π_t], with κ = `share` and π_t an earlier
    iterate (Zhang et al., 2024, arXiv:2407.00617)."""

    def offset(y: Responses) -> PerResponse:
        return -share * y.reference_log_prob - (1 - share) * segment_sum(
            column(y, "history"), y.lengths
        )

    if share == 1:  # nothing is left of the earlier iterate
        return log_ratio(beta)
    kappa = number(share)
    term = f"(log π − {kappa}·log π_ref − {number(1 - share)}·log π_t)"
    return Score(term, Affine(lambda y: 1.0, offset), beta, needs("reference", "history"))


def log_odds() -> Score:
    """ORPO: Ω = log p/(1 − p), where p = exp(log π(y|x)/|y|)  (Hong et al., 2024, eq. 4, 5).

    With m = log π/|y| this is m − log(1 − eᵐ), infinite at m = 0. Closer to 0 than ε² (ε the
    machine epsilon, so 1.4e-14 in float32) the second term is held at its value there: Ω stays
    finite (below 32 in float32), and its slope is 1.
    """

    def value(y: Responses, other: Responses) -> PerResponse:
        mean = y.log_prob / y.length
        nearest = -(torch.finfo(mean.dtype).eps ** 2)
        return mean - log1mexp(mean.clamp(max=nearest))

    return Score("logit(π^(1/|y|))", value, unit="mean")


def divergence(beta: float = 0.1, kind: Divergence = "reverse_kl", alpha: float = 0.5) -> Score:
    """f-DPO: Ω = β f′(u), u = π/π_ref, for a divergence D_f (Wang et al., 2023, arXiv:2309.16240).

    reverse_kl  log u                       (DPO)
    forward_kl  −1/u
    js          log(2u/(1 + u))
    alpha       (1 − u^−α)/α, between reverse KL (α → 0) and forward KL (α = 1)
    """
    if kind == "reverse_kl":
        return log_ratio(beta)

    def value(y: Responses, other: Responses) -> PerResponse:
        log_u = y.log_prob - y.reference_log_prob
        match kind:
            case "forward_kl":
                return -bounded_exp(-log_u)
            case "js":
                return math.log(2) + F.logsigmoid(log_u)
            case _:
                return -bounded_expm1(-alpha * log_u) / alpha

    a = number(alpha)
    terms = {
        "forward_kl": "(−π_ref/π)",
        "js": "log(2π/(π + π_ref))",
        "alpha": f"((1 − (π_ref/π)^{a})/{a})",
    }
    return Score(terms[kind], value, beta, needs("reference"))


def box_cox(beta: float = 2.0, alpha: float = 0.25) -> Score:
    """AlphaPO: Ω = β (1 − e^(−α m))/α, m = log π/|y|; α → 0 is `mean_log_prob` (Gupta et al., 2025,
    arXiv:2501.03884)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        mean = y.log_prob / y.length
        return mean if alpha == 0 else -bounded_expm1(-alpha * mean) / alpha

    a = number(alpha)
    term = f"((1 − π^(−{a}/|y|))/{a})" if alpha else "(log π/|y|)"
    return Score(term, value, beta, unit="mean")


def chi_squared(beta: float = 0.1) -> Score:
    """χPO: Ω = β [π/π_ref + log π/π_ref] (Huang et al., 2024, arXiv:2407.13399)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        log_u = y.log_prob - y.reference_log_prob
        return bounded_exp(log_u) + log_u

    return Score("(π/π_ref + log π/π_ref)", value, beta, needs("reference"))


def mean_prob() -> Score:
    """SimPER: Ω = π(y|x)^(1/|y|), the inverse perplexity (Xiao et al., 2025, arXiv:2502.00883)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        return bounded_exp(y.log_prob / y.length)

    return Score("π^(1/|y|)", value, unit="mean")


def reward() -> Score:
    """What a reward model says: Ω = r(x, y)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        if y.reward is None:
            raise LuceError(
                "This objective trains a reward model, but the batch has no rewards. Set "
                "`model.kind: reward` in the recipe, or choose an objective for policies."
            )
        return y.reward

    return Score("r", value, needs=needs("reward"), unit="reward")


SCORES = {
    "log_prob": log_prob,
    "mean_log_prob": mean_log_prob,
    "log_ratio": log_ratio,
    "mean_log_ratio": mean_log_ratio,
    "geometric": geometric,
    "length_regularized": length_regularized,
    "length_desensitized": length_desensitized,
    "log_ratio_with_kl": log_ratio_with_kl,
    "two_reference": two_reference,
    "log_odds": log_odds,
    "divergence": divergence,
    "box_cox": box_cox,
    "chi_squared": chi_squared,
    "mean_prob": mean_prob,
    "reward": reward,
}
