"""Everything that prefers: simulated annotators, what they say, and who agrees with whom."""

from luce.annotate.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed_agreement,
    percent_agreement,
)
from luce.annotate.agreement_result import Agreement, PairAgreement, agreement
from luce.annotate.annotator import (
    draw,
    length_biased,
    luce_choice,
    mixture,
    noisy,
    opinions,
    position_biased,
    two_tastes,
)
from luce.annotate.consistency import (
    Position,
    SelfConsistency,
    both_orders,
    self_consistency,
    shown_first,
)
from luce.annotate.correlation import Correlation, Correlations, correlations
from luce.annotate.measure import Measure
from luce.annotate.ratings import Ratings, ratings_of_items, ratings_of_preferences, ratings_of_rows

__all__ = [
    "Agreement",
    "Correlation",
    "Correlations",
    "Measure",
    "PairAgreement",
    "Position",
    "Ratings",
    "SelfConsistency",
    "agreement",
    "both_orders",
    "cohen_kappa",
    "correlations",
    "draw",
    "fleiss_kappa",
    "krippendorff_alpha",
    "length_biased",
    "luce_choice",
    "mixture",
    "noisy",
    "observed_agreement",
    "opinions",
    "percent_agreement",
    "position_biased",
    "ratings_of_items",
    "ratings_of_preferences",
    "ratings_of_rows",
    "self_consistency",
    "shown_first",
    "two_tastes",
]
