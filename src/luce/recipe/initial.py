"""The policy before the first step: what it answers and how it judges, kept for comparison.

Written once to `initial.json` of the run, so that a resumed run compares with the same start.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luce.data.template import Renderer
from luce.errors import ReferencePolicyError
from luce.files import write_json
from luce.models.policy import CausalPolicy
from luce.models.reward import RewardModel
from luce.recipe.diagnose import before_training
from luce.recipe.prepare import Data
from luce.recipe.sampling import answer, prompt_text, prompts_for_samples, sampling_of
from luce.recipe.schema import Recipe
from luce.recipe.watch import watch_groups
from luce.train.trainer import Trainer
from luce.types import CostFunction, Group

STEP_0_TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
"""Nats per response by which policy and reference may differ at step 0 where they are the same
weights; half precision differs by batch shape and is given more."""


def check_step_0(trainer: Trainer, groups: list[Group], dtype: str) -> float:
    """How far, in nats per response, the policy is from a reference that is meant to be itself.

    Raises:
        ReferencePolicyError: further than rounding explains.
    """
    tolerance = STEP_0_TOLERANCE.get(dtype, 0.5)
    apart = trainer.distance_to_reference(groups)
    if apart > tolerance:
        raise ReferencePolicyError(
            f"reference: initial: before the first step the policy and its reference differ by "
            f"{apart:.3g} nats on a response (allowed: {tolerance:g}), so the reference is not the "
            "initial policy. Delete the run's reference cache, or give `reference: <path>`."
        )
    return apart


def initial_state(
    path: Path,
    model: CausalPolicy | RewardModel,
    trainer: Trainer,
    renderer: Renderer,
    data: Data,
    recipe: Recipe,
    objective: CostFunction,
) -> dict[str, Any]:
    """What is compared with after training: held-out margins, and sampled responses.

    Read from `path` where a run that is being resumed has written it.
    """
    if path.exists():
        return json.loads(path.read_text("utf-8", "surrogatepass"))
    state: dict[str, Any] = {"margins": None, "prompts": [], "generations": []}
    metrics, answers = {}, None
    if data.held_out and objective.structure == "pair":
        metrics = trainer.per_group(data.held_out)
        state["margins"] = metrics["rewards/margins"]
    samples = recipe.model.kind == "policy" and recipe.evaluate.sample_prompts > 0
    if isinstance(model, CausalPolicy) and samples:
        prompts = prompts_for_samples(data.held_out or data.train, recipe.evaluate.sample_prompts)
        sampling = sampling_of(recipe.evaluate)
        answers = answer(model, renderer, prompts, sampling, recipe.train.seed)
        state["prompts"] = prompts
        state["texts"] = [prompt_text(model, p) for p in prompts]
        state["generations"] = [asdict(g) for g in answers.generations]
        if recipe.evaluate.sample_steps is not None:
            state |= {"watch_prompts": prompts, "watch_generations": state["generations"]}
        if recipe.evaluate.best is not None:
            own = [g.prompt.tolist() for g in watch_groups(recipe, data)]
            others = answer(model, renderer, own, sampling, recipe.train.seed)
            state["watch_prompts"] = own
            state["watch_generations"] = [asdict(g) for g in others.generations]
    state |= before_training(recipe, trainer, data, metrics, answers)
    write_json(path, state)
    return state
