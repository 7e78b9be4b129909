"""From a recipe file and the command line to a checked `Recipe`, and where each value came from.

Precedence: default < file < command line. Relative paths are relative to the current folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luce.errors import RecipeError
from luce.recipe.explain import explain
from luce.recipe.overrides import COMMAND_LINE, apply_overrides, flatten
from luce.recipe.schema import Recipe
from luce.recipe.yaml12 import read_yaml

DEFAULT = "default"
"""The provenance of a value that nobody gave."""


@dataclass(frozen=True)
class Resolved:
    """A recipe with nothing left open.

    Attributes:
        recipe: every value, those of the objective included.
        provenance: dotted key → "default", "file:line", "command line" or "python".
        objective: what `recipe.objective` names, built: a `luce.types.CostFunction`, or in an
            online recipe a `luce.online.rl.Method`.
    """

    recipe: Recipe
    provenance: Mapping[str, str]
    objective: Any


def load_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Resolved:
    """A recipe file (or the same as a mapping) with `key=value` overrides, checked and built.

    Errors (`RecipeError`) name the key, its file and line, and the nearest key or value meant.
    """
    from luce.recipe.objective import build_objective, complete, for_model

    recipe, provenance = read_recipe(source, overrides)
    choice = recipe.objective
    objective = build_objective(choice, provenance, online=recipe.online is not None)
    whole = complete(choice, objective)
    for name in whole.parameters:
        provenance.setdefault(f"objective.{choice.name}.{name}", DEFAULT)
    recipe = recipe.model_copy(update={"objective": whole})
    return Resolved(recipe, provenance, for_model(objective, recipe))


def read_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    given_by: str = "python",
) -> tuple[Recipe, dict[str, str]]:
    """The recipe and the provenance of each value, without building the objective (no torch).

    `given_by` is the provenance of the values of a mapping.
    """
    if isinstance(source, Mapping):
        tree, lines, stem = dict(source), {}, "run"
    else:
        path = Path(source)
        document = read_yaml(path)
        if not isinstance(document.value, dict):
            raise RecipeError(f"{path}: expected `key: value` lines; `luce train` shows how.")
        tree, stem = document.value, path.stem
        lines = {key: f"{path}:{line}" for key, line in document.lines.items()}
        given_by = f"{path}:1"
    whole, given = apply_overrides(tree, overrides)
    places = _places(whole, given, lines, given_by)
    whole.setdefault("name", stem)
    whole.setdefault("output_dir", f"runs/{whole['name']}")
    try:
        recipe = Recipe.model_validate(_canonical(whole))
    except ValidationError as error:
        raise explain(error, places) from None
    provenance = {key: DEFAULT for key in flatten(written(recipe))} | places
    return recipe, {key: provenance[key] for key in flatten(written(recipe))}


def written(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a tree of plain values, in the form in which a file writes it."""
    tree = recipe.model_dump()
    tree["objective"] = {recipe.objective.name: dict(recipe.objective.parameters)}
    return tree


def _canonical(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as the schema reads it: an objective as its name and parameters."""
    tree = dict(whole)
    if "objective" in tree:
        ((name, parameters),) = tree["objective"].items()
        tree["objective"] = {"name": name, "parameters": parameters}
    return tree


def _places(
    whole: Mapping[str, Any], given: Sequence[str], lines: Mapping[str, str], otherwise: str
) -> dict[str, str]:
    """Where each value that was given stands; sections too, for errors about them."""
    places: dict[str, str] = {}
    for leaf in flatten(whole):
        parts = leaf.split(".")
        for n in range(1, len(parts) + 1):
            key = ".".join(parts[:n])
            above = [".".join(parts[:m]) for m in range(n, 0, -1)]
            if any(k in given for k in above):
                places[key] = COMMAND_LINE
            else:
                places[key] = next((lines[k] for k in above if k in lines), otherwise)
    return places
