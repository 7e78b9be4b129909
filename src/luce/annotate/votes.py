"""Votes between named items: what rankings and diagnostics are made from."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from luce.errors import LuceError


@dataclass(frozen=True)
class Vote:
    """One judgement between two items (models, players, responses).

    `Vote("a", "b")` says that a beat b; `Vote("a", "b", 0.5)` is a tie.

    Attributes:
        a, b: names of the two items.
        p: P(a ≻ b) in [0, 1]; a soft label counts as p of a win for a and 1 − p of one for b.
        prompt: what was judged, the independent unit of an interval; None: the vote is its own.
        weight: how often the vote counts, > 0.
    """

    a: str
    b: str
    p: float | int = 1.0
    prompt: Hashable | None = None
    weight: float | int = 1.0


def votes_from_wins(
    wins: Sequence[Sequence[float | int]] | np.ndarray, items: Sequence[str] | None = None
) -> list[Vote]:
    """The votes of a table of wins: `wins[i][j]` says how often item i beat item j.

    A whole number is so many votes of weight 1; what is left over a whole number is one vote of
    that weight. Items without names are called "0", "1", …

    Raises:
        LuceError: the table is not square, holds a negative or non-finite number or a win of an
            item over itself, or there is not one name for each row.

    >>> [(v.a, v.b, v.weight) for v in votes_from_wins([[0, 2], [0.5, 0]], ["x", "y"])]
    [('x', 'y', 1.0), ('x', 'y', 1.0), ('y', 'x', 0.5)]
    """
    table = np.asarray(wins, dtype=float)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise LuceError(f"A table of wins is square; this one has the shape {table.shape}.")
    names = [str(i) for i in range(len(table))] if items is None else list(items)
    if len(names) != len(table) or len(set(names)) != len(names):
        raise LuceError(
            f"{len(table)} rows of wins and {len(set(names))} different names. Give one name each."
        )
    votes = []
    for i, j in np.argwhere(table != 0):
        count = float(table[i, j])
        if i == j or not 0 <= count < math.inf:
            raise LuceError(
                f"wins[{i}][{j}] is {count} ({names[i]} over {names[j]}). Wins are numbers that "
                "are not negative, and nobody plays against itself."
            )
        votes += [Vote(names[i], names[j])] * int(count)
        if count % 1:
            votes.append(Vote(names[i], names[j], weight=count % 1))
    return votes


@dataclass(frozen=True)
class VoteTable:
    """Votes as arrays, one entry a vote.

    Attributes:
        names: the items, in the order in which they appear.
        a, b: numbers of the two items.
        p: P(a ≻ b).
        weight: how often each counts.
        prompts: for each vote its prompt, or None where no vote has one; a vote without a prompt
            among others that have one is a prompt of its own.
    """

    names: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    p: np.ndarray
    weight: np.ndarray
    prompts: tuple[Hashable, ...] | None

    @property
    def n(self) -> int:
        """How many votes."""
        return len(self.p)

    def wins(self, rows: np.ndarray | None = None) -> np.ndarray:
        """wins[i, j]: the weight with which i beat j; a tie, like any label, is shared out as p
        and 1 − p. Of all votes, or of these rows (some of them repeatedly)."""
        return self.total(self.weight * self.p, self.weight * (1 - self.p), rows)

    def total(
        self, for_a: np.ndarray, for_b: np.ndarray, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """table[i, j]: the sum of `for_a` over votes between a = i and b = j, and of `for_b` over
        those between b = i and a = j."""
        n, a, b = len(self.names), self.a, self.b
        if rows is not None:
            a, b, for_a, for_b = a[rows], b[rows], for_a[rows], for_b[rows]
        found = np.bincount(a * n + b, for_a, n * n) + np.bincount(b * n + a, for_b, n * n)
        return found.reshape(n, n)


def vote_table(votes: Sequence[Vote]) -> VoteTable:
    """The votes as arrays, checked.

    Raises:
        LuceError: there are none, or one that is between an item and itself, has a p outside
            [0, 1] or a weight that is not above 0; the vote is named by its number from 0.
    """
    if not votes:
        raise LuceError("There are no votes. Give at least one vote between two items.")
    for number, vote in enumerate(votes):
        place = f"votes[{number}] ({vote.a} against {vote.b})"
        if vote.a == vote.b:
            raise LuceError(f"{place}: an item cannot be compared with itself. Leave it out.")
        if not 0 <= vote.p <= 1:
            raise LuceError(f"{place}: p is {vote.p}; give the probability that the first wins.")
        if not 0 < vote.weight < math.inf:
            raise LuceError(f"{place}: the weight is {vote.weight}; give a number above 0.")
    numbers: dict[str, int] = {}
    for vote in votes:
        numbers.setdefault(vote.a, len(numbers))
        numbers.setdefault(vote.b, len(numbers))
    return VoteTable(
        names=tuple(numbers),
        a=np.array([numbers[vote.a] for vote in votes]),
        b=np.array([numbers[vote.b] for vote in votes]),
        p=np.array([vote.p for vote in votes], dtype=float),
        weight=np.array([vote.weight for vote in votes], dtype=float),
        prompts=units([vote.prompt for vote in votes]),
    )


def units(prompts: Sequence[Hashable | None]) -> tuple[Hashable, ...] | None:
    """Each prompt, with one of its own for each None; None where all are."""
    if all(prompt is None for prompt in prompts):
        return None
    return tuple(
        ("no prompt", number) if prompt is None else ("prompt", prompt)
        for number, prompt in enumerate(prompts)
    )
