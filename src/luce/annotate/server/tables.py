"""The tables of an annotation store."""

from luce.annotate.database import Format

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
FORMAT = Format("annotation store", 0x6C75616E, 1, _TABLES)
