"""DPO with another divergence from the reference than the reverse KL.

u = π/π_ref of a response throughout.
"""

from typing import Literal

from luce.errors import RecipeError
from luce.objectives import scores
from luce.objectives.check import fraction, positive
from luce.objectives.losses import LOSSES, clipped_logistic
from luce.objectives.objective import Objective


def chipo(beta: float = 0.1, R: float = 1.0) -> Objective:
    """χPO: −log σ(clip(β [Φ(chosen) − Φ(rejected)], ±2R)), Φ = π/π_ref + log π/π_ref.

    Args:
        beta: raising it keeps the policy closer to the reference, in χ² divergence.
        R: bound of the rewards; a pair whose margin is beyond 2R has no gradient.

    Optimum:
        Under a Luce annotator p*, β Φ(y) = log p*(y) + c, c such that π sums to 1, where no margin
        is beyond 2R.

    Pitfalls:
        gradients: there is none where |z| > 2R, be the pair ranked rightly or wrongly.

    Defaults:
        beta: 0.1 is not verified in the paper.
        R: 1 is not verified in the paper.
    """
    beta, R = positive("chipo.beta", beta), positive("chipo.R", R)
    return Objective(
        scores.chi_squared(beta),
        clipped_logistic(2 * R),
        name="chipo",
        parameters={"beta": beta, "R": R},
        source="Huang et al. (2024), arXiv:2407.13399, algorithm 1",
    )


def fdpo(
    beta: float = 0.1,
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "alpha",
    alpha: float = 0.5,
) -> Objective:
    """f-DPO: −log σ(β [f′(u_chosen) − f′(u_rejected)]), u = π/π_ref and f′ that of a divergence.

    Args:
        beta: raising it keeps the policy closer to the reference, in that divergence.
        divergence: `reverse_kl` (DPO), `forward_kl`, `js` (Jensen-Shannon) or `alpha`.
        alpha: of the `alpha` divergence, in (0, 1]: raising it goes from reverse to forward KL.

    Optimum:
        Under a Luce annotator p*, β f′(u) = log p* + c, c such that π sums to 1.

    Pitfalls:
        TRL: in 1.x the coefficient c of the α divergence means α = 1 − c, in 0.24 it meant α:
            0.658537 against 0.656099 for the same number; float64 raises a KeyError.

    Defaults:
        alpha: the paper sweeps 0.3 to 0.7; 0.5 is its middle.
    """
    beta, alpha = positive("fdpo.beta", beta), fraction("fdpo.alpha", alpha, low_open=True)
    if divergence not in ("reverse_kl", "forward_kl", "js", "alpha"):
        raise RecipeError(
            f"objective.fdpo.divergence: no {divergence!r}. Choose one of: reverse_kl, forward_kl, "
            "js, alpha."
        )
    return Objective(
        scores.divergence(beta, divergence, alpha),
        LOSSES["logistic"],
        name="fdpo",
        parameters={"beta": beta, "divergence": divergence, "alpha": alpha},
        source="Wang et al. (2023), arXiv:2309.16240, eq. 8 and Table 1",
    )
