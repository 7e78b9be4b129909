"""Votes as data: rows in the formats of luce and others, verdicts on models, and tables."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from luce.annotate.server import Record, Store, Task, records
from luce.annotate.server.tasks import plain_prompt
from luce.data.formats import FORMATS, export
from luce.errors import LuceError, did_you_mean
from luce.files import write_atomic, write_jsonl
from luce.recipe.eval_verdicts import PairVerdict
from luce.types import Feedback, Place, Preference, Ranking, Row

OTHERS = ("verdicts", "votes", "csv")
"""What there is beside the formats of judged data."""


@dataclass(frozen=True)
class Exported:
    """What was written, and sentences on what was left out."""

    file: Path
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """Votes on one task that become rows together: one vote, or all of a task."""

    task: Task
    votes: tuple[Record, ...]

    @property
    def single(self) -> Record | None:
        return self.votes[0] if len(self.votes) == 1 else None


def export_votes(
    store: Store, out: Path, to: str = "pairs", by: Literal["vote", "task"] = "vote"
) -> Exported:
    """Write the votes of a store.

    Args:
        to: a format of `luce data convert` for pairs, rankings or unpaired rows; "verdicts", which
            `luce eval win-rate` reads; "votes", everything as it was said; or "csv", the same as a
            table.
        by: "vote": each vote by itself, with its annotator; "task": all votes on a task in one, a
            pair's label being the share of votes for the chosen one; where somebody settled a
            disagreement, their vote alone.

    Pairs: a tie has the label ½; "both bad" is left out. Unpaired: the best is desirable and the
    worst is not, of "both bad" neither is, ties are left out. Attention checks and skipped tasks
    are in "votes" and "csv" only; "verdicts" has a skip as no verdict.

    Raises:
        LuceError: the format is not known or holds demonstrations, models are not known where
            verdicts are asked for, or nothing is left to write.
    """
    known = {**{n: f for n, f in FORMATS.items() if f.structure != "demonstration"}}
    if to not in known and to not in OTHERS:
        raise LuceError(f"--to: no {to!r}. {did_you_mean(to, [*known, *OTHERS])}")
    found = records(store)
    if to in ("votes", "csv"):
        rows = [_vote(record) for record in found]
        write_atomic(out, _table(rows)) if to == "csv" else write_jsonl(out, rows)
        return Exported(out, len(rows), ())
    ordinary = [record for record in found if record.task.best is None]
    answered = [record for record in ordinary if record.verdict.kind != "skip"]
    notes = []
    if checks := len(found) - len(ordinary):
        notes.append(f"{checks:,} votes on attention checks are left out.")
    if to == "verdicts":
        rows = [row for group in _groups(ordinary, by) for row in _verdicts(group)]
    else:
        if skips := len(ordinary) - len(answered):
            notes.append(f"{skips:,} skipped tasks are left out.")
        make = {"pair": _pairs, "list": _rankings, "unpaired": _unpaired}[known[to].structure]
        rows, silent = [], 0
        for number, group in enumerate(_groups(answered, by), start=1):
            made = make(group, Place(str(store.database.path), number))
            silent += not made
            rows += [export(row, to) for row in made]
        if silent:
            what = "votes" if by == "vote" else "tasks"
            notes.append(f"{silent:,} {what} say nothing that {to} can hold, and are left out.")
    if not rows:
        raise LuceError(
            f"{store.database.path}: no vote can be written as {to}. {' '.join(notes)}".rstrip()
        )
    write_jsonl(out, rows)
    return Exported(out, len(rows), tuple(notes))


def _groups(found: Sequence[Record], by: str) -> list[_Group]:
    if by == "vote":
        return [_Group(record.task, (record,)) for record in found]
    votes: dict[str, list[Record]] = {}
    for record in found:
        votes.setdefault(record.task.id, []).append(record)
    settled = {
        id: [r for r in given if r.adjudicates and r.verdict.kind != "skip"] or given
        for id, given in votes.items()
    }
    return [_Group(given[0].task, tuple(given)) for given in settled.values()]


def _shares(group: _Group, bad: bool) -> dict[tuple[int, int], float]:
    """Every two responses → the share of votes for the first; `bad`: where all are bad, they tie,
    else such votes do not count."""
    votes: dict[tuple[int, int], list[float]] = {}
    for record in group.votes:
        if bad or record.verdict.kind != "bad":
            for i, j, p in record.pairs():
                votes.setdefault((i, j), []).append(p)
    return {pair: sum(given) / len(given) for pair, given in votes.items()}


def _pairs(group: _Group, place: Place) -> list[Row]:
    task, one, rows = group.task, group.single, []
    for (i, j), p in _shares(group, bad=False).items():
        chosen, rejected = (i, j) if p >= 0.5 else (j, i)
        extra, ratings = _said(group), {}
        if task.models is not None:
            extra |= {"chosen_model": task.models[chosen], "rejected_model": task.models[rejected]}
        if one is not None:
            first = one.order.index(chosen) < one.order.index(rejected)
            extra["shown_first"] = "chosen" if first else "rejected"
            for name, number in (("ratings_chosen", chosen), ("ratings_rejected", rejected)):
                given = {key: grades[number] for key, grades in one.verdict.ratings.items()}
                ratings[name] = {k: float(g) for k, g in given.items() if g is not None} or None
        strength = None if one is None or len(task.responses) > 2 else one.verdict.strength
        rows.append(
            Preference(
                prompt=task.prompt,
                place=place,
                id=task.id if len(task.responses) == 2 else f"{task.id}-{i}-{j}",
                annotator=None if one is None else one.annotator,
                chosen=task.responses[chosen],
                rejected=task.responses[rejected],
                label=max(p, 1 - p),
                margin=None if strength is None else float(strength),
                extra=extra,
                **ratings,
            )
        )
    return rows


def _rankings(group: _Group, place: Place) -> list[Row]:
    n = len(group.task.responses)
    given = [r.verdict.ranks for r in group.votes if r.verdict.kind != "bad"]
    if not given:
        return []
    # the best of n has n − 1 below it
    scores = tuple(sum(float(n - ranks[i]) for ranks in given) / len(given) for i in range(n))
    extra = _said(group)
    if group.task.models is not None:
        extra["models"] = list(group.task.models)
    return [
        Ranking(
            prompt=group.task.prompt,
            place=place,
            id=group.task.id,
            annotator=None if group.single is None else group.single.annotator,
            responses=group.task.responses,
            scores=scores,
            extra=extra,
        )
    ]


def _unpaired(group: _Group, place: Place) -> list[Row]:
    good = [0] * len(group.task.responses)
    for record in group.votes:
        kind, ranks = record.verdict.kind, record.verdict.ranks
        for i, rank in enumerate(ranks):
            if kind == "bad" or (kind == "ranked" and rank == max(ranks)):
                good[i] -= 1
            elif kind == "ranked" and rank == 1:
                good[i] += 1
    return [
        Feedback(
            prompt=group.task.prompt,
            place=place,
            id=f"{group.task.id}-{i}",
            annotator=None if group.single is None else group.single.annotator,
            completion=group.task.responses[i],
            label=votes > 0,
            extra=_said(group)
            | ({} if group.task.models is None else {"model": group.task.models[i]}),
        )
        for i, votes in enumerate(good)
        if votes
    ]


def _said(group: _Group) -> dict[str, Any]:
    """Who said it and when."""
    one = group.single
    if one is None:
        return {"annotators": [record.annotator for record in group.votes]}
    found: dict[str, Any] = {"at": one.at, "seconds": round(one.seconds, 3)}
    if one.verdict.comment:
        found["comment"] = one.verdict.comment
    return found | ({"adjudicates": True} if one.adjudicates else {})


def _verdicts(group: _Group) -> list[dict[str, Any]]:
    task, one, rows = group.task, group.single, []
    if task.models is None:
        raise LuceError(
            f"Task {task.id} does not say which models wrote its responses. Verdicts are on "
            "models: give rows `models`, or annotate one file of responses for each model."
        )
    prompt = "\n".join(
        [task.prompt]
        if isinstance(task.prompt, str)
        else [f"{turn.get('role')}: {turn.get('content')}" for turn in task.prompt]
    )
    shares = _shares(group, bad=True)
    for i, j in combinations(range(len(task.responses)), 2):
        a, b = task.models[i], task.models[j]
        order = None
        if one is not None:
            order = "ab" if one.order.index(i) < one.order.index(j) else "ba"
        p = shares.get((i, j))
        reason = "" if p is not None else "skipped"
        verdict = PairVerdict(prompt, a, b, p, reason, order)
        row = {"id": task.id, **verdict.plain()}
        row |= {"response_a": task.responses[i], "response_b": task.responses[j]}
        rows.append(row | ({"annotator": one.annotator} if one is not None else {}) | _said(group))
    return rows


def _vote(record: Record) -> dict[str, Any]:
    task = record.task
    return {
        "id": task.id,
        "annotator": record.annotator,
        **record.verdict.plain(),
        "order": list(record.order),
        "at": record.at,
        "seconds": round(record.seconds, 3),
        "adjudicates": record.adjudicates,
        "check": task.best,
        "prompt": plain_prompt(task.prompt),
        "responses": list(task.responses),
        "models": None if task.models is None else list(task.models),
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    columns = (
        *("id", "annotator", "kind", "ranks", "strength", "comment", "order", "at", "seconds"),
        *("adjudicates", "check", "ratings", "models", "prompt", "responses"),
    )
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows([[cell(row[name]) for name in columns] for row in rows])
    return stream.getvalue()


def cell(value: Any) -> str:
    """A value as a cell of a table. What a spreadsheet would take for a formula has a `'` before
    it.

    >>> cell("=1+1"), cell("a"), cell([1, 2])
    ("'=1+1", 'a', '1 2')
    """
    text = _flat(value)
    return f"'{text}" if text.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text


def _flat(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        joint = " " if all(isinstance(v, int) for v in value) else " | "
        return joint.join(_flat(v) for v in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_flat(v)}" for name, v in value.items())
    return str(value)
