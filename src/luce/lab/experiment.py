"""An experiment: a claim of a paper, a run that tests it over seeds, and what was found.

Each number is told with its interval over seeds and what was expected of it; figures lie beside.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.intervals import Estimate, bootstrap, mean_interval

Verdict: TypeAlias = Literal["holds", "holds in part", "does not hold"]
"""Of a claim, as far as our worlds can tell."""


@dataclass(frozen=True)
class Check:
    """A number that was found, and where it has to lie.

    Attributes:
        what: the number in words.
        found: with its interval over seeds.
        expected: what it was expected to be, in words.
        low, high: it has to lie between these.
        judged: whether the number has to, or the whole of its interval.
    """

    what: str
    found: Estimate
    expected: str
    low: float = -math.inf
    high: float = math.inf
    judged: Literal["value", "interval"] = "value"

    @property
    def passed(self) -> bool:
        """Whether it lies there."""
        found = self.found
        ends = (found.value, found.value) if self.judged == "value" else (found.low, found.high)
        return self.low <= ends[0] and ends[1] <= self.high

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "what": self.what,
            "found": self.found.plain(),
            "expected": self.expected,
            "judged": self.judged,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        checks: numbers against their expected values.
        figures: name of the file, without its ending → figure.
        tables: name → rows of further numbers.
        verdict: which parts of the claim hold and where they stop, in words.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Figure] = field(repr=False)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(repr=False)
    verdict: str

    @property
    def passed(self) -> bool:
        """Whether every check does."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Experiment:
    """A claim and the run that tests it.

    Attributes:
        name: on the command line.
        claim: what the paper says.
        source: the paper and the place.
        run: (seeds, quick) → result; the same result for the same arguments.
        seeds: unless said otherwise.
        quick_seeds: likewise, in a quick run.
        verdict: whether the claim holds; a run tells more of it, with its numbers.
        stops: where the claim stops, or what it takes, in a sentence.
        cpu_s: CPU seconds of a full run and of a quick one, as they were measured on one thread.
        on_text: (seeds, quick, sentences) → result, of an experiment that the user's own text can
            be given to.
    """

    name: str
    claim: str
    source: str
    run: Callable[[int, bool], Result] = field(repr=False)
    seeds: int
    quick_seeds: int
    verdict: Verdict
    stops: str
    cpu_s: tuple[int, int]
    on_text: Callable[[int, bool, Sequence[str]], Result] | None = field(default=None, repr=False)


def over_seeds(values: Float[Tensor, " seeds"]) -> Estimate:
    """The mean over seeds with its 95 % interval (normal).

    >>> import torch
    >>> over_seeds(torch.tensor([1.0, 1.0, 1.0])).words()
    '1.000 [1.000, 1.000]'
    """
    return Estimate(*mean_interval(values.tolist()), len(values))


def exactly(value: float) -> Estimate:
    """A number that is computed, and the same for every seed."""
    return Estimate(float(value), float(value), float(value), 1)


def ratio_over_seeds(over: Float[Tensor, " seeds"], under: Float[Tensor, " seeds"]) -> Estimate:
    """mean(over) / mean(under), seeds drawn again with both their values."""
    a, b = over.numpy(), under.numpy()

    def statistic(drawn: np.ndarray) -> float:
        return float(a[drawn].mean() / b[drawn].mean())

    return bootstrap(statistic, len(a))


def near(what: str, found: Estimate, expected: float, tolerance: float) -> Check:
    """The number has to lie within `tolerance` of what was expected."""
    words = f"{expected:.3g} ± {tolerance:.2g}" if tolerance else f"{expected:.3g}"
    return Check(what, found, words, expected - tolerance, expected + tolerance)


def above(what: str, found: Estimate, bound: float) -> Check:
    """The whole interval has to lie above a bound."""
    return Check(what, found, f"> {bound:.3g}", low=bound, judged="interval")


def below(what: str, found: Estimate, bound: float) -> Check:
    """The whole interval has to lie below a bound."""
    return Check(what, found, f"< {bound:.3g}", high=bound, judged="interval")


def at_most(what: str, found: Estimate, bound: float) -> Check:
    """The number has to lie at a bound or under it."""
    return Check(what, found, f"< {bound:.2g}", high=bound)
