"""`luce eval alpaca-eval`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from luce.cli.eval import Files, Refits, show
from luce.cli.judge_options import DEFAULTS, JudgeOptions
from luce.errors import LuceError


def alpaca_eval(
    *,
    annotations: Annotated[Files, Parameter(show_default=False)] = (),
    difficulty: Path,
    gamed: Path | None = None,
    penalty: float | None = None,
    penalty_from: Annotated[tuple[Path, str] | None, Parameter(show_default=False)] = None,
    outputs: Annotated[Files, Parameter(show_default=False)] = (),
    against: Path | None = None,
    judge: str | None = None,
    options: JudgeOptions = DEFAULTS,
    save_annotations: Path = Path("annotations.json"),
    refits: Refits = 500,
    seed: int = 0,
    json: bool = False,
) -> int:
    """AlpacaEval 2 from annotations or by judging: raw and length-controlled win rates, in percent.

    With --outputs a judge annotates: --judge, --local, --annotator or --jury, every pair in both
    orders, by the log-probabilities of two labels where the judge gives them, unless --template
    says otherwise. Exit code 1 where some are not judged yet: the same command goes on with them.

    Parameters
    ----------
    annotations
        Files or folders of annotations as alpaca_eval writes them, of one model or several.
    difficulty
        A table with `index` and `instruction_difficulty` of every instruction.
    gamed
        A table of the gamed variants' rows; without it the length-controlled win rates are not the
        leaderboard's.
    penalty
        C of the length-controlled regression, for all models; chosen by cross-validation unless
        given.
    penalty_from
        A table with a column `model`, and the name of the column with C; where a cell is empty it
        is chosen by cross-validation.
    outputs
        In place of --annotations: files of rows with `instruction`, `output` and `generator`.
    against
        The baseline's outputs to the same instructions; its rows number them.
    judge
        With --outputs: a language model that is asked, by its name at a server that speaks OpenAI's
        protocol.
    save_annotations
        Where the judge's annotations go.
    refits
        Draws of instructions for the standard error of the length-controlled win rate, fitted anew
        for each; 0: none.
    seed
        Of the draws.
    json
        Print everything as JSON, under the leaderboard's names.
    """
    from luce.recipe.eval_benchmarks import alpaca_eval_command

    asked = options.named(judge, "--judge")
    by_judge = bool(outputs) and against is not None and asked
    if (bool(outputs) or against is not None or asked) != by_judge or bool(annotations) == by_judge:
        raise LuceError("Give --annotations, or --outputs and --against with one judge.")
    settings = {
        "gamed": gamed,
        "penalty": penalty,
        "penalty_from": penalty_from,
        "seed": seed,
        "refits": refits,
    }
    if against is None:
        show(alpaca_eval_command(annotations, difficulty, **settings), json)
        return 0
    from luce.evaluate.alpaca_files import read_difficulty
    from luce.recipe.eval_alpaca_judge import PARSER, annotate, plan_annotations
    from luce.recipe.eval_by_judge import ByJudge

    read_difficulty(difficulty)  # a file that cannot be used is told before anything is paid
    members = options.members(judge, "alpaca_eval", PARSER)
    if options.dry_run:
        print(*plan_annotations(outputs, against, members).lines(), sep="\n")
        return 0
    made = annotate(outputs, against, members, save_annotations)
    found = alpaca_eval_command([made.file], difficulty, **settings)
    show(ByJudge(found, (made.file,), made.notes, made.account), json)
    return 0 if made.account.complete else 1
