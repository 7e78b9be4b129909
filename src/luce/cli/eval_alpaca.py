"""`luce eval alpaca-eval`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from luce.cli.eval import Files, Refits, show


def alpaca_eval(
    *,
    annotations: Files,
    difficulty: Path,
    gamed: Path | None = None,
    penalty: float | None = None,
    penalty_from: Annotated[tuple[Path, str] | None, Parameter(show_default=False)] = None,
    refits: Refits = 500,
    seed: int = 0,
    json: bool = False,
) -> None:
    """AlpacaEval 2 from annotations: raw and length-controlled win rates, in percent.

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
    refits
        Draws of instructions for the standard error of the length-controlled win rate, fitted anew
        for each; 0: none.
    seed
        Of the draws.
    json
        Print everything as JSON, under the leaderboard's names.
    """
    from luce.recipe.eval_benchmarks import alpaca_eval_command

    found = alpaca_eval_command(
        annotations,
        difficulty,
        gamed=gamed,
        penalty=penalty,
        penalty_from=penalty_from,
        seed=seed,
        refits=refits,
    )
    show(found, json)
