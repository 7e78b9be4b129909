"""People as an annotator: comparisons go to the page, and their votes come back."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from luce.annotate.server.records import records
from luce.annotate.server.store import Store
from luce.annotate.server.tasks import Settings, Task
from luce.errors import LuceError
from luce.types import Comparison


class People:
    """An annotator that waits for people's votes: P(a ≻ b) is the share of votes for a, ties and
    "both bad" counting ½; where somebody settled a disagreement, it is their vote.

    The comparisons are put into the store that a page serves, in this process or another one on the
    same machine. What was judged before is not asked again, so that a run that was cut off goes on.

    Args:
        store: the file; made where it is missing.
        settings: how tasks are given out; None: as the file has it, or the defaults.
        wait_s: how long to wait for all votes on one call's comparisons; None: for ever.
        look_s: seconds from one look to the next.
        told: gets a line when a call begins to wait.

    Raises:
        LuceError: see `Store`.
    """

    def __init__(
        self,
        store: str | Path,
        settings: Settings | None = None,
        wait_s: float | None = None,
        look_s: float = 1.0,
        told: Callable[[str], None] = lambda line: None,
    ):
        if settings is None and not Path(store).exists():
            settings = Settings()
        self.store, self.wait_s, self.look_s = Store(store, settings), wait_s, look_s
        self.place, self.told = Path(store), told

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        """P(a ≻ b) of each comparison.

        Raises:
            LuceError: not all were judged in time. What was judged is kept.
        """
        tasks = [Task(c.prompt, (c.a, c.b)) for c in comparisons]
        self.store.add({task.id: task for task in tasks}.values())
        until = None if self.wait_s is None else time.monotonic() + self.wait_s
        waits = False
        while True:
            said = self._said({task.id for task in tasks})
            missing = sum(task.id not in said for task in tasks)
            if not missing:
                return [said[task.id] for task in tasks]
            if not waits:
                self.told(
                    f"{self.place}: {missing:,} comparisons wait for people. They judge on the "
                    f"page of `luce annotate --store {self.place}`."
                )
                waits = True
            if until is not None and time.monotonic() >= until:
                raise LuceError(
                    f"{missing:,} of {len(tasks):,} comparisons are not judged after "
                    f"{self.wait_s:g} s. Ask people to go on, and run again: no vote is lost."
                )
            time.sleep(self.look_s)

    def _said(self, wanted: set[str]) -> dict[str, float]:
        """P(a ≻ b) of the tasks that enough people have judged."""
        complete = self.store.database.do(
            lambda c: {row[0] for row in c.execute("SELECT id FROM tasks WHERE complete")}
        )
        if not wanted & complete:
            return {}
        votes: dict[str, list[float]] = {}
        settled: dict[str, float] = {}
        for record in records(self.store):
            if record.task.id not in wanted & complete:
                continue
            for _, _, p in record.pairs():
                votes.setdefault(record.task.id, []).append(p)
                if record.adjudicates:
                    settled[record.task.id] = p
        return {id: sum(given) / len(given) for id, given in votes.items()} | settled
