"""DPO and what was made of it: the implicit reward β log π/π_ref under the logistic loss.

h = log π/π_ref(chosen) − log π/π_ref(rejected) throughout.
"""

from typing import Literal

from luce.objectives import regularizers, scores, terms
from luce.objectives.check import flip_rate, fraction, non_negative, positive
from luce.objectives.labels import flipped, geometric, reverse_kl, unbiased
from luce.objectives.losses import LOSSES, blend
from luce.objectives.objective import Objective
from luce.objectives.presets.shared import nll_term


def dpo(beta: float = 0.1) -> Objective:
    """Direct preference optimization: −log σ(β h).

    Args:
        beta: how far the policy may go for a given preference: raising it keeps the policy closer
            to the reference.

    Optimum:
        Under a Luce annotator p*, π ∝ π_ref p*^(1/β), however pairs are drawn (Dumoulin et al.,
        2023, eq. 16).

    Pitfalls:
        TRL 1.16: rows whose completion is cut away entirely are dropped without a word.

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
    """Conservative DPO: (1 − ε)(−log σ(β h)) + ε (−log σ(−β h)): a share ε of labels is wrong.

    Args:
        beta: raising it keeps the policy closer to the reference.
        eps: the share of labels believed wrong, in [0, 0.5): raising it lowers the margin at which
            a pair is satisfied.

    Pitfalls:
        TRL 1.10 to 1.16: `sigmoid` ignores `label_smoothing`: 0.653947 in place of 0.661947 on the
            same pair.
    """
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
    """Robust DPO: [(1 − ε) L(h) − ε L(−h)] / (1 − 2ε), L(h) = −log σ(β h); can be negative.

    Args:
        beta: raising it keeps the policy closer to the reference.
        eps: the share of labels flipped, in [0, 0.5): raising it corrects more, with more variance.

    Optimum:
        Where the labels of a Luce annotator are flipped at rate ε, that of DPO on the true labels:
        π ∝ π_ref p*^(1/β).
    """
    beta, eps = positive("robust_dpo.beta", beta), flip_rate("robust_dpo.eps", eps)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        labels=unbiased(eps),
        name="robust_dpo",
        parameters={"beta": beta, "eps": eps},
        source="Chowdhury et al. (2024), arXiv:2403.00409",
    )


def gdpo(beta: float = 0.1) -> Objective:
    """Geometric DPO: −log σ(β (2p − 1) h), p the row's `label`.

    Args:
        beta: raising it keeps the policy closer to the reference.

    Pitfalls:
        other programs: none of the common trainers reads a label that is a probability.
    """
    beta = positive("gdpo.beta", beta)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        labels=geometric(),
        name="gdpo",
        parameters={"beta": beta},
        source="Furuta et al. (2024), arXiv:2409.06691",
    )


def exo(beta: float = 0.1, eps: float = 1e-3) -> Objective:
    """EXO on pairs: KL([σ(β h), σ(−β h)] ‖ [1 − ε, ε]), which seeks a mode where DPO covers.

    Args:
        beta: raising it keeps the policy closer to the reference.
        eps: the probability given to the rejected response, in (0, 0.5): raising it stops earlier.

    Pitfalls:
        TRL: 1.16 raises at ε = 0, where the divergence from a hard label is infinite; 0.x put 0.001
            there without a word.
    """
    beta, eps = positive("exo.beta", beta), flip_rate("exo.eps", positive("exo.eps", eps))
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        labels=reverse_kl(eps),
        name="exo",
        parameters={"beta": beta, "eps": eps},
        source="Ji et al. (2024), arXiv:2402.00856, eq. 15",
    )


def dpo_nll(
    beta: float = 0.1, alpha: float = 1.0, nll: Literal["sum", "mean"] = "mean"
) -> Objective:
    """DPO with a likelihood: −log σ(β h) + α · NLL(chosen)  (IRPO, RPO).

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: weight of the likelihood: raising it holds up the chosen responses.
        nll: `mean` over the tokens of the response, or their `sum`.

    Pitfalls:
        other programs: three likelihoods are in use: the mean over all tokens of the batch (TRL),
            the mean of each response's own mean, and IRPO's over prompt and response. They weigh
            long responses differently.
    """
    beta, alpha = positive("dpo_nll.beta", beta), non_negative("dpo_nll.alpha", alpha)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        regularizers=nll_term("dpo_nll.nll", nll, alpha),
        name="dpo_nll",
        parameters={"beta": beta, "alpha": alpha, "nll": nll},
        source="Pang et al. (2024), arXiv:2404.19733, eq. 1; Liu et al. (2024), arXiv:2405.16436",
    )


def dpop(beta: float = 0.3, lam: float = 50.0) -> Objective:
    """DPO-positive: −log σ(β (h − λ max(0, −log π/π_ref(chosen)))).

    Args:
        beta: raising it keeps the policy closer to the reference.
        lam: what a nat lost on the chosen response costs, in nats of margin: raising it forbids
            the chosen response to fall.

    Pitfalls:
        the scale of λ: it stands inside β: a nat lost on the chosen response costs βλ nats of z.

    Defaults:
        lam: 50 is not verified in the paper.
    """
    beta, lam = positive("dpop.beta", beta), non_negative("dpop.lam", lam)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        target_margin=terms.chosen_loss(beta * lam),
        name="dpop",
        parameters={"beta": beta, "lam": lam},
        source="Pal et al. (2024), arXiv:2402.13228, eq. 3",
    )


def odpo(beta: float = 0.1, alpha: float = 1.0) -> Objective:
    """DPO with an offset: −log σ(β h − α log[score(chosen) − score(rejected)]).

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: weight of the graded difference: raising it asks for larger margins where responses
            were graded far apart.

    Pitfalls:
        grades: log Δr has no value where the chosen response was not graded higher; such a row is
            an error here.
    """
    beta, alpha = positive("odpo.beta", beta), non_negative("odpo.alpha", alpha)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        target_margin=terms.log_score_difference(alpha),
        name="odpo",
        parameters={"beta": beta, "alpha": alpha},
        source="Amini et al. (2024), arXiv:2402.10571, eq. 8",
    )


def modpo(beta: float = 0.1, w: float = 0.5) -> Objective:
    """Multi-objective DPO: −log σ([β h − (1 − w) Δr]/w), Δr the difference of another annotator's
    grades `score_chosen` and `score_rejected`.

    Args:
        beta: raising it keeps the policy closer to the reference.
        w: share of the labels' objective, in (0, 1]: raising it listens less to the grades.

    Defaults:
        beta: 0.1 is not verified in the paper.
        w: 0.5 is not verified in the paper.
    """
    beta, w = positive("modpo.beta", beta), fraction("modpo.w", w, low_open=True)
    return Objective(
        scores.log_ratio(beta / w),
        LOSSES["logistic"],
        target_margin=terms.scaled_score_difference((1 - w) / w),
        name="modpo",
        parameters={"beta": beta, "w": w},
        source="Zhou et al. (2023), arXiv:2310.03708, eq. 9",
    )


def rebel(eta: float = 1.0) -> Objective:
    """REBEL: (h − η Δr)², Δr = score(chosen) − score(rejected).

    Args:
        eta: nats of log-ratio per unit of reward: raising it takes larger steps.

    Optimum:
        Where the grades are a function r of the response, π ∝ π_ref exp(η r).

    Pitfalls:
        paper and program: η stands in different places; here it multiplies the graded difference.
    """
    eta = positive("rebel.eta", eta)
    return Objective(
        scores.log_ratio(1.0),
        LOSSES["squared_error"],
        target_margin=terms.scaled_score_difference(eta),
        name="rebel",
        parameters={"eta": eta},
        source="Gao et al. (2024), arXiv:2404.16767, eq. 9",
    )


def wpo(beta: float = 0.01, clamp: bool = True) -> Objective:
    """Weighted preference optimization: w(chosen) w(rejected) · (−log σ(β h)), the weights being
    how likely the responses are under the policy, without gradient.

    w(y) = exp(mean over the tokens of log π − log Σ_v π(v)²).

    Args:
        beta: raising it keeps the policy closer to the reference.
        clamp: whether the weight of a pair is at most 1, as in the authors' program.

    Pitfalls:
        TRL 1.16: the product of the weights is not held at 1: 1.697 in place of 0.673 on the same
            pair.
        open-instruct: the weight is exp(Σ log π) without Σp², and more than one row raises.
    """
    beta = positive("wpo.beta", beta)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        weights=terms.on_policy_weight(clamp),
        name="wpo",
        parameters={"beta": beta, "clamp": clamp},
        source="Zhou et al. (2024), arXiv:2406.11827, eq. 5",
    )


def xpo(beta: float = 0.1, alpha: float = 1e-5) -> Objective:
    """Exploratory preference optimization: −log σ(β h) + α log π(ỹ), ỹ the response of the pair
    that was sampled from the reference.

    Args:
        beta: raising it keeps the policy closer to the reference.
        alpha: weight of the optimism: raising it explores more.

    Defaults:
        beta: 0.1 is not verified in the paper.
        alpha: 1e-5 is not verified in the paper.
    """
    beta, alpha = positive("xpo.beta", beta), non_negative("xpo.alpha", alpha)
    return Objective(
        scores.log_ratio(beta),
        LOSSES["logistic"],
        regularizers=(regularizers.optimism(alpha),) if alpha else (),
        name="xpo",
        parameters={"beta": beta, "alpha": alpha},
        source="Xie et al. (2024), arXiv:2405.21046, algorithm 1",
    )


def inpo(eta: float = 0.005, tau_over_eta: float = 1 / 3) -> Objective:
    """Iterative Nash policy optimization: (log π − κ log π_ref − (1 − κ) log π_t, chosen minus
    rejected, − 1/2η)², κ = τ/η and π_t the policy of the round before.

    Args:
        eta: raising it keeps each round closer to the one before.
        tau_over_eta: κ, share of the reference in [0, 1]; at 1 this is IPO with τ = η.

    Optimum:
        π ∝ π_ref^κ π_t^(1−κ) exp(P̄/η), P̄(y) the probability that y is preferred to a response
        drawn as those of the pairs are.
    """
    eta = positive("inpo.eta", eta)
    kappa = fraction("inpo.tau_over_eta", tau_over_eta)
    return Objective(
        scores.two_reference(2 * eta, kappa),
        LOSSES["square"],
        scale=1 / (4 * eta**2),
        name="inpo",
        parameters={"eta": eta, "tau_over_eta": kappa},
        source="Zhang et al. (2024), arXiv:2407.00617, eq. 7",
    )


def discopop(beta: float = 0.05, tau: float = 0.05) -> Objective:
    """DiscoPOP: (1 − m)(−log σ(z)) + m e⁻ᶻ with z = β h, m = σ(z/τ); not convex.

    Args:
        beta: raising it keeps the policy closer to the reference.
        tau: temperature of the blend: raising it makes the change between the two losses softer.

    Pitfalls:
        e⁻ᶻ: the product m·e⁻ᶻ overflows where z is far below 0; here it is one exponential.
        near 0: the cost rises at h = 0, so a policy at the reference is first pulled the wrong way.
    """
    beta, tau = positive("discopop.beta", beta), positive("discopop.tau", tau)
    return Objective(
        scores.log_ratio(beta),
        blend(tau),
        name="discopop",
        parameters={"beta": beta, "tau": tau},
        source="Lu et al. (2024), arXiv:2406.08414, eq. 5",
    )
