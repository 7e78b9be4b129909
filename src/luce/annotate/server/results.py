"""What the votes say of the people: agreement, biases of position and length, attention."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.annotate.agreement_result import Agreement, agreement
from luce.annotate.consistency import Position, shown_first
from luce.annotate.measure import Measure, measure
from luce.annotate.ratings import ratings_of_items
from luce.annotate.server.records import Record, records
from luce.annotate.server.store import Store
from luce.intervals import RESAMPLES, bootstrap


@dataclass(frozen=True)
class Person:
    """One annotator.

    Attributes:
        name: who.
        votes: that stand, without skips, checks and adjudications.
        skipped: tasks without an answer.
        position: what standing first is worth with this person.
        longer: of the pairs in which one was preferred, the share in which that was the longer
            one, in characters; ½ without a bias, if longer ones are not better.
        checks, passed: attention checks that were answered, and answered right.
        seconds: the median over votes, from showing to saving.
    """

    name: str
    votes: int
    skipped: int
    position: Position
    longer: Measure
    checks: int
    passed: int
    seconds: float | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "votes": self.votes,
            "skipped": self.skipped,
            "shown_first_preferred": self.position.first_preferred.plain(),
            "position_effect": self.position.effect.plain(),
            "longer_preferred": self.longer.plain(),
            "checks": self.checks,
            "checks_passed": self.passed,
            "median_seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """For people."""
        took = "" if self.seconds is None else f", median {self.seconds:.1f} s"
        found = [
            f"{self.name}: {self.votes:,} votes, {self.skipped:,} skipped{took}",
            f"  prefers the one shown first  {self.position.first_preferred.words()}",
            f"  prefers the longer one       {self.longer.words()}",
        ]
        if self.checks:
            found.append(f"  attention checks passed      {self.passed} of {self.checks}")
        return found


@dataclass(frozen=True)
class Results:
    """All people together, and each.

    Attributes:
        agreement: an item is two responses to a prompt; a vote is 1 for the first in the order of
            the source, 0 for the second, ½ where they tie or are both bad.
        people: in order of their names.
        tasks, complete: ordinary tasks, and those judged by enough people.
    """

    agreement: Agreement
    people: tuple[Person, ...]
    tasks: int
    complete: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tasks": self.tasks,
            "complete": self.complete,
            "agreement": self.agreement.plain(),
            "people": [person.plain() for person in self.people],
        }

    def lines(self) -> list[str]:
        """For people; intervals are 95 %, by drawing prompts again."""
        told = [f"{self.complete:,} of {self.tasks:,} tasks are judged by enough people."]
        told += self.agreement.lines()
        return told + [line for person in self.people for line in person.lines()]


def results(store: Store, *, seed: int = 0, resamples: int = RESAMPLES) -> Results:
    """What the votes of a store say now. Adjudications settle and are not counted as agreement."""
    found = [record for record in records(store) if not record.adjudicates]
    ordinary = [record for record in found if record.task.best is None]
    items: dict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for record in ordinary:
        for i, j, p in record.pairs():
            items[record.task.id, i, j][record.annotator] = p
    ratings = ratings_of_items(list(items.values()), [task for task, _, _ in items])
    tasks, complete = store.database.do(
        lambda c: c.execute(
            "SELECT count(*), coalesce(sum(complete), 0) FROM tasks WHERE best IS NULL"
        ).fetchone()
    )
    people = tuple(
        _person(name, [r for r in found if r.annotator == name], seed, resamples)
        for name in sorted({record.annotator for record in found})
    )
    whole = agreement(ratings, "ordinal", seed=seed, resamples=resamples)
    return Results(whole, people, int(tasks), int(complete))


def _person(name: str, found: list[Record], seed: int, resamples: int) -> Person:
    checks = [r for r in found if r.task.best is not None and r.verdict.kind != "skip"]
    ordinary = [r for r in found if r.task.best is None]
    preferred, first, prompts, lengths, leaning = [], [], [], [], []
    for record in ordinary:
        for i, j, p in record.pairs():
            preferred.append(p)
            first.append(1 if record.order.index(i) < record.order.index(j) else 2)
            prompts.append(record.task.id)
            longer = len(record.task.responses[i]) - len(record.task.responses[j])
            if longer and p != 0.5:
                leaning.append((longer > 0) == (p > 0.5))
                lengths.append(record.task.id)
    agrees = np.array(leaning, dtype=float)
    estimate = bootstrap(
        lambda drawn: float(agrees[drawn].mean()),
        len(agrees),
        lengths,
        seed=seed,
        resamples=resamples,
    )
    said = [record for record in ordinary if record.verdict.kind != "skip"]
    return Person(
        name,
        len(said),
        len(ordinary) - len(said),
        shown_first(preferred, first, prompts, seed=seed, resamples=resamples),
        measure(estimate, "No pair of unequal length has a preference."),
        len(checks),
        sum(attentive(record) for record in checks),
        float(np.median([record.seconds for record in said])) if said else None,
    )


def attentive(record: Record) -> bool:
    """Whether the vote on an attention check prefers the response that is the best."""
    best, ranks = record.task.best, record.verdict.ranks
    return best is not None and ranks.count(1) == 1 and ranks[best] == 1
