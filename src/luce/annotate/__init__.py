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
from luce.annotate.elo import EloRating, EloRatings, elo
from luce.annotate.measure import Measure
from luce.annotate.plackett_luce import PartialRanking, plackett_luce, ranking_from_scores
from luce.annotate.rank import bradley_terry, davidson, win_groups
from luce.annotate.ratings import Ratings, ratings_of_items, ratings_of_preferences, ratings_of_rows
from luce.annotate.strengths import Strength, Strengths
from luce.annotate.votes import Vote, votes_from_wins

__all__ = [
    "Agreement",
    "Correlation",
    "Correlations",
    "EloRating",
    "EloRatings",
    "Measure",
    "PairAgreement",
    "PartialRanking",
    "Position",
    "Ratings",
    "SelfConsistency",
    "Strength",
    "Strengths",
    "Vote",
    "agreement",
    "both_orders",
    "bradley_terry",
    "cohen_kappa",
    "correlations",
    "davidson",
    "draw",
    "elo",
    "fleiss_kappa",
    "krippendorff_alpha",
    "length_biased",
    "luce_choice",
    "mixture",
    "noisy",
    "observed_agreement",
    "opinions",
    "percent_agreement",
    "plackett_luce",
    "position_biased",
    "ranking_from_scores",
    "ratings_of_items",
    "ratings_of_preferences",
    "ratings_of_rows",
    "self_consistency",
    "shown_first",
    "two_tastes",
    "votes_from_wins",
    "win_groups",
]
