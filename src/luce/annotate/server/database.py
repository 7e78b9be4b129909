"""The SQLite file behind the annotation page: opened safely, written in whole transactions.

WAL lets people read while one writes. A write takes the lock at once: a transaction that read first
could not wait for it and would fail under many writers.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from luce.errors import LuceError

_APPLICATION, _VERSION = 0x6C75616E, 1
_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE tasks (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place TEXT NOT NULL, best INTEGER,
    complete INTEGER NOT NULL DEFAULT 0, prompt TEXT NOT NULL, responses TEXT NOT NULL,
    models TEXT)""",
    "CREATE INDEX tasks_open ON tasks (complete, best, place)",
    """CREATE TABLE assignments (
    number INTEGER PRIMARY KEY, task INTEGER NOT NULL REFERENCES tasks(number),
    annotator TEXT NOT NULL, shown TEXT NOT NULL, at REAL NOT NULL,
    adjudicates INTEGER NOT NULL DEFAULT 0, UNIQUE (task, annotator))""",
    "CREATE INDEX assignments_of ON assignments (annotator, task)",
    """CREATE TABLE votes (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, task INTEGER NOT NULL REFERENCES
    tasks(number), annotator TEXT NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL,
    shown TEXT NOT NULL, at TEXT NOT NULL, seconds REAL NOT NULL, adjudicates INTEGER NOT NULL,
    undone TEXT)""",
    "CREATE UNIQUE INDEX votes_one ON votes (task, annotator) WHERE undone IS NULL",
    "CREATE INDEX votes_of ON votes (annotator, number)",
)
_Result = TypeVar("_Result")


class StoreError(LuceError):
    """The file could not be read or written; what was asked for has not happened."""


class Database:
    """A connection to the file of an annotation store, shared by the threads of a process.

    Raises:
        StoreError: the file cannot be opened, is damaged, of another program, or locked for longer
            than `timeout_s`: the file and the remedy.
    """

    def __init__(self, path: str | Path, timeout_s: float = 30.0):
        self.path, self.timeout_s = Path(path), timeout_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self.do(lambda connection: None)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def do(self, work: Callable[[sqlite3.Connection], _Result], writes: bool = False) -> _Result:
        """Run `work`. A write happens as a whole or not at all, and is on disk on return."""
        with self._lock:
            try:
                connection = self._open()
                if not writes:
                    return work(connection)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = work(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                return result
            except (sqlite3.Error, OSError) as error:
                raise StoreError(self._explained(error)) from None

    def _open(self) -> sqlite3.Connection:
        # a connection must not be used across a fork
        if self._connection is not None and self._process == os.getpid():
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self.timeout_s, isolation_level=None, check_same_thread=False
        )
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                self._prepare(connection)
                break
            except BaseException as error:
                # two that open a new file at once: the change to WAL does not wait by itself
                if "locked" not in str(error) or time.monotonic() > deadline:
                    connection.close()
                    raise
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                time.sleep(0.01)
        self._connection, self._process = connection, os.getpid()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._tables(connection):
            self._identify(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a vote survives a loss of power
        connection.execute("PRAGMA foreign_keys = ON")
        if not self._tables(connection):
            connection.execute("BEGIN IMMEDIATE")
            if not self._tables(connection):
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                for statement in _TABLES:
                    connection.execute(statement)
            connection.execute("COMMIT")

    def _identify(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (_APPLICATION, _VERSION):
            what = "a database of another program"
            if application == _APPLICATION:
                what = f"a store of format {version}; this luce reads format {_VERSION}"
            raise StoreError(f"{self.path}: {what}. Give another file as the store.")

    @staticmethod
    def _tables(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _explained(self, error: Exception) -> str:
        text = str(error)
        if "locked" in text or "busy" in text:
            remedy = "another program holds it. Close that program, or wait, and try again"
        elif "malformed" in text or "not a database" in text or "corrupt" in text:
            remedy = (
                "the file is damaged. Move it away, and save what can be read with "
                "`sqlite3 FILE .recover`"
            )
        elif "full" in text or "No space" in text:
            remedy = "free some space and try again; what was saved before is not lost"
        else:
            remedy = "give a file in a folder that can be written to"
        return f"The annotation store {self.path}: {text}; {remedy}."
