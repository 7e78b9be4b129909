"""Objectives by name, with plain values for parameters: what recipes and the command line use."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from luce.errors import RecipeError, did_you_mean
from luce.objectives.own import is_own, own_objective
from luce.objectives.presets import OBJECTIVES
from luce.types import CostFunction


def resolve(name: str) -> Callable[..., CostFunction]:
    """The function that makes the objective of that name: a preset, or one of the user's own, named
    `package.module:name` (`luce.objectives.own`). `inspect` shows its parameters and its text.

    >>> resolve("dpo")(beta=0.1).name
    'dpo'
    """
    if is_own(name):
        return own_objective(name)
    if name not in OBJECTIVES:
        remedy = did_you_mean(name, OBJECTIVES)
        if "." in name:
            module, _, attribute = name.rpartition(".")
            remedy = f"One of your own is named `module:name`, as {module}:{attribute}."
        raise RecipeError(f"objective: no {name!r}. {remedy}")
    return OBJECTIVES[name]


def make_objective(name: str, parameters: Mapping[str, Any]) -> CostFunction:
    """The objective of that name; an error where the name, a parameter or a value is not known.

    A whole number is taken where a real one is wanted; nothing else is converted.

    >>> make_objective("dpo", {"beta": 2}).formula
    '−log σ(2·[log π/π_ref(chosen) − log π/π_ref(rejected)])'
    """
    make = resolve(name)
    wanted = inspect.signature(make).parameters
    for key in parameters:
        if key not in wanted:
            remedy = did_you_mean(key, wanted) if wanted else "It has no parameters."
            raise RecipeError(f"objective.{name}: no parameter {key!r}. {remedy}")
    checked = {
        key: _checked(f"objective.{name}.{key}", value, wanted[key].annotation)
        for key, value in parameters.items()
    }
    return make(**checked)


def defaults(name: str) -> dict[str, Any]:
    """The parameters of an objective with their defaults; those without one are left out.

    >>> defaults("dpo")
    {'beta': 0.1}
    """
    found = inspect.signature(resolve(name)).parameters
    return {key: p.default for key, p in found.items() if p.default is not p.empty}


def _checked(path: str, value: Any, annotation: Any) -> Any:
    if annotation in (inspect.Parameter.empty, Any):  # of one's own, which checks it itself
        return value
    if get_origin(annotation) in (UnionType, Union):  # float | None
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        if value is None and len(kinds) < len(get_args(annotation)):
            return None
        if len(kinds) > 1:
            return _one_of(path, value, kinds)
        annotation = kinds[0]
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            choices = ", ".join(map(str, get_args(annotation)))
            raise RecipeError(f"{path}: no {value!r}. Choose one of: {choices}.")
        return value
    if annotation is bool:
        if not isinstance(value, bool):
            raise RecipeError(f"{path}: {value!r} is not true or false.")
        return value
    if annotation is str:
        if not isinstance(value, str):
            raise RecipeError(f"{path}: {value!r} is not text.")
        return value
    if get_origin(annotation) is list:
        return list(_checked(path, value, tuple[(*get_args(annotation), ...)]))
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{path}: {value!r} is not a list of numbers, as in [0.8, 0.2].")
        if inner[-1] is not Ellipsis and len(inner) != len(value):
            raise RecipeError(f"{path}: {len(value)} numbers, but it takes {len(inner)}.")
        return tuple(_checked(f"{path}[{i}]", v, inner[0]) for i, v in enumerate(value))
    if annotation not in (int, float):
        raise RecipeError(
            f"{path}: takes a {getattr(annotation, '__name__', annotation)}, which a recipe cannot "
            "write. Recipes write numbers, text, true and false, and lists of these."
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " Write it without quotes." if isinstance(value, str) else ""
        raise RecipeError(f"{path}: {value!r} is not a number.{hint}")
    if annotation is int:
        if not math.isfinite(value) or value != int(value):
            raise RecipeError(f"{path}: {value!r} is not a whole number.")
        return int(value)
    return float(value)


def _one_of(path: str, value: Any, kinds: Sequence[Any]) -> Any:
    """The value as the first of several types that takes it."""
    messages = []
    for kind in kinds:
        try:
            return _checked(path, value, kind)
        except RecipeError as error:
            messages.append(str(error))
    raise RecipeError(messages[0])
