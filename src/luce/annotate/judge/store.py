"""Every call of a judge, kept in one SQLite file: what was paid for once is never asked again.

Calls are addressed by the content of their question. The raw reply is kept whatever it holds; what
it says is read anew each time, so that another parser costs nothing, and a reply that cannot be
read is kept for the record but never served. Several threads and processes may share a file: it is
in WAL mode, each write is one short transaction that takes the lock at once, and a claim on a
question keeps two runs from asking it at the same time.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from luce.annotate.database import Database, Format
from luce.annotate.judge.call import Call, Question
from luce.annotate.judge.owner import alive
from luce.annotate.judge.reply import Parsed, Reply
from luce.files import fingerprint

_TABLES = (
    """CREATE TABLE questions (
    key TEXT PRIMARY KEY, template TEXT NOT NULL, model TEXT NOT NULL, settings TEXT NOT NULL,
    content TEXT NOT NULL)""",
    """CREATE TABLE calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL REFERENCES questions(key), attempt INTEGER NOT NULL,
    at TEXT NOT NULL, seed INTEGER, reply TEXT NOT NULL, tokens_in INTEGER, tokens_out INTEGER,
    cost REAL, latency_s REAL NOT NULL, parser TEXT NOT NULL, outcome TEXT NOT NULL, value REAL,
    reason TEXT NOT NULL, UNIQUE (key, attempt))""",
    "CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, at REAL)",
    "CREATE TABLE templates (hash TEXT PRIMARY KEY, name TEXT, turns TEXT NOT NULL)",
)
_FORMAT = Format("judge store", 0x6C756A64, 1, _TABLES)
_READ = (
    "SELECT c.key, c.attempt, c.reply, c.cost, c.seed, q.model, q.template, q.settings, c.at "
    "FROM calls c JOIN questions q ON q.key = c.key "
)


class Store:
    """The calls in a file, or in memory where there is none.

    Raises:
        StoreError: the file cannot be opened, is damaged, locked by somebody else for longer than
            `timeout_s`, or not a store: the file and the remedy.
    """

    def __init__(self, path: str | Path | None = None, timeout_s: float = 30.0):
        self._file = Database(path, _FORMAT, timeout_s)
        self.path = self._file.path

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again. A store in memory forgets everything."""
        self._file.close()

    def calls(self, keys: Sequence[str]) -> dict[str, list[Call]]:
        """The calls of each question that was asked before, first attempt first."""

        def read(connection: sqlite3.Connection) -> dict[str, list[Call]]:
            found: dict[str, list[Call]] = {}
            for start in range(0, len(keys), 500):  # SQLite limits the variables of a statement
                part = list(keys[start : start + 500])
                marks = ", ".join("?" * len(part))
                rows = connection.execute(
                    f"{_READ} WHERE c.key IN ({marks}) ORDER BY c.attempt", part
                )
                for row in rows:
                    found.setdefault(row[0], []).append(_call(row))
            return found

        return self._file.do(read)

    def everything(self) -> Iterator[tuple[Question, Call]]:
        """Every question with every call, in the order of the calls: for audits and exports."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, Call]]:
            rows = connection.execute(
                _READ.replace("SELECT ", "SELECT q.content, ", 1) + "ORDER BY c.id"
            )
            return [(row[0], _call(row[1:])) for row in rows]

        for content, call in self._file.do(read):
            plain = json.loads(content)
            yield Question(**{**plain, "shown": tuple(plain["shown"])}), call

    def mean_tokens_out(self, template: str, model: str) -> float | None:
        """Of the replies of a model to a template; None where there are none."""
        query = (
            "SELECT avg(c.tokens_out) FROM calls c JOIN questions q ON q.key = c.key "
            "WHERE q.template = ? AND q.model = ?"
        )
        return self._file.do(lambda c: c.execute(query, (template, model)).fetchone()[0])

    def record(
        self,
        question: Question,
        reply: Reply,
        *,
        cost: float | None,
        seed: int | None,
        parser: str,
        parsed: Parsed,
    ) -> Call:
        """Keep a call, whatever it holds; on disk when this returns. `parser` and `parsed` say what
        was read of it now, for whoever looks into the file."""
        key, at = question.key, datetime.now(UTC).isoformat(timespec="milliseconds")
        settings = fingerprint(question.settings)

        def write(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT OR IGNORE INTO questions VALUES (?, ?, ?, ?, ?)",
                (key, question.template, question.model, settings, json.dumps(question.plain())),
            )
            attempt = connection.execute("SELECT count(*) FROM calls WHERE key = ?", (key,))
            number = int(attempt.fetchone()[0])
            connection.execute(
                "INSERT INTO calls (key, attempt, at, seed, reply, tokens_in, tokens_out, cost, "
                "latency_s, parser, outcome, value, reason) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(key, number, at, seed, json.dumps(reply.plain())),
                    *(reply.tokens_in, reply.tokens_out, cost, reply.latency_s, parser),
                    *(parsed.kind, parsed.value, parsed.reason),
                ),
            )
            return number

        attempt = self._file.do(write, writes=True)
        return Call(
            *(key, attempt, reply, cost, seed, question.model, question.template, settings, at)
        )

    def keep_template(self, version: str, name: str, turns: Any) -> None:
        """Keep the text of a template under its hash."""
        row = (version, name, json.dumps(turns))
        self._file.do(
            lambda c: c.execute("INSERT OR IGNORE INTO templates VALUES (?, ?, ?)", row),
            writes=True,
        )

    def claim(self, key: str, owner: str) -> bool:
        """Whether `owner` may ask this question now: nobody else alive is about to."""

        def write(connection: sqlite3.Connection) -> bool:
            found = connection.execute("SELECT owner, at FROM claims WHERE key = ?", (key,))
            held = found.fetchone()
            if held is not None and held[0] != owner and alive(held[0], held[1]):
                return False
            connection.execute("REPLACE INTO claims VALUES (?, ?, ?)", (key, owner, time.time()))
            return True

        return self._file.do(write, writes=True, durable=False)

    def release(self, owner: str, key: str | None = None) -> None:
        """Give up one claim of an owner, or all of them."""
        where = "owner = ?" if key is None else "owner = ? AND key = ?"
        values = (owner,) if key is None else (owner, key)
        self._file.do(
            lambda c: c.execute(f"DELETE FROM claims WHERE {where}", values),
            writes=True,
            durable=False,
        )


def _call(row: Sequence[Any]) -> Call:
    key, attempt, reply, cost, seed, model, template, settings, at = row
    return Call(
        *(key, attempt, Reply(**json.loads(reply)), cost, seed, model, template, settings, at)
    )
