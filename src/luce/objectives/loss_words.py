"""What there is to say of each margin loss besides its numbers."""

from dataclasses import dataclass, field

GPO = "Tang et al. (2024), arXiv:2402.05749, Table 1"


@dataclass(frozen=True)
class LossWords:
    """Of one row of `LOSSES`.

    Attributes:
        about: what it is.
        source: paper and equation.
        pitfalls: program or paper → where it says something else.
    """

    about: str
    source: str
    pitfalls: dict[str, str] = field(default_factory=dict)


LOSS_WORDS = {
    "logistic": LossWords("the negative log-likelihood of the Luce choice rule", GPO),
    "hinge": LossWords("nothing to gain beyond a margin of 1, and no probability", GPO),
    "square": LossWords("least squares towards a margin of 1, from either side", GPO),
    "exponential": LossWords(
        "boosting's loss; its link is twice as steep as the logistic's",
        GPO,
        {
            "half precision": "e⁻ᶻ overflows at z < −88 in bfloat16 and at z < −11 in float16; "
            "here it goes on as its tangent before that."
        },
    ),
    "truncated_quadratic": LossWords("the square up to a margin of 1, nothing beyond", GPO),
    "savage": LossWords(
        "bounded: a pair ranked wrongly by far has hardly any gradient",
        GPO,
        {
            "the text of its source": "counts it among convex losses. It is bounded and falls, so "
            "it is not convex."
        },
    ),
    "linear": LossWords(
        "the margin itself, with the same gradient everywhere",
        "Xiao et al. (2025), arXiv:2502.00883, eq. 5",
    ),
    "sigmoid": LossWords(
        "the probability of the wrong order, bounded on both sides",
        "D'Oosterlinck et al. (2024), arXiv:2408.06266, eq. 4",
    ),
    "squared_error": LossWords(
        "a regression of the margin on the target margin", "Gao et al. (2024), arXiv:2404.16767"
    ),
    "blend": LossWords(
        "the logistic loss below 0 and the exponential above, blended; found by search",
        "Lu et al. (2024), arXiv:2406.08414, eq. 5",
    ),
    "clipped_logistic": LossWords(
        "the logistic loss without gradient beyond a bound",
        "Huang et al. (2024), arXiv:2407.13399, algorithm 1",
    ),
}
