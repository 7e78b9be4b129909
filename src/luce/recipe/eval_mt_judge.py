"""`luce eval mt-bench --judge`: ratings and pairwise judgments, in FastChat's own formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from luce.annotate.judge import Call, Judge, Plan
from luce.errors import LuceError
from luce.evaluate.mt_answers import Turn
from luce.evaluate.mt_files import ERROR
from luce.files import write_jsonl
from luce.recipe.eval_by_judge import file_name, user_prompt
from luce.recipe.eval_mt_questions import Bench, answers_of, pairs_of
from luce.recipe.judge_account import Account, account
from luce.recipe.judge_members import within

TEMPLATES = {
    "single": ("mt_bench_single", "mt_bench_single_reference"),
    "pairwise": ("mt_bench_pairwise", "mt_bench_pairwise_reference"),
}
"""Mode → template of questions without a reference answer, and with one."""

_EMPTY = Plan(0, 0, 0, 0, 0, 0, 0.0, 0.0)


@dataclass(frozen=True)
class Judges:
    """One model with two templates: without a reference answer, and with one."""

    plain: Judge
    referenced: Judge

    @property
    def name(self) -> str:
        """Of the model."""
        return self.plain.setup.backend.model

    def parts(self, turns: Sequence[Turn]) -> list[tuple[Judge, list[int]]]:
        """Each judge with the numbers of the turns that it is asked about."""
        which = [turn.question.needs_reference for turn in turns]
        both = ((self.plain, False), (self.referenced, True))
        return [(judge, [n for n, x in enumerate(which) if x == own]) for judge, own in both]


@dataclass(frozen=True)
class Written:
    """A file of judgments, and the account of the asking."""

    file: Path
    account: Account


def grade(bench: Bench, judges: Judges, save: Path) -> Written:
    """A rating of every answer of every model to every turn, in `JUDGE_single.jsonl` of the folder
    `save`; -1 where the reply holds none. Answers that have no reply yet are left out.

    Raises:
        LuceError: no answer has a rating; or a template does not grade one response.
    """
    graded, rows, total = answers_of(bench), {}, Account()
    for judge, numbers in judges.parts([one.turn for one in graded]):
        some = [graded[n] for n in numbers]
        run = within(judge, total.spent).grade(
            [(one.prompt, one.response) for one in some],
            ids=[str(n) for n in numbers],
            references=[one.turn.reference for one in some],
        )
        total += account(judges.name, run)
        for found in run.grades:
            one = graded[int(found.response)]
            rows[int(found.response)] = {
                **{"question_id": one.turn.question.id, "model": one.model},
                "judge": _judge(judge),
                "user_prompt": user_prompt(judge, one.prompt, (one.response,), one.turn.reference),
                "judgment": found.call.reply.text,
                "score": ERROR if found.rating is None else found.rating,
                "turn": one.turn.number,
                "tstamp": _time(found.call),
            }
    return _written(rows, save / f"{file_name(judges.name)}_single.jsonl", total, ["score"], ERROR)


def compare(
    bench: Bench,
    judges: Judges,
    save: Path,
    baseline: str | None = None,
    *,
    spent: float = 0.0,
) -> Written:
    """Two games of all pairs of models, or of each with the baseline, on every turn, in
    `JUDGE_pair.jsonl` of the folder `save`: model 1 is shown first and then second. Pairs that have
    not both replies yet are left out.

    Args:
        spent: USD of the limit that are spent already.

    Raises:
        LuceError: there is no pair, no game has a verdict, or a template does not compare two.
    """
    pairs, rows, total = pairs_of(bench, baseline), {}, Account()
    for judge, numbers in judges.parts([pair.turn for pair in pairs]):
        run = within(judge, spent + total.spent).run(
            [pairs[n].comparison for n in numbers],
            ids=[str(n) for n in numbers],
            references=[pairs[n].turn.reference for n in numbers],
        )
        total += account(judges.name, run)
        waiting = {int(one.id) for one in run.pending}
        games: dict[int, dict[str, Any]] = {}
        for verdict in run.verdicts:
            number, game = int(verdict.comparison), "g1" if verdict.order == "ab" else "g2"
            pair = pairs[number]
            c = pair.comparison
            shown = (c.a, c.b) if verdict.order == "ab" else (c.b, c.a)
            games.setdefault(number, {}).update(
                {
                    f"{game}_winner": _winner(verdict.probability),
                    f"{game}_user_prompt": user_prompt(judge, c.prompt, shown, pair.turn.reference),
                    f"{game}_judgment": "" if verdict.call is None else verdict.call.reply.text,
                    "tstamp": None if verdict.call is None else _time(verdict.call),
                }
            )
        for number, said in games.items():
            pair = pairs[number]
            if number not in waiting:
                rows[number] = {
                    **{"question_id": pair.turn.question.id, "turn": pair.turn.number},
                    **{"model_1": pair.model_1, "model_2": pair.model_2},
                    **{"judge": _judge(judge), **said},
                }
    file = save / f"{file_name(judges.name)}_pair.jsonl"
    return _written(rows, file, total, ["g1_winner", "g2_winner"], "error")


def plan_mt_bench(
    bench: Bench, single: Judges | None, pairwise: Judges | None, baseline: str | None = None
) -> Plan:
    """What `grade` and `compare` would ask, and its price; nothing is asked."""
    total = _EMPTY
    if single is not None:
        graded = answers_of(bench)
        for judge, numbers in single.parts([one.turn for one in graded]):
            some = [graded[n] for n in numbers]
            total += judge.plan_grades(
                [(one.prompt, one.response) for one in some],
                references=[one.turn.reference for one in some],
            )
    if pairwise is not None:
        pairs = pairs_of(bench, baseline)
        for judge, numbers in pairwise.parts([pair.turn for pair in pairs]):
            total += judge.plan(
                [pairs[n].comparison for n in numbers],
                references=[pairs[n].turn.reference for n in numbers],
            )
    return total


def _winner(p: float | None) -> str:
    if p is None:
        return "error"
    return "tie" if p == 0.5 else "model_1" if p > 0.5 else "model_2"


def _judge(judge: Judge) -> list[str]:
    template = judge.setup.template
    return [judge.setup.backend.model, f"{template.name}@{template.hash[:12]}"]


def _time(call: Call) -> float:
    return datetime.fromisoformat(call.at).timestamp()


def _written(
    rows: Mapping[int, dict[str, Any]], file: Path, total: Account, fields: Sequence[str], bad: Any
) -> Written:
    """Rows in order; `bad` is what stands in these fields where there is no verdict."""
    if all(row[field] == bad for row in rows.values() for field in fields):
        raise LuceError(f"No answer has a verdict. {' '.join(total.lines())}")
    write_jsonl(file, [rows[number] for number in sorted(rows)])
    return Written(file, total)
