"""Keywords of `luce.train(model=…, data=…, objective=…, learning_rate=…)` as a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luce.errors import LuceError, RecipeError, did_you_mean
from luce.recipe.explain import PEERS, leaves
from luce.recipe.load import Resolved, load_recipe, read_recipe
from luce.recipe.objective import COMPOSED
from luce.recipe.schema import Recipe
from luce.types import CostFunction


def flat_keywords(online: bool = False) -> dict[str, str]:
    """Keyword → dotted key: the top-level keys, and every key of a section whose name is unique.

    `learning_rate` → `train.learning_rate`; `path` is both the model's and the data's, and is not
    among them: `model=` and `data=` give it. The keys of `online` go before all others where an
    online run is meant, and are none of the keywords where not.
    """
    names: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for dotted in leaves():
        section, dot, name = dotted.rpartition(".")
        if section == "online":
            first |= {name: dotted} if online else {}
        elif dot and "." not in section:  # a section in a section is given as a mapping
            names.setdefault(name, []).append(dotted)
    unique = {name: keys[0] for name, keys in names.items() if len(keys) == 1}
    return unique | first | {name: name for name in Recipe.model_fields}


def python_recipe(verb: str = "luce.train", **keywords: Any) -> Resolved:
    """The resolved recipe of these keywords of `luce.train` or `luce.online`.

    `model`, `data`: a path, or a mapping of the section's keys. `objective`: a name, a mapping, or
    an objective (`luce.dpo(beta=0.1)`, or one composed of parts). `train`, `evaluate`: mappings.
    Any other keyword is a key of one section by its own name: `learning_rate`, `max_length`.
    """
    known = flat_keywords(verb == "luce.online")
    tree: dict[str, Any] = {}
    for keyword, value in keywords.items():
        if keyword not in known:
            raise RecipeError(f"{verb}: no keyword {keyword!r}. {_meant(keyword, known)}")
        if "." not in known[keyword] and value is not None:
            tree[keyword] = _plain(verb, keyword, value)
    for keyword, value in keywords.items():
        section, dot, key = known[keyword].partition(".")
        if dot:
            inside = tree.setdefault(section, {})
            if isinstance(inside, str):
                inside = tree[section] = {"path": inside}
            if key in inside:
                raise RecipeError(f"{verb}: {keyword!r} is given twice, also in {section!r}.")
            inside[key] = str(value) if isinstance(value, Path) else value
    objective = keywords.get("objective")
    if isinstance(objective, CostFunction) and not isinstance(objective, str | Mapping):
        return _with_objective(tree, objective)
    return load_recipe(tree)


def _meant(keyword: str, known: Mapping[str, str]) -> str:
    """The question "Did you mean …?", also for the names that other programs use."""
    key = PEERS.get(keyword, "").removesuffix(".path")
    same = [name for name, dotted in known.items() if dotted == key]
    return f"Did you mean {same[0]!r}?" if same else did_you_mean(keyword, known)


def _plain(verb: str, keyword: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {k: str(v) if isinstance(v, Path) else v for k, v in value.items()}
    if isinstance(value, str) or keyword == "objective":
        return value
    raise RecipeError(
        f"{verb}: {keyword}: expected a path, a name or a mapping, got {type(value).__name__}."
    )


def _with_objective(tree: dict[str, Any], objective: CostFunction) -> Resolved:
    """A recipe around an objective that is already built.

    A preset keeps its name, so that the run can be repeated from its recipe. Anything else is
    called `composed`, with its formula: a recipe file cannot say how it was put together.
    """
    if rebuilt(objective):
        return load_recipe(tree | {"objective": {objective.name: dict(objective.parameters)}})
    named = {COMPOSED: {"formula": objective.formula}}
    recipe, provenance = read_recipe(tree | {"objective": named})
    return Resolved(recipe, provenance, objective)


def rebuilt(objective: CostFunction) -> bool:
    """Whether its name and parameters make the same objective again."""
    from luce.objectives.build import make_objective

    try:
        return make_objective(objective.name, objective.parameters).formula == objective.formula
    except LuceError:
        return False
