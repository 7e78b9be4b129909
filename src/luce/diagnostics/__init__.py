"""Diagnostics: whether what was learned, or can be learned, from votes hangs together.

Functions over votes and lists; nothing here loads a model or reads a file.
"""

from luce.diagnostics.intransitivity import Intransitivity, Verdict, intransitivity
from luce.diagnostics.misfit import Misfit, PairMisfit, bradley_terry_misfit
from luce.diagnostics.triads import (
    NullModel,
    Triads,
    triads_over_all_votes,
    triads_within_prompts,
)
from luce.diagnostics.trials import Trials, fitted_probabilities, trials_of

__all__ = [
    "Intransitivity",
    "Misfit",
    "NullModel",
    "PairMisfit",
    "Triads",
    "Trials",
    "Verdict",
    "bradley_terry_misfit",
    "fitted_probabilities",
    "intransitivity",
    "triads_over_all_votes",
    "triads_within_prompts",
    "trials_of",
]
