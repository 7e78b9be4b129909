"""The literature as sentences: each published method is one composition of parts.

Defaults are the paper's where it names one, else the authors' configuration; where there is
neither, the docstring says so. Every parameter is checked, and printed in the objective's formula.
"""

from collections.abc import Callable
from typing import Literal

from luce.errors import RecipeError
from luce.objectives import regularizers, scores
from luce.objectives.check import flip_rate, non_negative, positive
from luce.objectives.labels import flipped, unbiased
from luce.objectives.likelihood import Likelihood
from luce.objectives.losses import LOSSES, hinge
from luce.objectives.objective import Objective, annotated_margin
from luce.objectives.pointwise import Pointwise
from luce.types import CostFunction

GPO = "Tang et al. (2024), arXiv:2402.05749, eq. 4 and Table 1"


def _nll(key: str, nll: str, weight: float) -> tuple[regularizers.Regularizer, ...]:
    variants = {"sum": regularizers.nll_sum, "mean": regularizers.nll_mean}
    if nll not in variants:
        raise RecipeError(f"objective.{key}: {nll!r} is neither 'sum' nor 'mean'.")
    return (variants[nll](weight),) if weight else ()


def dpo(beta: float = 0.1) -> Objective:
    """Direct preference optimization: −log σ(β h), h = log π/π_ref(chosen) − log π/π_ref(rejected).

    >>> dpo(beta=0.1).formula
    '−log σ(0.1·[log π/π_ref(chosen) − log π/π_ref(rejected)])'
    """
    beta = positive("dpo.beta", beta)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        name="dpo",
        parameters={"beta": beta},
        source="Rafailov et al. (2023), arXiv:2305.18290, eq. 7",
    )


def cdpo(beta: float = 0.1, eps: float = 0.1) -> Objective:
    """Conservative DPO: (1 − ε)(−log σ(β h)) + ε (−log σ(−β h)): a share ε of labels is wrong."""
    beta, eps = positive("cdpo.beta", beta), flip_rate("cdpo.eps", eps)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        labels=flipped(eps),
        name="cdpo",
        parameters={"beta": beta, "eps": eps},
        source="Mitchell (2023), A note on DPO with noisy preferences and relationship to IPO",
    )


def robust_dpo(beta: float = 0.1, eps: float = 0.1) -> Objective:
    """Robust DPO: [(1 − ε) L(h) − ε L(−h)] / (1 − 2ε), L(h) = −log σ(β h); can be negative."""
    beta, eps = positive("robust_dpo.beta", beta), flip_rate("robust_dpo.eps", eps)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        labels=unbiased(eps),
        name="robust_dpo",
        parameters={"beta": beta, "eps": eps},
        source="Chowdhury et al. (2024), arXiv:2403.00409",
    )


def ipo(tau: float = 0.1, per_token: bool = False) -> Objective:
    """Identity preference optimization: (h − 1/2τ)², h = log π/π_ref(chosen) − (rejected).

    Composed as (1 − 2τh)² / 4τ², so that its margin is 2τh and stands for P = (1 + 2τh)/2. The
    paper sums over tokens; `per_token` takes the mean log-ratio of each response instead, as other
    programs do: its τ is not comparable.
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


def slic(delta: float = 1.0, lam: float = 0.1, nll: Literal["sum", "mean"] = "sum") -> Objective:
    """SLiC-HF: max(0, δ − log π(chosen) + log π(rejected)) − λ log π(chosen).

    The regularizing target is the chosen response. δ is the paper's; λ = 0.1 is a common setting,
    for the paper tunes it.
    """
    delta, lam = non_negative("slic.delta", delta), non_negative("slic.lam", lam)
    return Objective(
        scores.log_prob(),
        hinge(delta),
        regularizers=_nll("slic.nll", nll, lam),
        name="slic",
        parameters={"delta": delta, "lam": lam, "nll": nll},
        source="Zhao et al. (2023), arXiv:2305.10425",
    )


def simpo(
    beta: float = 2.0, gamma: float | None = None, gamma_beta_ratio: float | None = None
) -> Objective:
    """SimPO: −log σ(β log π(chosen)/|chosen| − β log π(rejected)/|rejected| − γ).

    Give γ (1 unless said otherwise) or γ/β, not both. The paper tunes both: β from 2 to 10, γ/β
    from 0.1 to 0.8; these defaults are its setting for Llama-3-Base.
    """
    beta = positive("simpo.beta", beta)
    if gamma is not None and gamma_beta_ratio is not None:
        raise RecipeError(
            "objective.simpo: `gamma` and `gamma_beta_ratio` (= gamma / beta) say the same thing. "
            "Give one of them."
        )
    if gamma_beta_ratio is not None:
        gamma = beta * non_negative("simpo.gamma_beta_ratio", gamma_beta_ratio)
    gamma = non_negative("simpo.gamma", 1.0 if gamma is None else gamma)
    return Objective(
        scores.mean_log_prob(beta),
        LOSSES["logistic"],
        target_margin=gamma,
        name="simpo",
        parameters={"beta": beta, "gamma": gamma},
        source="Meng et al. (2024), arXiv:2405.14734, eq. 6",
    )


def orpo(lam: float = 0.1, nll: Literal["sum", "mean"] = "mean") -> Objective:
    """ORPO: −log π(chosen)/|chosen| + λ (−log σ(log-odds of chosen − log-odds of rejected)),
    the odds those of the mean token probability. The likelihood counts the response alone, each
    response alike."""
    lam = positive("orpo.lam", lam)
    return Objective(
        scores.log_odds(),
        LOSSES["logistic"],
        scale=lam,
        regularizers=_nll("orpo.nll", nll, 1.0),
        name="orpo",
        parameters={"lam": lam, "nll": nll},
        source="Hong et al. (2024), arXiv:2403.07691, eq. 6 and 7",
    )


def rdpo(beta: float = 0.1, alpha: float = 0.01) -> Objective:
    """R-DPO: −log σ(β h + α (|chosen| − |rejected|)).

    The paper tunes α; 0.01 is a mild setting.
    """
    beta, alpha = positive("rdpo.beta", beta), non_negative("rdpo.alpha", alpha)
    return Objective(
        scores.length_regularized(beta, alpha),
        LOSSES["logistic"],
        name="rdpo",
        parameters={"beta": beta, "alpha": alpha},
        source="Park et al. (2024), arXiv:2403.19159",
    )


def ln_dpo(beta: float = 5.0) -> Objective:
    """Length-normalized DPO: −log σ(β (log π/π_ref(chosen)/|chosen| − the same of rejected))."""
    beta = positive("ln_dpo.beta", beta)
    return Objective(
        scores.mean_log_ratio(beta),
        LOSSES["logistic"],
        name="ln_dpo",
        parameters={"beta": beta},
        source="Lambert et al. (2024), arXiv:2411.15124, section 5",
    )


def cpo(beta: float = 0.1, alpha: float = 1.0, nll: Literal["sum", "mean"] = "mean") -> Objective:
    """CPO: −log σ(β [log π(chosen) − log π(rejected)]) + α · NLL(chosen).

    The paper prints the NLL as a sum over tokens, and its program takes a mean; `nll` says which.
    """
    beta, alpha = positive("cpo.beta", beta), non_negative("cpo.alpha", alpha)
    return Objective(
        scores.log_prob(beta),
        LOSSES["logistic"],
        regularizers=_nll("cpo.nll", nll, alpha),
        name="cpo",
        parameters={"beta": beta, "alpha": alpha, "nll": nll},
        source="Xu et al. (2024), arXiv:2401.08417",
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
    """GPO with the hinge: max(0, 1 − β h). The paper sweeps β."""
    return _gpo("hinge", beta)


def gpo_square(beta: float = 0.1) -> Objective:
    """GPO with the square: (1 − β h)², which is β² times IPO with τ = β/2. The paper sweeps β."""
    return _gpo("square", beta)


def gpo_exponential(beta: float = 0.1) -> Objective:
    """GPO with the exponential: exp(−β h). The paper sweeps β."""
    return _gpo("exponential", beta)


def gpo_truncated_quadratic(beta: float = 0.1) -> Objective:
    """GPO with the truncated quadratic: max(0, 1 − β h)². The paper sweeps β."""
    return _gpo("truncated_quadratic", beta)


def gpo_savage(beta: float = 0.1) -> Objective:
    """GPO with Savage's loss: 1/(1 + exp(β h))², which is not convex. The paper sweeps β."""
    return _gpo("savage", beta)


def kto(beta: float = 0.1, lam_d: float = 1.0, lam_u: float = 1.0) -> Pointwise:
    """KTO: λ_D (1 − σ(β (log π/π_ref − KL))) of desirable, λ_U (1 − σ(β (KL − log π/π_ref))) of
    undesirable responses, KL ≥ 0 a running mean without gradient."""
    beta = positive("kto.beta", beta)
    lam_d, lam_u = non_negative("kto.lam_d", lam_d), non_negative("kto.lam_u", lam_u)
    if lam_d == lam_u == 0:
        raise RecipeError("objective.kto: `lam_d` and `lam_u` are both 0, so nothing is learnt.")
    return Pointwise(
        scores.log_ratio(beta),
        lam_d,
        lam_u,
        name="kto",
        parameters={"beta": beta, "lam_d": lam_d, "lam_u": lam_u},
        source="Ethayarajh et al. (2024), arXiv:2402.01306, section 4",
    )


def sft() -> Likelihood:
    """Supervised fine-tuning: the mean negative log-likelihood of all tokens of the batch."""
    return Likelihood(name="sft", source="maximum likelihood")


def bradley_terry(
    loss: Literal[
        "logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage"
    ] = "logistic",
    center: float = 0.0,
) -> Objective:
    """Reward model: φ(r(chosen) − r(rejected) − margin) + c (r(chosen) + r(rejected))².

    The margin is the row's own `margin`, 0 where it has none. With another φ than the logistic
    this is GPO's reward model (Tang et al., 2024, eq. 3).
    """
    if loss not in LOSSES:
        raise RecipeError(f"objective.bradley_terry.loss: no {loss!r}. Known: {', '.join(LOSSES)}.")
    center = non_negative("bradley_terry.center", center)
    return Objective(
        scores.reward(),
        LOSSES[loss],
        target_margin=annotated_margin(),
        regularizers=(regularizers.center(center),) if center else (),
        name="bradley_terry",
        parameters={"loss": loss, "center": center},
        source="Bradley and Terry (1952); margin: Touvron et al. (2023), arXiv:2307.09288, eq. 2",
    )


OBJECTIVES: dict[str, Callable[..., CostFunction]] = {
    "dpo": dpo,
    "cdpo": cdpo,
    "robust_dpo": robust_dpo,
    "ipo": ipo,
    "slic": slic,
    "simpo": simpo,
    "orpo": orpo,
    "rdpo": rdpo,
    "ln_dpo": ln_dpo,
    "cpo": cpo,
    "gpo_hinge": gpo_hinge,
    "gpo_square": gpo_square,
    "gpo_exponential": gpo_exponential,
    "gpo_truncated_quadratic": gpo_truncated_quadratic,
    "gpo_savage": gpo_savage,
    "kto": kto,
    "sft": sft,
    "bradley_terry": bradley_terry,
}
