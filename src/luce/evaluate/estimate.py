"""Means over prompts, and what numbers must be to be averaged."""

import math
from collections.abc import Hashable, Sequence
from typing import TypeAlias

from luce.errors import LuceError
from luce.intervals import Estimate, mean_interval

Number: TypeAlias = float | int


def mean_by_prompt(values: Sequence[Number], prompts: Sequence[Hashable] | None = None) -> Estimate:
    """The mean over prompts of the mean within each prompt.

    Responses to one prompt resemble each other, so that the interval of a mean over all of them
    would be too narrow; the prompt is the independent unit.

    Args:
        values: one finite number per response.
        prompts: for each response, which prompt it answers; None: each its own.

    >>> mean_by_prompt([1.0, 3.0, 6.0, 6.0], ["a", "a", "b", "b"]).value
    4.0
    """
    require_finite(values, "values")
    if prompts is None:
        means = [float(v) for v in values]
    else:
        require_same_length(values=values, prompts=prompts)
        members: dict[Hashable, list[float]] = {}
        for value, prompt in zip(values, prompts, strict=True):
            members.setdefault(prompt, []).append(float(value))
        means = [math.fsum(group) / len(group) for group in members.values()]
    return Estimate(*mean_interval(means), n=len(means))


def require_finite(values: Sequence[Number], name: str) -> None:
    """Raise a LuceError that names the first entry that is not a finite number."""
    for index, value in enumerate(values):
        require_finite_value(value, f"{name}[{index}]")


def require_finite_value(value: Number, place: str) -> None:
    """Raise a LuceError that names the place unless the value is a finite number."""
    if not math.isfinite(value):
        raise LuceError(
            f"{place} is {value}. An evaluation averages finite numbers only; leave the item out, "
            "or mend what produced it."
        )


def require_same_length(**sequences: Sequence[object]) -> None:
    """Raise a LuceError unless all sequences, given by name, have one length."""
    lengths = {name: len(sequence) for name, sequence in sequences.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise LuceError(f"{found} entries. They go item by item and must be equally many.")
