"""What a calibration says of a run."""

import math

from luce.diagnostics.calibration import Calibration
from luce.diagnostics.finding import Finding

TOO_SURE = 2.0
"""Temperature from which on probabilities mislead: what is called 0.95 happens in 0.81 of cases."""

COIN = math.log(2)
"""Negative log-likelihood of a coin, nats."""


def calibration_finding(fit: Calibration) -> Finding:
    """The verdict, and an alarm where probabilities are far too sure."""
    remedy = "Train for fewer epochs, lower the learning rate, or raise beta."
    if fit.nll.low > COIN:
        words = (
            "Held-out labels are less likely under the model than under a coin: "
            f"{fit.nll.words()} nats a pair, a coin has {COIN:.3f}. {fit.verdict}"
        )
        return Finding(words, True, remedy)
    if fit.temperature.low > TOO_SURE:
        return Finding(f"The model is far too sure of its preferences. {fit.verdict}", True, remedy)
    return Finding(fit.verdict)
