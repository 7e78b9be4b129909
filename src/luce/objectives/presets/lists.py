"""Objectives on lists of graded responses. r = β log π/π_ref throughout."""

from typing import Literal

from luce.errors import RecipeError
from luce.objectives import ranking, scores
from luce.objectives.check import non_negative, positive
from luce.objectives.ranking import ListObjective


def rrhf(sft_weight: float = 1.0) -> ListObjective:
    """RRHF: Σ_{R_i > R_j} max(0, m_j − m_i) − w m_best, m = log π/|y|.

    Args:
        sft_weight: w, weight of the best response's likelihood: raising it imitates more.

    Pitfalls:
        the authors' program: averages the likelihood over the padded length; its default weight is
            100, that of its scripts 1.
    """
    sft_weight = non_negative("rrhf.sft_weight", sft_weight)
    return ListObjective(
        scores.mean_log_prob(1.0),
        ranking.pairwise_hinge(),
        best_nll=sft_weight,
        name="rrhf",
        parameters={"sft_weight": sft_weight},
        source="Yuan et al. (2023), arXiv:2304.05302, eq. 3 to 5",
    )


def plackett_luce(beta: float = 0.1) -> ListObjective:
    """DPO on rankings: −Σ_k log softmax of r of the k-th best among those not better than it.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Optimum:
        On all rankings of a Luce annotator p*, π ∝ π_ref p*^(1/β).

    Pitfalls:
        other programs: none of the common trainers takes lists.
    """
    beta = positive("plackett_luce.beta", beta)
    return ListObjective(
        scores.log_ratio(beta),
        ranking.plackett_luce(),
        name="plackett_luce",
        parameters={"beta": beta},
        source="Rafailov et al. (2023), arXiv:2305.18290, appendix A.3",
    )


def infonca(beta: float = 0.01, alpha: float = 0.01) -> ListObjective:
    """InfoNCA: −Σ softmax(R/α) log softmax(r).

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: temperature of the grades: raising it makes the target flatter.

    Optimum:
        Where the grades are a function R of the response, π ∝ π_ref exp(R/(α β)).

    Defaults:
        alpha: 0.01 is not verified in the paper.
    """
    beta, alpha = positive("infonca.beta", beta), positive("infonca.alpha", alpha)
    return ListObjective(
        scores.log_ratio(beta),
        ranking.soft_cross_entropy(alpha),
        name="infonca",
        parameters={"beta": beta, "alpha": alpha},
        source="Chen et al. (2024), arXiv:2402.05369, eq. 9",
    )


def nca_list(beta: float = 0.01, alpha: float = 0.01) -> ListObjective:
    """NCA: −Σ [softmax(R/α) log σ(r) + (1/K) log σ(−r)].

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: temperature of the grades: raising it makes the target flatter.

    Defaults:
        alpha: 0.01 is not verified in the paper.
    """
    beta, alpha = positive("nca_list.beta", beta), positive("nca_list.alpha", alpha)
    return ListObjective(
        scores.log_ratio(beta),
        ranking.noise_contrast(alpha),
        name="nca_list",
        parameters={"beta": beta, "alpha": alpha},
        source="Chen et al. (2024), arXiv:2402.05369, eq. 11",
    )


def lipo(beta: float = 0.05, psi: Literal["score", "rank"] = "score") -> ListObjective:
    """LiPO-λ: Σ_{R_i > R_j} Δ_ij log(1 + e^(r_j − r_i)), Δ the change of DCG if i and j changed
    places in the policy's own ranking.

    Args:
        beta: raising it keeps the policy closer to the reference.
        psi: the gain is 2^ψ, ψ the `score` itself or its `rank` in the list, from 0.

    Defaults:
        beta: 0.05 is not verified in the paper.
    """
    beta = positive("lipo.beta", beta)
    if psi not in ("score", "rank"):
        raise RecipeError(f"objective.lipo.psi: {psi!r} is neither 'score' nor 'rank'.")
    return ListObjective(
        scores.log_ratio(beta),
        ranking.lambda_weighted(psi),
        name="lipo",
        parameters={"beta": beta, "psi": psi},
        source="Liu et al. (2024), arXiv:2402.01878, eq. 9",
    )


def exo_rw(beta: float = 0.1, beta_r: float = 0.1) -> ListObjective:
    """EXO on graded lists: KL(softmax(r) ‖ softmax(R/β_r)), which seeks modes.

    Args:
        beta: raising it keeps the policy closer to the reference.
        beta_r: temperature of the grades: raising it makes the target flatter.

    Optimum:
        Where the grades are a function R of the response, π ∝ π_ref exp(R/(β β_r)).

    Defaults:
        beta_r: 0.1 is not verified in the paper.
    """
    beta, beta_r = positive("exo_rw.beta", beta), positive("exo_rw.beta_r", beta_r)
    return ListObjective(
        scores.log_ratio(beta),
        ranking.reverse_kl(beta_r),
        name="exo_rw",
        parameters={"beta": beta, "beta_r": beta_r},
        source="Ji et al. (2024), arXiv:2402.00856, eq. 13",
    )


def dpo_rw(beta: float = 0.1, beta_r: float = 0.1) -> ListObjective:
    """DPO on graded lists: KL(softmax(R/β_r) ‖ softmax(r)), which covers.

    Args:
        beta: raising it keeps the policy closer to the reference.
        beta_r: temperature of the grades: raising it makes the target flatter.

    Optimum:
        Where the grades are a function R of the response, π ∝ π_ref exp(R/(β β_r)).

    Defaults:
        beta_r: 0.1 is not verified in the paper.
    """
    beta, beta_r = positive("dpo_rw.beta", beta), positive("dpo_rw.beta_r", beta_r)
    return ListObjective(
        scores.log_ratio(beta),
        ranking.forward_kl(beta_r),
        name="dpo_rw",
        parameters={"beta": beta, "beta_r": beta_r},
        source="Ji et al. (2024), arXiv:2402.00856, section 3",
    )
