"""`luce eval arena-hard --judge`: both games of every question, in Arena-Hard's own format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.annotate.judge import Judge, Plan
from luce.errors import LuceError, did_you_mean
from luce.evaluate.arena_answers import read_prompts, read_texts
from luce.files import write_jsonl
from luce.recipe.eval_by_judge import file_name, user_prompt
from luce.recipe.judge_account import Account
from luce.recipe.judge_members import Member
from luce.recipe.judge_panel import Ruling, rule
from luce.types import Comparison

LABELS = ("A>>B", "A>B", "A=B", "B>A", "B>>A", "A<B", "A<<B", "B=A", "B<A", "B<<A")
"""What a game's score can be."""


@dataclass(frozen=True)
class Games:
    """The judgments that were written.

    Attributes:
        folder: with a file for each model.
        notes: what was left out.
        account: of the asking.
    """

    folder: Path
    notes: tuple[str, ...]
    account: Account


@dataclass(frozen=True)
class _Duel:
    """A question with the answers of the baseline and of a model."""

    model: str
    question: str
    comparison: Comparison


def play(questions: Path, answers: Path, baseline: str, judge: Judge, save: Path) -> Games:
    """Two games of every model with the baseline on every question: in the first A is the baseline,
    in the second the model.

    Args:
        questions, answers: `question.jsonl`, and a file or folder of `model_answer`.
        judge: with a template of strong and weak labels, or of plain ones, which count as weak.
        save: the folder of judgments; the judge's own is made in it, with `MODEL.jsonl` for each
            model. A question that is not answered in both orders yet is left out.

    Raises:
        DataError: a file cannot be used.
        LuceError: the baseline has no answers, nobody else has, or nothing could be judged.
    """
    duels, notes = _duels(questions, answers, baseline)
    name = judge.setup.backend.model
    rulings = rule([Member(name, judge)], [duel.comparison for duel in duels])
    if not rulings.any_valid:
        raise LuceError(f"No game has a verdict. {' '.join(rulings.account.lines())}")
    games: dict[int, list[Ruling]] = {}
    for ruling in rulings.found:
        games.setdefault(ruling.comparison, []).append(ruling)
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, both in games.items():
        if len(both) == 2:
            row = _row(duels[number], both, judge, baseline)
            rows.setdefault(duels[number].model, []).append(row)
    folder = save / file_name(name)
    for model, found in rows.items():
        write_jsonl(folder / f"{file_name(model)}.jsonl", found)
    return Games(folder, tuple(notes), rulings.account)


def plan_games(questions: Path, answers: Path, baseline: str, judge: Judge) -> Plan:
    """What `play` would ask, and its price; nothing is asked."""
    return judge.plan([duel.comparison for duel in _duels(questions, answers, baseline)[0]])


def score(ruling: Ruling) -> str | None:
    """The label of a game as the judge gave it; of a judge with other labels, A>B, A=B or B>A. None
    where there is no verdict."""
    p = ruling.said.probability
    if p is None:
        return None
    if ruling.said.label in LABELS:
        return ruling.said.label
    first = p if ruling.order == "ab" else 1 - p
    return "A=B" if first == 0.5 else "A>B" if first > 0.5 else "B>A"


def _duels(questions: Path, answers: Path, baseline: str) -> tuple[list[_Duel], list[str]]:
    prompts, texts = read_prompts(questions), read_texts(answers)
    if baseline not in texts:
        raise LuceError(f"No answers of the baseline. {did_you_mean(baseline, texts)}")
    found, notes = [], []
    for model, theirs in texts.items():
        if missing := sum(question not in theirs for question in prompts):
            notes.append(f"{missing:,} questions have no answer of {model}, and are left out.")
        found += [
            _Duel(model, question, Comparison(prompt, texts[baseline][question], theirs[question]))
            for question, prompt in prompts.items()
            if model != baseline and question in theirs and question in texts[baseline]
        ]
    if not found:
        raise LuceError(
            f"No question of {questions} is answered by {baseline} and by another model. Give the "
            "answers of both."
        )
    return found, notes


def _shown(duel: _Duel, game: Ruling) -> tuple[str, str]:
    c = duel.comparison
    return (c.a, c.b) if game.order == "ab" else (c.b, c.a)


def _row(duel: _Duel, games: list[Ruling], judge: Judge, baseline: str) -> dict[str, Any]:
    return {
        "question_id": duel.question,
        "model": duel.model,
        "judge": judge.setup.backend.model,
        "baseline": baseline,
        "template": judge.setup.template.hash,
        "games": [
            {
                "user_prompt": user_prompt(judge, duel.comparison.prompt, _shown(duel, game)),
                "judgment": game.said.text,
                "score": score(game),
            }
            for game in games
        ],
    }
