"""The main job: a recipe in, an aligned model and an account of what happened out.

    load the model → read and tokenize the rows → reference log-probabilities → the start, for
    comparison → train → save and reload the model → evaluate → report

Each stage leaves files, so a run that was killed anywhere goes on with `resume`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.files import write_atomic, write_json, write_jsonl
from luce.models.policy import CausalPolicy, self_check
from luce.models.policy_mixture import PolicyMixture
from luce.models.products import quick_products
from luce.models.reward import RewardModel
from luce.recipe.check import memory_lines, step_memory
from luce.recipe.deterministic import determinism_notes, deterministic
from luce.recipe.diagnose import log_probs_before
from luce.recipe.finish import evaluate_run, export
from luce.recipe.heads import settle_weights
from luce.recipe.initial import check_step_0, initial_state
from luce.recipe.load import Resolved, load_recipe, written
from luce.recipe.manifest import build_manifest, heads_facts, identity
from luce.recipe.preferred import check_annotator
from luce.recipe.prepare import (
    Data,
    answers_with_tokens,
    check_fit,
    describe_resolved,
    doubts,
    first_batch,
    open_recipe,
    policies_of,
    refuse_used_folder,
    train_settings,
)
from luce.recipe.provenance import dump_resolved
from luce.recipe.python import python_recipe
from luce.recipe.reference import Reference, prepare_reference
from luce.recipe.watch import Watch, check_watch
from luce.report import Run, load_run, write_card, write_report
from luce.train.distributed import World, join_world, leave_world, together
from luce.train.fit import fit, locked, resumable
from luce.train.learners import AnswerLearner, MixtureLearner, PolicyLearner, RewardLearner
from luce.train.lines import RunFolder
from luce.train.loss_scale import LossScale
from luce.train.sharded import ShardedLearner
from luce.train.sinks import ConsoleSink, Sink, tracker
from luce.train.trainer import Trainer


def train_command(
    recipe: str,
    overrides: Sequence[str],
    resume: bool = False,
    dry_run: bool = False,
    allow_change: Sequence[str] = (),
) -> None:
    """`luce train`: the run of a recipe file; or with `dry_run` its resolved recipe on stdout, and
    on stderr the memory that its training takes."""
    resolved = load_recipe(recipe, overrides)
    if dry_run:
        check_fit(resolved.recipe, resolved.objective)
        sys.stdout.write(dump_resolved(resolved))
        sys.stdout.flush()
        model, _, data = open_recipe(resolved)
        print(*memory_lines(step_memory(resolved, model, data)), sep="\n", file=sys.stderr)
        return
    train_run(resolved, resume=resume, allow_change=allow_change)


def train_python(*, resume: bool = False, **keywords: Any) -> Run:
    """`luce.train(model=…, data=…, objective=luce.dpo(beta=0.1), learning_rate=…)`.

    Keywords are recipe sections, or keys of a section by their own name. Returns the finished run.
    """
    return load_run(train_run(python_recipe(**keywords), resume=resume))


def train_run(
    recipe: Resolved | Mapping[str, Any] | str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    allow_change: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Carry out a recipe; returns the run folder.

    Args:
        recipe: a resolved recipe, a mapping, or a file.
        overrides: `key=value`, for a mapping or a file.
        resume: go on with the run in the recipe's `output_dir`, if there is one.
        allow_change: recipe keys that may differ from those of the run that is resumed.
        console: where progress is told.

    Raises:
        LuceError: whatever the user can mend, with its place and remedy.
    """
    resolved = recipe if isinstance(recipe, Resolved) else load_recipe(recipe, overrides)
    check_fit(resolved.recipe, resolved.objective)
    with deterministic(resolved.recipe):
        return _train(resolved, resume, allow_change, console)


def _train(
    resolved: Resolved, resume: bool, allow_change: Sequence[str], console: Console | None
) -> Path:
    folder = Path(resolved.recipe.output_dir)
    world = _world(resolved)
    console = console or Console(
        stderr=True, highlight=False, soft_wrap=True, quiet=not world.first
    )
    with together(world), quick_products():
        if world.first:
            refuse_used_folder(folder, resume)
        with locked(folder) if world.first else nullcontext():
            _carry_out(resolved, folder, world, resume, allow_change, console)
    leave_world(world)
    return folder


def _world(resolved: Resolved) -> World:
    """The processes that train; with fsdp2 they go in lockstep.

    Raises:
        RecipeError: there is nothing that could be cut over these processes.
    """
    if resolved.recipe.train.strategy == "ddp":
        return join_world()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise RecipeError(
            "recipe.train.strategy: fsdp2 cuts the weights over processes, and there is one. Start "
            "with `torchrun --standalone --nproc-per-node 2 -m luce train`, or set `ddp`."
        )
    if policies_of(resolved.objective) is not None:
        raise RecipeError(
            f"recipe.train.strategy: {resolved.objective.name!r} trains several adapters on one "
            "network, which fsdp2 does not cut. Set `ddp`."
        )
    return replace(join_world(), lockstep=True)


def _carry_out(
    resolved: Resolved,
    folder: Path,
    world: World,
    resume: bool,
    allow_change: Sequence[str],
    console: Console,
) -> None:
    recipe, objective = resolved.recipe, resolved.objective
    console.print(f"{recipe.name}: {describe_resolved(resolved)}")
    for note in determinism_notes(recipe):
        console.print(note, markup=False)
    check_annotator(recipe)
    check_watch(recipe)
    model, renderer, data = open_recipe(resolved)
    tell_data(console, data)
    if renderer.had_no_template:
        console.print(f"template: {renderer.origin}")
    for doubt in doubts(objective, data):
        console.print(f"warning: {doubt}", markup=False)
    check_layout(console, model, data, recipe.train.max_tokens_per_batch)
    reference = prepare_reference(recipe, objective, model, data, folder, world, console)
    manifest = build_manifest(
        resolved, model, renderer, data, reference.facts, reference.history_facts
    )
    same = _identity(resolved, manifest)
    if resume:  # a run that may not go on is left as it is
        resumable(RunFolder(folder), same, allow_change)
    if world.first:
        write_atomic(folder / "recipe.yaml", dump_resolved(resolved))
        write_jsonl(folder / "rows.jsonl", data.ledger)
        write_json(folder / "manifest.json", manifest | {"status": "running"})

    trainer = make_trainer(resolved, model, reference, data, world)
    try:
        with together(world), trainer.whole():
            initial = _start(folder, model, trainer, renderer, data, resolved, reference, world)
        watch = None
        if recipe.evaluate.sample_steps is not None and isinstance(model, CausalPolicy):
            watch = Watch(recipe, folder, model, renderer, data, trainer, initial)
        start = world.gather(log_probs_before(initial))[0]
        with together(world):
            _fit(trainer, folder, data, resolved, same, resume, allow_change, console, watch, start)
        best = watch.best() if watch is not None else None
        settle_weights(model, objective, trainer.running.values())
    except (LuceError, RuntimeError) as error:
        if world.first:
            failed = {"status": "failed", "steps": trainer.step, "error": str(error)}
            write_json(folder / "manifest.json", manifest | failed)
        raise

    with trainer.whole():
        if world.first:
            if best is not None:
                console.print(f"best by {best['by']}: step {best['step']} of {trainer.step}")
            off = export(folder, model, renderer, data, recipe)
            console.print(f"{folder / 'model'}: saved, reloaded and compared (largest Δ {off:.1e})")
            evaluation = evaluate_run(folder, model, trainer, renderer, data, recipe, initial, best)
            finished = {"status": "finished", "steps": trainer.step, "reload_difference": off}
            finished["exported_step"] = trainer.step if best is None else best["step"]
            facts = {"hash": model.hash(), "heads": heads_facts(model)}
            finished["model"] = manifest["model"] | facts
            write_json(folder / "manifest.json", manifest | finished)
            write_report(folder)
            write_card(folder)
            _tell_result(console, folder, evaluation)
    world.barrier()


def make_trainer(
    resolved: Resolved,
    model: CausalPolicy | RewardModel,
    reference: Reference,
    data: Data,
    world: World,
) -> Trainer:
    """What trains this recipe's model on its rows, at step 0."""
    objective, settings = resolved.objective, train_settings(resolved.recipe)
    if isinstance(model, RewardModel):
        learner = RewardLearner(model)
    elif answers_with_tokens(resolved.recipe):
        learner = AnswerLearner(model)
    else:
        kind = MixtureLearner if isinstance(model, PolicyMixture) else PolicyLearner
        learner = kind(
            model,
            reference.cache,
            reference.history,
            objective.needs,
            reference.resident,
            reference.online,
        )
    if world.lockstep:
        learner = ShardedLearner(learner, model, world)
    # adapters are float32, and their gradients come to them through the network
    half = model.has_adapter and model.inner.dtype == torch.float16
    scale = LossScale() if half else None
    return Trainer(learner, objective, data.train, settings, world, scale)


def _start(
    folder: Path,
    model: CausalPolicy | RewardModel,
    trainer: Trainer,
    renderer: Renderer,
    data: Data,
    resolved: Resolved,
    reference: Reference,
    world: World,
) -> dict[str, Any]:
    """The step-0 check of the reference, and what is compared with at the end."""
    if reference.is_policy_at_step_0 and isinstance(model, CausalPolicy):
        check_step_0(trainer, data.train[:16], model.dtype)
    path = folder / "initial.json"
    if world.first:
        return initial_state(
            path, model, trainer, renderer, data, resolved.recipe, resolved.objective
        )
    return {}


def _identity(resolved: Resolved, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change between this run and its resumption."""
    facts = {
        "data (content)": manifest["data"]["fingerprint"],
        "model (weights)": manifest["model"]["initial_hash"],
        "reference (weights)": manifest["reference"]["hash"],
        "history (weights)": manifest["history"]["hash"],
        "template": manifest["template_hash"],
    }
    if code := manifest["objective"]["code"]:
        facts["objective (code)"] = code.get("sha256")
    return identity(written(resolved.recipe), facts)


def _fit(
    trainer: Trainer,
    folder: Path,
    data: Data,
    resolved: Resolved,
    same: Mapping[str, Any],
    resume: bool,
    allow_change: Sequence[str],
    console: Console,
    watch: Watch | None,
    start: Sequence[tuple[float, float]] | None,
) -> None:
    recipe = resolved.recipe
    sinks: list[Sink] = []
    if trainer.world.first:
        every = recipe.train.logging_steps
        follow = tracker(recipe.train.report_to, recipe.name, folder, every)
        sinks = [ConsoleSink(trainer.total_steps, every, console), *([follow] if follow else [])]
    try:
        place = RunFolder(folder)
        records = fit(trainer, place, data.held_out, same, resume, allow_change, watch, start)
        for record in records:
            for sink in sinks:
                sink.write(record)
    finally:
        for sink in sinks:
            sink.close()


def check_layout(
    console: Console, model: CausalPolicy | RewardModel, data: Data, budget: int
) -> None:
    """Try the model's layout of rows on some of them, and tell it with its warnings."""
    if isinstance(model, CausalPolicy) and data.train:
        self_check(model, first_batch(data.train, budget))
    elif isinstance(model, RewardModel) and data.train:
        model.self_check(first_batch(data.train, budget, keep_last=True))
    for warning in model.warnings:
        console.print(f"warning: {warning}")
    console.print(f"layout: {model.layout} ({model.layout_reason})")


def tell_data(console: Console, data: Data) -> None:
    """What was read, and how many rows there are to train on."""
    for dataset in filter(None, (data.dataset, data.evaluation)):
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in dataset.counts.items())
        console.print(
            f"{dataset.source}: {dataset.format_name} ({dataset.format_reason}); {counts}"
        )
    console.print(f"rows: {len(data.train)} train, {len(data.held_out)} held out")


def _tell_result(console: Console, folder: Path, evaluation: Mapping[str, Any]) -> None:
    held_out = evaluation["held_out"]
    if held_out:
        console.print(
            f"held-out accuracy {held_out['accuracy']:.3f} "
            f"[{held_out['accuracy_low']:.3f}, {held_out['accuracy_high']:.3f}] "
            f"(n = {held_out['n']})"
        )
    console.print(f"report: {folder / 'report.html'}")
