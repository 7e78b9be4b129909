"""`luce eval reward-bench`."""

from pathlib import Path
from typing import Literal

from luce.cli.eval import Draws, show
from luce.cli.judge_options import DEFAULTS, JudgeOptions
from luce.errors import LuceError


def reward_bench(
    *,
    scores: Path | None = None,
    model: str | None = None,
    data: Path | None = None,
    version: Literal[1, 2] = 1,
    kind: Literal["reward", "pairwise", "policy"] | None = None,
    reference: str | None = None,
    per_token: bool = False,
    render: Literal["chat", "plain"] | None = None,
    judge: str | None = None,
    options: JudgeOptions = DEFAULTS,
    save_scores: Path | None = None,
    resamples: Draws = 2000,
    seed: int = 0,
    json: bool = False,
) -> int:
    """RewardBench 1 or 2: accuracy by subset and section, and the score.

    Of scores, of a model that grades, or of a judge: --judge, --local, --annotator or --jury. A
    judge sees every pair in both orders; in version 2 it rates each response by itself. Exit code 1
    where some rows are not judged yet: the same command goes on with them.

    Parameters
    ----------
    scores
        A file of scores: `subset`, `id`, and `score_chosen` and `score_rejected`, or `results`; in
        version 2 `scores` with the correct responses first, and `num_correct`.
    model
        In place of --scores: a model that grades the rows of --data, a folder in HF format, a hub
        name, or the folder of a run.
    data
        With --model or a judge: the benchmark's rows, `subset`, `id`, `prompt`, `chosen` and
        `rejected`.
    version
        Of the benchmark.
    kind
        Of the model. What the run's recipe says, else a reward model where it has the head of one
        and a policy where not, unless given.
    reference
        Of a policy: the model it was trained against, for the implicit reward log π/π_ref in nats;
        log π alone unless given.
    per_token
        Of a policy: the mean over the response's tokens, not their sum.
    render
        chat template, or plain text. What the run's recipe says, else chat, unless given.
    judge
        In place of --model: a language model that is asked, by its name at a server that speaks
        OpenAI's protocol.
    save_scores
        With --model or a judge: write the scores here (.jsonl), as --scores reads them.
    resamples
        Draws of rows for intervals of sections and scores.
    seed
        Of the draws.
    json
        Print everything as JSON.
    """
    from luce.recipe.eval_reward import from_scores

    asked = options.named(judge, "--judge")
    if (scores is not None) + (model is not None) + asked != 1:
        raise LuceError("Give --scores FILE, or --data FILE with --model or with one judge.")
    graded = {
        "--kind": kind,
        "--reference": reference,
        "--per-token": per_token or None,
        "--render": render,
    }
    given = [name for name, value in graded.items() if value is not None]
    if given and model is None:
        raise LuceError(f"{given[0]}: it says how the model of --model grades. Leave it out.")
    if scores is not None:
        for name, value in (("--data", data), ("--save-scores", save_scores)):
            if value is not None:
                raise LuceError(f"{name}: --scores has the grades already. Leave it out.")
        found = from_scores(scores, version, seed=seed, resamples=resamples)
    elif data is None:
        raise LuceError("Give --data FILE, the benchmark's rows.")
    elif model is not None:
        from luce.recipe.eval_grader import GraderSettings
        from luce.recipe.eval_reward_model import from_model

        settings = GraderSettings(model, kind, reference, per_token, render)
        found = from_model(
            data, settings, version, save_scores=save_scores, seed=seed, resamples=resamples
        )
    else:
        from luce.recipe.eval_reward_judge import from_judge, plan_judge

        members = options.members(judge, "pairwise" if version == 1 else "mt_bench_single")
        if options.dry_run:
            print(*plan_judge(data, members, version).lines(), sep="\n")
            return 0
        found = from_judge(
            data, members, version, save_scores=save_scores, seed=seed, resamples=resamples
        )
    show(found, json)
    return 0 if found.complete else 1
