"""Objectives defined over the whole global batch of pairs.

h = log π/π_ref(chosen) − log π/π_ref(rejected) throughout.
"""

from luce.objectives import batch_terms, scores
from luce.objectives.batch_terms import DynamicBeta
from luce.objectives.check import fraction, non_negative, positive, whole
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective

AOT = "Melnyk et al. (2024), arXiv:2406.05882"


def aot(beta: float = 0.1) -> Objective:
    """AOT, paired: −log σ(β [k-th largest log π(chosen)/π(rejected) − k-th largest of π_ref]):
    the policy's margins dominate the reference's as a distribution.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Pitfalls:
        other programs: sort the rows of one device, so the cost depends on how many there are; here
            it is the global batch.
    """
    beta = positive("aot.beta", beta)
    return Objective(
        scores.log_prob(beta),
        LOSSES["logistic"],
        target_margin=batch_terms.reference_margin_of_same_rank(beta),
        name="aot",
        parameters={"beta": beta},
        source=f"{AOT}, eq. 6",
    )


def aot_unpaired(beta: float = 0.1) -> Objective:
    """AOT, unpaired: −log σ(β [k-th largest log π/π_ref of chosen − k-th largest of rejected]).

    Args:
        beta: raising it keeps the policy closer to the reference.

    Pitfalls:
        other programs: sort the rows of one device, so the cost depends on how many there are; here
            it is the global batch.
    """
    beta = positive("aot_unpaired.beta", beta)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        view=batch_terms.matched_by_rank(scores.log_ratio(1.0)),
        name="aot_unpaired",
        parameters={"beta": beta},
        source=f"{AOT}, eq. 7",
    )


def dr_dpo(beta: float = 0.1, beta_prime: float = 1.0) -> Objective:
    """Distributionally robust DPO: −β′ log mean exp(−L/β′), L = −log σ(β h) of each pair.

    Args:
        beta: raising it keeps the policy closer to the reference.
        beta_prime: raising it trusts all pairs alike (∞ is DPO); lowering it trusts those that
            already fit.

    Pitfalls:
        the authors' program: pools the rows of one device, so the cost depends on how many there
            are; here it is the global batch.
    """
    beta = positive("dr_dpo.beta", beta)
    beta_prime = positive("dr_dpo.beta_prime", beta_prime)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        aggregate=batch_terms.robust_mean(beta_prime),
        name="dr_dpo",
        parameters={"beta": beta, "beta_prime": beta_prime},
        source="Wu et al. (2024), arXiv:2407.07880, eq. 12",
    )


def beta_dpo(beta: float = 0.1, alpha: float = 0.6, rho: float = 0.2, seed: int = 0) -> Objective:
    """β-DPO: −log σ(β_B h), β_B = β [1 + α (mean M − M₀)] of the batch, on a share 1 − ρ of its
    pairs drawn by N(M; M₀, σ²), with M = β h, M₀ and σ its running mean and deviation.

    Args:
        beta: β₀: raising it keeps the policy closer to the reference.
        alpha: how fast β follows the batch: 0 is a fixed β, raising it follows faster.
        rho: the share of pairs left out, in [0, 1]; at least one stays.
        seed: of the draw, which otherwise depends on the rows alone.

    Pitfalls:
        the authors' program: M leaves β₀ out.
    """
    beta, alpha = positive("beta_dpo.beta", beta), non_negative("beta_dpo.alpha", alpha)
    rho, seed = fraction("beta_dpo.rho", rho), whole("beta_dpo.seed", seed)
    dynamic = DynamicBeta(scores.log_ratio(beta), alpha, rho, seed)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        margin_scale=dynamic.margin_scale,
        weights=dynamic.filter if rho else None,
        name="beta_dpo",
        parameters={"beta": beta, "alpha": alpha, "rho": rho, "seed": seed},
        source="Wu et al. (2024), arXiv:2407.08639, eq. 6 to 9",
    )


def alpha_dpo(beta: float = 2.5, gamma: float = 0.6, alpha: float = 0.2) -> Objective:
    """α-DPO: −log σ(β (m_w − m_l − sg[γ + α z])), m = log π/|y| and z the z-score over the batch of
    the pair's margin of (log π/π_ref)/|y|.

    Args:
        beta: what a nat per token is worth: raising it makes smaller differences
            suffice.
        gamma: target margin in nats per token (SimPO's γ/β): raising it asks for more.
        alpha: how far the target follows the pair: 0 is SimPO.
    """
    beta, gamma = positive("alpha_dpo.beta", beta), non_negative("alpha_dpo.gamma", gamma)
    alpha = non_negative("alpha_dpo.alpha", alpha)
    target = batch_terms.standardized_margin(scores.mean_log_ratio(1.0), beta, gamma, alpha)
    return Objective(
        scores.mean_log_prob(beta),
        LOSSES["logistic"],
        target_margin=target,
        name="alpha_dpo",
        parameters={"beta": beta, "gamma": gamma, "alpha": alpha},
        source="Wu et al. (2024), arXiv:2410.10148, eq. 10",
    )
