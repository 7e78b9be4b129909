"""An objective by name: built, and its parameters completed with the defaults that ran."""

from collections.abc import Mapping
from typing import Any

from luce.errors import LuceError, RecipeError
from luce.objectives import Ensemble, Objective
from luce.objectives.build import make_objective
from luce.recipe.schema import ObjectiveChoice, Recipe

COMPOSED = "composed"
"""The name under which a recipe mentions an objective that was put together in Python."""

REINFORCEMENT = ("reinforce", "rloo", "grpo", "dr_grpo", "ppo")
"""Names of `luce.online.rl.METHODS`, here because that room takes seconds to import."""


def build_objective(
    choice: ObjectiveChoice, places: Mapping[str, str] | None = None, online: bool = False
) -> Any:
    """The cost function of a recipe's `objective`, or in an online recipe a method of
    reinforcement learning (`luce.online.rl.Method`).

    `places` says where each dotted key stands; errors add the place of the key they name.
    """
    if choice.name == COMPOSED:
        raise RecipeError(
            "recipe.objective: this run's objective was composed in Python, and a file cannot name "
            "it. Pass it again: luce.train(…, objective=…)."
        )
    try:
        if choice.name not in REINFORCEMENT:
            return make_objective(choice.name, choice.parameters)
        if not online:
            raise RecipeError(
                f"objective: {choice.name!r} is reinforcement learning, which samples as it "
                "learns. Add an `online:` section that says who gives rewards, and use `luce "
                "online`."
            )
        from luce.online.rl.methods import make_method

        return make_method(choice.name, choice.parameters)
    except LuceError as error:
        message = str(error)
        message = f"recipe.{message}" if message.startswith("objective") else message
        place = _place(message, choice.name, places or {})
        raise RecipeError(f"{message}{f' ({place})' if place else ''}") from None


def _place(message: str, name: str, places: Mapping[str, str]) -> str:
    """Where the parameter that an error names stands, else the objective itself."""
    inside = {k: p for k, p in places.items() if k.startswith(f"objective.{name}")}
    for key, place in inside.items():
        if f"{key}:" in message or f"{key.rpartition('.')[2]!r}" in message:
            return place
    return next(iter(inside.values()), "")


def for_model(objective: Any, recipe: Recipe) -> Any:
    """The objective as the recipe's model learns it: by every member, of an ensemble."""
    members = recipe.model.ensemble
    if members is None:
        return objective
    if not isinstance(objective, Objective):
        raise RecipeError(
            f"recipe.model.ensemble: no ensemble learns {objective.name!r}. Take an objective of "
            "pairs that scores rewards, such as bradley_terry."
        )
    try:
        return Ensemble(objective, members, recipe.train.seed)
    except RecipeError as error:
        raise RecipeError(f"recipe.model.ensemble: {error}") from None


def complete(choice: ObjectiveChoice, built: Any) -> ObjectiveChoice:
    """The choice with every default written out, so that a later default does not change it.

    A default is left out where it cannot stand beside what was given, as `gamma` beside
    `gamma_beta_ratio`.
    """
    if choice.name in REINFORCEMENT:
        return ObjectiveChoice(name=choice.name, parameters=dict(built.parameters))
    parameters = dict(choice.parameters)
    for name, default in built.parameters.items():
        if name in parameters:
            continue
        try:
            same = make_objective(choice.name, parameters | {name: default})
        except LuceError:
            continue
        if same.parameters == built.parameters:
            parameters[name] = default
    return ObjectiveChoice(name=choice.name, parameters=parameters)
