"""`luce eval arena-hard`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from luce.cli.eval import PriorSd, Refits, show


def arena_hard(
    *,
    battles: Path | None = None,
    judgments: Path | None = None,
    answers: Path | None = None,
    style: bool = False,
    baseline: str | None = None,
    strong: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    prior_sd: PriorSd = None,
    refits: Refits = 500,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Arena-Hard: win rates against a baseline by Bradley-Terry, intervals by question.

    Parameters
    ----------
    battles
        `arena_hard_battles.jsonl`, where strong verdicts stand three times already.
    judgments
        A file or folder of `model_judgment`.
    answers
        With --style: a file or folder of `model_answer` of all models.
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

    found = arena_hard_command(
        battles=battles,
        judgments=judgments,
        answers=answers,
        baseline=baseline,
        style=style,
        strong=strong,
        prior_sd=prior_sd,
        seed=seed,
        refits=refits,
    )
    show(found, json)
