"""`luce online`: rounds of sample, judge, select, train, on one policy.

    prompts of the round → n samples of each → rewards or comparisons → pairs or lists
    → `luce train` on them, from the policy of the round before → evaluation → rounds.jsonl

What a round made lies in `rounds/<number>/`, each file whole or not there, and what is there is not
made again: a run that was killed anywhere goes on with `resume` and ends with the same rows and
weights. (Dong et al., 2024, arXiv:2405.07863; Xiong et al., 2023, arXiv:2312.11456, Algorithm 1.)
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.errors import LuceError, RecipeError
from luce.files import read_jsonl, write_atomic, write_json, write_jsonl
from luce.models.export import save_model
from luce.models.policy import CausalPolicy
from luce.recipe.deterministic import deterministic
from luce.recipe.load import Resolved, load_recipe
from luce.recipe.online_evaluate import answer_prompts, distances, evaluation_of
from luce.recipe.online_explore import EXPLORES, grow
from luce.recipe.online_guard import judged
from luce.recipe.online_ledger import (
    annotations_of,
    counted,
    ledger,
    status,
    summed,
    tokens_of,
    told,
)
from luce.recipe.online_loop import IN_MEMORY, Loop, begin, check_online, open_loop
from luce.recipe.online_rl_check import is_rl
from luce.recipe.online_rows import rows_to_train, select_rows
from luce.recipe.online_stages import judge_block, run_stage, sample_block, sampler_gap
from luce.recipe.online_train import train_round
from luce.recipe.preferred import Opened
from luce.recipe.prepare import refuse_used_folder
from luce.recipe.schema import Data, Evaluate
from luce.train.fit import locked


def online_run(
    recipe: Resolved | Mapping[str, Any] | str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    allow_change: Sequence[str] = (),
    console: Console | None = None,
    annotator: Opened | None = None,
    gold: Opened | None = None,
) -> Path:
    """Carry out an online recipe; returns the run's folder.

    Args:
        recipe, overrides: as of `luce.recipe.run.train_run`; with an `online` section.
        resume: go on with the run in `output_dir`; `online.rounds` may have grown.
        allow_change: recipe keys that may differ from those of the run that is resumed.
        annotator, gold: who judges, in place of those that the recipe names.

    Raises:
        LuceError: whatever the user can mend.
    """
    resolved = recipe if isinstance(recipe, Resolved) else load_recipe(recipe, overrides)
    check_online(resolved)
    for role, given in (("annotator", annotator), ("gold", gold)):
        if getattr(resolved.recipe.online, role) == IN_MEMORY and given is None:
            raise RecipeError(
                f"recipe.online.{role}: this run's was an object in Python, and a file cannot name "
                f"it. Pass it again: luce.online(…, {role}=…)."
            )
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    if is_rl(resolved):
        if annotator is not None:
            raise RecipeError(
                f"luce.online: annotator: {resolved.objective.name} takes a reward model or "
                "`module:function` by name, so that a resumed run grades as before."
            )
        from luce.recipe.online_rl import rl_run

        return rl_run(resolved, resume=resume, allow_change=allow_change, console=console)
    folder = Path(resolved.recipe.output_dir)
    refuse_used_folder(folder, resume)
    with locked(folder), deterministic(resolved.recipe):
        loop = open_loop(resolved, folder, console)
        loop.annotator, loop.gold = annotator, gold
        facts = begin(loop, allow_change)
        try:
            done = ledger(folder)
            if not done and not (folder / "initial.json").exists():
                _evaluate_start(loop)
            start = json.loads((folder / "initial.json").read_text("utf-8"))
            for number in range(len(done) + 1, loop.online.rounds + 1):
                if _stopped(loop, done):
                    break
                line = _round(loop, number, done)
                decision = judged(start, [*done, line])
                done.append(line | {"guard": None if decision is None else asdict(decision)})
                write_jsonl(folder / "rounds.jsonl", done)
                _tidy(loop, number)
                console.print(told(done[-1]))
        except LuceError as error:
            write_json(folder / "manifest.json", facts | {"status": "failed", "error": str(error)})
            raise
        return _finish(loop, facts, done)


def _stopped(loop: Loop, done: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the guard has ended the run."""
    said = done[-1]["guard"] if done else None
    stopped = said is not None and said["action"] != "continue" and loop.online.guard != "tell"
    if said is not None and stopped:
        loop.console.print(f"guard: no more rounds, for {said['why']}", markup=False)
    return stopped


def _round(loop: Loop, number: int, done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One round; returns its line of the ledger."""
    stage = loop.stage(number)
    say = partial(_progress, loop, number)
    samples = read_jsonl(run_stage(stage, "samples", sample_block, progress=say("sampled")))
    gap = sampler_gap(stage, samples)
    verdicts = read_jsonl(run_stage(stage, "verdicts", judge_block, progress=say("judged")))
    stage.release()
    pairs = stage.folder / "pairs.jsonl"
    if not pairs.exists():
        rows, without = select_rows(stage)
        if not rows:
            why = counted(e["reason"] for e in without if e["action"] == "dropped")
            raise LuceError(
                f"{stage.folder}: no prompt gave a row to train on ({why}). Sample more "
                "(`online.n`), or at a higher temperature."
            )
        write_jsonl(stage.folder / "rows.jsonl", without)
        write_jsonl(pairs, rows)
    rows, without = read_jsonl(pairs), read_jsonl(stage.folder / "rows.jsonl")
    if loop.online.select in EXPLORES:
        grow(loop.online, *stage.covariances, rows)
    own = [loop.models.round(k) / "pairs.jsonl" for k in range(1, number + 1)]
    lines = rows_to_train(loop.recipe.train.seed, loop.online, own, number)
    write_atomic(stage.folder / "train.jsonl", "".join(lines))
    reference, meaning = loop.models.reference(number)
    trained = _train(loop, number, reference)
    facts = json.loads((trained / "manifest.json").read_text("utf-8"))
    policy, _ = loop.policy_after(number)
    evaluation = _evaluate(loop, number, policy)
    annotations = annotations_of(verdicts)
    return {
        "round": number,
        "policy": {"path": loop.models.path(number), "hash": loop.hashes[number]},
        "reference": {"is": meaning, "hash": facts["reference"]["hash"]},
        "prompts": len(stage.prompts),
        "samples": sum(len(row["samples"]) for row in samples),
        "ended": sum(s["ended"] for row in samples for s in row["samples"]),
        "left_out": summed(
            [v["left_out"] for v in verdicts]
            + [{e["reason"]: e["samples"]} for e in without if e["action"] == "changed"]
        ),
        "annotations": annotations,
        "annotations_so_far": annotations + sum(line["annotations"] for line in done),
        "rows": len(rows),
        "no_row": summed({e["reason"]: 1} for e in without if e["action"] == "dropped"),
        "trained_rows": len(lines),
        "steps": facts["steps"],
        "sampler_gap": gap,
        "tokens": tokens_of(rows),
    } | evaluation


def _train(loop: Loop, number: int, reference: str) -> Path:
    """`luce train` on the rows of a round."""
    recipe, folder = loop.recipe, loop.models.round(number)
    model: dict[str, Any] = {"path": loop.models.path(number - 1), "dtype": loop.models.dtype}
    if number > 1:  # the adapter of the round before is trained further
        model["lora"] = None
    update: dict[str, Any] = {
        "name": f"{recipe.name}-round-{number}",
        "output_dir": str(folder / "train"),
        "model": recipe.model.model_copy(update=model),
        "data": Data(
            path=str(folder / "train.jsonl"),
            eval=None,
            max_length=recipe.data.max_length,
            render=recipe.data.render,
            score_turns=recipe.data.score_turns,
            pairs=recipe.data.pairs,
        ),
        "reference": reference,
        "history": loop.models.history(number),
        "train": recipe.train.model_copy(update={"seed": recipe.train.seed + number - 1}),
        "evaluate": Evaluate(sample_prompts=0),
        "online": None,
    }
    inner = replace(loop.resolved, recipe=recipe.model_copy(update=update))
    again = (folder / "train" / "manifest.json").exists()
    if again and status(folder / "train") == "finished":
        return folder / "train"
    quiet = Console(stderr=True, highlight=False, soft_wrap=True, quiet=loop.console.quiet)
    return train_round(inner, loop.online.train_command, resume=again, console=quiet)


def _evaluate_start(loop: Loop) -> None:
    policy, _ = loop.policy_after(0)
    path = loop.models.round(0) / "answers.jsonl"
    prompts = held_out(loop)
    record: dict[str, Any] = {}
    if prompts:
        answer_prompts(loop.recipe, policy, loop.renderer, prompts, path)
        record = evaluation_of(loop.recipe, prompts, loop.judges(), path, {})
    write_json(loop.folder / "initial.json", record)


def _evaluate(loop: Loop, number: int, policy: CausalPolicy) -> dict[str, Any]:
    prompts = held_out(loop)
    if not prompts:
        return {}
    answers = {k: loop.models.round(k) / "answers.jsonl" for k in (0, number - 1, number)}
    answer_prompts(loop.recipe, policy, loop.renderer, prompts, answers[number])
    others = {"initial": 0} | ({"previous": number - 1} if number > 1 else {})
    record = evaluation_of(
        loop.recipe,
        prompts,
        loop.judges(),
        answers[number],
        {name: answers[k] for name, k in others.items()},
    )
    loads = {name: partial(loop.models.load, k) for name, k in others.items()}
    kl = distances(loop.recipe, policy, prompts, answers[number], loads)
    return {"evaluation": record, "kl": kl}


def held_out(loop: Loop) -> list[Any]:
    """The prompts that are answered after every round."""
    return list(loop.prompts.held_out[: loop.recipe.evaluate.sample_prompts])


def _tidy(loop: Loop, number: int) -> None:
    """Take away what only an unfinished round needs."""
    folder = loop.models.round(number)
    for name in ("samples", "verdicts", "train/checkpoints", "train/reference", "train/history"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _finish(loop: Loop, facts: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> Path:
    """The last round's model as the run's own, or that of the round to which the guard went back;
    and the account of all rounds."""
    from luce.report.online_page import write_online_report

    last, taken = done[-1], len(done)
    said = last["guard"]
    if loop.online.guard == "roll_back" and said is not None and said["action"] == "roll_back":
        taken = said["keep"]
    model = loop.folder / "model"
    aside = loop.folder / ".model.partial"
    shutil.rmtree(aside, ignore_errors=True)
    if taken:
        shutil.copytree(loop.models.path(taken), aside)
    else:
        save_model(loop.models.load(0), aside)
    shutil.rmtree(model, ignore_errors=True)
    aside.rename(model)
    evaluation: dict[str, Any] = {"round": taken}
    if taken:
        line = done[taken - 1]
        evaluation |= line.get("evaluation", {}) | {"kl": line.get("kl")}
    write_json(loop.folder / "evaluation.json", evaluation)
    finished = {
        "status": "finished",
        "rounds": len(done),
        "model": {"round": taken, "hash": loop.hashes[taken]},
    }
    write_json(loop.folder / "manifest.json", dict(facts) | finished)
    path = write_online_report(loop.folder)
    loop.console.print(f"report: {path}")
    return loop.folder


def _progress(loop: Loop, number: int, verb: str) -> Any:
    def tell(done: int, whole: int) -> None:
        loop.console.print(f"round {number}: {verb} {done} of {whole} blocks")

    return tell
