"""Values given on the command line, as `train.seed=1`, laid over those of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luce.errors import RecipeError
from luce.recipe.explain import leaves
from luce.recipe.yaml12 import parse_yaml

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Override:
    """One `key=value`: the parts of the dotted key, and the value."""

    keys: tuple[str, ...]
    value: Any

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)


def parse_override(text: str) -> Override:
    """`train.seed=1` → key and value; the value is read as YAML, except where the key holds text.

    >>> parse_override("train.learning_rate=5e-7")
    Override(keys=('train', 'learning_rate'), value=5e-07)
    >>> parse_override("name=2026").value
    '2026'
    """
    dotted, sign, raw = text.partition("=")
    dotted = dotted.strip().removeprefix("recipe.").removeprefix("--")
    keys = _keys(dotted)
    if not sign or not dotted or not all(keys):
        raise RecipeError(f"command line: expected `key=value`, got {text!r}.")
    holder = leaves().get(dotted)
    if holder is not None and holder.model_fields[keys[-1]].annotation is str:
        return Override(keys, raw)
    return Override(keys, parse_yaml(raw, f"command line: {dotted}").value)


def _keys(dotted: str) -> tuple[str, ...]:
    """The parts of a dotted key; `module.path:name` of an objective of one's own is one part.

    >>> _keys("objective.my_package.mine:loss.beta")
    ('objective', 'my_package.mine:loss', 'beta')
    """
    section, _, rest = dotted.partition(".")
    if section != "objective" or ":" not in rest:
        return tuple(dotted.split("."))
    module, _, inside = rest.partition(":")
    name, *keys = inside.split(".")
    return (section, f"{module}:{name}", *keys)


def expand(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as written, with its shorthands spelled out: a string for `model` or `data` is the
    path, a string for `objective` is a name without parameters.

    >>> expand({"model": "m", "objective": "dpo"})
    {'model': {'path': 'm'}, 'objective': {'dpo': {}}}
    """
    whole = dict(tree)
    for section in ("model", "data"):
        if isinstance(whole.get(section), str):
            whole[section] = {"path": whole[section]}
    for section in ("train", "evaluate"):
        if section in whole and whole[section] is None:  # `train:` with every line commented out
            del whole[section]
    if "objective" in whole:
        whole["objective"] = _objective(whole["objective"])
    return whole


def _objective(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, parameters),) = value.items()
        parameters = {} if parameters is None else parameters
        if isinstance(parameters, Mapping):
            return {str(name): dict(parameters)}
        raise RecipeError(
            f"recipe.objective.{name}: expected `key: value` lines, got {parameters!r}."
        )
    if isinstance(value, Mapping) and len(value) > 1:
        names = ", ".join(map(str, value))
        raise RecipeError(f"recipe.objective: expected one name, got {len(value)}: {names}.")
    raise RecipeError(
        f"recipe.objective: expected a name, or `{{name: {{parameter: value}}}}`, got {value!r}."
    )


def apply_overrides(tree: Mapping[str, Any], texts: Sequence[str]) -> tuple[dict, list[str]]:
    """The recipe with the command line laid over it, and the dotted keys that were given there.

    A whole section is set before a key inside it, whatever the order; of one key given twice the
    last counts. `model=PATH` and `data=PATH` change the path and leave the rest of the section.
    """
    whole = {k: _copy(v) for k, v in expand(tree).items()}
    given: list[str] = []
    for override in sorted(map(parse_override, texts), key=lambda o: len(o.keys)):
        keys, value = override.keys, override.value
        if keys[0] == "objective":
            keys, value = _objective_keys(whole, keys, value)
        elif keys in (("model",), ("data",)) and isinstance(value, str):
            keys = (keys[0], "path")
        _set(whole, keys, value)
        given.append(".".join(keys))
    return whole, given


def _objective_keys(whole: dict, keys: tuple[str, ...], value: Any) -> tuple[tuple[str, ...], Any]:
    if len(keys) == 1:
        return keys, _objective(value)
    if len(keys) == 2 and value is not None and not isinstance(value, Mapping):
        # `objective.beta=0.1`: the name is missing, and the error should say which one.
        name = next(iter(whole.get("objective", {"dpo": {}})))
        raise RecipeError(
            f"command line: objective.{keys[1]}: name the objective, as in "
            f"`objective.{name}.{keys[1]}={value}`."
        )
    current = next(iter(whole.get("objective", {keys[1]: {}})))
    if keys[1] != current:
        raise RecipeError(
            f"command line: {'.'.join(keys)}: the recipe's objective is {current!r}. "
            f"Write `objective={keys[1]}` as well to train with {keys[1]!r}."
        )
    return keys, ({} if len(keys) == 2 and value is None else value)


def _set(whole: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    holder: dict[str, Any] = whole
    for depth, key in enumerate(keys[:-1], start=1):
        inner = holder.get(key)
        if inner is None:
            inner = holder[key] = {}
        if not isinstance(inner, dict):
            raise RecipeError(
                f"command line: {'.'.join(keys)}: recipe.{'.'.join(keys[:depth])} is "
                f"{inner!r}, not a section."
            )
        holder = inner
    holder[keys[-1]] = value


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def flatten(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted key → value, for every single value (lists and empty sections count as one)."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, dotted)
        else:
            flat[dotted] = value
    return flat
