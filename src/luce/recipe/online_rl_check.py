"""Whether a recipe is one of reinforcement learning, and asks for nothing that is of no use."""

from typing import Any

from luce.errors import RecipeError
from luce.online.rl import Method
from luce.recipe.load import Resolved
from luce.recipe.schema import Recipe, Section
from luce.recipe.yaml12 import scalar_text

USED = frozenset(
    "rounds prompts_per_round n temperature top_p max_new_tokens annotator annotator_kind gold "
    "gold_kind block".split()
)
"""Keys of `online:` that reinforcement learning reads. The others select and keep rows: here every
sample is trained on, in its own round."""

UNUSED = {
    "evaluate.best": "the last step is exported",
    "evaluate.max_kl": "the last step is exported; `beta` of the objective holds the KL",
    "train.eval_steps": "there are no held-out pairs; `evaluate.sample_steps` samples the policy",
    "history": "no earlier iterate is looked at",
}
"""Keys that reinforcement learning has no use for, and why."""


def is_rl(resolved: Resolved) -> bool:
    """Whether a recipe's objective is a method of reinforcement learning."""
    return isinstance(resolved.objective, Method)


def check_rl(resolved: Resolved) -> None:
    """Raise where parts of the recipe do not go together."""
    recipe, method = resolved.recipe, resolved.objective
    online = recipe.online
    if online is None or not isinstance(method, Method):
        raise RecipeError(
            f"recipe.objective: {recipe.objective.name!r} is not a method of reinforcement "
            "learning in an `online:` recipe."
        )
    if recipe.model.kind != "policy":
        raise RecipeError(
            f"recipe.model.kind: {recipe.model.kind}, but {method.name} samples from a policy. Set "
            "`model.kind: policy`."
        )
    unused = {
        f"online.{key}": "samples are drawn in this process and trained on in their round"
        for key in type(online).model_fields
        if key not in USED
    }
    for key, why in (unused | UNUSED).items():
        value, default = _value(recipe, key)
        if value != default:
            plain = default is None or isinstance(default, str | int | float)
            way_back = f", or set {key}={scalar_text(default)}" if plain else ""
            raise RecipeError(
                f"recipe.{key}: {method.name} has no use for it: {why}. Leave it out{way_back}."
            )
    if not isinstance(online.temperature, float) or online.temperature == 0:
        raise RecipeError(
            f"recipe.online.temperature: {online.temperature}. {method.name} learns from samples "
            "of the policy: give one number above 0; 1 is the policy itself."
        )
    if recipe.reference == "none" and method.needs_reference:
        raise RecipeError(
            f"recipe.reference: none, but {method.name} has beta = {method.beta:g}, a price of the "
            "KL to a reference. Set `reference: initial`, or `beta: 0`."
        )
    if recipe.reference == "previous_round" or recipe.reference.startswith("ema"):
        raise RecipeError(
            f"recipe.reference: {recipe.reference} moves, and {method.name} keeps its reference "
            "for all rounds. Set `reference: initial`, or a path."
        )


def notes(recipe: Recipe) -> list[str]:
    """What is allowed, but hardly meant."""
    online = recipe.online
    if online is None or (online.temperature == 1 and online.top_p == 1):
        return []
    return [
        f"samples at temperature {online.temperature}, top_p {online.top_p:g} are not those of the "
        "policy: gradient, kl and entropy are taken as if they were"
    ]


def _value(recipe: Recipe, key: str) -> tuple[Any, Any]:
    """The value of a key of the recipe, and its default."""
    section: Section = recipe
    *sections, name = key.split(".")
    for part in sections:
        section = getattr(section, part)
    field = type(section).model_fields[name]
    return getattr(section, name), field.get_default(call_default_factory=True)
