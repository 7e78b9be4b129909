"""Objectives with a reference that look at length or at single tokens.

h = log π/π_ref(chosen) − log π/π_ref(rejected) throughout.
"""

from luce.objectives import scores, terms
from luce.objectives.check import fraction, non_negative, positive, whole
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective


def ln_dpo(beta: float = 5.0) -> Objective:
    """Length-normalized DPO: −log σ(β (log π/π_ref(chosen)/|chosen| − the same of rejected)).

    Args:
        beta: what a nat per token is worth: raising it keeps the policy closer to the reference.

    Optimum:
        p* itself, if the annotator compares (β/|y|) log p*/π_ref (Dumoulin et al., 2023, theorem
        2).

    Pitfalls:
        TRL 1.16: `sigmoid_norm` has β = 0.1 unless told otherwise, 50 times smaller.
    """
    beta = positive("ln_dpo.beta", beta)
    return Objective(
        scores.mean_log_ratio(beta),
        LOSSES["logistic"],
        name="ln_dpo",
        parameters={"beta": beta},
        source="Lambert et al. (2024), arXiv:2411.15124, section 5",
    )


def rdpo(beta: float = 0.1, alpha: float = 0.01) -> Objective:
    """R-DPO: −log σ(β h + α (|chosen| − |rejected|)).

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: nats of margin per token of length: raising it takes more of the reward of length
            away.

    Optimum:
        Under a Luce annotator p*, π ∝ π_ref p*^(1/β) e^(−α|y|/β): that of DPO, less long.

    Pitfalls:
        the program of α-DPO: subtracts α (|chosen| − |rejected|), which rewards length.

    Defaults:
        alpha: 0.01 is not verified in the paper.
    """
    beta, alpha = positive("rdpo.beta", beta), non_negative("rdpo.alpha", alpha)
    return Objective(
        scores.length_regularized(beta, alpha),
        LOSSES["logistic"],
        name="rdpo",
        parameters={"beta": beta, "alpha": alpha},
        source="Park et al. (2024), arXiv:2403.19159",
    )


def ld_dpo(beta: float = 0.1, alpha: float = 0.5) -> Objective:
    """LD-DPO: −log σ(β h) with tokens beyond the shorter response's length counting α, in policy
    and reference.

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: weight of the tail in [0, 1]: 1 is DPO, 0 compares heads of equal length.

    Pitfalls:
        LLaMA-Factory: weighs the tail of the policy only, not of the reference: 0.688160 in place
            of 0.649159 on the same pair.

    Defaults:
        alpha: 0.5 is not verified in the paper.
    """
    beta, alpha = positive("ld_dpo.beta", beta), fraction("ld_dpo.alpha", alpha)
    return Objective(
        scores.length_desensitized(beta, alpha),
        LOSSES["logistic"],
        name="ld_dpo",
        parameters={"beta": beta, "alpha": alpha},
        source="Liu et al. (2024), arXiv:2409.06411, eq. 8",
    )


def sampo(beta: float = 0.1, seed: int = 0) -> Objective:
    """SamPO: −log σ(β h) over as many random tokens of the longer response as the shorter one has.

    Args:
        beta: raising it keeps the policy closer to the reference.
        seed: of the draw, which otherwise depends on the row alone.

    Pitfalls:
        other programs: a draw that depends on the global generator changes a row's cost from run to
            run.
    """
    beta, seed = positive("sampo.beta", beta), whole("sampo.seed", seed)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        view=terms.random_tokens(seed),
        name="sampo",
        parameters={"beta": beta, "seed": seed},
        source="Lu et al. (2024), arXiv:2406.10957, eq. 6",
    )


def tdpo1(beta: float = 0.1) -> Objective:
    """TDPO1: −log σ(β [h − (Σ KL(rejected) − Σ KL(chosen))]), Σ KL the sequential forward KL
    divergence of a response.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Pitfalls:
        memory: both models' distributions over the whole vocabulary are needed at every token.
    """
    beta = positive("tdpo1.beta", beta)
    return Objective(
        scores.log_ratio_with_kl(beta),
        LOSSES["logistic"],
        name="tdpo1",
        parameters={"beta": beta},
        source="Zeng et al. (2024), arXiv:2404.11999, eq. 14",
    )


def tdpo2(beta: float = 0.1, alpha: float = 0.5) -> Objective:
    """TDPO2: −log σ(β [h − α (Σ KL(rejected) − sg Σ KL(chosen))]).

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: weight of the sequential divergence: raising it keeps token distributions closer.

    Pitfalls:
        memory: both models' distributions over the whole vocabulary are needed at every token.
    """
    beta, alpha = positive("tdpo2.beta", beta), non_negative("tdpo2.alpha", alpha)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        target_margin=terms.kl_difference(beta * alpha) if alpha else 0.0,
        name="tdpo2",
        parameters={"beta": beta, "alpha": alpha},
        source="Zeng et al. (2024), arXiv:2404.11999, eq. 17",
    )
