"""Which pairs to ask about: uncertainty of a reward, and explorers that seek it."""

from luce.online.explore.explorers import (
    BestWorst,
    Candidates,
    Disagreement,
    Enhancer,
    Explorer,
    Optimism,
    TwoSamples,
)
from luce.online.explore.rounds import STRATEGIES, Strategy, Trajectory, learn
from luce.online.explore.uncertainty import Covariance, Sketch, Uncertainty, information_gain

__all__ = [
    "STRATEGIES",
    "BestWorst",
    "Candidates",
    "Covariance",
    "Disagreement",
    "Enhancer",
    "Explorer",
    "Optimism",
    "Sketch",
    "Strategy",
    "Trajectory",
    "TwoSamples",
    "Uncertainty",
    "information_gain",
    "learn",
]
