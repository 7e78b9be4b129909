"""An objective by name: built, and its parameters completed with the defaults that ran."""

import inspect
from collections.abc import Mapping
from typing import Any

from luce.errors import LuceError, RecipeError
from luce.objectives.build import make_objective
from luce.objectives.presets import OBJECTIVES
from luce.recipe.schema import ObjectiveChoice
from luce.types import CostFunction

COMPOSED = "composed"
"""The name under which a recipe mentions an objective that was put together in Python."""


def build_objective(choice: ObjectiveChoice, place: str = "") -> CostFunction:
    """The cost function of a recipe's `objective`; `place` is added to errors."""
    if choice.name == COMPOSED:
        raise RecipeError(
            "recipe.objective: this run's objective was composed in Python, and a file cannot name "
            "it. Pass it again: luce.train(…, objective=…)."
        )
    try:
        return make_objective(choice.name, choice.parameters)
    except LuceError as error:
        message = str(error)
        if not message.startswith("recipe.objective"):
            message = f"recipe.objective: {message}"
        raise RecipeError(f"{message}{f' ({place})' if place else ''}") from None


def complete(choice: ObjectiveChoice, built: CostFunction) -> ObjectiveChoice:
    """The choice with every default written out, so that a later default does not change it.

    A default is left out where it cannot stand beside what was given: `gamma_beta_ratio` beside
    `gamma`.
    """
    parameters = dict(choice.parameters)
    for name, default in _defaults(choice.name).items():
        if name in parameters or default is None:
            continue
        try:
            same = make_objective(choice.name, parameters | {name: default})
        except LuceError:
            continue
        if same.parameters == built.parameters:
            parameters[name] = default
    return ObjectiveChoice(name=choice.name, parameters=parameters)


def _defaults(name: str) -> Mapping[str, Any]:
    return {
        key: parameter.default
        for key, parameter in inspect.signature(OBJECTIVES[name]).parameters.items()
        if parameter.default is not parameter.empty
    }
