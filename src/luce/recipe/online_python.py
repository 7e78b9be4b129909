"""`luce.online(model=…, prompts=…, annotator=…, rounds=3, n=8, objective=luce.dpo(beta=0.1))`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luce.errors import RecipeError
from luce.recipe.online import online_run
from luce.recipe.online_loop import IN_MEMORY
from luce.recipe.preferred import Opened, of_function
from luce.recipe.python import python_recipe


def online_python(
    *, prompts: str | Path | Mapping[str, Any], resume: bool = False, **keywords: Any
) -> Path:
    """Rounds of sampling, judging and training; returns the run's folder.

    Args:
        prompts: a file of rows with a `prompt`, or the `data` section of a recipe.
        annotator, gold: as in a recipe, or an object: a scorer (of a prompt and responses), or an
            annotator (of comparisons), as `luce.judge(…)` is.
        model, objective and other keywords: as of `luce.train`; a keyword that both the `online`
            section and another one have is that of `online`.
    """
    taken: dict[str, Opened] = {}
    for role in ("annotator", "gold"):
        given = keywords.get(role)
        if isinstance(given, Path):
            keywords[role] = str(given)
        elif given is not None and not isinstance(given, str):
            taken[role] = opened(given, role)
            keywords[role] = IN_MEMORY
    if "data" in keywords:
        raise RecipeError("luce.online: `prompts` and `data` are the same; give `prompts`.")
    resolved = python_recipe("luce.online", data=prompts, **keywords)
    annotator, gold = taken.get("annotator"), taken.get("gold")
    return online_run(resolved, resume=resume, annotator=annotator, gold=gold)


def opened(given: Any, role: str) -> Opened:
    """A scorer or an annotator as the rounds ask it."""
    if not callable(given):
        raise RecipeError(
            f"luce.online: {role}: a path, `module:function`, a scorer or an annotator is "
            f"expected, found {type(given).__name__}."
        )
    return of_function(role, given)
