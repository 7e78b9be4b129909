"""A SQLite file that threads and processes share: opened safely, written in whole transactions.

WAL lets people read while one writes. A write takes the lock at once: a transaction that read first
could not wait for it and would fail under many writers.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from luce.errors import LuceError

_Result = TypeVar("_Result")


class StoreError(LuceError):
    """The file could not be read or written; what was asked for has not happened."""


@dataclass(frozen=True)
class Format:
    """What stands in a file.

    Attributes:
        noun: what such a file is called, in messages.
        application: its `application_id`: files of other programs are told by it.
        version: of the tables.
        tables: the statements that make them.
    """

    noun: str
    application: int
    version: int
    tables: tuple[str, ...]


class Database:
    """A connection to a file, or to a database in memory where `path` is None, shared by the
    threads of a process.

    Raises:
        StoreError: the file cannot be opened, is damaged, of another program or format, or locked
            for longer than `timeout_s`: the file and the remedy.
    """

    def __init__(self, path: str | Path | None, form: Format, timeout_s: float = 30.0):
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._lock = threading.RLock()
        self.path = None if path is None else Path(path)
        self.form, self.timeout_s = form, timeout_s
        self.do(lambda connection: None)

    def __del__(self) -> None:
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()

    def close(self) -> None:
        """Close the file; the next use opens it again. What is in memory is forgotten."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def do(
        self,
        work: Callable[[sqlite3.Connection], _Result],
        writes: bool = False,
        durable: bool = True,
    ) -> _Result:
        """Run `work`. A write happens as a whole or not at all; a durable one is on disk on return
        and survives a loss of power."""
        with self._lock:
            try:
                connection = self._open()
                if not writes:
                    return work(connection)
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
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
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            ":memory:" if self.path is None else self.path,
            timeout=self.timeout_s,
            isolation_level=None,
            check_same_thread=False,
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
        # tables first: whoever made them in between has set the two numbers with them
        if _tables(connection):
            self._identify(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if not _tables(connection):
            connection.execute("BEGIN IMMEDIATE")
            if not _tables(connection):
                connection.execute(f"PRAGMA application_id = {self.form.application}")
                connection.execute(f"PRAGMA user_version = {self.form.version}")
                for statement in self.form.tables:
                    connection.execute(statement)
            connection.execute("COMMIT")

    def _identify(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (self.form.application, self.form.version):
            what = "a database of another program"
            if application == self.form.application:
                what = (
                    f"a {self.form.noun} of format {version}; this luce reads format "
                    f"{self.form.version}"
                )
            raise StoreError(f"{self.path}: {what}. Give another file as the store.")

    def _explained(self, error: Exception) -> str:
        text = str(error)
        if "locked" in text or "busy" in text:
            remedy = "another program holds it. Close that program, or wait, and try again"
        elif "malformed" in text or "not a database" in text or "corrupt" in text:
            remedy = (
                "the file is damaged. Move it away and try again, or save what can be read with "
                "`sqlite3 FILE .recover`"
            )
        elif "full" in text or "No space" in text:
            remedy = "free some space and try again; what was saved before is not lost"
        else:
            remedy = "give a file in a folder that can be written to"
        return f"The {self.form.noun} {self.path or 'in memory'}: {text}; {remedy}."


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
