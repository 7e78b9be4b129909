"""`luce eval mt-bench`."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from luce.cli.eval import Draws, show
from luce.cli.judge_options import DEFAULTS, JudgeOptions
from luce.errors import LuceError


def mt_bench(
    *,
    ratings: Path | None = None,
    questions: Path | None = None,
    references: Path | None = None,
    pairs: Path | None = None,
    baseline: str | None = None,
    answers: Path | None = None,
    judge: str | None = None,
    options: JudgeOptions = DEFAULTS,
    mode: Literal["single", "pairwise", "both"] = "single",
    reference_template: str | None = None,
    save_judgments: Path = Path("model_judgment"),
    resamples: Draws = 2000,
    seed: int = 0,
    json: bool = False,
) -> int:
    """MT-Bench: mean ratings from 1 to 10 by turn and category, and pairwise win rates.

    From ratings and pairwise judgments, or by a judge, --judge or --local, of --answers to
    --questions. Questions of math, reasoning and coding are judged with their reference answers.
    Exit code 1 where some are not judged yet: the same command goes on with them.

    Parameters
    ----------
    ratings
        A file or folder of single gradings (`JUDGE_single.jsonl`).
    questions
        `question.jsonl`, for the ratings by category and for a judge.
    references
        A file or folder of reference answers; checked to be there for every question of math,
        reasoning and coding.
    pairs
        A file or folder of pairwise judgments (`JUDGE_pair.jsonl`).
    baseline
        The opponent in --pairs; all against all unless given.
    answers
        With a judge: a file or folder of `model_answer` of all models.
    judge
        A language model that is asked, by its name at a server that speaks OpenAI's protocol.
    mode
        With a judge: grade single answers, compare pairs (all, or each with --baseline), or both.
    reference_template
        With a judge: what is asked where there is a reference answer, as --template is where there
        is none; of one mode only.
    save_judgments
        With a judge: the folder of `JUDGE_single.jsonl` and `JUDGE_pair.jsonl`.
    resamples
        Draws of questions for intervals.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.recipe.eval_benchmarks import mt_bench_command

    if not options.named(judge, "--judge"):
        for name, value in (("--answers", answers), ("--reference-template", reference_template)):
            if value is not None:
                raise LuceError(f"{name}: it is for a judge. Name one with --judge.")
        tables = mt_bench_command(
            ratings=ratings,
            pairs=pairs,
            questions=questions,
            references=references,
            baseline=baseline,
            seed=seed,
            resamples=resamples,
        )
        show(tables, json)
        return 0
    if ratings is not None or pairs is not None:
        raise LuceError("--ratings and --pairs hold verdicts already. Leave the judge out.")
    if questions is None or answers is None:
        raise LuceError("A judge needs --questions and --answers.")
    if mode == "both" and (options.template or reference_template):
        raise LuceError("--template: it grades or compares. Say --mode single or pairwise.")
    if baseline is not None and mode == "single":
        raise LuceError("--baseline: it is the opponent in pairs. Say --mode pairwise or both.")
    if options.annotator is not None or options.jury is not None:
        raise LuceError("MT-Bench's files hold one judge's replies. Give --judge or --local.")
    from luce.recipe.eval_by_judge import ByJudge
    from luce.recipe.eval_mt_judge import TEMPLATES, Judges, compare, grade, plan_mt_bench
    from luce.recipe.eval_mt_questions import read_mt_bench
    from luce.recipe.judge_members import backend_of, prompted

    bench = read_mt_bench(questions, answers, references)
    asked = options.prompted(judge, "")
    backend = backend_of(asked)

    def judges(which: str) -> Judges | None:
        if mode not in (which, "both"):
            return None
        own = (options.template, reference_template)
        names = [mine or usual for mine, usual in zip(own, TEMPLATES[which], strict=True)]
        one, other = (prompted(replace(asked, template=name), backend) for name in names)
        return Judges(one, other)

    single, pairwise = judges("single"), judges("pairwise")
    if options.dry_run:
        print(*plan_mt_bench(bench, single, pairwise, baseline).lines(), sep="\n")
        return 0
    graded = None if single is None else grade(bench, single, save_judgments)
    spent = 0.0 if graded is None else graded.account.spent
    compared = None
    if pairwise is not None:
        compared = compare(bench, pairwise, save_judgments, baseline, spent=spent)
    written = [one for one in (graded, compared) if one is not None]
    found = mt_bench_command(
        ratings=None if graded is None else graded.file,
        pairs=None if compared is None else compared.file,
        questions=None if graded is None else questions,
        references=None if graded is None else references,
        baseline=baseline,
        seed=seed,
        resamples=resamples,
    )
    files = tuple(one.file for one in written)
    account = written[0].account if len(written) == 1 else written[0].account + written[1].account
    show(ByJudge(found, files, bench.notes, account), json)
    return 0 if account.complete else 1
