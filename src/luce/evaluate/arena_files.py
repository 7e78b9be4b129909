"""Files of Arena-Hard: battles, judgments, and answers with their style."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.annotate.votes import Vote
from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.errors import DataError
from luce.evaluate.reading import Placed, records, text, wanted
from luce.evaluate.style import Style, style_of, style_of_metadata

STRONG = 3
"""How often a strong verdict (`A>>B`) counts."""

_WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}
_QUESTION = ("question_id", "uid")


@dataclass(frozen=True)
class Battles:
    """What judges said of models.

    Attributes:
        votes: who beat whom on which question, strong verdicts with weight 3.
        missing: model → games without a verdict; they are in no vote.
        baseline: the model that all others met; None where there is none such.
    """

    votes: tuple[Vote, ...]
    missing: Mapping[str, int]
    baseline: str | None


def read_battles(path: str | Path) -> Battles:
    """`arena_hard_battles.jsonl`: `question_id`, `model_a`, `model_b` and `winner` ("model_a",
    "model_b" or "tie"). Strong verdicts stand there three times already.

    Raises:
        DataError: the file cannot be read, or a field is missing or wrong.
    """
    votes = []
    for place, record in records(path):
        winner = text(record, "winner", place)
        if winner not in _WINNERS:
            known = ", ".join(_WINNERS)
            raise RowError(place, "winner", "value", f"{winner!r} is none of {known}.")
        a, b = text(record, "model_a", place), text(record, "model_b", place)
        if a == b:
            raise RowError(place, "model_b", "value", f"{a} is compared with itself. Leave it out.")
        votes.append(Vote(a, b, _WINNERS[winner], question_of((place, record))))
    everywhere = {votes[0].a, votes[0].b}
    for vote in votes:
        everywhere &= {vote.a, vote.b}
    # of two models that only met each other, the first is the baseline, as the files have it
    baseline = votes[0].a if votes[0].a in everywhere else next(iter(everywhere), None)
    return Battles(tuple(votes), {}, baseline)


def read_judgments(path: str | Path, baseline: str | None = None, strong: int = STRONG) -> Battles:
    """`model_judgment` files, or a folder of them: `question_id` (or `uid`), `model` and `games`,
    two objects with a `score`. In the first game A is the baseline, in the second B is; a score is
    `A>>B`, `A>B`, `A=B`, `B>A` or `B>>A`, null where the judge gave none.

    Args:
        baseline: its name, where the rows do not say it themselves.
        strong: how often `>>` counts.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, or the baseline is unknown or
            not the same in all rows.
    """
    votes: list[Vote] = []
    missing: Counter[str] = Counter()
    known = baseline
    for place, record in records(path):
        model = text(record, "model", place)
        named = record.get("baseline") or known
        if not isinstance(named, str):
            raise RowError(place, "baseline", "missing", "the baseline is not named. Say its name.")
        if known is not None and named != known:
            told = f"{named!r} here, {known!r} before. Give the judgments of one baseline."
            raise RowError(place, "baseline", "value", told)
        known = named
        if model == named:
            continue  # the baseline against itself is a half by construction
        for number, score in enumerate(_scores((place, record))):
            if score is None:
                missing[model] += 1
                continue
            p, weight = _read_label(score, strong, (place, record), number)
            a_wins = p if number == 0 else 1 - p
            votes.append(Vote(named, model, a_wins, question_of((place, record)), weight))
    if not votes:
        raise DataError(f"{path}: no game has a verdict. Ask the judge again.")
    return Battles(tuple(votes), dict(missing), known)


def read_answers(path: str | Path) -> dict[tuple[str, str], Style]:
    """(model, question) → style, from `model_answer` files or a folder of them.

    The style stands in `conv_metadata` or `metadata`; else it is counted in the answer, which is
    the last turn of `choices[0].turns` or the last of `messages`. A row's model is `model_id` or
    `model`. All lengths must be of one kind: tokens where stored, else characters.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, or some lengths are in tokens
            and others in characters.
    """
    found: dict[tuple[str, str], Style] = {}
    stored: bool | None = None
    for place, record in records(path):
        model = text(record, ("model_id", "model"), place)
        metadata = record.get("conv_metadata") or record.get("metadata")
        has = isinstance(metadata, dict) and "token_len" in metadata
        if stored is not None and has != stored:
            told = "some answers have a stored `token_len` and others none. Give all, or take all."
            raise RowError(place, "conv_metadata", "mixed", told)
        stored = has
        try:
            if isinstance(metadata, dict) and has:
                style = style_of_metadata(metadata)
            else:
                style = style_of(answer_of((place, record)))
        except (KeyError, TypeError, ValueError) as error:
            told = f"{error} is missing or no number. Give all four counts, or none."
            raise RowError(place, "conv_metadata", "value", told) from error
        found[model, question_of((place, record))] = style
    return found


def question_of(row: Placed) -> str:
    """The name of a row's question, `question_id` or `uid`, as text.

    Raises:
        RowError: it is missing, or neither text nor number.
    """
    place, record = row
    value = wanted(record, _QUESTION, place, "It names the question.")
    if value is None or isinstance(value, dict | list):
        told = f"a text or a number is expected, found {kind_of(value)}."
        raise RowError(place, "question_id", "value", told)
    return str(value)


def answer_of(row: Placed) -> str:
    """The text of a row's answer: the last turn of `choices[0].turns`, or the last of `messages`.

    Raises:
        RowError: it is not there.
    """
    place, record = row
    if "choices" in record:
        found = record["choices"][0]["turns"][-1] if record["choices"] else None
    else:
        messages = wanted(record, ("choices", "messages"), place)
        found = messages[-1].get("content") if messages else None
    if isinstance(found, dict):
        found = found.get("content", found.get("answer"))
    if not isinstance(found, str):
        raise RowError(place, "choices", "value", "the answer's text is not there.")
    return found


def _scores(row: Placed) -> list[Any]:
    place, record = row
    games = wanted(record, "games", place)
    if not isinstance(games, list) or len(games) not in (1, 2):
        told = f"a list of one game or two is expected, found {kind_of(games)}."
        raise RowError(place, "games", "value", told)
    return [game.get("score") if isinstance(game, dict) else None for game in games]


def _read_label(score: Any, strong: int, row: Placed, number: int) -> tuple[float, float]:
    """P(the first game's A wins) as the label says it, and how often it counts."""
    label = score.strip() if isinstance(score, str) else ""
    for sign, p in ((">", 1.0), ("<", 0.0)):
        for times, weight in ((1, 1.0), (2, float(strong))):
            if label == f"A{sign * times}B":
                return p, weight
            if label == f"B{sign * times}A":
                return 1 - p, weight
    if label in ("A=B", "B=A"):
        return 0.5, 1.0
    told = f"{score!r} is no verdict. Known: A>>B, A>B, A=B, B>A, B>>A; null where there is none."
    raise RowError(row[0], f"games[{number}].score", "value", told)
