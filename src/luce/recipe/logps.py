"""`luce logps`: the log-probabilities of a recipe's rows under its reference (and under an earlier
iterate, where the objective looks at one), before training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.errors import RecipeError
from luce.models.products import quick_products
from luce.recipe.deterministic import deterministic
from luce.recipe.load import load_recipe
from luce.recipe.prepare import open_recipe
from luce.recipe.reference import prepare_reference
from luce.train.distributed import World


def build_cache(recipe_path: str, overrides: Sequence[str], console: Console) -> dict[str, Any]:
    """Compute the cache that `luce train` with the same recipe then reads; says what is in it.

    It lies in `reference/` (and `history/`) of the run's folder and is keyed by weights and by
    tokens, so that a changed model or changed data are computed anew.
    """
    resolved = load_recipe(recipe_path, overrides)
    recipe, objective = resolved.recipe, resolved.objective
    if not {"reference", "history"} & objective.needs:
        raise RecipeError(
            f"recipe.objective: {objective.name!r} uses no reference; there is nothing to compute."
        )
    folder = Path(recipe.output_dir)
    with deterministic(recipe), quick_products():  # as in training: the same bits
        model, _, data = open_recipe(resolved)
        reference = prepare_reference(
            recipe, objective, model, data, folder, World(), console, beforehand=True
        )
    made = {
        "folder": str(folder / "reference"),
        "groups": len(data.train) + len(data.held_out),
        "responses": 0 if reference.cache is None else len(reference.cache),
        **reference.facts,
    }
    if reference.history is None:
        return made
    where = str(reference.history.folder)
    return made | {
        "history": {"folder": where, "responses": len(reference.history), **reference.history_facts}
    }
