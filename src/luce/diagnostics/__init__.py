"""Diagnostics: what was or can be learned from preferences, and whether it hangs together.

Functions over votes and lists; nothing here loads a model or reads a file.
"""

from luce.diagnostics.baselines import TokenPair, bag_of_words, length_rule
from luce.diagnostics.calibration import Calibration, calibration
from luce.diagnostics.intransitivity import Intransitivity, Verdict, intransitivity
from luce.diagnostics.length import LengthDependence, length_dependence
from luce.diagnostics.misfit import Misfit, PairMisfit, bradley_terry_misfit
from luce.diagnostics.triads import (
    NullModel,
    Triads,
    triads_over_all_votes,
    triads_within_prompts,
)
from luce.diagnostics.trials import Trials, fitted_probabilities, trials_of

__all__ = [
    "Calibration",
    "Intransitivity",
    "LengthDependence",
    "Misfit",
    "NullModel",
    "PairMisfit",
    "Triads",
    "TokenPair",
    "Trials",
    "Verdict",
    "bag_of_words",
    "bradley_terry_misfit",
    "calibration",
    "fitted_probabilities",
    "intransitivity",
    "length_dependence",
    "length_rule",
    "triads_over_all_votes",
    "triads_within_prompts",
    "trials_of",
]
