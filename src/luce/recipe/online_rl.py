"""`luce online` by reinforcement learning: rounds of graded samples, and steps on each.

    prompts → rounds: n samples of each → rewards → steps on them → model, evaluation, report

Every round, and every step within it, can be gone on from with `resume`: to the same bits on a CPU.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from luce.data.dataset import Dataset
from luce.data.rows import files_of
from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.files import fingerprint, sha256_file, write_atomic, write_json
from luce.models.engine import SamplingSettings
from luce.models.export import save_model
from luce.models.policy import CausalPolicy, LoraSettings
from luce.models.products import quick_products
from luce.models.reference import ReferencePolicy, open_reference
from luce.online.rl import (
    Actors,
    Critic,
    Method,
    Plan,
    Ppo,
    Prompt,
    RLTrainer,
    RolloutSettings,
    load_critic,
    rl_fit,
)
from luce.recipe.deterministic import determinism_notes, deterministic
from luce.recipe.load import Resolved, written
from luce.recipe.manifest import build_manifest, identity
from luce.recipe.online_models import annotator_facts
from luce.recipe.online_prompts import Prompts, load_prompts
from luce.recipe.online_rl_check import check_rl, notes
from luce.recipe.online_rl_evaluate import Looker, evaluate_rl, open_scorer
from luce.recipe.prepare import Data, load_model, refuse_used_folder, train_settings
from luce.recipe.provenance import dump_resolved
from luce.recipe.reference import NONE
from luce.recipe.schema import Online, Recipe
from luce.report import write_card, write_report
from luce.train.fit import locked, resumable
from luce.train.lines import RunFolder
from luce.train.sinks import ConsoleSink, Sink, tracker
from luce.types import Group, Place


def rl_run(
    resolved: Resolved,
    *,
    resume: bool = False,
    allow_change: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Carry out an online recipe whose objective is a method of `luce.online.rl`; returns the
    run's folder.

    Args:
        resume: go on with the run in the recipe's `output_dir`, if there is one.
        allow_change: recipe keys that may differ from those of the run that is resumed.
        console: where progress is told.

    Raises:
        LuceError: whatever the user can mend, with its place and remedy.
    """
    check_rl(resolved)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LuceError(
            "luce online: reinforcement learning runs in one process, and torchrun started "
            f"{os.environ['WORLD_SIZE']}. Start it without torchrun."
        )
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(resolved.recipe.output_dir)
    refuse_used_folder(folder, resume)
    with locked(folder), deterministic(resolved.recipe), quick_products():
        return _carry_out(resolved, folder, resume, allow_change, console)


def _carry_out(
    resolved: Resolved, folder: Path, resume: bool, allow_change: Sequence[str], console: Console
) -> Path:
    recipe, method = resolved.recipe, resolved.objective
    online = _online(recipe)
    console.print(
        f"{recipe.name}: {online.rounds} rounds of {method.name} on {recipe.model.path}, rewards "
        f"by {online.annotator}"
    )
    for note in determinism_notes(recipe):
        console.print(note, markup=False)
    policy = load_model(recipe)
    assert isinstance(policy, CausalPolicy)  # checked: the recipe's model is a policy
    renderer = Renderer(policy.tokenizer, render=recipe.data.render)
    for warning in (*policy.warnings, *notes(recipe)):
        console.print(f"warning: {warning}", markup=False)
    console.print(f"layout: {policy.layout} ({policy.layout_reason})")
    prompts = load_prompts(recipe, renderer, folder)
    console.print(f"prompts: {len(prompts)} to train on, {len(prompts.held_out)} held out")
    actors = _actors(recipe, method, policy, renderer)
    manifest = _manifest(resolved, actors, prompts)
    same = _identity(resolved, manifest, prompts)
    if resume:  # a run that may not go on is left as it is
        resumable(RunFolder(folder), same, allow_change)
    write_atomic(folder / "recipe.yaml", dump_resolved(resolved))
    trainer = RLTrainer(
        actors,
        method,
        [_prompt(p) for p in prompts.train],
        Plan(online.rounds, min(online.prompts_per_round or len(prompts), len(prompts))),
        _rollout_settings(recipe),
        train_settings(recipe),
        folder,
    )
    manifest["total_steps"] = trainer.total_steps
    write_json(folder / "manifest.json", manifest | {"status": "running"})
    try:
        looker = Looker(recipe, folder, policy, renderer, prompts, actors.grade, lambda: trainer)
        looker.begin()
        sinks = _sinks(recipe, folder, trainer, console)
        try:
            for record in rl_fit(trainer, RunFolder(folder), same, resume, allow_change, looker):
                _tell(record, sinks, console)
        finally:
            for sink in sinks:
                sink.close()
    except LuceError as error:
        failed = {"status": "failed", "steps": trainer.step, "error": str(error)}
        write_json(folder / "manifest.json", manifest | failed)
        raise
    off = save_model(policy, folder / "model", stop_ids=(renderer.terminator,))
    console.print(f"{folder / 'model'}: saved, reloaded and compared (largest Δ {off:.1e})")
    if actors.critic is not None:
        apart = actors.critic.save(folder / "critic")
        console.print(f"{folder / 'critic'}: saved, reloaded and compared (largest Δ {apart:.1e})")
    evaluation = evaluate_rl(looker)
    finished = {"status": "finished", "steps": trainer.step, "reload_difference": off}
    finished["model"] = manifest["model"] | {"hash": policy.hash()}
    write_json(folder / "manifest.json", manifest | finished)
    write_report(folder)
    write_card(folder)
    _tell_result(evaluation, folder, console)
    return folder


def _online(recipe: Recipe) -> Online:
    assert recipe.online is not None  # checked
    return recipe.online


def _actors(recipe: Recipe, method: Method, policy: CausalPolicy, renderer: Renderer) -> Actors:
    """Who takes part; the reference as the policy stands now, before the first step."""
    online = _online(recipe)
    reference: ReferencePolicy | None = open_reference(
        recipe.reference, policy, trust_remote_code=recipe.model.trust_remote_code
    )
    critic = None
    if isinstance(method, Ppo):
        critic = _critic(recipe, method, policy, renderer)
    return Actors(
        policy,
        renderer,
        open_scorer(online.annotator, online.annotator_kind),
        None if reference is None else reference.resident(),
        critic,
    )


def _critic(recipe: Recipe, method: Ppo, policy: CausalPolicy, renderer: Renderer) -> Critic:
    model = recipe.model
    try:
        critic = load_critic(
            model.path if method.critic == "policy" else method.critic,
            terminator=renderer.terminator,
            dtype="float32" if model.dtype == "auto" and model.lora is None else model.dtype,
            lora=None if model.lora is None else LoraSettings(**model.lora.model_dump()),
            trust_remote_code=model.trust_remote_code,
            layout=model.layout,
            gradient_checkpointing=recipe.train.gradient_checkpointing,
            device=policy.device,
            seed=recipe.train.seed,
        )
    except LuceError as error:
        raise RecipeError(f"recipe.objective.ppo.critic: {error}") from error
    critic.model.autocast = policy.autocast
    return critic


def _rollout_settings(recipe: Recipe) -> RolloutSettings:
    online = _online(recipe)
    assert isinstance(online.temperature, float)  # checked
    sampling = SamplingSettings(online.temperature, online.top_p, online.max_new_tokens)
    budget = recipe.train.max_tokens_per_batch
    return RolloutSettings(online.n, sampling, recipe.train.seed, online.block, budget)


def _prompt(prompt: Any) -> Prompt:
    """A prompt as rollouts take it, by its line in prompts.jsonl of the run."""
    place = Place("prompts.jsonl", prompt.number + 1)
    return Prompt(f"prompt-{prompt.number}", place, prompt.text, prompt.ids)


def _manifest(resolved: Resolved, actors: Actors, prompts: Prompts) -> dict[str, Any]:
    """What the run says of itself; prompts stand for rows."""
    recipe, online = resolved.recipe, _online(resolved.recipe)
    groups = [
        Group(torch.tensor(p.ids, dtype=torch.int32).numpy(), (), str(p.number), Place("", 1))
        for p in (*prompts.train, *prompts.held_out)
    ]
    train, held_out = groups[: len(prompts)], groups[len(prompts) :]
    files = files_of(recipe.data.path, recipe.data.split)
    dataset = Dataset(
        groups=tuple(train),
        ledger=(),
        source=recipe.data.path,
        sha256=fingerprint([sha256_file(path) for path in files]),
        format_name="prompts",
        format_reason="reinforcement learning reads prompts only",
        structure="list",
        rows_read=len(groups),
        rows_used=len(groups),
    )
    reference = actors.reference
    facts: Mapping[str, Any] = dict(NONE)
    if reference is not None:
        kind = recipe.reference if recipe.reference in ("initial", "base") else "path"
        facts = {"kind": kind, "hash": reference.hash, "path": reference.path}
    data = Data(train, held_out, dataset, None)
    found = build_manifest(resolved, actors.policy, actors.renderer, data, facts, NONE)
    found["command"] = ["luce", "online", f"{recipe.output_dir}/recipe.yaml"]
    found["annotator"] = annotator_facts(online.annotator)
    found["gold"] = None if online.gold is None else annotator_facts(online.gold)
    if actors.critic is not None:
        found["critic"] = {"initial_hash": actors.critic.model.hash()}
    return found


def _identity(resolved: Resolved, manifest: Mapping[str, Any], prompts: Prompts) -> dict[str, Any]:
    """What may not change between this run and its resumption."""
    facts = {
        "prompts": prompts.fingerprint,
        "model (weights)": manifest["model"]["initial_hash"],
        "reference (weights)": manifest["reference"]["hash"],
        "critic (weights)": manifest.get("critic", {}).get("initial_hash"),
        "annotator": manifest["annotator"],
        "template": manifest["template_hash"],
    }
    return identity(written(resolved.recipe), facts)


def _sinks(recipe: Recipe, folder: Path, trainer: RLTrainer, console: Console) -> list[Sink]:
    every = recipe.train.logging_steps
    follow = tracker(recipe.train.report_to, recipe.name, folder, every)
    return [ConsoleSink(trainer.total_steps, every, console), *([follow] if follow else [])]


def _tell(record: Mapping[str, Any], sinks: Sequence[Sink], console: Console) -> None:
    if record["split"] == "round":
        kl = f", kl {record['kl']:.4g}" if "kl" in record else ""
        console.print(
            f"round {record['round']}: {record['samples']} samples of {record['prompts']} prompts, "
            f"reward {record['reward']:.4g}{kl}, entropy {record['entropy']:.3g} nats per token, "
            f"length {record['length']:.1f}; sampler and trainer {record['sampler_gap']:.1g} "
            f"apart; {record['tokens']:,} tokens a pass with shared prompts "
            f"({record['tokens/unshared']:,} without)"
        )
        return
    for sink in sinks:
        sink.write(record)


def _tell_result(evaluation: Mapping[str, Any], folder: Path, console: Console) -> None:
    reward, rate = evaluation["reward"], evaluation["win_rate"]
    if reward is not None and rate is not None:
        before, after = reward["before"], reward["after"]
        console.print(
            f"reward {before['value']:.4g} before, {after['value']:.4g} after (n = {after['n']}); "
            f"wins {rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}] over the initial "
            f"policy by {rate['annotator']}"
        )
    console.print(f"report: {folder / 'report.html'}")
