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

    Optimum:
        π ∝ π_ref exp(P̄/τ), P̄(y) the probability that y is preferred to a response drawn as those
        of the pairs are (Azar et al., 2023).

    Pitfalls:
        TRL DPO, HALOs, LLaMA-Factory: take mean log-ratios per token, which `per_token` is;
            OpenRLHF and TRL's online trainers take sums. 17.64 against 22.56 on the same pair at
            the same τ.
        HALOs: averages over tokens on which policy and reference differ: 0/0 = nan wherever they
            agree on a response, as before the first update. Its rewards leave β out.
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

    Pitfalls:
        TRL, LLaMA-Factory: `hinge` is this objective, not SLiC.

    Defaults:
        beta: the paper sweeps β and names none.
    """
    return _gpo("hinge", beta)


def gpo_square(beta: float = 0.1) -> Objective:
    """GPO with the square: (1 − β h)², which is β² times IPO with τ = β/2.

    Args:
        beta: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/β.

    Optimum:
        π ∝ π_ref exp(2 P̄/β), P̄(y) the probability that y is preferred to a response drawn as
        those of the pairs are: that of IPO with τ = β/2.

    Defaults:
        beta: the paper sweeps β and names none.
    """
    return _gpo("square", beta)


def gpo_exponential(beta: float = 0.1) -> Objective:
    """GPO with the exponential: exp(−β h).

    Args:
        beta: raising it keeps the policy closer to the reference.

    Optimum:
        Under a Luce annotator p*, π ∝ π_ref p*^(1/2β), its link being σ(2z).

    Pitfalls:
        half precision: e⁻ᶻ overflows at z < −88 in bfloat16 and at z < −11 in float16; here it goes
            on as its tangent before that.

    Defaults:
        beta: the paper sweeps β and names none.
    """
    return _gpo("exponential", beta)


def gpo_truncated_quadratic(beta: float = 0.1) -> Objective:
    """GPO with the truncated quadratic: max(0, 1 − β h)².

    Args:
        beta: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/β.

    Optimum:
        That of `gpo_square` if no two P̄ differ by more than ½.

    Defaults:
        beta: the paper sweeps β and names none.
    """
    return _gpo("truncated_quadratic", beta)


def gpo_savage(beta: float = 0.1) -> Objective:
    """GPO with Savage's loss: 1/(1 + exp(β h))², which is not convex.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Optimum:
        Under a Luce annotator p* that of DPO: π ∝ π_ref p*^(1/β).

    Pitfalls:
        the paper's text: counts it among convex losses. It is bounded and falls, so it is not
            convex, and a pair that is ranked wrongly by far has hardly any gradient.

    Defaults:
        beta: the paper sweeps β and names none.
    """
    return _gpo("savage", beta)


def rso_hinge(gamma: float = 0.05) -> Objective:
    """RSO's hinge-norm: max(0, 1 − γ h), γ times SLiC's hinge on log-ratios with δ = 1/γ.

    Args:
        gamma: raising it keeps the policy closer to the reference: a pair is satisfied at h = 1/γ.

    Pitfalls:
        TRL, LLaMA-Factory: have it as `hinge`, without the rejection sampler that its pairs are
            meant to come from.

    Defaults:
        gamma: 0.05 is not verified in the paper.
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

    Optimum:
        Under a Luce annotator p*, π ∝ π_ref p*^(1/γ), as for DPO.

    Defaults:
        gamma: 0.05 is not verified in the paper.
    """
    gamma = positive("rso_sigmoid.gamma", gamma)
    return Objective(
        scores.log_ratio(gamma),
        LOSSES["logistic"],
        name="rso_sigmoid",
        parameters={"gamma": gamma},
        source=f"{RSO}, eq. 8",
    )
