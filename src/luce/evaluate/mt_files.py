"""Files of MT-Bench: questions with their reference answers, ratings, and pairwise judgments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.errors import DataError
from luce.evaluate.reading import Placed, count, optional_number, records, text, wanted

REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Categories whose answers a judge compares with a reference answer."""
ERROR = -1.0
"""The score of an answer whose rating the judge's reply does not hold."""

_WINNERS = {"model_1": 1.0, "model_2": 0.0, "tie": 0.5, "error": None}


@dataclass(frozen=True)
class Question:
    """A question of one turn or two.

    Attributes:
        id: its number, as text.
        category: such as "math" or "writing".
        turns: what the user says.
        references: a reference answer to each turn; () where there is none.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()

    @property
    def needs_reference(self) -> bool:
        """Whether a judge is to see a reference answer."""
        return self.category in REFERENCE_CATEGORIES


@dataclass(frozen=True)
class Rating:
    """A judge's grade of one answer, from 1 to 10; None where it gave none."""

    model: str
    question: str
    turn: int
    score: float | int | None


@dataclass(frozen=True)
class PairJudgment:
    """Two models' answers compared twice, model 1 shown first and then second.

    Attributes:
        first, second: P(model 1 wins) in either game: 1, 0 or ½; None where the judge failed.
    """

    model_1: str
    model_2: str
    question: str
    turn: int
    first: float | int | None
    second: float | int | None


def read_questions(path: str | Path, references: str | Path | None = None) -> list[Question]:
    """`question.jsonl` (`question_id`, `category`, `turns`, and `reference` in some) with the
    reference answers of `reference_answer/JUDGE.jsonl` (`question_id`, `choices[0].turns`).

    Args:
        references: a file or folder of reference answers; those in it go before the question's own.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, a question stands there
            twice, or one of math, reasoning or coding has not a reference answer to each turn
            although reference answers are given.
    """
    answers: dict[str, tuple[str, ...]] = {}
    for row in records(references) if references is not None else []:
        choices = wanted(row[1], "choices", row[0])
        turns = choices[0].get("turns") if isinstance(choices, list) and choices else None
        answers[question_id(row)] = texts(turns, "choices[0].turns", row)
    found: dict[str, Question] = {}
    for row in records(path):
        place, record = row
        id, turns = question_id(row), texts(wanted(record, "turns", place), "turns", row)
        own = record.get("reference") or record.get("reference_answer") or []
        category = text(record, "category", place)
        theirs = answers.get(id) or texts(own, "reference", row)
        if id in found:
            raise RowError(place, "question_id", "repeated", f"question {id} stands here twice.")
        question = Question(id, category, turns, theirs)
        if references is not None and question.needs_reference and len(theirs) < len(turns):
            raise RowError(
                place,
                "reference",
                "missing",
                f"question {id} ({category}) has {len(theirs)} reference answers for {len(turns)} "
                "turns. A judge of math, reasoning and coding needs one to each.",
            )
        found[id] = question
    return list(found.values())


def read_ratings(path: str | Path) -> list[Rating]:
    """`model_judgment/JUDGE_single.jsonl`, or a folder of such: `question_id`, `model`, `score`,
    and `turn`, 1 where it is not said. A score of -1 or null is a missing rating.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, or the judge (`judge[0]`) is
            not the same in all rows.
    """
    found, judges = [], set()
    for place, record in records(path):
        if isinstance(record.get("judge"), list) and record["judge"]:
            judges.add(str(record["judge"][0]))
        if len(judges) > 1:
            told = f"ratings of {' and of '.join(sorted(judges))}. Give those of one judge."
            raise RowError(place, "judge", "mixed", told)
        score = optional_number(wanted(record, "score", place), "score", place)
        if score == ERROR:
            score = None
        if score is not None and not 0 <= score <= 10:
            told = f"found {score:g}. A rating is from 1 to 10, -1 or null where there is none."
            raise RowError(place, "score", "value", told)
        turn = count(record, "turn", place) if "turn" in record else 1
        found.append(
            Rating(text(record, "model", place), question_id((place, record)), turn, score)
        )
    return found


def read_pair_judgments(path: str | Path) -> list[PairJudgment]:
    """`model_judgment/JUDGE_pair.jsonl`, or a folder of such: `question_id`, `model_1`, `model_2`,
    `g1_winner` and `g2_winner` ("model_1", "model_2", "tie" or "error"; in the second game the
    answers were swapped, the names were not), and `turn`, 1 where it is not said.

    Raises:
        DataError: a file cannot be read, or a field is missing or wrong.
    """
    found = []
    for row in records(path):
        place, record = row
        games = []
        for field in ("g1_winner", "g2_winner"):
            said = wanted(record, field, place)
            if said is not None and said not in _WINNERS:
                told = f"{said!r} is none of {', '.join(_WINNERS)}."
                raise RowError(place, field, "value", told)
            games.append(None if said is None else _WINNERS[said])
        one, other = text(record, "model_1", place), text(record, "model_2", place)
        if one == other:
            raise RowError(place, "model_2", "value", f"{one} is compared with itself.")
        turn = count(record, "turn", place) if "turn" in record else 1
        found.append(PairJudgment(one, other, question_id(row), turn, *games))
    return found


def require_references(questions: Sequence[Question]) -> None:
    """Raise a DataError that names the questions of math, reasoning and coding that have not a
    reference answer to each turn."""
    bare = [q.id for q in questions if q.needs_reference and len(q.references) < len(q.turns)]
    if bare:
        more = f" and {len(bare) - 8} more" if len(bare) > 8 else ""
        raise DataError(
            f"No reference answer to each turn of the questions {', '.join(bare[:8])}{more}. Give "
            "the benchmark's reference answers; a judge of math, reasoning and coding needs them."
        )


def question_id(row: Placed) -> str:
    """The name of a row's question, as text.

    Raises:
        RowError: it is missing, or neither text nor number.
    """
    place, record = row
    value = wanted(record, "question_id", place, "It names the question.")
    if value is None or isinstance(value, dict | list):
        told = f"a text or a number is expected, found {kind_of(value)}."
        raise RowError(place, "question_id", "value", told)
    return str(value)


def texts(value: Any, field: str, row: Placed) -> tuple[str, ...]:
    """A field that must hold a list of texts.

    Raises:
        RowError: it holds something else.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowError(row[0], field, "value", f"a list of texts is expected, found {value!r:.60}.")
    return tuple(value)
