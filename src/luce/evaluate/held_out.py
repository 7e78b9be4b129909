"""Accuracy on judged pairs that training did not see: how often the chosen one scores higher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from luce.evaluate.estimate import (
    Estimate,
    Number,
    mean_by_prompt,
    require_finite,
    require_same_length,
)
from luce.intervals import wilson_interval


@dataclass(frozen=True)
class Accuracy:
    """The share of pairs with a positive margin, ties counted half.

    Attributes:
        value: (wins + ties/2) / n, in [0, 1]; nan where n = 0.
        low, high: Wilson's 95 % interval; (0, 1) where n = 0.
        n: pairs.
        wins, ties, losses: pairs with margin > 0, = 0, < 0; they sum to n.
    """

    value: float
    low: float
    high: float
    n: int
    wins: int
    ties: int
    losses: int


def held_out_accuracy(margins: Sequence[Number]) -> Accuracy:
    """Accuracy of margins z = Ω(chosen) − Ω(rejected): mean of 1[z > 0] + ½·1[z = 0].

    A model that cannot tell the two apart has accuracy ½, not 0.

    Raises:
        LuceError: where a margin is nan or infinite.

    >>> held_out_accuracy([0.3, -0.1, 0.0, 2.0]).value
    0.625
    """
    require_finite(margins, "margins")
    wins = sum(z > 0 for z in margins)
    losses = sum(z < 0 for z in margins)
    n = len(margins)
    ties = n - wins - losses
    low, high = wilson_interval(wins + ties / 2, n)
    value = (2 * wins + ties) / (2 * n) if n else float("nan")
    return Accuracy(value, low, high, n, wins, ties, losses)


def accuracy_by(
    margins: Sequence[Number], keys: Sequence[str | None]
) -> dict[str | None, Accuracy]:
    """Accuracy within each slice: by source, by annotator, by whatever key each pair carries.

    Slices come largest first; pairs without a key form the slice None.

    >>> accuracy_by([1.0, -1.0, 2.0], ["a", "b", "a"])["a"].value
    1.0
    """
    require_same_length(margins=margins, keys=keys)
    slices: dict[str | None, list[Number]] = {}
    for margin, key in zip(margins, keys, strict=True):
        slices.setdefault(key, []).append(margin)
    by_size = sorted(slices.items(), key=lambda item: (-len(item[1]), item[0] or ""))
    return {key: held_out_accuracy(members) for key, members in by_size}


def accuracy_gain(margins: Sequence[Number], initial_margins: Sequence[Number]) -> Estimate:
    """Accuracy minus that of the initial policy on the same pairs, as a paired difference.

    Each pair contributes (win now) − (win before) ∈ {−1, −½, 0, ½, 1}, so what the two policies
    have in common cancels and the interval is that of the difference itself.

    >>> accuracy_gain([1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]).value
    0.3333333333333333
    """
    require_same_length(margins=margins, initial_margins=initial_margins)
    require_finite(margins, "margins")
    require_finite(initial_margins, "initial_margins")
    pairs = zip(margins, initial_margins, strict=True)
    return mean_by_prompt([_win(after) - _win(before) for after, before in pairs])


def held_out_record(
    margins: Sequence[Number],
    *,
    initial_margins: Sequence[Number] | None = None,
    sources: Sequence[str | None] | None = None,
    annotators: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """The `held_out` entry of evaluation.json: plain values only.

    Keys: `n, accuracy, accuracy_low, accuracy_high, ties`; with initial margins also
    `initial_accuracy` and `gain, gain_low, gain_high`; with sources or annotators `by_source`
    and `by_annotator` (name -> n, accuracy, accuracy_low, accuracy_high; "" for pairs without).
    """
    record = _accuracy_record(held_out_accuracy(margins))
    record["ties"] = held_out_accuracy(margins).ties
    if initial_margins is not None:
        gain = accuracy_gain(margins, initial_margins)
        record["initial_accuracy"] = held_out_accuracy(initial_margins).value
        record |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
    for name, keys in (("by_source", sources), ("by_annotator", annotators)):
        if keys is not None:
            slices = accuracy_by(margins, keys)
            record[name] = {key or "": _accuracy_record(part) for key, part in slices.items()}
    return record


def _accuracy_record(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "n": accuracy.n,
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
    }


def _win(margin: Number) -> float:
    return 1.0 if margin > 0 else 0.5 if margin == 0 else 0.0
