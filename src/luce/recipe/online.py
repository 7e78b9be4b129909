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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.files import write_atomic, write_json, write_jsonl
from luce.models.policy import CausalPolicy
from luce.objectives.own import code_of
from luce.recipe.load import Resolved, load_recipe, written
from luce.recipe.manifest import identity, now, versions
from luce.recipe.online_evaluate import Judges, answer_prompts, distances, evaluation_of
from luce.recipe.online_ledger import (
    annotations_of,
    counted,
    ledger,
    status,
    summed,
    tokens_of,
    told,
)
from luce.recipe.online_models import (
    Models,
    annotator_facts,
    check_reference,
    dtype_of,
    load_frozen,
)
from luce.recipe.online_prompts import Prompts, load_prompts, read_lines
from luce.recipe.online_rows import rows_to_train, select_rows
from luce.recipe.online_stages import Stage, judge_block, run_stage, sample_block, sampler_gap
from luce.recipe.preferred import Opened, open_annotator
from luce.recipe.prepare import check_fit, refuse_used_folder
from luce.recipe.provenance import dump_resolved
from luce.recipe.run import train_run
from luce.recipe.schema import Data, Evaluate, Online, Recipe
from luce.train.fit import changed, locked


@dataclass
class Loop:
    """An online run under way.

    Attributes:
        resolved: the recipe of the whole.
        folder: of the run.
        renderer: of every round.
        models: policies and references by round.
        prompts: all of them.
        hashes: of the policies, by round, as far as they are known.
    """

    resolved: Resolved
    folder: Path
    renderer: Renderer
    models: Models
    prompts: Prompts
    console: Console
    hashes: dict[int, str]

    @property
    def recipe(self) -> Recipe:
        return self.resolved.recipe

    @property
    def online(self) -> Online:
        assert self.recipe.online is not None
        return self.recipe.online

    def stage(self, number: int) -> Stage:
        """The stages of a round."""
        return Stage(
            self.recipe,
            number,
            self.models.round(number),
            self.prompts.of_round(number, self.online.prompts_per_round),
            self.renderer,
            partial(self._policy, number - 1),
            self._annotator,
        )

    def judges(self) -> Judges:
        """Who judges the answers to held-out prompts."""
        gold, kind = self.online.gold, self.online.gold_kind
        load = None if gold is None else partial(open_annotator, gold, kind)
        return Judges(self._annotator, load)

    def _annotator(self) -> Opened:
        return open_annotator(self.online.annotator, self.online.annotator_kind)

    def _policy(self, number: int) -> tuple[CausalPolicy, str]:
        policy = self.models.load(number)
        found = self.hashes.setdefault(number, policy.hash())
        if found != policy.hash():
            raise LuceError(
                f"{self.models.path(number)}: its weights are not those of round {number} (sha256 "
                f"{policy.hash()[:12]}, recorded {found[:12]}). Put them back, or start again in "
                "another output_dir."
            )
        return policy, found


def online_run(
    recipe: Resolved | Mapping[str, Any] | str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    allow_change: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Carry out an online recipe; returns the run's folder.

    Args:
        recipe, overrides: as of `luce.recipe.run.train_run`; with an `online` section.
        resume: go on with the run in `output_dir`; `online.rounds` may have grown.
        allow_change: recipe keys that may differ from those of the run that is resumed.

    Raises:
        LuceError: whatever the user can mend.
    """
    resolved = recipe if isinstance(recipe, Resolved) else load_recipe(recipe, overrides)
    check_online(resolved)
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(resolved.recipe.output_dir)
    refuse_used_folder(folder, resume)
    with locked(folder):
        loop = open_loop(resolved, folder, console)
        facts = _begin(loop, allow_change)
        try:
            done = ledger(folder)
            if not done and not (folder / "initial.json").exists():
                _evaluate_start(loop)
            for number in range(len(done) + 1, loop.online.rounds + 1):
                done.append(_round(loop, number, done))
                write_jsonl(folder / "rounds.jsonl", done)
                _tidy(loop, number)
                console.print(told(done[-1]))
        except LuceError as error:
            write_json(folder / "manifest.json", facts | {"status": "failed", "error": str(error)})
            raise
        return _finish(loop, facts, done)


def check_online(resolved: Resolved) -> None:
    """Raise where a recipe is none for rounds."""
    recipe = resolved.recipe
    if recipe.online is None:
        raise RecipeError(
            "recipe.online: missing. Give at least `online: {annotator: …}`, or use `luce train`."
        )
    if recipe.model.kind != "policy":
        raise RecipeError("recipe.model.kind: rounds are of a policy. Use `luce train`.")
    if resolved.objective.structure == "list" and recipe.online.select != "listwise":
        raise RecipeError(
            f"recipe.online.select: {resolved.objective.name} learns from rankings. Set "
            "`select: listwise`."
        )
    check_reference(recipe)
    history = {"history": "initial"} if recipe.history == "previous_round" else {}
    check_fit(recipe.model_copy(update=history), resolved.objective)


def open_loop(resolved: Resolved, folder: Path, console: Console) -> Loop:
    """The run with its prompts, whatever of it is done."""
    recipe = resolved.recipe
    policy = load_frozen(recipe, recipe.model.path, dtype_of(recipe))
    renderer = Renderer(
        policy.tokenizer, render=recipe.data.render, score_turns=recipe.data.score_turns
    )
    folder.mkdir(parents=True, exist_ok=True)
    prompts = load_prompts(recipe, renderer, folder)
    models = Models(recipe, folder, str(policy.inner.dtype).removeprefix("torch."))
    hashes = {0: policy.hash()}
    hashes |= {line["round"]: line["policy"]["hash"] for line in ledger(folder)}
    return Loop(resolved, folder, renderer, models, prompts, console, hashes)


def _begin(loop: Loop, allow_change: Sequence[str]) -> dict[str, Any]:
    """Write what the run is; raise where the folder's run is another one."""
    recipe, objective, online = loop.recipe, loop.resolved.objective, loop.online
    same = identity(
        written(recipe),
        {
            "prompts": loop.prompts.fingerprint,
            "model (weights)": loop.hashes[0],
            "annotator": annotator_facts(online.annotator),
            "template": loop.renderer.template_hash,
        },
    )
    same = {k: v for k, v in same.items() if k not in ("online.rounds", "online.block")}
    path = loop.folder / "manifest.json"
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        differ = changed(before["identity"], json.loads(json.dumps(same)))
        refused = [text for key, text in differ.items() if key not in allow_change]
        if refused:
            raise RecipeError(
                f"{loop.folder}: this run has changed since: {'; '.join(refused)}. Change it back, "
                "name the key with --allow-change, or set another output_dir."
            )
    facts = {
        "luce": versions().get("luce"),
        "name": recipe.name,
        "kind": "online",
        "command": ["luce", "online", f"{recipe.output_dir}/recipe.yaml"],
        "created": now(),
        "seed": recipe.train.seed,
        "objective": {
            "name": objective.name,
            "parameters": dict(objective.parameters),
            "formula": objective.formula,
            "code": code_of(recipe.objective.name),
        },
        "annotator": annotator_facts(online.annotator),
        "gold": None if online.gold is None else annotator_facts(online.gold),
        "prompts": {"train": len(loop.prompts), "held_out": len(loop.prompts.held_out)},
        "identity": same,
        "versions": versions(),
        "status": "running",
    }
    write_atomic(loop.folder / "recipe.yaml", dump_resolved(loop.resolved))
    write_json(path, facts)
    loop.console.print(
        f"{recipe.name}: {online.rounds} rounds of {objective.name} on {recipe.model.path}, "
        f"{len(loop.prompts)} prompts, {len(loop.prompts.held_out)} held out"
    )
    return facts


def _round(loop: Loop, number: int, done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One round; returns its line of the ledger."""
    stage = loop.stage(number)
    say = partial(_progress, loop, number)
    samples = read_lines(run_stage(stage, "samples", sample_block, progress=say("sampled")))
    gap = sampler_gap(stage, samples)
    verdicts = read_lines(run_stage(stage, "verdicts", judge_block, progress=say("judged")))
    stage.release()
    pairs = stage.folder / "pairs.jsonl"
    if not pairs.exists():
        rows, without = select_rows(stage)
        if not rows:
            why = counted(entry["reason"] for entry in without)
            raise LuceError(
                f"{stage.folder}: no prompt gave a row to train on ({why}). Sample more "
                "(`online.n`), or at a higher temperature."
            )
        write_jsonl(stage.folder / "rows.jsonl", without)
        write_jsonl(pairs, rows)
    rows, without = read_lines(pairs), read_lines(stage.folder / "rows.jsonl")
    own = [loop.models.round(k) / "pairs.jsonl" for k in range(1, number + 1)]
    lines = rows_to_train(loop.recipe.train.seed, loop.online, own, number)
    write_atomic(stage.folder / "train.jsonl", "".join(lines))
    reference, meaning = loop.models.reference(number)
    trained = _train(loop, number, reference)
    facts = json.loads((trained / "manifest.json").read_text("utf-8"))
    policy, _ = loop._policy(number)
    evaluation = _evaluate(loop, number, policy)
    annotations = annotations_of(verdicts)
    return {
        "round": number,
        "policy": {"path": loop.models.path(number), "hash": loop.hashes[number]},
        "reference": {"is": meaning, "hash": facts["reference"]["hash"]},
        "prompts": len(stage.prompts),
        "samples": sum(len(row["samples"]) for row in samples),
        "ended": sum(s["ended"] for row in samples for s in row["samples"]),
        "left_out": summed(v["left_out"] for v in verdicts),
        "annotations": annotations,
        "annotations_so_far": annotations + sum(line["annotations"] for line in done),
        "rows": len(rows),
        "no_row": summed({entry["reason"]: 1} for entry in without),
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
    return train_run(inner, resume=again, console=quiet)


def _evaluate_start(loop: Loop) -> None:
    policy, _ = loop._policy(0)
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
    """The last round's model as the run's own, and the account of all rounds."""
    from luce.report.online_page import write_online_report

    model = loop.folder / "model"
    if status(loop.folder) != "finished" or not model.exists():
        shutil.rmtree(model, ignore_errors=True)
        aside = loop.folder / ".model.partial"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(loop.models.path(len(done)), aside)
        aside.rename(model)
    last = done[-1]
    write_json(loop.folder / "evaluation.json", last.get("evaluation", {}) | {"kl": last.get("kl")})
    finished = {
        "status": "finished",
        "rounds": len(done),
        "model": {"hash": last["policy"]["hash"]},
    }
    write_json(loop.folder / "manifest.json", dict(facts) | finished)
    path = write_online_report(loop.folder)
    loop.console.print(f"report: {path}")
    return loop.folder


def _progress(loop: Loop, number: int, verb: str) -> Any:
    def tell(done: int, whole: int) -> None:
        loop.console.print(f"round {number}: {verb} {done} of {whole} blocks")

    return tell
