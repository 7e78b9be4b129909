"""Exact policies: small enough that every sum is taken over all outcomes.

The theorems of the papers are about optima that training only approaches. Here the optimum itself
is computed, in float64: of a choice among n actions, of a density on a grid, of a chain of tokens.
"""

from luce.models.tabular.annotators import (
    barker_chain,
    luce_annotator,
    mixture_of_annotators,
    mixture_of_densities,
    scores_annotator,
    stationary,
)
from luce.models.tabular.bandit import (
    KlBandit,
    acceptance,
    kl_control_gradient,
    policy_gradient,
)
from luce.models.tabular.chain import EndingChain, never_ending_mass, survival
from luce.models.tabular.games import (
    best_response,
    duality_gap,
    exploitabilities,
    exploitability,
    geometric_mixture,
    nash_equilibrium,
    regularized_nash,
    rotation,
    worst_case_win_rate,
)
from luce.models.tabular.linear import (
    LINEAR_WORLDS,
    LinearWorld,
    biased,
    cover,
    coverage_gap,
    fit_theta,
    long_tail,
)
from luce.models.tabular.mdp import MDP
from luce.models.tabular.optimum import best_scores, policy_with_scores, score_optimum
from luce.models.tabular.policy import (
    Outcomes,
    TabularPolicy,
    actions,
    divergence_of_pairs,
    grid,
    mixture,
)
from luce.models.tabular.solve import fit, fit_pairs, minimize, pairs_of

__all__ = [
    "LINEAR_WORLDS",
    "LinearWorld",
    "MDP",
    "EndingChain",
    "KlBandit",
    "Outcomes",
    "TabularPolicy",
    "acceptance",
    "actions",
    "barker_chain",
    "best_response",
    "best_scores",
    "biased",
    "cover",
    "coverage_gap",
    "divergence_of_pairs",
    "duality_gap",
    "exploitabilities",
    "exploitability",
    "pairs_of",
    "fit",
    "fit_pairs",
    "fit_theta",
    "geometric_mixture",
    "grid",
    "kl_control_gradient",
    "long_tail",
    "luce_annotator",
    "minimize",
    "mixture",
    "mixture_of_annotators",
    "mixture_of_densities",
    "nash_equilibrium",
    "never_ending_mass",
    "policy_gradient",
    "policy_with_scores",
    "regularized_nash",
    "rotation",
    "score_optimum",
    "scores_annotator",
    "stationary",
    "survival",
    "worst_case_win_rate",
]
