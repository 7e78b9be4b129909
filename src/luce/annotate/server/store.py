"""Tasks, who was given which, and votes: the state behind the annotation page, in one SQLite file.

A vote is whole or absent, and on disk before anyone is told that it is saved. It has a key of its
own: sent twice it counts once. Nothing is deleted: a vote that is taken back is marked so.
"""

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from luce.annotate.database import Database
from luce.annotate.server.giving import Shown, disputed, new_task, shown
from luce.annotate.server.tables import FORMAT
from luce.annotate.server.tasks import (
    Settings,
    Task,
    Verdict,
    order_shown,
    plain_prompt,
)
from luce.errors import LuceError
from luce.files import fingerprint

LEASE_S = 3600.0
"""A task that a person was given and did not judge is given to another after so many seconds."""


class NotThere(LuceError):
    """No such task or vote, or not this person's."""


class Conflict(LuceError):
    """The person has already said something else."""


@dataclass(frozen=True)
class Saved:
    """A vote that is on disk.

    Attributes:
        vote: its number.
        repeated: whether it was there before: the same key was sent again.
    """

    vote: int
    repeated: bool


@dataclass(frozen=True)
class Progress:
    """How far a person is: votes that stand, and tasks that are left for them."""

    done: int
    left: int


class Store:
    """The state of one set of tasks.

    Args:
        path: of the file; made where it is missing.
        settings: of a new store, or of one that is to be as it was; None: as the file has them.
        lease_s: see `LEASE_S`.

    Raises:
        StoreError: see `Database`.
        LuceError: the file has other settings. The overlap alone may change.
    """

    def __init__(
        self, path: str | Path, settings: Settings | None = None, lease_s: float = LEASE_S
    ):
        self.database, self.lease_s = Database(path, FORMAT), lease_s
        self.settings = self.database.do(
            lambda c: self._settled(c, settings), writes=settings is not None
        )

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def add(self, tasks: Iterable[Task]) -> int:
        """Add tasks, and say how many of them are new; one that is there already stays as it is.

        Raises:
            LuceError: a task has the id of another one with other content.
        """
        seed = self.settings.seed
        # in the seeded order: the numbers, which the page sees, say nothing of the source
        given = sorted(
            ((fingerprint(["tasks", seed, task.id]), task) for task in tasks), key=lambda x: x[0]
        )

        def write(connection: sqlite3.Connection) -> int:
            new = 0
            for place, task in given:
                row = (
                    json.dumps(plain_prompt(task.prompt)),
                    json.dumps(task.responses),
                    None if task.models is None else json.dumps(task.models),
                    task.best,
                )
                found = connection.execute(
                    "SELECT prompt, responses, models, best FROM tasks WHERE id = ?", (task.id,)
                ).fetchone()
                if found is not None and tuple(found) != row:
                    raise LuceError(
                        f"Two tasks have the id {task.id!r} and are not the same. Give each row "
                        "an id of its own, or leave ids out; or name another store."
                    )
                if found is None:
                    connection.execute(
                        "INSERT INTO tasks (id, place, prompt, responses, models, best) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        (task.id, place, *row),
                    )
                    new += 1
            return new

        return self.database.do(write, writes=True)

    def next(self, annotator: str, adjudicates: bool = False) -> Shown | None:
        """The task this person is to judge now; None where there is none left for them.

        What they were given and have not judged comes again, in the order it was given in. A new
        task is one that has too few people yet, or, for those who adjudicate, one that was judged
        by enough people, who disagree.
        """

        def write(connection: sqlite3.Connection) -> Shown | None:
            now = time.time()
            open_one = connection.execute(
                "SELECT a.task FROM assignments a WHERE a.annotator = ? AND a.adjudicates = ? AND "
                "NOT EXISTS (SELECT 1 FROM votes v WHERE v.task = a.task AND "
                "v.annotator = a.annotator AND v.undone IS NULL) ORDER BY a.number LIMIT 1",
                (annotator, int(adjudicates)),
            ).fetchone()
            if open_one is not None:
                number = int(open_one[0])
                connection.execute(
                    "UPDATE assignments SET at = ? WHERE task = ? AND annotator = ?",
                    (now, number, annotator),
                )
                return shown(connection, number, annotator)
            found = new_task(connection, annotator, self.settings, now - self.lease_s, adjudicates)
            if found is None:
                return None
            id, responses = connection.execute(
                "SELECT id, responses FROM tasks WHERE number = ?", (found,)
            ).fetchone()
            order = order_shown(self.settings.seed, id, annotator, len(json.loads(responses)))
            connection.execute(
                "INSERT INTO assignments (task, annotator, shown, at, adjudicates) "
                "VALUES (?, ?, ?, ?, ?)",
                (found, annotator, json.dumps(order), now, int(adjudicates)),
            )
            return shown(connection, found, annotator)

        return self.database.do(write, writes=True)

    def vote(self, annotator: str, task: int, key: str, verdict: Verdict) -> Saved:
        """Save what a person says of a task they were given, on responses in the order shown.

        Raises:
            NotThere: the task was not given to this person.
            Conflict: the person has judged it already, under another key, or the key is another
                vote's.
            LuceError: the verdict is none on such a task.
            StoreError: it could not be saved.
        """

        def write(connection: sqlite3.Connection) -> Saved:
            sent = connection.execute(
                "SELECT number, task, annotator FROM votes WHERE key = ?", (key,)
            ).fetchone()
            if sent is not None:
                if (sent[1], sent[2]) != (task, annotator):
                    raise Conflict("This key belongs to another vote. Load the page again.")
                return Saved(int(sent[0]), True)
            given = connection.execute(
                "SELECT shown, at, adjudicates FROM assignments WHERE task = ? AND annotator = ?",
                (task, annotator),
            ).fetchone()
            if given is None:
                raise NotThere(f"Task {task} was not given to {annotator}. Load the page again.")
            order = tuple(json.loads(given[0]))
            verdict.checked(len(order), self.settings.dimensions)
            stored = verdict.placed(order)
            there = connection.execute(
                "SELECT 1 FROM votes WHERE task = ? AND annotator = ? AND undone IS NULL",
                (task, annotator),
            ).fetchone()
            if there is not None:
                raise Conflict(
                    "You have judged this task already, perhaps in another window. Undo that vote "
                    "to change it."
                )
            cursor = connection.execute(
                "INSERT INTO votes (key, task, annotator, kind, verdict, shown, at, seconds, "
                "adjudicates) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(key, task, annotator, verdict.kind, json.dumps(stored.plain()), given[0]),
                    *(_now(), max(0.0, time.time() - given[1]), given[2]),
                ),
            )
            self._count(connection, task)
            assert cursor.lastrowid is not None
            return Saved(cursor.lastrowid, False)

        return self.database.do(write, writes=True)

    def shown(self, annotator: str, task: int) -> Shown:
        """A task that this person was given.

        Raises:
            NotThere: it was not.
        """

        def read(connection: sqlite3.Connection) -> Shown:
            given = connection.execute(
                "SELECT 1 FROM assignments WHERE task = ? AND annotator = ?", (task, annotator)
            ).fetchone()
            if given is None:
                raise NotThere(f"Task {task} was not given to {annotator}.")
            return shown(connection, task, annotator)

        return self.database.do(read)

    def undo(self, annotator: str, vote: int) -> None:
        """Take back a vote of this person; its task is theirs again. Twice is once.

        Raises:
            NotThere: it is no vote of this person.
            StoreError: it could not be taken back.
        """

        def write(connection: sqlite3.Connection) -> None:
            found = connection.execute(
                "SELECT task FROM votes WHERE number = ? AND annotator = ?", (vote, annotator)
            ).fetchone()
            if found is None:
                raise NotThere(f"{annotator} has no vote {vote}.")
            connection.execute(
                "UPDATE votes SET undone = ? WHERE number = ? AND undone IS NULL", (_now(), vote)
            )
            self._count(connection, int(found[0]))

        self.database.do(write, writes=True)

    def last(self, annotator: str) -> int | None:
        """The number of this person's latest vote that stands; None where there is none."""
        found = self.database.do(
            lambda c: c.execute(
                "SELECT max(number) FROM votes WHERE annotator = ? AND undone IS NULL", (annotator,)
            ).fetchone()
        )
        return None if found[0] is None else int(found[0])

    def progress(self, annotator: str, adjudicates: bool = False) -> Progress:
        """How far this person is."""

        def read(connection: sqlite3.Connection) -> Progress:
            done = connection.execute(
                "SELECT count(*) FROM votes WHERE annotator = ? AND undone IS NULL", (annotator,)
            ).fetchone()[0]
            given = connection.execute(
                "SELECT count(*) FROM assignments WHERE annotator = ?", (annotator,)
            ).fetchone()[0]
            if adjudicates:
                new = len(disputed(connection, annotator))
            else:
                new = connection.execute(
                    "SELECT count(*) FROM tasks t WHERE complete = 0 AND best IS NULL AND NOT "
                    "EXISTS (SELECT 1 FROM assignments a WHERE a.task = t.number AND "
                    "a.annotator = ?)",
                    (annotator,),
                ).fetchone()[0]
            return Progress(int(done), int(given - done + new))

        return self.database.do(read)

    def _settled(self, connection: sqlite3.Connection, given: Settings | None) -> Settings:
        row = connection.execute("SELECT value FROM meta WHERE name = 'settings'").fetchone()
        if given is None:
            if row is None:
                raise LuceError(f"{self.database.path} holds no tasks yet. Name a file of tasks.")
            return _settings(row[0])
        if row is not None:
            there = _settings(row[0]).plain()
            for name, value in given.plain().items():
                if name != "overlap" and there[name] != value:
                    raise LuceError(
                        f"{self.database.path} was made with {name} {there[name]!r}, now it is "
                        f"{value!r}. Keep it, or name another store."
                    )
        connection.execute("REPLACE INTO meta VALUES ('settings', ?)", (json.dumps(given.plain()),))
        self.settings = given
        if row is not None and _settings(row[0]).overlap != given.overlap:
            for (number,) in connection.execute("SELECT number FROM tasks").fetchall():
                self._count(connection, number)
        return given

    def _count(self, connection: sqlite3.Connection, task: int) -> None:
        """Note whether a task has been judged by enough people."""
        connection.execute(
            "UPDATE tasks SET complete = (SELECT count(*) FROM votes WHERE task = ? AND undone IS "
            "NULL AND kind != 'skip' AND NOT adjudicates) >= ? WHERE number = ?",
            (task, self.settings.overlap, task),
        )


def _settings(text: str) -> Settings:
    plain = json.loads(text)
    return Settings(
        plain["seed"], plain["overlap"], tuple(plain["dimensions"]), plain["check_every"]
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
