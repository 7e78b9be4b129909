"""Votes as they stand in the store, each with its task: what is counted and exported."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from luce.annotate.server.giving import prompt_of, verdict_of
from luce.annotate.server.store import Store
from luce.annotate.server.tasks import Task, Verdict


@dataclass(frozen=True)
class Record:
    """A vote that stands.

    Attributes:
        task: what was judged.
        annotator: by whom.
        verdict: on the responses in the order of the task.
        order: the numbers of the responses in the order in which this person saw them.
        at: when, as an ISO time in UTC.
        seconds: from showing to saving.
        adjudicates: whether it settles a disagreement of others.
        vote: its number.
    """

    task: Task
    annotator: str
    verdict: Verdict
    order: tuple[int, ...]
    at: str
    seconds: float
    adjudicates: bool
    vote: int

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Every two responses i < j with P(i is better): 1, 0, or ½ for a tie. Nothing of a task
        that was skipped; bad ones tie."""
        if self.verdict.kind == "skip":
            return
        ranks = self.verdict.ranks
        for i, j in combinations(range(len(ranks)), 2):
            yield i, j, 1.0 if ranks[i] < ranks[j] else 0.0 if ranks[i] > ranks[j] else 0.5


def records(store: Store) -> list[Record]:
    """All votes that stand, those of attention checks and skips too, in the order of saving."""

    def read(connection: sqlite3.Connection) -> list[Record]:
        tasks = {
            number: Task(
                prompt_of(prompt),
                tuple(json.loads(responses)),
                None if models is None else tuple(json.loads(models)),
                id,
                best,
            )
            for number, id, prompt, responses, models, best in connection.execute(
                "SELECT number, id, prompt, responses, models, best FROM tasks"
            )
        }
        return [
            Record(
                tasks[task],
                annotator,
                verdict_of(verdict),
                tuple(json.loads(order)),
                at,
                float(seconds),
                bool(adjudicates),
                int(number),
            )
            for number, task, annotator, verdict, order, at, seconds, adjudicates in (
                connection.execute(
                    "SELECT number, task, annotator, verdict, shown, at, seconds, adjudicates "
                    "FROM votes WHERE undone IS NULL ORDER BY number"
                )
            )
        ]

    return store.database.do(read)
