"""After the last step: the model on disk, samples beside those of the start, numbers, report."""

from pathlib import Path
from typing import Any

from luce.data.template import Renderer
from luce.evaluate import (
    Generation,
    held_out_record,
    length_record,
    sample_side_by_side,
)
from luce.files import write_json, write_jsonl
from luce.models.export import save_model
from luce.models.policy import CausalPolicy
from luce.models.policy_mixture import PolicyMixture
from luce.models.reward import RewardModel
from luce.recipe.diagnose import Known, diagnose, log_ratios
from luce.recipe.held_out import fit_of_labels, held_out_rows, named
from luce.recipe.preferred import preferred
from luce.recipe.prepare import Data, first_batch
from luce.recipe.sampling import answer, kl_to_initial, sampling_of
from luce.recipe.schema import Recipe
from luce.train.trainer import Trainer


def export(
    folder: Path, model: CausalPolicy | RewardModel, renderer: Renderer, data: Data, recipe: Recipe
) -> float:
    """Write `model/`, reload it with plain transformers and compare; returns the largest
    difference, nats or reward units. Of a mixture `model/` is the first annotator's policy; the
    others stand in `annotators/`, and annotators.json has their weights."""
    reward = isinstance(model, RewardModel)
    packed = first_batch(data.train, recipe.train.max_tokens_per_batch, keep_last=reward)
    given: dict[str, Any] = {"packed": packed, "stop_ids": (renderer.terminator,)}
    off = save_model(model, folder / "model", **given)
    if isinstance(model, PolicyMixture):
        places = {"1": "model"}
        for number, name in enumerate(model.heads.names[1:], start=2):
            places[name] = f"annotators/{name}"
            with model.as_annotator(number):
                off = max(off, save_model(model, folder / places[name], **given))
        weights = dict(zip(model.heads.names, model.numbers.tolist(), strict=True))
        write_json(folder / "annotators.json", {"weights": weights, "policies": places})
    return off


def evaluate_run(
    folder: Path,
    model: CausalPolicy | RewardModel,
    trainer: Trainer,
    renderer: Renderer,
    data: Data,
    recipe: Recipe,
    initial: dict[str, Any],
    best: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare the trained model with its start; writes samples.jsonl, evaluation.json and, where
    rows were held out, held_out.jsonl. `best` tells of which step the model is."""
    parts = ("held_out", "win_rate", "length_controlled", "length", "kl")
    evaluation: dict[str, Any] = dict.fromkeys(parts) | {"best": best}
    metrics, answers = {}, None
    if initial["margins"] is not None:
        metrics = trainer.per_group(data.held_out)
        margins = metrics["rewards/margins"]
        ratios = log_ratios(initial, metrics)
        rows = held_out_rows(data, margins, initial["margins"], ratios)
        write_jsonl(folder / "held_out.jsonl", rows)
        ordered = recipe.model.kind == "pairwise"
        evaluation |= fit_of_labels(margins, trainer.objective, data, ordered)
        evaluation["held_out"] = held_out_record(
            margins,
            initial_margins=initial["margins"],
            sources=_or_none([g.source for g in data.held_out]),
            annotators=_or_none([g.annotator for g in data.held_out]),
        )
    elif data.held_out:
        write_jsonl(folder / "held_out.jsonl", [named(group) for group in data.held_out])
    if isinstance(model, CausalPolicy) and initial["prompts"]:
        before = [Generation(**g) for g in initial["generations"]]
        sampling = sampling_of(recipe.evaluate)
        answers = answer(model, renderer, initial["prompts"], sampling, recipe.train.seed)
        rows = sample_side_by_side(
            initial["texts"], lambda _: before, lambda _: answers.generations
        )
        after = answers.generations
        if recipe.evaluate.annotator is not None:
            entries, preferences = preferred(recipe, data, before, after)
            evaluation |= entries
            rows = [row | {"preference": p} for row, p in zip(rows, preferences, strict=True)]
        write_jsonl(folder / "samples.jsonl", rows)
        evaluation["length"] = length_record(
            [g.tokens for g in before],
            [g.tokens for g in after],
            before_ended=[g.ended for g in before],
            after_ended=[g.ended for g in after],
        )
        evaluation["kl"] = kl_to_initial(recipe, model, renderer, answers)
    else:
        write_jsonl(folder / "samples.jsonl", [])
    known = Known(folder, recipe, trainer, data, initial, metrics, evaluation["kl"], answers)
    evaluation["diagnostics"] = diagnose(known)
    write_json(folder / "evaluation.json", evaluation)
    return evaluation


def _or_none(keys: list[str | None]) -> list[str | None] | None:
    return keys if any(k is not None for k in keys) else None
