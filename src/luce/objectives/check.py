"""Parameters and batches are checked where they come in; errors name the key."""

import math
import re
from fractions import Fraction
from typing import Any

from luce.errors import LuceError, RecipeError
from luce.types import Responses


def number(value: float) -> str:
    """A number as a formula prints it: a simple fraction as one.

    >>> number(-0.1), number(2.0), number(2 / 3), number(1e-5)
    ('−0.1', '2', '(2/3)', '1e−5')
    """
    text = f"{value:.12g}"
    if len(text) > 10 and math.isfinite(value):
        near = Fraction(value).limit_denominator(12)
        if math.isclose(near, value, rel_tol=1e-15):
            text = f"({near})"
    return re.sub(r"e([-+])0*", r"e\1", text).replace("e+", "e").replace("-", "−")


def _finite(key: str, value: Any, wanted: str) -> float:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not math.isfinite(value):
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return float(value)


def positive(key: str, value: Any) -> float:
    """`value` as a float; an error that names `objective.<key>` unless it is finite and > 0."""
    wanted = "a positive, finite number"
    if (checked := _finite(key, value, wanted)) <= 0:
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return checked


def non_negative(key: str, value: Any) -> float:
    """`value` as a float; an error that names `objective.<key>` unless it is finite and ≥ 0."""
    wanted = "a finite number of at least 0"
    if (checked := _finite(key, value, wanted)) < 0:
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return checked


def real(key: str, value: Any) -> float:
    """`value` as a float; an error that names `objective.<key>` unless it is finite."""
    return _finite(key, value, "a finite number")


def fraction(key: str, value: Any, low_open: bool = False) -> float:
    """`value` as a float; an error that names `objective.<key>` unless it is in [0, 1], or in
    (0, 1] where `low_open`."""
    wanted = "a number in (0, 1]" if low_open else "a number in [0, 1]"
    checked = _finite(key, value, wanted)
    if not 0 <= checked <= 1 or (low_open and checked == 0):
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return checked


def whole(key: str, value: Any, least: int = 0) -> int:
    """`value` as an int; an error that names `objective.<key>` unless it is whole and ≥ `least`."""
    wanted = f"a whole number of at least {least}"
    checked = _finite(key, value, wanted)
    if checked != int(checked) or checked < least:
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return int(checked)


def flip_rate(key: str, value: Any) -> float:
    """`value` as a float; an error that names `objective.<key>` unless it is in [0, 0.5)."""
    wanted = "a rate of flipped labels in [0, 0.5)"
    if not 0 <= (checked := _finite(key, value, wanted)) < 0.5:
        raise RecipeError(f"objective.{key}: {value!r} is not {wanted}.")
    return checked


def check_lengths(responses: Responses, role: str) -> None:
    """An error where a response has no scored token: it has no log-probability per token."""
    empty = (responses.lengths < 1).nonzero().flatten().tolist()
    if empty:
        raise LuceError(
            f"{role}: response {empty[0]} of the batch has no scored token, so nothing can be "
            "learnt from it. Drop the row, or give the response at least its end-of-turn token."
        )
