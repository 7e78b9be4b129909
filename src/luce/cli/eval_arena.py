"""`luce eval arena-hard`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from luce.cli.eval import PriorSd, Refits, show
from luce.cli.judge_options import DEFAULTS, JudgeOptions
from luce.errors import LuceError


def arena_hard(
    *,
    battles: Path | None = None,
    judgments: Path | None = None,
    questions: Path | None = None,
    answers: Path | None = None,
    judge: str | None = None,
    options: JudgeOptions = DEFAULTS,
    save_judgments: Path = Path("model_judgment"),
    style: bool = False,
    baseline: str | None = None,
    strong: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    prior_sd: PriorSd = None,
    refits: Refits = 500,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Arena-Hard: win rates against a baseline by Bradley-Terry, intervals by question.

    From battles, from judgments, or by a judge, --judge or --local, who plays both games of every
    question of --questions on --answers against --baseline. Exit code 1 where some are not judged
    yet: the same command goes on with them.

    Parameters
    ----------
    battles
        `arena_hard_battles.jsonl`, where strong verdicts stand three times already.
    judgments
        A file or folder of `model_judgment`.
    questions
        With a judge: `question.jsonl`.
    answers
        With --style or a judge: a file or folder of `model_answer` of all models.
    judge
        A language model that is asked, by its name at a server that speaks OpenAI's protocol.
    save_judgments
        With a judge: the folder of `model_judgment`. The judge's own is made in it, and the table
        is of all models there.
    style
        Control for length and markdown of the answers.
    baseline
        The model of win rate ½, where the rows do not tell.
    strong
        How often a strong verdict (A>>B) of --judgments counts; 3 unless given.
    prior_sd
        Standard deviation of a Gaussian prior on log-strengths, nats; none unless given.
    refits
        Draws of questions for intervals, fitted anew for each; 0: none.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.recipe.eval_benchmarks import arena_hard_command

    settings = {
        "baseline": baseline,
        "style": style,
        "strong": strong,
        "prior_sd": prior_sd,
        "seed": seed,
        "refits": refits,
    }
    if not options.named(judge, "--judge"):
        if questions is not None:
            raise LuceError("--questions: a judge needs them. Name one with --judge.")
        found = arena_hard_command(
            battles=battles, judgments=judgments, answers=answers, **settings
        )
        show(found, json)
        return 0
    if battles is not None or judgments is not None:
        raise LuceError("--battles and --judgments hold verdicts already. Leave the judge out.")
    if questions is None or answers is None or baseline is None:
        raise LuceError("A judge needs --questions, --answers and --baseline.")
    from luce.recipe.eval_arena_judge import plan_games, play
    from luce.recipe.eval_by_judge import ByJudge
    from luce.recipe.judge_members import only_judge

    who = only_judge(options.members(judge, "arena_hard"), "Arena-Hard's files hold its replies.")
    if options.dry_run:
        print(*plan_games(questions, answers, baseline, who).lines(), sep="\n")
        return 0
    made = play(questions, answers, baseline, who, save_judgments)
    styled = answers if style else None
    table = arena_hard_command(judgments=made.folder, answers=styled, **settings)
    show(ByJudge(table, (made.folder,), made.notes, made.account), json)
    return 0 if made.account.complete else 1
