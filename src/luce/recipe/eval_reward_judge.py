"""`luce eval reward-bench --judge`: who judges the benchmark's pairs, or rates its responses."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luce.annotate import Position, both_orders
from luce.annotate.judge import Judge, Plan
from luce.errors import LuceError
from luce.evaluate.reward_bench import reward_bench
from luce.evaluate.reward_bench_2 import reward_bench_2
from luce.evaluate.reward_files import Outcome, ScoredList
from luce.files import write_jsonl
from luce.intervals import RESAMPLES
from luce.recipe.eval_reward import RewardBenchRun, Version
from luce.recipe.eval_reward_model import BenchRow, read_bench
from luce.recipe.judge_account import account
from luce.recipe.judge_members import Member, only_judge
from luce.recipe.judge_panel import Ruling, plan, rule
from luce.types import Comparison, Text

_RATINGS = (
    "Version 2 has four responses or more a row, of which several may be right: they are rated one "
    "by one, as published."
)


def from_judge(
    data: Path,
    members: Sequence[Member],
    version: Version = 1,
    *,
    save_scores: Path | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> RewardBenchRun:
    """The accuracies of a judge or a jury.

    Version 1: every pair is shown in both orders. A verdict for the chosen response counts 1, a tie
    ½, one for the rejected 0, as published for generative models; a pair has the mean of its valid
    verdicts. Missing verdicts are counted, with the accuracies had all of them been wrong, or
    right (as published, they count ½).

    Version 2: one prompted model rates every response by itself; a row of which a rating is missing
    has no scores.

    Args:
        data: the benchmark's rows, as `read_bench` reads them.
        save_scores: where to write the outcomes, or the ratings, as `from_scores` reads them.

    Raises:
        DataError: the file cannot be used.
        LuceError: nothing could be judged, or the template compares where it must rate.
    """
    rows = read_bench(data, version)
    if version == 2:
        return _rated(rows, only_judge(members, _RATINGS), save_scores, seed, resamples)
    rulings = rule(members, [_pair(row) for row in rows], both=True)
    verdicts: list[list[Ruling]] = [[] for _ in rows]
    for ruling in rulings.found:
        verdicts[ruling.comparison].append(ruling)
    outcomes = [_outcome(row, said) for row, said in zip(rows, verdicts, strict=True)]
    if save_scores is not None:
        write_jsonl(save_scores, [_record(one) for one in outcomes])
    if not rulings.any_valid:
        raise LuceError(f"No pair has a verdict. {' '.join(rulings.account.lines())}")
    position = _position(verdicts, seed, resamples)
    told = rulings.account.plain() | {
        "position": position.plain() if position is not None else None
    }
    notes = [] if position is None else ["order shown:", *(f"  {x}" for x in position.lines())]
    return RewardBenchRun(
        reward_bench(outcomes, seed=seed, resamples=resamples),
        f"verdicts of {' and '.join(member.name for member in members)}",
        {},
        tuple([*notes, *rulings.account.lines()]),
        told,
        rulings.account.complete,
    )


def plan_judge(data: Path, members: Sequence[Member], version: Version = 1) -> Plan:
    """What `from_judge` would ask, and its price; nothing is asked."""
    rows = read_bench(data, version)
    if version == 2:
        return only_judge(members, _RATINGS).plan_grades(_responses(rows))
    return plan(members, [_pair(row) for row in rows])


def _pair(row: BenchRow) -> Comparison:
    return Comparison(row.prompt, *row.responses)


def _responses(rows: Sequence[BenchRow]) -> list[tuple[Text, str]]:
    return [(row.prompt, response) for row in rows for response in row.responses]


def _outcome(row: BenchRow, verdicts: Sequence[Ruling]) -> Outcome:
    """Over both orders; one that nobody has answered yet is missing as well."""
    said = [ruling.said.probability for ruling in verdicts]
    known = [1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0 for p in said if p is not None]
    correct = math.fsum(known) / len(known) if known else None
    return Outcome(row.subset, row.id, correct, correct == 0.5, 2, 2 - len(known))


def _record(found: Outcome) -> dict[str, Any]:
    return {
        **{"subset": found.subset, "id": found.id, "results": found.correct},
        **{"verdicts": found.verdicts, "missing": found.missing},
    }


def _position(verdicts: Sequence[Sequence[Ruling]], seed: int, resamples: int) -> Position | None:
    """What the order does; None where no pair has two verdicts."""
    said = [{ruling.order: ruling.said.probability for ruling in each} for each in verdicts]
    one, other = (
        [math.nan if (p := each.get(order)) is None else p for each in said]
        for order in ("ab", "ba")
    )
    if not any(x == x and y == y for x, y in zip(one, other, strict=True)):  # neither is nan
        return None
    return both_orders(one, other, seed=seed, resamples=resamples)


def _rated(
    rows: Sequence[BenchRow], judge: Judge, save_scores: Path | None, seed: int, resamples: int
) -> RewardBenchRun:
    run = judge.grade(
        _responses(rows), ids=[f"{n} {k}" for n, row in enumerate(rows) for k in _numbers(row)]
    )
    ratings = {grade.response: grade.rating for grade in run.grades}
    lists = []
    for n, row in enumerate(rows):
        known = [x for k in _numbers(row) if (x := ratings.get(f"{n} {k}")) is not None]
        whole = tuple(known) if len(known) == len(row.responses) else None
        lists.append(ScoredList(row.subset, row.id, whole, row.correct))
    if save_scores is not None:
        write_jsonl(save_scores, [_ratings(*both) for both in zip(rows, lists, strict=True)])
    total = account(judge.setup.backend.model, run)
    if all(row.scores is None for row in lists):
        raise LuceError(f"No row has all its ratings. {' '.join(total.lines())}")
    return RewardBenchRun(
        reward_bench_2(lists, seed=seed, resamples=resamples),
        f"ratings by {judge.setup.backend.model}",
        {},
        tuple(total.lines()),
        total.plain(),
        total.complete,
    )


def _numbers(row: BenchRow) -> range:
    return range(len(row.responses))


def _ratings(row: BenchRow, found: ScoredList) -> dict[str, Any]:
    scores = list(found.scores or (None,) * len(row.responses))
    head = {"subset": row.subset, "id": row.id}
    return head | {"scores": scores, "num_correct": row.correct}
