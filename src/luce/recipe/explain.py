"""What is wrong with a recipe, in one line: the key's path, what was found, what to write."""

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from luce.errors import RecipeError, did_you_mean
from luce.recipe.schema import Recipe

PEERS: Mapping[str, str] = {
    "base_model": "model.path",
    "cutoff_len": "data.max_length",
    "dataset": "data.path",
    "dataset_name": "data.path",
    "finetuning_type": "model.lora",
    "global_batch_size": "train.batch_size",
    "lora_alpha": "model.lora.alpha",
    "lora_dropout": "model.lora.dropout",
    "lora_r": "model.lora.r",
    "lora_rank": "model.lora.r",
    "lora_target_modules": "model.lora.target_modules",
    "loss_type": "objective",
    "lr": "train.learning_rate",
    "model_name_or_path": "model.path",
    "num_train_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "pref_beta": "objective.dpo.beta",
    "pref_loss": "objective",
    "rank": "model.lora.r",
    "ref_model": "reference",
    "run_name": "name",
    "sequence_len": "data.max_length",
    "torch_dtype": "model.dtype",
    "use_peft": "model.lora",
}
"""Names that other programs use → luce's key."""

_BOUNDS = {
    "greater_than": ("gt", "a number above {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "{} or less"),
}


def leaves(section: type[BaseModel] = Recipe, path: str = "") -> dict[str, type[BaseModel]]:
    """Dotted key → the section that holds it, for every key of a recipe outside `objective`."""
    found: dict[str, type[BaseModel]] = {}
    for name, info in section.model_fields.items():
        key = f"{path}.{name}" if path else name
        found[key] = section
        inner = section_of(info.annotation)
        if inner is not None and key != "objective":
            found |= leaves(inner, key)
    return found


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field of this type holds, or None where it holds a value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def unknown_key(path: str, key: str, known: Sequence[str]) -> str:
    """The sentence for a key that a section does not have, with the likeliest key meant.

    >>> unknown_key("recipe.train", "lerning_rate", ["learning_rate", "seed"])
    "recipe.train: no key 'lerning_rate'. Did you mean 'learning_rate'?"
    >>> unknown_key("recipe", "learning_rate", ["train", "model"])
    "recipe: no key 'learning_rate'. Did you mean 'train.learning_rate'?"
    """
    section = path.removeprefix("recipe").lstrip(".")
    elsewhere = [k for k in leaves() if k.rpartition(".")[2] == key]
    meant = PEERS.get(key) or (elsewhere[0] if len(elsewhere) == 1 else None)
    if meant is None:
        return f"{path}: no key {key!r}. {did_you_mean(key, known)}"
    if section and meant.startswith(section + "."):
        meant = meant.removeprefix(section + ".")
    return f"{path}: no key {key!r}. Did you mean {meant!r}?"


def explain(error: ValidationError, lines: Mapping[str, str]) -> RecipeError:
    """The first problem of a validation, as an error to show. Misspelled keys come first: a key
    that is missing is often one of them. `lines` gives the place of each dotted key."""
    problems = sorted(error.errors(include_url=False), key=lambda e: _rank(str(e["type"])))
    problem = problems[0]
    loc = [str(part) for part in problem["loc"]]
    section, keys = _walk(loc)
    dotted = ".".join(keys)
    place = f" ({lines[dotted]})" if dotted in lines else ""
    path = ".".join(["recipe", *keys])
    kind = problem["type"]
    if kind == "extra_forbidden":
        parent = ".".join(["recipe", *keys[:-1]])
        return RecipeError(unknown_key(parent, keys[-1], list(section.model_fields)) + place)
    if kind == "missing":
        parent = ".".join(["recipe", *keys[:-1]])
        return RecipeError(f"{parent}: {keys[-1]!r} is required.")
    found, shown = problem["input"], _shown(problem["input"])
    info = section.model_fields[keys[-1]] if keys else None
    choices = _choices(info.annotation) if info else ()
    if kind == "literal_error" and isinstance(found, str):
        return RecipeError(f"{path}: no {found!r}. {did_you_mean(found, choices)}{place}")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        limit = problem.get("ctx", {}).get(bound)
        return RecipeError(f"{path}: expected {words.format(limit)}, got {shown}.{place}")
    if kind == "string_pattern_mismatch":
        return RecipeError(f"{path}: expected a name without slashes, got {shown}.{place}")
    if kind == "string_too_short":
        return RecipeError(f"{path}: is empty.{place}")
    if kind == "finite_number":
        return RecipeError(f"{path}: expected a finite number, got {shown}.{place}")
    expected = describe(info.annotation) if info else "`key: value` lines"
    return RecipeError(f"{path}: expected {expected}, got {shown}.{place}")


def _shown(value: Any) -> str:
    """A value as the recipe would write it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)


def _rank(kind: str) -> int:
    if kind == "extra_forbidden":
        return 0
    return 1 if kind in _BOUNDS else 3 if kind == "missing" else 2


def _walk(loc: Sequence[str]) -> tuple[type[BaseModel], list[str]]:
    """The section of an error's location and the dotted key, without the names of union members."""
    section: type[BaseModel] = Recipe
    keys: list[str] = []
    for i, part in enumerate(loc):
        keys.append(part)
        if part not in section.model_fields:
            break
        inner = section_of(section.model_fields[part].annotation)
        if inner is None or i + 1 == len(loc):
            break
        section = inner
    return section, keys


def _choices(annotation: Any) -> tuple[str, ...]:
    """The names that a type allows, also of the parts of a list or a union."""
    if get_origin(annotation) is Literal:
        return tuple(name for name in get_args(annotation) if isinstance(name, str))
    return tuple(name for inner in get_args(annotation) for name in _choices(inner))


def describe(annotation: Any) -> str:
    """A type in words.

    >>> describe(int | None), describe(Literal["a", "b"]), describe(tuple[str, ...])
    ('int or null', "'a' or 'b'", 'a list of str')
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        return describe(inner[0])
    if origin in (Union, types.UnionType):
        words = [describe(kind) for kind in inner]
        return ", ".join(words[:-1]) + f" or {words[-1]}"
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if origin in (tuple, list):
        return f"a list of {describe(inner[0])}"
    if origin is dict or section_of(annotation) is not None:
        return "`key: value` lines"
    return annotation.__name__
