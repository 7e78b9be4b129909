"""What asking came to: calls and their price, what failed, what is invalid, and what is left."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from luce.annotate.judge import GradeRun, JudgeRun


@dataclass(frozen=True)
class Account:
    """Of one run or several.

    Attributes:
        left: sentences on what is not answered yet; empty where all is.
        calls: that were answered; what was stored before is not among them.
        failures: kind → tries that failed and were repeated.
        cost: USD of these calls; None where a price or a number of tokens is unknown.
        spent: USD that they cost at most.
        invalid: who → reason → verdicts that cannot be scored.
    """

    left: tuple[str, ...] = ()
    calls: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = 0.0
    spent: float = 0.0
    invalid: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything has its answer, valid or not."""
        return not self.left

    def __add__(self, other: "Account") -> "Account":
        """Both together."""
        names = dict.fromkeys((*self.invalid, *other.invalid))
        return Account(
            tuple(dict.fromkeys((*self.left, *other.left))),
            self.calls + other.calls,
            _added(self.failures, other.failures),
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            self.spent + other.spent,
            {n: _added(self.invalid.get(n, {}), other.invalid.get(n, {})) for n in names},
        )

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "complete": self.complete,
            "calls": self.calls,
            "failed_tries": dict(self.failures),
            "cost": self.cost,
            "invalid": {name: dict(reasons) for name, reasons in self.invalid.items()},
            "left": list(self.left),
        }

    def lines(self) -> list[str]:
        """For people.

        >>> Account(calls=1200, failures={"429": 3}, cost=0.25).lines()
        ['1,200 calls, $0.25; tried again after 429 (3 times).']
        """
        told = []
        if self.calls:
            price = "" if self.cost is None or math.isnan(self.cost) else f", ${self.cost:.4g}"
            kinds = ", ".join(f"{kind} ({n:,} times)" for kind, n in self.failures.items())
            again = f"; tried again after {kinds}" if kinds else ""
            told = [f"{self.calls:,} calls{price}{again}."]
        for name, reasons in self.invalid.items():
            if reasons:
                why = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())
                told.append(f"{name}: {sum(reasons.values()):,} verdicts invalid ({why}).")
        return [*told, *self.left]


def account(name: str, run: JudgeRun | GradeRun) -> Account:
    """Of one run of the judge of that name."""
    bad = (
        (v.reason for v in run.verdicts if v.outcome == "invalid")
        if isinstance(run, JudgeRun)
        else (grade.reason for grade in run.grades if grade.rating is None)
    )
    return Account(
        (f"{name}: {run.left()}",) if run.pending else (),
        run.calls,
        dict(run.failures),
        run.cost,
        run.spent,
        {name: _counted(bad)},
    )


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reasons).most_common())


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict((Counter(one) + Counter(other)).most_common())
