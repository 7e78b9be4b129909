"""`luce eval`: how good a model is, by verdicts or by the files of a benchmark."""

from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable

from cyclopts import App, Parameter, validators

BENCHMARKS = {
    "alpaca-eval": (
        "luce.cli.eval_alpaca:alpaca_eval",
        "AlpacaEval 2: win rates, raw and length-controlled.",
    ),
    "arena-hard": (
        "luce.cli.eval_arena:arena_hard",
        "Arena-Hard: Bradley-Terry against a baseline, style control.",
    ),
    "mt-bench": (
        "luce.cli.eval_mt:mt_bench",
        "MT-Bench: mean ratings by turn and category, pairwise win rates.",
    ),
    "reward-bench": (
        "luce.cli.eval_reward:reward_bench",
        "RewardBench 1 and 2, of scores, of a model or of a judge.",
    ),
}
"""Benchmark → where its function is, and its line in the help."""

Files: TypeAlias = Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]
Draws: TypeAlias = Annotated[int, Parameter(validator=validators.Number(gte=100))]
Refits: TypeAlias = Annotated[int, Parameter(validator=validators.Number(gte=0))]
PriorSd: TypeAlias = Annotated[float | None, Parameter(validator=validators.Number(gt=0))]

evaluate = App(name="eval", help="Win rates and benchmarks from files, with intervals by prompt.")
for _name, (_function, _line) in BENCHMARKS.items():
    evaluate.command(_function, name=_name, help=_line)


@evaluate.command
def win_rate(
    *,
    verdicts: Files,
    baseline: str | None = None,
    prior_sd: PriorSd = None,
    resamples: Draws = 2000,
    refits: Refits = 500,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Win rates from verdicts on the responses of two models or more.

    Ties count half. The verdicts on both orders of two responses are put together; those that are
    missing are counted, with the win rate had all of them gone either way. With lengths, the win
    rate at equal lengths as well; of three models or more, who beats whom and Bradley-Terry
    strengths.

    Parameters
    ----------
    verdicts
        Files or folders of rows with `prompt`, `model_a`, `model_b` and `preference`, P(a wins)
        from 0 to 1, null with a `reason` where there is no verdict; or `winner`. Where known
        `order`, ab or ba, and `length_a` and `length_b`, or `response_a` and `response_b`.
    baseline
        The model that the others are compared with. Of two models the second, of more the one that
        all others met, unless it is named here.
    prior_sd
        Standard deviation of a Gaussian prior on Bradley-Terry log-strengths, nats; none unless
        given. For models that win or lose everything.
    resamples
        Draws of prompts for intervals of win rates and strengths.
    refits
        Draws of prompts for the standard error at equal lengths, fitted anew for each; 0: none.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.recipe.eval_win_rate import win_rate_command

    found = win_rate_command(
        verdicts,
        baseline=baseline,
        prior_sd=prior_sd,
        seed=seed,
        resamples=resamples,
        refits=refits,
    )
    show(found, json)


@evaluate.command
def judge(
    *,
    verdicts: Path,
    resamples: Draws = 2000,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Accuracy and consistency of judges on pairs whose better response is known.

    Parameters
    ----------
    verdicts
        A file or folder of rows with `label` (1 or 2, the better response) and `judges`: name →
        two verdicts, the second with the responses swapped, each naming the response: "1", "2",
        "tie" or null; where known `subset` and `id`.
    resamples
        Draws of pairs for intervals.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.evaluate.judge_accuracy import judge_accuracy, read_gold_verdicts

    show(judge_accuracy(read_gold_verdicts(verdicts), seed=seed, resamples=resamples), json)


@runtime_checkable
class Told(Protocol):
    """A result that can be shown to programs and to people."""

    def plain(self) -> dict[str, Any]: ...

    def lines(self) -> list[str]: ...


def show(found: Told, json: bool) -> None:
    """Print a result as JSON, or in lines."""
    from luce.cli.output import print_json

    if json:
        print_json(found.plain())
    else:
        print(*found.lines(), sep="\n")
