"""Objectives that judge each response by itself, on single responses or on both of a pair.

aw and al are log π/π_ref of the chosen and of the rejected response.
"""

from luce.errors import RecipeError
from luce.objectives import pointwise, scores
from luce.objectives.check import non_negative, positive
from luce.objectives.combine import WeightedSum
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective
from luce.objectives.pointwise import Pointwise
from luce.objectives.presets.dpo import dpo


def kto(beta: float = 0.1, lam_d: float = 1.0, lam_u: float = 1.0) -> Pointwise:
    """KTO: λ_D (1 − σ(β (log π/π_ref − KL))) of desirable, λ_U (1 − σ(β (KL − log π/π_ref))) of
    undesirable responses, KL ≥ 0 a running mean without gradient.

    Args:
        beta: raising it keeps the policy closer to the reference.
        lam_d: weight of desirable responses: raising it learns more from them.
        lam_u: weight of undesirable ones, likewise; where one kind is rarer, weigh it up so that
            λ_D n_D / λ_U n_U is from 1 to 4/3.

    Pitfalls:
        TRL: mismatches prompts and completions by one place inside the batches of each device when
            data is read, so it needs a sequential sampler and more than one row; ranks count alike
            whatever their rows.
        LLaMA-Factory: mismatches when data is read and shuffles afterwards, so the completions are
            no longer those of the batch.
        HALOs: estimates per micro-batch, without responses of log-ratio 0.
        all of them: the KL is that of one batch, and so changes with the batch size; here it is a
            running mean.
    """
    beta = positive("kto.beta", beta)
    lam_d, lam_u = non_negative("kto.lam_d", lam_d), non_negative("kto.lam_u", lam_u)
    if lam_d == lam_u == 0:
        raise RecipeError("objective.kto: `lam_d` and `lam_u` are both 0, so nothing is learnt.")
    return Pointwise(
        scores.log_ratio(beta),
        pointwise.prospect(lam_d, lam_u),
        pointwise.kl_baseline(),
        name="kto",
        parameters={"beta": beta, "lam_d": lam_d, "lam_u": lam_u},
        source="Ethayarajh et al. (2024), arXiv:2402.01306, section 4",
    )


def bco(beta: float = 0.1) -> Pointwise:
    """BCO: −log σ(β log π/π_ref − δ) of desirable, −log σ(δ − β log π/π_ref) of undesirable
    responses, δ halfway between their running mean rewards, without gradient.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Pitfalls:
        TRL 1.16: `bco_pair` has no δ, and the trainer that had one is gone.
    """
    beta = positive("bco.beta", beta)
    return Pointwise(
        scores.log_ratio(beta),
        pointwise.classifier(),
        pointwise.shift_baseline(),
        name="bco",
        parameters={"beta": beta},
        source="Jung et al. (2024), arXiv:2404.04656, eq. 5 and section 4.2",
    )


def nca(beta: float = 0.01) -> Pointwise:
    """NCA on pairs: −log σ(β aw) − ½ log σ(−β aw) − ½ log σ(−β al).

    Args:
        beta: raising it keeps the policy closer to the reference.
    """
    beta = positive("nca.beta", beta)
    return Pointwise(
        scores.log_ratio(beta),
        pointwise.noise_contrast(0.5),
        structure="pair",
        name="nca",
        parameters={"beta": beta},
        source="Chen et al. (2024), arXiv:2402.05369, eq. 11",
    )


def sppo(beta: float = 1e-3) -> Pointwise:
    """SPPO: ½ [(aw − (p − ½)/β)² + (al − (½ − p)/β)²], p the label.

    Args:
        beta: 1/η: raising it takes smaller steps, a certain pair being satisfied at aw = 1/2β.

    Pitfalls:
        TRL, Liger: leave the factor ½ out.
        TRL: takes certain labels only, p = 1 or 0.
    """
    beta = positive("sppo.beta", beta)
    return Pointwise(
        scores.log_ratio(1.0),
        pointwise.regression(1 / (2 * beta)),
        structure="pair",
        name="sppo",
        parameters={"beta": beta},
        source="Wu et al. (2024), arXiv:2405.00675, eq. 4.6",
    )


def apo_zero(beta: float = 0.1) -> Pointwise:
    """APO-zero: 1 − σ(β aw) + σ(β al): chosen responses up, rejected ones down.

    Args:
        beta: raising it keeps the policy closer to the reference.
    """
    beta = positive("apo_zero.beta", beta)
    return Pointwise(
        scores.log_ratio(beta),
        pointwise.prospect(),
        structure="pair",
        name="apo_zero",
        parameters={"beta": beta},
        source="D'Oosterlinck et al. (2024), arXiv:2408.06266, eq. 4",
    )


def apo_down(beta: float = 0.1) -> WeightedSum:
    """APO-down: σ(β aw) + 1 − σ(β (aw − al)): both responses down, the rejected one further.

    Args:
        beta: raising it keeps the policy closer to the reference.
    """
    beta = positive("apo_down.beta", beta)
    apart = Objective(scores.log_ratio(beta), LOSSES["sigmoid"], name="apart")
    down = Pointwise(scores.log_ratio(beta), pointwise.only_good(), structure="pair", name="down")
    return WeightedSum(
        ((1.0, apart), (1.0, down)),
        name="apo_down",
        parameters={"beta": beta},
        source="D'Oosterlinck et al. (2024), arXiv:2408.06266, eq. 5",
    )


def cal_dpo(beta: float = 2e-3) -> WeightedSum:
    """Cal-DPO: −log σ(aw − al) + ½ [(aw − 1/2β)² + (al + 1/2β)²]: DPO whose implicit rewards are
    calibrated to ±½.

    Args:
        beta: raising it keeps the policy closer to the reference, satisfied at aw = 1/2β.

    Pitfalls:
        the authors' program: the squares are a mean over the batch.
    """
    beta = positive("cal_dpo.beta", beta)
    return WeightedSum(
        ((1.0, dpo(1.0)), (1.0, sppo(beta))),
        name="cal_dpo",
        parameters={"beta": beta},
        source="Xiao et al. (2024), arXiv:2412.14516, eq. 10",
    )


def mpo(beta: float = 0.1, weights: tuple[float, float, float] = (0.8, 0.2, 1.0)) -> WeightedSum:
    """Mixed preference optimization: w₁ · DPO + w₂ · BCO + w₃ · (−log π(chosen)/|chosen|).

    Args:
        beta: of DPO and BCO: raising it keeps the policy closer to the reference.
        weights: of the three: raising one lets it count more.
    """
    beta = positive("mpo.beta", beta)
    if len(weights) != 3:
        raise RecipeError(f"objective.mpo.weights: {len(weights)} numbers; it takes three.")
    checked = tuple(non_negative(f"mpo.weights[{i}]", w) for i, w in enumerate(weights))
    if not any(checked):
        raise RecipeError("objective.mpo.weights: all are 0, so nothing is learnt.")
    quality = Pointwise(
        scores.log_ratio(beta),
        pointwise.classifier(),
        pointwise.shift_baseline(),
        structure="pair",
        name="bco",
    )
    likelihood = Pointwise(
        scores.mean_log_prob(1.0), pointwise.imitation(), structure="pair", name="nll"
    )
    return WeightedSum(
        tuple(zip(checked, (dpo(beta), quality, likelihood), strict=True)),
        name="mpo",
        parameters={"beta": beta, "weights": checked},
        source="Wang et al. (2024), arXiv:2411.10442, eq. 4",
    )
