"""Objectives by name, with plain values for parameters: what recipes and the command line use."""

import inspect
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from luce.errors import RecipeError, did_you_mean
from luce.objectives.presets import OBJECTIVES
from luce.types import CostFunction


def make_objective(name: str, parameters: Mapping[str, Any]) -> CostFunction:
    """The objective of that name; an error where the name, a parameter or a value is not known.

    A whole number is taken where a real one is wanted; nothing else is converted.

    >>> make_objective("dpo", {"beta": 2}).formula
    '−log σ(2·[log π/π_ref(chosen) − log π/π_ref(rejected)])'
    """
    if name not in OBJECTIVES:
        raise RecipeError(f"objective: no {name!r}. {did_you_mean(name, OBJECTIVES)}")
    wanted = inspect.signature(OBJECTIVES[name]).parameters
    for key in parameters:
        if key not in wanted:
            remedy = did_you_mean(key, wanted) if wanted else "It has no parameters."
            raise RecipeError(f"objective.{name}: no parameter {key!r}. {remedy}")
    checked = {
        key: _checked(f"objective.{name}.{key}", value, wanted[key].annotation)
        for key, value in parameters.items()
    }
    return OBJECTIVES[name](**checked)


def defaults(name: str) -> dict[str, Any]:
    """The parameters of an objective with their defaults.

    >>> defaults("dpo")
    {'beta': 0.1}
    """
    signature = inspect.signature(OBJECTIVES[name])
    return {key: parameter.default for key, parameter in signature.parameters.items()}


def _checked(path: str, value: Any, annotation: Any) -> Any:
    if isinstance(annotation, UnionType):  # float | None
        if value is None:
            return None
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            choices = ", ".join(map(str, get_args(annotation)))
            raise RecipeError(f"{path}: no {value!r}. Choose one of: {choices}.")
        return value
    if annotation is bool:
        if not isinstance(value, bool):
            raise RecipeError(f"{path}: {value!r} is not true or false.")
        return value
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{path}: {value!r} is not a list of numbers, as in [0.8, 0.2].")
        if inner[-1] is not Ellipsis and len(inner) != len(value):
            raise RecipeError(f"{path}: {len(value)} numbers, but it takes {len(inner)}.")
        return tuple(_checked(f"{path}[{i}]", v, inner[0]) for i, v in enumerate(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " Write it without quotes." if isinstance(value, str) else ""
        raise RecipeError(f"{path}: {value!r} is not a number.{hint}")
    if annotation is int:
        if value != int(value):
            raise RecipeError(f"{path}: {value!r} is not a whole number.")
        return int(value)
    return float(value)
