"""Objectives that compare the policy with no reference (and the geometric score, PBDE's third)."""

from typing import Literal

from luce.errors import RecipeError
from luce.objectives import scores
from luce.objectives.check import non_negative, positive, real
from luce.objectives.losses import LOSSES, hinge
from luce.objectives.objective import Objective
from luce.objectives.presets.shared import nll_term

PBDE = "Dumoulin et al. (2023), arXiv:2311.14115"


def luce() -> Objective:
    """The Luce choice rule: −log σ(log π(chosen) − log π(rejected)): the policy is a density model
    of what the annotator likes.

    Optimum:
        p* itself, if the annotator follows the Luce rule, however pairs are drawn (Dumoulin et al.,
        2023, theorem 2).
    """
    return Objective(scores.log_prob(1.0), LOSSES["logistic"], name="luce", source=f"{PBDE}, eq. 9")


def luce_length_normalized(scale: float = 1.0) -> Objective:
    """The length-normalized Luce rule: −log σ(c [log π(chosen)/|chosen| − the same of rejected]).

    Args:
        scale: c, what a nat per token is worth in nats of preference: raising it asks for smaller
            differences.

    Optimum:
        p* itself, if the annotator compares c log p*/|y| (Dumoulin et al., 2023, theorem 2).

    Pitfalls:
        the authors' program: multiplies by 50, which equations 26 to 28 leave out. Without it,
            differences of a tenth of a nat per token stand for probabilities near ½.
    """
    scale = positive("luce_length_normalized.scale", scale)
    return Objective(
        scores.mean_log_prob(scale),
        LOSSES["logistic"],
        name="luce_length_normalized",
        parameters={"scale": scale},
        source=f"{PBDE}, eq. 26; the formula of the equation has c = 1, its program c = 50",
    )


def pbde_geometric(alpha: float = 0.25) -> Objective:
    """PBDE's geometric score: −log σ(h/α + log π_ref(chosen) − log π_ref(rejected)).

    Args:
        alpha: share of the annotator in the optimum π_ref^(1−α) p*^α: raising it follows the
            annotator further; 1 is `luce`.

    Optimum:
        Under a Luce annotator p*, π ∝ π_ref^(1−α) p*^α (Dumoulin et al., 2023, eq. 18).
    """
    alpha = positive("pbde_geometric.alpha", alpha)
    return Objective(
        scores.geometric(alpha),
        LOSSES["logistic"],
        name="pbde_geometric",
        parameters={"alpha": alpha},
        source=f"{PBDE}, eq. 17 and 18",
    )


def simpo(
    beta: float = 2.0, gamma: float | None = None, gamma_beta_ratio: float | None = None
) -> Objective:
    """SimPO: −log σ(β log π(chosen)/|chosen| − β log π(rejected)/|rejected| − γ).

    The paper tunes β from 2 to 10 and γ/β from 0.1 to 0.8; these defaults are its setting for
    Llama-3-Base.

    Args:
        beta: what a nat per token is worth: raising it makes smaller differences
            suffice.
        gamma: target margin, 1 unless one of the two is given: raising it asks for more.
        gamma_beta_ratio: γ/β, in place of γ.

    Pitfalls:
        TRL CPO: unless told otherwise β = 0.1 and γ = 0.5, so that γ/β = 5, and `cpo_alpha` = 1
            adds a likelihood.
        LLaMA-Factory: unless told otherwise β = 0.1 and γ = 0.5.
        axolotl: passes γ on as None where it is not set, which ends in a TypeError.
        HALOs: loads a reference that is not used, and reports rewards without β.
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


def slic(delta: float = 1.0, lam: float = 0.1, nll: Literal["sum", "mean"] = "sum") -> Objective:
    """SLiC-HF: max(0, δ − log π(chosen) + log π(rejected)) − λ log π(chosen).

    The regularizing target is the chosen response.

    Args:
        delta: the margin in nats at which a pair is satisfied: raising it asks for more.
        lam: weight of the likelihood: raising it holds up the chosen responses.
        nll: the likelihood as a `sum` over tokens (the equation), or their `mean`.

    Pitfalls:
        HALOs: fails for more than one row a micro-batch, and for one averages the likelihood over
            padding.
        TRL: `hinge` compares with a reference, which is `gpo_hinge`.

    Defaults:
        lam: 0.1 is a common setting; the paper's is not verified.
    """
    delta, lam = non_negative("slic.delta", delta), non_negative("slic.lam", lam)
    return Objective(
        scores.log_prob(),
        hinge(delta),
        regularizers=nll_term("slic.nll", nll, lam),
        name="slic",
        parameters={"delta": delta, "lam": lam, "nll": nll},
        source="Zhao et al. (2023), arXiv:2305.10425",
    )


def orpo(lam: float = 0.1, nll: Literal["sum", "mean"] = "mean") -> Objective:
    """ORPO: −log π(chosen)/|chosen| + λ (−log σ(log-odds of chosen − log-odds of rejected)), the
    odds those of the mean token probability.

    Args:
        lam: weight of the odds ratio against the likelihood: raising it prefers harder.
        nll: the likelihood as the `mean` over the tokens of the response, or their `sum`.

    Pitfalls:
        the authors' program, LLaMA-Factory: log(1 − p) from e^m in float32: 0.0916 in place of
            0.1099 where m is near −1e-7. The authors' command line has λ = 1.
        TRL: the gradient is nan at m = 0; the likelihood is a mean over the tokens of prompt and
            response.
        axolotl: hands `orpo_alpha` on as β.
    """
    lam = positive("orpo.lam", lam)
    return Objective(
        scores.log_odds(),
        LOSSES["logistic"],
        scale=lam,
        regularizers=nll_term("orpo.nll", nll, 1.0),
        name="orpo",
        parameters={"lam": lam, "nll": nll},
        source="Hong et al. (2024), arXiv:2403.07691, eq. 6 and 7",
    )


def cpo(beta: float = 0.1, alpha: float = 1.0, nll: Literal["sum", "mean"] = "mean") -> Objective:
    """CPO: −log σ(β [log π(chosen) − log π(rejected)]) + α · NLL(chosen).

    Args:
        beta: what a nat is worth: raising it makes smaller differences
            suffice.
        alpha: weight of the likelihood: raising it holds up the chosen responses.
        nll: the likelihood as the `mean` over the tokens of the response (the authors' program),
            or their `sum` (the equation).

    Pitfalls:
        TRL: the likelihood is a mean over all tokens of the batch, so that longer responses count
            more.
    """
    beta, alpha = positive("cpo.beta", beta), non_negative("cpo.alpha", alpha)
    return Objective(
        scores.log_prob(beta),
        LOSSES["logistic"],
        regularizers=nll_term("cpo.nll", nll, alpha),
        name="cpo",
        parameters={"beta": beta, "alpha": alpha, "nll": nll},
        source="Xu et al. (2024), arXiv:2401.08417",
    )


def alphapo(beta: float = 2.5, alpha: float = 0.25, gamma: float = 0.25) -> Objective:
    """AlphaPO: −log σ(β [r(chosen) − r(rejected)] − γ), r = (1 − π^(−α/|y|))/α.

    Args:
        beta: what a unit of r is worth: raising it makes smaller differences
            suffice.
        alpha: shape of the reward: 0 is SimPO; raising it above 0 weighs unlikely responses more.
        gamma: target margin: raising it asks for more.

    Pitfalls:
        TRL CPO: for losses other than `simpo` it takes summed log-probabilities, and e^(−α log π)
            overflows.

    Defaults:
        beta: 2.5 is not verified in the paper.
        alpha: 0.25 is not verified in the paper.
        gamma: 0.25 is not verified in the paper.
    """
    beta, alpha = positive("alphapo.beta", beta), real("alphapo.alpha", alpha)
    gamma = non_negative("alphapo.gamma", gamma)
    return Objective(
        scores.box_cox(beta, alpha),
        LOSSES["logistic"],
        target_margin=gamma,
        name="alphapo",
        parameters={"beta": beta, "alpha": alpha, "gamma": gamma},
        source="Gupta et al. (2025), arXiv:2501.03884, eq. 6",
    )


def simper() -> Objective:
    """SimPER: −π(chosen)^(1/|chosen|) + π(rejected)^(1/|rejected|), differences of inverse
    perplexities; there is nothing to tune."""
    return Objective(
        scores.mean_prob(),
        LOSSES["linear"],
        name="simper",
        source="Xiao et al. (2025), arXiv:2502.00883, eq. 5",
    )
