"""Which task a person is given, and how they see it."""

import json
import sqlite3
from dataclasses import dataclass

from luce.annotate.server.tasks import Settings, Verdict
from luce.types import Text


@dataclass(frozen=True)
class Shown:
    """A task as one person sees it.

    Attributes:
        task: its number in the store.
        prompt: text or turns.
        responses: in the order shown.
        order: for each place, the number of the response in the order of the source.
        adjudicates: whether the person settles a disagreement.
        others: of such a task, what the others said, on responses in the order shown.
        before: what the same person said and took back, on responses in the order shown.
    """

    task: int
    prompt: Text
    responses: tuple[str, ...]
    order: tuple[int, ...]
    adjudicates: bool = False
    others: tuple[Verdict, ...] = ()
    before: Verdict | None = None


def new_task(
    connection: sqlite3.Connection,
    annotator: str,
    settings: Settings,
    since: float,
    adjudicates: bool,
) -> int | None:
    """The number of the task to give to this person next; None where there is none. Whoever was
    given one before `since` (seconds of the epoch) and has not judged it no longer counts."""
    if adjudicates:
        for number in disputed(connection, annotator):
            held = connection.execute(
                "SELECT count(*) FROM assignments WHERE task = ? AND adjudicates AND at > ?",
                (number, since),
            ).fetchone()[0]
            if not held:
                return number
        return None
    mine = "NOT EXISTS (SELECT 1 FROM assignments a WHERE a.task = t.number AND a.annotator = ?)"
    ordinary, checks = connection.execute(
        "SELECT count(*) FILTER (WHERE t.best IS NULL), count(*) FILTER (WHERE t.best IS NOT "
        "NULL) FROM assignments a JOIN tasks t ON t.number = a.task WHERE a.annotator = ?",
        (annotator,),
    ).fetchone()
    if checks < ordinary // settings.check_every:
        check = connection.execute(
            f"SELECT number FROM tasks t WHERE best IS NOT NULL AND {mine} ORDER BY place LIMIT 1",
            (annotator,),
        ).fetchone()
        if check is not None:
            return int(check[0])
    # people who have a task and may still judge it count as if they had
    found = connection.execute(
        f"SELECT number FROM tasks t WHERE complete = 0 AND best IS NULL AND {mine} AND "
        "(SELECT count(*) FROM assignments a LEFT JOIN votes v ON v.task = a.task AND "
        "v.annotator = a.annotator AND v.undone IS NULL WHERE a.task = t.number AND NOT "
        "a.adjudicates AND (v.kind != 'skip' OR (v.kind IS NULL AND a.at > ?))) < ? "
        "ORDER BY place LIMIT 1",
        (annotator, since, settings.overlap),
    ).fetchone()
    return None if found is None else int(found[0])


def shown(connection: sqlite3.Connection, task: int, annotator: str) -> Shown:
    """A task that was given to this person, as they see it."""
    prompt, responses, order_json, adjudicates = connection.execute(
        "SELECT t.prompt, t.responses, a.shown, a.adjudicates FROM tasks t JOIN assignments a "
        "ON a.task = t.number WHERE t.number = ? AND a.annotator = ?",
        (task, annotator),
    ).fetchone()
    order = tuple(json.loads(order_json))
    texts = json.loads(responses)
    others: list[Verdict] = []
    if adjudicates:
        said = connection.execute(
            "SELECT verdict FROM votes WHERE task = ? AND undone IS NULL AND NOT adjudicates "
            "ORDER BY number",
            (task,),
        )
        others = [verdict_of(row[0]).placed(order, back=True) for row in said]
    before = connection.execute(
        "SELECT verdict FROM votes WHERE task = ? AND annotator = ? ORDER BY number DESC LIMIT 1",
        (task, annotator),
    ).fetchone()
    return Shown(
        task,
        prompt_of(prompt),
        tuple(texts[number] for number in order),
        order,
        bool(adjudicates),
        tuple(others),
        None if before is None else verdict_of(before[0]).placed(order, back=True),
    )


def verdict_of(text: str) -> Verdict:
    """The verdict that the store holds as JSON."""
    plain = json.loads(text)
    ratings = {name: tuple(grades) for name, grades in plain["ratings"].items()}
    return Verdict(
        plain["kind"], tuple(plain["ranks"]), plain["strength"], ratings, plain["comment"]
    )


def prompt_of(text: str) -> Text:
    """The prompt that the store holds as JSON."""
    plain = json.loads(text)
    return plain if isinstance(plain, str) else tuple(plain)


def disputed(connection: sqlite3.Connection, annotator: str) -> list[int]:
    """Tasks judged by enough people, who disagree on which is better, whom nobody has settled and
    on which this person has said nothing."""
    found = connection.execute(
        "SELECT t.number FROM tasks t JOIN votes v ON v.task = t.number WHERE t.complete AND "
        "t.best IS NULL AND v.undone IS NULL AND v.kind != 'skip' AND NOT v.adjudicates AND NOT "
        "EXISTS (SELECT 1 FROM votes w WHERE w.task = t.number AND w.adjudicates AND w.undone IS "
        "NULL AND w.kind != 'skip') AND NOT EXISTS (SELECT 1 FROM assignments a WHERE "
        "a.task = t.number AND a.annotator = ?) GROUP BY t.number HAVING "
        "count(DISTINCT v.kind || json_extract(v.verdict, '$.ranks')) > 1 ORDER BY t.place",
        (annotator,),
    )
    return [int(row[0]) for row in found]
