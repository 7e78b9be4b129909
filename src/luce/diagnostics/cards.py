"""What each diagnostic of a run asks, by which formula, when it is an alarm, and what helps."""

from dataclasses import asdict, dataclass

from luce.diagnostics import (
    displacement,
    divergence,
    length_effects,
    misspecification,
    overoptimization,
    samples,
    saturation,
)
from luce.diagnostics.calibration_finding import TOO_SURE


@dataclass(frozen=True)
class DiagnosticCard:
    """A diagnostic, for people.

    Attributes:
        title: what it is called.
        asks: the question.
        formula: what is computed, with units.
        alarm: when it is an alarm.
        remedy: what helps.
        needs: what a run must have for it.
        source: who found it, or how it is known.
    """

    title: str
    asks: str
    formula: str
    alarm: str
    remedy: str
    needs: str
    source: str

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


DIAGNOSTICS: dict[str, DiagnosticCard] = {
    "divergence": DiagnosticCard(
        "Divergence",
        "How far is the policy from its start, and does the loss on the data know?",
        "KL(π ‖ π₀) = E_π[log π − log π₀], nats a response, on the policy's own samples; "
        "L_μ = ½ E_μ[(ρ_chosen − ρ_rejected)²], ρ = log π − log π₀, nats², on held-out pairs. "
        "Near π₀ on its own samples KL = ½ L_μ.",
        f"KL is above {divergence.FAR:g} nat a token, or above {divergence.BLIND:g} · ½ L_μ and a "
        "nat a response; the interval counts.",
        "Lower the learning rate, raise beta, or train on the policy's own samples.",
        "a policy; samples for KL, held-out pairs for L_μ",
        "Tang et al. (2024), arXiv:2402.05749, section 4 and eq. 6",
    ),
    "displacement": DiagnosticCard(
        "Likelihood displacement",
        "Did the margin grow by raising chosen, or by lowering rejected and everything else?",
        "Δ log π of the preferred and of the other response, nats and nats per token; "
        "Δ log(π(chosen) + π(rejected)); the share of pairs in which both fell.",
        f"The preferred responses lost more than {displacement.TOO_MUCH:g} nats a token on "
        "held-out pairs; the interval counts.",
        "Lower the learning rate, raise beta, add a likelihood term on the chosen response.",
        "a policy and held-out pairs",
        "Pal et al. (2024), arXiv:2402.13228; Razin et al. (2024), arXiv:2410.08847",
    ),
    "length": DiagnosticCard(
        "Length",
        "Has the model learned more than length, and do its responses end?",
        "Slope of the margin on the difference of lengths, least squares through 0, per token; "
        f"accuracy on pairs within {100 * length_effects.MATCHED:.0f} % of each other's length, "
        "beside that of length alone; S(t), the share of samples that go on after t tokens; the "
        f"share of runs of {samples.GRAM} tokens that a sample repeats.",
        "Length alone is surely more accurate than the model; or it may be as accurate, on all "
        f"pairs and on {length_effects.FEWEST_MATCHED} matched ones or more; or more than "
        f"{100 * length_effects.REPEATS:.0f} % of a sample's runs of tokens repeat.",
        "Look at the annotators' taste for length; a length-regularized objective counters it.",
        "held-out pairs; samples for the rest",
        "Park et al. (2024), arXiv:2403.19159; Dubois et al. (2024), arXiv:2404.04475",
    ),
    "calibration": DiagnosticCard(
        "Calibration",
        "Do the probabilities of preference mean what they say?",
        "Negative log-likelihood, Brier score and expected calibration error of σ(margin) on "
        "held-out labels, and the temperature that fits best.",
        f"Too sure: margins divided by {TOO_SURE:g} or more fit better, or the likelihood is worse "
        "than a coin's; the interval counts.",
        "Train for fewer epochs, or lower the learning rate.",
        "held-out pairs, and an objective whose margins are log-odds",
        "Guo et al. (2017), arXiv:1706.04599",
    ),
    "over_optimization": DiagnosticCard(
        "Over-optimization",
        "Does the annotator still like what the loss still improves?",
        "Win rate over the initial policy (gold) and the held-out margin (proxy) at each sampled "
        "step, against √KL(π ‖ π₀).",
        "Gold is below that of an earlier, nearer step beyond noise, "
        f"{overoptimization.PATIENCE} samplings in a row.",
        "Take the best step (`evaluate.best`), train for less, or raise beta.",
        "`evaluate.annotator` and `evaluate.sample_steps`",
        "Gao et al. (2023), arXiv:2210.10760; Rafailov et al. (2024), arXiv:2406.02900",
    ),
    "annotators": DiagnosticCard(
        "Annotators",
        "Do the labels look like those of one taste, or of two that disagree?",
        "Held-out negative log-likelihood of one annotator of words and lengths who sometimes "
        "answers at random, less that of a mixture of two, nats a pair.",
        f"The mixture gains more than {misspecification.WORTH:g} nats and its two annotators "
        f"disagree on more than {100 * misspecification.DISAGREE:.0f} % of the pairs; the "
        "intervals count.",
        "Fit a mixture (`luce annotators`), or name the annotators in the rows.",
        f"{misspecification.FEWEST_PAIRS} pairs",
        "Dumoulin et al. (2023), arXiv:2311.14115, section 5.1",
    ),
    "saturation": DiagnosticCard(
        "Saturation",
        "Which pairs still pull on the policy, and how hard?",
        "|∂ cost / ∂ log π| of a sample of training pairs, beside that at the start; (Σ pull)² / "
        "(n Σ pull²), the share of the pairs that the gradient amounts to; mean pull over |φ′(0)|, "
        "the effective beta.",
        f"More than {100 * saturation.MOST_OUT:.0f} % of the pairs pull less than "
        f"{100 * saturation.OUT:.0f} % of what they did at the start; the interval counts.",
        "Train for less, look for repeated pairs, or take a loss whose slope does not go out.",
        "pairs to train on",
        "Tang et al. (2024), arXiv:2402.05749, section 3",
    ),
}
"""By the name that `diagnose:` of a recipe takes."""
