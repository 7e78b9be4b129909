"""Answers to MT-Bench, and the texts that a judge is shown of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luce.data.ledger import RowError
from luce.evaluate.mt_files import Question, question_id, texts
from luce.evaluate.reading import records, text, wanted
from luce.types import Text


def read_answers(path: str | Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """model → question → its answer to each turn, from `model_answer/MODEL.jsonl` or a folder of
    such: `question_id`, `model_id` (or `model`) and `choices[0].turns`.

    Raises:
        DataError: a file cannot be read, a field is missing or wrong, or a model answers a question
            twice.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in records(path):
        place, record = row
        model = text(record, ("model_id", "model"), place)
        choices = wanted(record, "choices", place)
        turns = choices[0].get("turns") if isinstance(choices, list) and choices else None
        answers, question = found.setdefault(model, {}), question_id(row)
        if question in answers:
            told = f"{model} answers question {question} a second time. Keep one of the two."
            raise RowError(place, "question_id", "repeated", told)
        answers[question] = texts(turns, "choices[0].turns", row)
    return found


@dataclass(frozen=True)
class Turn:
    """A turn of a question, counted from 1."""

    question: Question
    number: int

    @property
    def reference(self) -> str | None:
        """The reference answers up to this turn; None where the question needs none."""
        if not self.question.needs_reference:
            return None
        return numbered(self.question.references[: self.number])

    def conversation(self, answers: Sequence[str]) -> Text:
        """What a model was asked in this turn, its answers before it included."""
        asked = self.question.turns[: self.number]
        if self.number == 1:
            return asked[0]
        found: list[dict[str, str]] = []
        for said, answer in zip(asked, answers, strict=False):
            found += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        return tuple(found[: 2 * self.number - 1])

    @property
    def asked(self) -> str:
        """What the user said up to this turn."""
        return numbered(self.question.turns[: self.number])


def numbered(turns: Sequence[str]) -> str:
    """One text alone, several under their numbers.

    >>> numbered(["4"]), numbered(["4", "5"])
    ('4', 'Turn 1:\\n4\\n\\nTurn 2:\\n5')
    """
    if len(turns) == 1:
        return turns[0]
    return "\n\n".join(f"Turn {number}:\n{text}" for number, text in enumerate(turns, start=1))
