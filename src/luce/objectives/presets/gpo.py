"""Generalized preference optimization: the implicit reward β log π/π_ref under any margin loss.

h = log π/π_ref(chosen) − log π/π_ref(rejected) throughout.
"""

from luce.objectives import scores
from luce.objectives.check import positive
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective

GPO = "Tang et al. (2024), arXiv:2402.05749, eq. 4 and Table 1"
RSO = "Liu et al. (2023), arXiv:2309.06657"


def ipo(tau: float = 0.1, per_token: bool = False) -> Objective:
    """Identity preference optimization: (h − 1/2τ)², h = log π/π_ref(chosen) − (rejected).

    Composed as (1 − 2τh)² / 4τ², so that its margin is 2τh and stands for P = (1 + 2τh)/2.

    Args:
        tau: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/2τ.
        per_token: whether h takes the mean log-ratio of each response in place of the paper's sum,
            as other programs do; its τ is not comparable.
    """
    tau = positive("ipo.tau", tau)
    score = scores.mean_log_ratio if per_token else scores.log_ratio
    return Objective(
        score(2 * tau),
        LOSSES["square"],
        scale=1 / (4 * tau**2),
        name="ipo",
        parameters={"tau": tau, "per_token": per_token},
        source="Azar et al. (2023), arXiv:2310.12036, eq. 17",
    )


def _gpo(loss: str, beta: float) -> Objective:
    beta = positive(f"gpo_{loss}.beta", beta)
    return Objective(
        scores.log_ratio(beta),
        LOSSES[loss],
        name=f"gpo_{loss}",
        parameters={"beta": beta},
        source=GPO,
    )


def gpo_hinge(beta: float = 0.1) -> Objective:
    """GPO with the hinge: max(0, 1 − β h).

    Args:
        beta: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/β.
    """
    return _gpo("hinge", beta)


def gpo_square(beta: float = 0.1) -> Objective:
    """GPO with the square: (1 − β h)², which is β² times IPO with τ = β/2.

    Args:
        beta: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/β.
    """
    return _gpo("square", beta)


def gpo_exponential(beta: float = 0.1) -> Objective:
    """GPO with the exponential: exp(−β h).

    Args:
        beta: raising it keeps the policy closer to the reference.
    """
    return _gpo("exponential", beta)


def gpo_truncated_quadratic(beta: float = 0.1) -> Objective:
    """GPO with the truncated quadratic: max(0, 1 − β h)².

    Args:
        beta: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/β.
    """
    return _gpo("truncated_quadratic", beta)


def gpo_savage(beta: float = 0.1) -> Objective:
    """GPO with Savage's loss: 1/(1 + exp(β h))², which is not convex.

    Args:
        beta: raising it keeps the policy closer to the reference.
    """
    return _gpo("savage", beta)


def rso_hinge(gamma: float = 0.05) -> Objective:
    """RSO's hinge-norm: max(0, 1 − γ h), γ times SLiC's hinge on log-ratios with δ = 1/γ.

    Args:
        gamma: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/γ.
    """
    gamma = positive("rso_hinge.gamma", gamma)
    return Objective(
        scores.log_ratio(gamma),
        LOSSES["hinge"],
        name="rso_hinge",
        parameters={"gamma": gamma},
        source=f"{RSO}, eq. 9",
    )


def rso_sigmoid(gamma: float = 0.05) -> Objective:
    """RSO's sigmoid-norm: −log σ(γ h), DPO's cost on pairs from its sampler.

    Args:
        gamma: raising it keeps the policy closer to the reference.
    """
    gamma = positive("rso_sigmoid.gamma", gamma)
    return Objective(
        scores.log_ratio(gamma),
        LOSSES["logistic"],
        name="rso_sigmoid",
        parameters={"gamma": gamma},
        source=f"{RSO}, eq. 8",
    )
