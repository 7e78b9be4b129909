"""`luce judge`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from luce.cli.judge_options import DEFAULTS, JudgeOptions
from luce.errors import LuceError

judge = App(name="judge")


@judge.default
def ask(
    *sides: str,
    model: str | None = None,
    reward: str | None = None,
    kind: Literal["reward", "pairwise", "policy"] | None = None,
    reference: str | None = None,
    options: JudgeOptions = DEFAULTS,
    prompts: str | None = None,
    baseline: str | None = None,
    names: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    out: Path = Path("verdicts.jsonl"),
    save_responses: Path | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 512,
    render: Literal["chat", "plain"] = "chat",
    limit: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Whose responses are better, by an annotator: win rate with ties and an interval, lengths held
    equal, and a file of all verdicts. Of three sides or more all pairs, or each against --baseline:
    who beats whom, and Bradley-Terry strengths.

    The annotator is one of --reward, --annotator, --model, --local and --jury. Exit code 1 where
    some comparisons are not judged yet: the same command goes on with them.

    Parameters
    ----------
    sides
        Two or more: files of rows with `prompt` and `response`, or models that answer --prompts: a
        folder in HF format, a hub name, or the folder of a run.
    model
        A language model that is asked in both orders, by its name at a server that speaks OpenAI's
        protocol.
    reward
        A model that grades: the higher grade wins. A pairwise model gives probabilities.
    kind
        Of that model, where it does not say so itself; policy: its implicit reward.
    reference
        Of a policy's implicit reward.
    prompts
        A file of rows with a `prompt`, for sides that are models.
    baseline
        The name of the side that the others are compared with; all pairs unless given.
    names
        What the sides are called in rows and tables, one for each.
    out
        Where the verdicts go.
    save_responses
        A folder where the responses of models are written, one file each, to be named as a side by
        a later command.
    temperature
        Of sampling from models.
    max_new_tokens
        A sampled response is cut here.
    render
        chat template, or plain text, for sides that are models.
    limit
        So many prompts only.
    seed
        Of sampling and of intervals.
    json
        Print the result as JSON.
    """
    from luce.cli.output import print_json
    from luce.recipe.judge import judge_sides, plan_sides
    from luce.recipe.judge_members import Member, better_reward
    from luce.recipe.judge_sides import Drawing, all_sides

    if not options.named(model, "--model", reward):
        raise LuceError(
            "luce judge: give one of --reward, --annotator, --model, --local and --jury."
        )
    if reward is None and (kind is not None or reference is not None):
        raise LuceError("--kind and --reference are of the model of --reward. Leave them out.")
    drawing = Drawing(prompts, temperature, 1.0, max_new_tokens, seed, render, limit)
    every = all_sides(sides, names, drawing, save_responses)
    if reward is None:
        members = options.members(model)
    else:
        members = (Member(reward, better_reward(reward, kind, reference)),)
    if options.dry_run:
        planned = plan_sides(every, members, baseline)
        print(*(["no calls, no cost"] if planned is None else planned.lines()), sep="\n")
        return 0
    found = judge_sides(every, members, out, baseline=baseline, seed=seed)
    if json:
        print_json(found.plain())
    else:
        print(*found.lines(), sep="\n")
    return 0 if found.complete else 1


@judge.command
def audit(
    *,
    verdicts: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    gold: Path | None = None,
    html: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Show whether a judge can be believed, from its verdicts.

    What standing first and length are worth, how often it contradicts itself, how often people
    agree, whether empty or constant answers win, cycles among models, and missing verdicts: with
    intervals by prompt. Exit code 0 where nothing is found, 1 with findings, 2 where the files
    cannot be used.

    Parameters
    ----------
    verdicts
        Files of one judge's verdicts, as `luce judge` writes them.
    gold
        People's verdicts on some of the comparisons, in the same format.
    html
        Write a page here.
    seed
        Of intervals.
    json
        Print the audit as JSON.
    """
    from luce.cli.output import print_json
    from luce.recipe.judge_audit import judge_audit, write_page

    found = judge_audit(verdicts, gold, seed=seed)
    if html is not None:
        write_page(found, html)
    if json:
        print_json(found.plain())
    else:
        print(*found.lines(), sep="\n")
    return 1 if found.audit.findings else 0
