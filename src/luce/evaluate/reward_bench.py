"""RewardBench 1 (Lambert et al., 2024, arXiv 2403.13787): accuracy by subset, section and score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.errors import LuceError
from luce.evaluate.reward_files import Outcome
from luce.intervals import RESAMPLES, Estimate, bootstrap_all, wilson_interval

SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 250,
        "xstest-should-respond": 154,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
"""Section → subset → its weight: the subset's number of pairs as published, but for math-prm, which
weighs as much as the six of code together (it has 447)."""

PRIOR_SETS = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
"""Older test sets; their mean is a fifth section of weight ½ in the leaderboard's first version."""


@dataclass(frozen=True)
class Subset:
    """The accuracy on one subset.

    Attributes:
        name: the subset.
        accuracy: the share of pairs whose chosen response is preferred; Wilson's 95 % interval.
        ties: equal scores (counted as wrong) and a judge's ½.
        invalid: pairs without an outcome; they are not in the accuracy.
        lowest, highest: the accuracy on all pairs, had all verdicts that are missing been wrong, or
            right.
    """

    name: str
    accuracy: Estimate
    ties: int
    invalid: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class RewardBench:
    """Accuracies in [0, 1]. Intervals of sections and scores draw pairs again.

    Attributes:
        subsets: in the benchmark's order.
        sections: section → mean accuracy of its subsets, weighted as published; those present.
        score: the mean of the four sections; nan where a subset is missing.
        score_with_prior_sets: with the prior sets as a section of weight ½; None without them.
        lowest, highest: the score if all missing verdicts had been wrong, or right.
        missing: subsets of the benchmark without rows.
        other: subsets that are not the benchmark's; they are in no section.
    """

    subsets: tuple[Subset, ...]
    sections: dict[str, Estimate]
    score: Estimate
    score_with_prior_sets: Estimate | None
    lowest: float
    highest: float
    missing: tuple[str, ...]
    other: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Values for JSON; None for what is not finite."""
        prior = self.score_with_prior_sets
        return {
            "score": self.score.plain(),
            "score_with_prior_sets": prior.plain() if prior is not None else None,
            "score_if_invalid_wrong": self.lowest if math.isfinite(self.lowest) else None,
            "score_if_invalid_right": self.highest if math.isfinite(self.highest) else None,
            "sections": {name: found.plain() for name, found in self.sections.items()},
            "subsets": {
                part.name: {
                    **part.accuracy.plain(),
                    "ties": part.ties,
                    "invalid": part.invalid,
                    "if_invalid_wrong": part.lowest,
                    "if_invalid_right": part.highest,
                }
                for part in self.subsets
            },
            "missing": list(self.missing),
            "other": list(self.other),
        }

    def lines(self) -> list[str]:
        """A table for a terminal, and what to know about it."""
        said = [f"{'':<24}accuracy            95 %  pairs  ties  no outcome"]
        for part in self.subsets:
            found = part.accuracy
            said.append(
                f"{part.name:<24}{found.value:8.3f}  {_between(found)}  {found.n:5,}  "
                f"{part.ties:4,}  {part.invalid:10,}"
            )
        for name, found in self.sections.items():
            said.append(f"{name:<24}{found.value:8.3f}  {_between(found)}  {found.n:5,}")
        if math.isnan(self.score.value):
            said.append(f"No score: there are no rows of {', '.join(self.missing)}.")
        else:
            said.append(f"{'Score':<24}{self.score.value:8.3f}  {_between(self.score)}")
        if self.score_with_prior_sets is not None:
            found = self.score_with_prior_sets
            said.append(f"{'Score with prior sets':<24}{found.value:8.3f}  {_between(found)}")
        for part in self.subsets:
            if part.lowest < part.highest:
                said.append(
                    f"{part.name}: {part.lowest:.3f} had all that is missing been wrong, "
                    f"{part.highest:.3f} had it been right."
                )
        if self.lowest < self.highest:  # nan where there is no score
            said.append(
                f"The score would be {self.lowest:.3f} had all that is missing been wrong and "
                f"{self.highest:.3f} had it been right."
            )
        if self.other:
            said.append(f"In no section: {', '.join(self.other)}.")
        return said


def section_scores(accuracies: Mapping[str, float]) -> dict[str, float]:
    """Section → Σ weight · accuracy / Σ weight over the subsets of it that are there.

    >>> section_scores({"math-prm": 0.9, "hep-go": 0.8})  # 984 and 164
    {'Reasoning': 0.8857142857142858}
    """
    found = {}
    for section, weights in SECTIONS.items():
        there = [name for name in weights if name in accuracies]
        if there:
            total = sum(weights[name] for name in there)
            found[section] = sum(weights[name] * accuracies[name] for name in there) / total
    return found


def overall_score(sections: Mapping[str, float], prior_sets: float | None = None) -> float:
    """The mean of the four sections; with the prior sets' accuracy, which has the weight ½, over
    4.5. nan where a section is missing.

    >>> overall_score({"Chat": 98.0, "Chat Hard": 66.0, "Safety": 90.0, "Reasoning": 94.0})
    87.0
    """
    if any(name not in sections for name in SECTIONS):
        return math.nan
    total = math.fsum(sections[name] for name in SECTIONS)
    return total / 4 if prior_sets is None else (total + prior_sets / 2) / 4.5


def reward_bench(
    outcomes: Sequence[Outcome], *, seed: int = 0, resamples: int = RESAMPLES
) -> RewardBench:
    """Accuracies, sections and score of one model.

    Args:
        outcomes: of a reward model, a pairwise model, implicit rewards or a judge.
        seed, resamples: of the intervals of sections and scores.

    Raises:
        LuceError: there are no outcomes, or no subset has one.
    """
    if not any(row.correct is not None for row in outcomes):
        raise LuceError("No pair has an outcome. Give scores of the chosen and rejected responses.")
    order = [*(name for weights in SECTIONS.values() for name in weights), *PRIOR_SETS]
    present = list(dict.fromkeys(row.subset for row in outcomes))
    names = [name for name in order if name in present]
    other = [name for name in present if name not in order]
    known = [row for row in outcomes if row.correct is not None]
    codes = {name: code for code, name in enumerate(present)}
    code = np.array([codes[row.subset] for row in known])
    correct = np.array([row.correct for row in known], dtype=float)
    counts = np.bincount(code, minlength=len(present))
    wanted = [name for weights in SECTIONS.values() for name in weights]
    missing = [name for name in wanted if name not in codes or not counts[codes[name]]]

    def statistic(drawn: np.ndarray) -> np.ndarray:
        n = np.bincount(code[drawn], minlength=len(present))
        right = np.bincount(code[drawn], correct[drawn], len(present))
        return np.array(_numbers({name: right[c] / n[c] for name, c in codes.items() if n[c]}))

    def total(fill: float) -> float:
        there = {name: fill for name in names}
        for name in there:
            rows = [row for row in outcomes if row.subset == name]
            there[name] = math.fsum(row.filled(fill) for row in rows) / len(rows)
        return _numbers(there)[-2] if not missing else math.nan

    found = bootstrap_all(statistic, len(known), seed=seed, resamples=resamples)
    sections = {}
    for number, (section, weights) in enumerate(SECTIONS.items()):
        n = sum(int(counts[codes[name]]) for name in weights if name in codes)
        if n:
            sections[section] = _sized(found[number], n)
    nothing = Estimate(math.nan, math.nan, math.nan, len(known))
    prior = all(name in codes and counts[codes[name]] for name in PRIOR_SETS)
    return RewardBench(
        subsets=tuple(_subset(name, outcomes) for name in [*names, *other]),
        sections=sections,
        score=nothing if missing else _sized(found[-2], len(known)),
        score_with_prior_sets=_sized(found[-1], len(known)) if prior and not missing else None,
        lowest=total(0.0),
        highest=total(1.0),
        missing=tuple(missing),
        other=tuple(other),
    )


def _numbers(accuracies: Mapping[str, float]) -> list[float]:
    """The four sections, the score, and the score with prior sets; nan where not known."""
    sections = section_scores(accuracies)
    prior = [accuracies.get(name, math.nan) for name in PRIOR_SETS]
    scores = [overall_score(sections), overall_score(sections, math.fsum(prior) / len(prior))]
    return [*(sections.get(name, math.nan) for name in SECTIONS), *scores]


def _subset(name: str, outcomes: Sequence[Outcome]) -> Subset:
    rows = [row for row in outcomes if row.subset == name]
    known = [row.correct for row in rows if row.correct is not None]
    n, right = len(known), math.fsum(known)
    low, high = wilson_interval(right, n)
    accuracy = Estimate(right / n if n else math.nan, low, high, n)
    lowest, highest = (math.fsum(row.filled(end) for row in rows) / len(rows) for end in (0.0, 1.0))
    return Subset(name, accuracy, sum(row.tie for row in rows), len(rows) - n, lowest, highest)


def _sized(found: Estimate, n: int) -> Estimate:
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high), n)


def _between(found: Estimate) -> str:
    return f"{f'{found.low:.3f} to {found.high:.3f}':>15}"
