"""What a run needs before its first step: model and rows, each checked as it comes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from luce.data.dataset import Dataset, DataSettings, load
from luce.data.ledger import Entry, entry
from luce.data.pack import micro_batches, pack
from luce.data.splits import overlap, split_by_prompt, with_mismatched
from luce.data.template import Renderer
from luce.errors import RecipeError
from luce.models.heads import Heads
from luce.models.load import embedding_rows
from luce.models.policy import CausalPolicy, LoraSettings, load_policy
from luce.models.policy_mixture import PolicyMixture
from luce.models.reward import RewardModel, load_reward_model
from luce.objectives import Mixture
from luce.objectives.needs import NEEDS, needs
from luce.objectives.units import scale_warning
from luce.recipe.heads import check_heads, heads_for
from luce.recipe.load import Resolved
from luce.recipe.schema import Recipe
from luce.train.batch import check_rows
from luce.train.distributed import local_device
from luce.train.settings import TrainSettings
from luce.types import CostFunction, Group, Packed, Place


@dataclass(frozen=True)
class Data:
    """Training rows and held-out rows, tokenized.

    Attributes:
        train, held_out: groups.
        dataset: what was read: ledger, counts, format, hash.
        evaluation: the same of a held-out file of its own, or None.
    """

    train: list[Group]
    held_out: list[Group]
    dataset: Dataset
    evaluation: Dataset | None

    @property
    def ledger(self) -> list[Entry]:
        """Every row that was dropped, changed or noted, in both files."""
        if self.evaluation is None:
            return list(self.dataset.ledger)
        shared = overlap(self.train, self.held_out)
        place = Place(self.evaluation.source, 0)
        sentence = f"{shared} of the held-out rows have a prompt that is also trained on."
        note = [entry(place, None, "prompt", "noted", "in_training", sentence)] if shared else []
        return [*self.dataset.ledger, *self.evaluation.ledger, *note]


def train_settings(recipe: Recipe) -> TrainSettings:
    """The loop's settings out of the recipe."""
    values = recipe.train.model_dump()
    for other in ("report_to", "strategy", "deterministic"):
        values.pop(other)
    return TrainSettings(**values)


def load_model(
    recipe: Recipe,
    device: torch.device | None = None,
    heads: Heads | None = None,
    policies: Mixture | None = None,
) -> CausalPolicy | RewardModel:
    """The model as it stands before the first step.

    Weights in training are float32 unless the recipe names a dtype: a step of 1e-6 is lost in
    bfloat16. With adapters the frozen base keeps the dtype in which it is stored.
    """
    model = recipe.model
    lora = None
    if model.lora is not None:
        lora = LoraSettings(**model.lora.model_dump())
    dtype = model.dtype
    if dtype == "auto" and lora is None:
        dtype = "float32"
    options: dict[str, Any] = {
        "dtype": dtype,
        "lora": lora,
        "trust_remote_code": model.trust_remote_code,
        "layout": model.layout,
        "gradient_checkpointing": recipe.train.gradient_checkpointing,
        "device": device or local_device(),
        "seed": recipe.train.seed,
    }
    if policies is not None:
        make = partial(
            PolicyMixture,
            count=len(policies.weights),
            weights=policies.weights,
            seed=recipe.train.seed,
        )
        loaded = load_policy(model.path, make=make, **options)
    elif model.kind == "policy" or answers_with_tokens(recipe):
        loaded = load_policy(model.path, **options)
    else:
        loaded = load_reward_model(model.path, heads=heads, **options)
    if recipe.train.bf16:
        loaded.autocast = torch.bfloat16
    return loaded


def initial_policy(recipe: Recipe, trained: CausalPolicy) -> CausalPolicy:
    """The policy as it stood at step 0, loaded again beside the trained one."""
    model = recipe.model
    dtype = str(trained.inner.dtype).removeprefix("torch.")
    loaded = load_policy(
        model.path,
        dtype=dtype,
        trust_remote_code=model.trust_remote_code,
        layout=model.layout,
        device=trained.device,
    )
    loaded.autocast = trained.autocast
    return loaded


_BY_ROWS = needs("scores", "graded", "reference_sample", "keys")

GIVEN: dict[str, frozenset[str]] = {
    "policy": _BY_ROWS | needs("reference", "kl", "sum_p2", "history", "annotators"),
    "reward": _BY_ROWS | needs("reward", "heads", "ratings"),
    "pairwise": _BY_ROWS | needs("reward", "heads"),
}
"""What a kind of model, with the rows it is trained on, can give an objective."""


def answers_with_tokens(recipe: Recipe) -> bool:
    """Whether it trains a pairwise model that answers with a letter."""
    return recipe.model.kind == "pairwise" and recipe.model.pairwise == "tokens"


def compares(objective: CostFunction) -> bool:
    """Whether the objective compares the policy with a reference policy."""
    return bool({"reference", "kl"} & objective.needs)


def check_fit(recipe: Recipe, objective: CostFunction) -> None:
    """Raise where kind of model, objective, reference and history do not go together."""
    if recipe.online is not None:
        raise RecipeError(
            "recipe.online: rounds of sampling and training are those of `luce online`. Leave the "
            "section out to train on the rows of `data.path`."
        )
    grades = "reward" in objective.needs
    if policies_of(objective) is not None and (
        recipe.model.kind != "policy"
        or recipe.model.lora is None
        or recipe.train.gradient_checkpointing
    ):
        raise RecipeError(
            f"recipe.objective: {objective.name!r} trains a policy for each of K annotators, as "
            "adapters on one model, which share no checkpointed layers. Set `model.kind: policy`, "
            "`model.lora: {}` and `train.gradient_checkpointing: false`; or take `of: reward`, for "
            "a reward model with K heads (`model.kind: reward`)."
        )
    if recipe.model.kind == "pairwise" and objective.structure != "pair":
        raise RecipeError(
            f"recipe.objective: {objective.name!r} does not learn from pairs, and a pairwise model "
            "reads nothing else. Use `objective: bradley_terry`."
        )
    if recipe.model.kind != "policy" and not grades:
        raise RecipeError(
            f"recipe.objective: {objective.name!r} scores log-probabilities, and a "
            f"{recipe.model.kind} model has none. Use `objective: bradley_terry`, or "
            "`model.kind: policy`."
        )
    if recipe.model.kind == "policy" and grades:
        raise RecipeError(
            f"recipe.objective: {objective.name!r} grades with a reward head. Set "
            "`model.kind: reward`, or take an objective for policies such as dpo."
        )
    missing = sorted(objective.needs - GIVEN[recipe.model.kind])
    if missing:
        raise RecipeError(
            f"recipe.objective: {objective.name!r} needs {'; '.join(NEEDS[n] for n in missing)}. "
            f"A model of kind {recipe.model.kind} does not give it."
        )
    check_heads(recipe, objective)
    if compares(objective) and recipe.reference == "none":
        raise RecipeError(
            f"recipe.reference: {objective.name!r} compares with a reference policy, but the "
            "recipe says none. Set `reference: initial`, or take an objective without "
            "one, such as simpo."
        )
    if "history" in objective.needs and recipe.history in (None, "none"):
        raise RecipeError(
            f"recipe.history: {objective.name!r} looks at an earlier iterate of the policy. Set "
            "`history:` to the model of the iteration before (`initial` in the first one)."
        )
    if "history" not in objective.needs and recipe.history is not None:
        raise RecipeError(
            f"recipe.history: {objective.name!r} looks at no earlier iterate, but the recipe names "
            f"{recipe.history!r}. Leave the key out."
        )


def data_settings(recipe: Recipe) -> DataSettings:
    """How the recipe's rows are read."""
    data = recipe.data
    return DataSettings(
        max_length=data.max_length,
        truncation=data.truncation,
        bad_rows=data.bad_rows,
        format=data.format,
        columns=data.columns,
        split=data.split,
        config=data.config,
        limit=data.limit,
        pairs=data.pairs,
        pairwise=recipe.model.pairwise if recipe.model.kind == "pairwise" else None,
        contradictions=data.contradictions,
    )


def load_data(
    recipe: Recipe, objective: CostFunction, renderer: Renderer, vocabulary: int | None
) -> Data:
    """Read, render, truncate and split the rows of a recipe; each has what the objective reads.

    Args:
        vocabulary: rows of the model's embedding; every token id must be below it.
    """
    data, seed = recipe.data, recipe.train.seed
    settings = data_settings(recipe)
    dataset = load(data.path, renderer, settings, objective.structure, vocabulary)
    train, held_out, evaluation = list(dataset.groups), [], None
    if isinstance(data.eval, str):
        whole = replace(settings, split=None, limit=None)
        evaluation = load(data.eval, renderer, whole, objective.structure, vocabulary)
        held_out = list(evaluation.groups)
    elif data.eval is not None:
        parts = split_by_prompt(dataset, data.eval, seed)
        train, held_out = (list(part.groups) for part in parts)
    if objective.structure == "unpaired":
        train = list(with_mismatched(train, seed))
        held_out = list(with_mismatched(held_out, seed)) if held_out else []
    check_rows([*train, *held_out], objective)
    return Data(train, held_out, dataset, evaluation)


def policies_of(objective: CostFunction) -> Mixture | None:
    """The mixture, where the objective is one of policies."""
    if isinstance(objective, Mixture) and "annotators" in objective.needs:
        return objective
    return None


def open_recipe(
    resolved: Resolved,
) -> tuple[CausalPolicy | RewardModel, Renderer, Data]:
    """Model, renderer and tokenized rows of a recipe, checked to go together: the same for
    `luce train`, `luce check` and `luce logps`."""
    recipe, objective = resolved.recipe, resolved.objective
    check_fit(recipe, objective)
    model = load_model(
        recipe,
        heads=heads_for(recipe, objective, data_settings(recipe)),
        policies=policies_of(objective),
    )
    renderer = Renderer(
        model.tokenizer, render=recipe.data.render, score_turns=recipe.data.score_turns
    )
    return model, renderer, load_data(recipe, objective, renderer, embedding_rows(model.inner))


def first_batch(groups: Sequence[Group], budget: int, keep_last: bool = False) -> Packed:
    """The first micro-batch in packed form: what self-checks are run on."""
    some = list(groups[:8])
    return pack([some[i] for i in micro_batches(some, budget)[0]], keep_last)


def doubts(objective: CostFunction, data: Data) -> list[str]:
    """What is allowed, but hardly meant: sentences, each with what it rests on."""
    lengths = [int(branch.scored.sum()) for group in data.train for branch in group.branches]
    remark = scale_warning(objective, sum(lengths) / len(lengths) if lengths else None)
    return [remark] if remark else []


def refuse_used_folder(folder: Path, resume: bool) -> None:
    """Raise where a folder holds a run already and nobody asked to resume it."""
    # checkpoints that are left of a run are as good as the run: a new one would be mixed with it
    used = (folder / "manifest.json").exists() or any(folder.glob("checkpoints/step-*"))
    if not resume and used:
        raise RecipeError(
            f"{folder}: holds a run already. Add --resume to go on with it, or set another "
            "output_dir."
        )


def describe_resolved(resolved: Resolved) -> str:
    """One line: what is trained on what by which objective."""
    recipe = resolved.recipe
    return (
        f"{recipe.model.kind} {recipe.model.path} on {recipe.data.path} by {recipe.objective.name}"
    )
