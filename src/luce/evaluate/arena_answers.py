"""Files of Arena-Hard that a judge needs: what was asked, and what the models answered."""

from pathlib import Path
from typing import Any

from luce.data.ledger import RowError
from luce.evaluate.arena_files import answer_of, question_of
from luce.evaluate.reading import records, text, wanted


def read_prompts(path: str | Path) -> dict[str, str]:
    """question → what is asked, from `question.jsonl`: `question_id` (or `uid`) and `turns`, one
    turn, or `prompt`.

    Raises:
        DataError: the file cannot be read, a field is missing or wrong, or a question stands there
            twice.
    """
    found: dict[str, str] = {}
    for place, record in records(path):
        question = question_of((place, record))
        if question in found:
            raise RowError(place, "question_id", "repeated", f"question {question} stands twice.")
        if "prompt" in record:
            found[question] = text(record, "prompt", place)
            continue
        turns: Any = wanted(record, ("turns", "prompt"), place)
        one = turns[0] if isinstance(turns, list) and len(turns) == 1 else None
        asked = one.get("content") if isinstance(one, dict) else one
        if not isinstance(asked, str):
            raise RowError(place, "turns", "value", "one turn with its text is expected.")
        found[question] = asked
    return found


def read_texts(path: str | Path) -> dict[str, dict[str, str]]:
    """model → question → its answer, from `model_answer` files or a folder of them; a row's model
    is `model_id` or `model`.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, or a model answers a question
            twice.
    """
    found: dict[str, dict[str, str]] = {}
    for place, record in records(path):
        model = text(record, ("model_id", "model"), place)
        question = question_of((place, record))
        answers = found.setdefault(model, {})
        if question in answers:
            told = f"{model} answers question {question} a second time. Keep one of the two."
            raise RowError(place, "question_id", "repeated", told)
        answers[question] = answer_of((place, record))
    return found
