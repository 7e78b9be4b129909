"""Evaluation: held-out accuracy, win rates, lengths and KL, each with its interval and its n.

Pure functions over lists; nothing here loads a model or reads a file.
"""

from luce.evaluate.estimate import mean_by_prompt
from luce.evaluate.held_out import (
    Accuracy,
    accuracy_by,
    accuracy_gain,
    held_out_accuracy,
    held_out_record,
)
from luce.evaluate.kl import kl_k1, kl_k3, kl_record
from luce.evaluate.lengths import ended_share, length_record, mean_length
from luce.evaluate.samples import Generation, sample_side_by_side
from luce.evaluate.win_rate import WinRate, win_rate, win_rate_of_preferences
from luce.intervals import Estimate

__all__ = [
    "Accuracy",
    "Estimate",
    "Generation",
    "WinRate",
    "accuracy_by",
    "accuracy_gain",
    "ended_share",
    "held_out_accuracy",
    "held_out_record",
    "kl_k1",
    "kl_k3",
    "kl_record",
    "length_record",
    "mean_by_prompt",
    "mean_length",
    "sample_side_by_side",
    "win_rate",
    "win_rate_of_preferences",
]
