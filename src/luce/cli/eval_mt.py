"""`luce eval mt-bench`."""

from pathlib import Path

from luce.cli.eval import Draws, show


def mt_bench(
    *,
    ratings: Path | None = None,
    questions: Path | None = None,
    references: Path | None = None,
    pairs: Path | None = None,
    baseline: str | None = None,
    resamples: Draws = 2000,
    seed: int = 0,
    json: bool = False,
) -> None:
    """MT-Bench: mean ratings from 1 to 10 by turn and category, and pairwise win rates.

    Parameters
    ----------
    ratings
        A file or folder of single gradings (`JUDGE_single.jsonl`).
    questions
        `question.jsonl`, for the ratings by category.
    references
        A file or folder of reference answers; checked to be there for every question of math,
        reasoning and coding.
    pairs
        A file or folder of pairwise judgments (`JUDGE_pair.jsonl`).
    baseline
        The opponent in --pairs; all against all unless given.
    resamples
        Draws of questions for intervals.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.recipe.eval_benchmarks import mt_bench_command

    found = mt_bench_command(
        ratings=ratings,
        pairs=pairs,
        questions=questions,
        references=references,
        baseline=baseline,
        seed=seed,
        resamples=resamples,
    )
    show(found, json)
