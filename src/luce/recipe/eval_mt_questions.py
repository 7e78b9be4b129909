"""MT-Bench as a judge is asked about it: every answer to grade, and every pair to compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from luce.errors import LuceError, did_you_mean
from luce.evaluate.mt_answers import Turn, numbered, read_answers
from luce.evaluate.mt_files import read_questions, require_references
from luce.types import Comparison, Text


@dataclass(frozen=True)
class Bench:
    """The benchmark with the models' answers.

    Attributes:
        turns: of all questions, in order.
        answers: model → question → its answer to each turn.
        notes: what is missing.
    """

    turns: tuple[Turn, ...]
    answers: Mapping[str, Mapping[str, tuple[str, ...]]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Graded:
    """An answer that is graded: its model, the turn, the conversation before it, and itself."""

    model: str
    turn: Turn
    prompt: Text
    response: str


@dataclass(frozen=True)
class Pair:
    """Two models' answers up to a turn."""

    model_1: str
    model_2: str
    turn: Turn
    comparison: Comparison


def read_mt_bench(questions: Path, answers: Path, references: Path | None) -> Bench:
    """The questions with their reference answers, and what the models answered.

    Raises:
        DataError: a file cannot be used, or a question of math, reasoning or coding has not a
            reference answer to each turn.
    """
    asked, found = read_questions(questions, references), read_answers(answers)
    require_references(asked)
    turns = [Turn(q, number) for q in asked for number in range(1, len(q.turns) + 1)]
    notes = []
    for model, theirs in found.items():
        missing = sum(len(theirs.get(turn.question.id, ())) < turn.number for turn in turns)
        if missing:
            notes.append(f"{missing:,} turns have no answer of {model}, and are left out.")
    return Bench(tuple(turns), found, tuple(notes))


def answers_of(bench: Bench) -> list[Graded]:
    """Every answer of every model to every turn.

    Raises:
        LuceError: there is none.
    """
    found = []
    for model, theirs in bench.answers.items():
        for turn in bench.turns:
            said = theirs.get(turn.question.id, ())
            if len(said) >= turn.number:
                prompt, response = turn.conversation(said), said[turn.number - 1]
                found.append(Graded(model, turn, prompt, response))
    if not found:
        raise LuceError("No model answers a question. Give the answers to these questions.")
    return found


def pairs_of(bench: Bench, baseline: str | None = None) -> list[Pair]:
    """All pairs of models, or each with the baseline, on every turn that both answer.

    Raises:
        LuceError: there is none, or the baseline has no answers.
    """
    models = list(bench.answers)
    if baseline is not None and baseline not in models:
        raise LuceError(f"No answers of the baseline. {did_you_mean(baseline, models)}")
    sides = list(combinations(models, 2))
    if baseline is not None:
        sides = [(model, baseline) for model in models if model != baseline]
    found = []
    for one, other in sides:
        for turn in bench.turns:
            a, b = (
                bench.answers[model].get(turn.question.id, ())[: turn.number]
                for model in (one, other)
            )
            if len(a) == len(b) == turn.number:
                c = Comparison(turn.asked, numbered(a), numbered(b))
                found.append(Pair(one, other, turn, c))
    if not found:
        raise LuceError("No question is answered by two models. Give the answers of two or more.")
    return found
