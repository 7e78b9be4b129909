"""Columns that any format may carry, read strictly: a value that is used is right, or an error."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from luce.data.ledger import RowError
from luce.types import Place, TokenIds

PAIR_NUMBERS = ("margin", "score_chosen", "score_rejected")
PAIR_RATINGS = ("ratings_chosen", "ratings_rejected")
PAIR_COLUMNS = ("label", *PAIR_NUMBERS, "reference_sample", *PAIR_RATINGS)
SHARED_COLUMNS = (
    "id", "weight", "annotator", "source", "tools", "chat_template_kwargs", "system", "token_ids",
)  # fmt: skip


def kind_of(value: Any) -> str:
    """What a value is called in an error: 'text', 'a number', 'null' …"""
    if value is None:
        return "null"
    names: dict[type, str] = {
        str: "text", bool: "true/false", int: "a number", float: "a number",
        list: "a list", tuple: "a list", dict: "an object",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


def shown(value: Any) -> str:
    """A value as an error quotes it: itself where it is short, else what it is called."""
    return f"{value!r:.40}" if isinstance(value, int | float | str) else kind_of(value)


def number(
    value: Any,
    field: str,
    place: Place,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> float:
    """A finite number in [low, high], or in (low, high]; numbers written as text count.

    >>> number("0.5", "label", Place("a", 1), 0.0, 1.0)
    0.5
    """
    wanted = "a finite number"
    if math.isfinite(low):
        wanted = f"a number {'>' if open_low else '≥'} {low:g}"
    if math.isfinite(high):
        wanted = f"a number from {low:g} to {high:g}"
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    inside = low < found <= high if open_low else low <= found <= high
    if not (math.isfinite(found) and inside):
        raise RowError(place, field, "value", f"{wanted} is expected, found {shown(value)}.")
    return found


def desirable(value: Any, field: str, place: Place) -> bool:
    """True or False from true/false, 1/0, 1/-1, or "desirable"/"undesirable"."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (-1, 0, 1):
        return value == 1
    if isinstance(value, str):
        known = {
            "true": True, "false": False, "1": True, "0": False, "-1": False, "1.0": True,
            "0.0": False, "-1.0": False, "desirable": True, "undesirable": False, "chosen": True,
            "rejected": False, "good": True, "bad": False,
        }  # fmt: skip
        if value.strip().lower() in known:
            return known[value.strip().lower()]
    raise RowError(
        place, field, "value",
        f"true/false, 1/0, 1/-1 or desirable/undesirable is expected, found {shown(value)}.",
    )  # fmt: skip


def required(record: Mapping[str, Any], name: str, place: Place) -> Any:
    """The value of a column this format cannot do without."""
    if name not in record:
        found = ", ".join(map(str, record)) or "nothing"
        raise RowError(place, name, "missing", f"no `{name}` in this row; it has {found[:200]}.")
    if record[name] is None:
        raise RowError(place, name, "missing", f"`{name}` is null.")
    return record[name]


def optional(record: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or None where it is absent, null or an empty csv cell."""
    value = record.get(name)
    return None if value == "" else value


def shared(record: Mapping[str, Any], place: Place, consumed: Collection[str]) -> dict[str, Any]:
    """The arguments of `Row` that every format fills the same way; unread columns go to `extra`."""
    found: dict[str, Any] = {"place": place, "id": row_id(record) or str(place)}
    if (weight := optional(record, "weight")) is not None:
        found["weight"] = number(weight, "weight", place, 0.0, open_low=True)
    for name in ("annotator", "source"):
        if (value := optional(record, name)) is not None:
            if not isinstance(value, str | int | float):
                raise RowError(place, name, "type", f"text is expected, found {kind_of(value)}.")
            found[name] = str(value)
    if (tools := optional(record, "tools")) is not None:
        found["tools"] = _json(tools, "tools", place, list)
    if (kwargs := optional(record, "chat_template_kwargs")) is not None:
        found["chat_template_kwargs"] = _json(kwargs, "chat_template_kwargs", place, dict)
    if (ids := optional(record, "token_ids")) is not None:
        found["token_ids"] = token_ids(ids, record, place)
    read = {*consumed, *SHARED_COLUMNS}
    found["extra"] = {name: value for name, value in record.items() if name not in read}
    return found


def token_ids(value: Any, record: Mapping[str, Any], place: Place) -> TokenIds:
    """`{"prompt": ids, "chosen": ids, …}`: for the prompt and each column of responses its ids, a
    list of them where the column is a list of responses."""
    given = _json(value, "token_ids", place, dict)
    prompt = _ids(given.get("prompt"), "prompt", place)
    responses: dict[str, tuple[int, ...]] = {}
    for name, ids in given.items():
        if name == "prompt":
            continue
        texts = record.get(name)
        several = isinstance(texts, list | tuple)
        parts = zip(texts, ids, strict=False) if several else [(texts, ids)]
        if several and (not isinstance(ids, list) or len(ids) != len(texts)):
            raise RowError(place, f"token_ids.{name}", "value", f"a list of ids for each of the "
                           f"{len(texts)} in `{name}` is expected.")  # fmt: skip
        for text, own in parts:
            if not isinstance(text, str):
                raise RowError(place, f"token_ids.{name}", "value", f"`{name}` is no text, and ids "
                               "stand for texts only.")  # fmt: skip
            responses[text] = _ids(own, name, place)
    return TokenIds(prompt, responses)


def _ids(value: Any, name: str, place: Place) -> tuple[int, ...]:
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(type(i) is int and i >= 0 for i in value)
    ):
        raise RowError(place, f"token_ids.{name}", "value", "a list of token ids is expected, "
                       f"found {shown(value)}.")  # fmt: skip
    return tuple(value)


def row_id(record: Mapping[str, Any]) -> str | None:
    """The row's own id as text; None where it has none."""
    value = optional(record, "id")
    return str(value) if isinstance(value, str | int | float) else None


def judged(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """label, margin, scores, reference sample and ratings of a pair, where the row has them."""
    found: dict[str, Any] = {}
    if (label := optional(record, "label")) is not None:
        found["label"] = number(label, "label", place, 0.0, 1.0)
    for name in PAIR_NUMBERS:
        if (value := optional(record, name)) is not None:
            found[name] = number(value, name, place)
    if (sampled := optional(record, "reference_sample")) is not None:
        if sampled not in ("chosen", "rejected"):
            raise RowError(place, "reference_sample", "value", "chosen or rejected is expected, "
                           f"found {shown(sampled)}.")  # fmt: skip
        found["reference_sample"] = sampled
    for name in PAIR_RATINGS:
        if (value := optional(record, name)) is not None:
            found[name] = ratings(value, name, place)
    return found


def ratings(value: Any, field: str, place: Place) -> dict[str, float]:
    """Numbers by dimension; a dimension whose number is null is left out.

    >>> ratings({"helpfulness": 4, "correctness": None}, "ratings_chosen", Place("a", 1))
    {'helpfulness': 4.0}
    """
    given = _json(value, field, place, dict)
    return {
        str(name): number(x, f"{field}.{name}", place) for name, x in given.items() if x is not None
    }


def _json(value: Any, field: str, place: Place, kind: type) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise RowError(place, field, "value", f"not JSON: {error.msg}.") from error
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "an object"
        raise RowError(place, field, "type", f"{wanted} is expected, found {kind_of(value)}.")
    return value
