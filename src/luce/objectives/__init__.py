"""Tensors in, one cost per pair (or response) out: no models, no files, no randomness, no mean."""

from luce.objectives.build import make_objective
from luce.objectives.labels import LABELS, LabelModel
from luce.objectives.likelihood import Likelihood
from luce.objectives.losses import LOSSES, MarginLoss
from luce.objectives.objective import Objective, TargetMargin
from luce.objectives.pointwise import Pointwise
from luce.objectives.presets import OBJECTIVES
from luce.objectives.regularizers import REGULARIZERS, Regularizer
from luce.objectives.scores import SCORES, Affine, Score

__all__ = [
    "LABELS",
    "LOSSES",
    "OBJECTIVES",
    "REGULARIZERS",
    "SCORES",
    "Affine",
    "LabelModel",
    "Likelihood",
    "MarginLoss",
    "Objective",
    "Pointwise",
    "Regularizer",
    "Score",
    "TargetMargin",
    "make_objective",
]
