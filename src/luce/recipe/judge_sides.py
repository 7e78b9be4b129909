"""Two sides of a comparison: responses from files, or drawn from models, set beside each other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.data.rows import read
from luce.data.turns import text_or_turns
from luce.errors import LuceError
from luce.files import canonical_json, write_jsonl
from luce.types import Comparison, Place, Text

NAMES = ("response", "output", "completion", "answer")
"""Columns that may hold a response, the first that a row has."""

SUFFIXES = (".jsonl", ".json", ".ndjson", ".gz", ".csv", ".tsv", ".parquet", ".arrow")


@dataclass(frozen=True)
class Drawing:
    """How a model's responses are drawn.

    Attributes:
        prompts: a file of rows with a `prompt`.
        temperature, top_p, max_new_tokens, seed: of the sampling.
        render: chat template, or plain text.
        limit: so many prompts only.
    """

    prompts: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 512
    seed: int = 0
    render: Literal["chat", "plain"] = "chat"
    limit: int | None = None


@dataclass(frozen=True)
class Side:
    """The responses of one side.

    Attributes:
        name: of the model.
        responses: prompt (as canonical text) → the prompt and its responses, in order.
    """

    name: str
    responses: Mapping[str, tuple[Text, tuple[str, ...]]]


def side(source: str, name: str | None, drawing: Drawing) -> Side:
    """The responses in a file, or of a model.

    Raises:
        DataError: a row without prompt or response, or a file without rows.
        LuceError: a model, and no file of prompts.
    """
    if _is_file(source):
        return _from_rows(source, name or Path(source).name.split(".")[0], drawing.limit)
    if drawing.prompts is None:
        raise LuceError(f"{source}: a model answers prompts, and there are none. Give --prompts.")
    from luce.models.engine import SamplingSettings
    from luce.recipe.sample import sample

    drawn = sample(
        source,
        (),
        source=drawing.prompts,
        settings=SamplingSettings(
            temperature=drawing.temperature,
            top_p=drawing.top_p,
            max_new_tokens=drawing.max_new_tokens,
        ),
        render=drawing.render,
        limit=drawing.limit,
        seed=drawing.seed,
    )
    found: dict[str, tuple[Text, tuple[str, ...]]] = {}
    for row in drawn:
        given = row["prompt"]
        _add(found, given if isinstance(given, str) else tuple(given), str(row["response"]))
    return Side(name or _model_name(source), found)


def all_sides(
    sources: Sequence[str], names: Sequence[str], drawing: Drawing, save: Path | None = None
) -> list[Side]:
    """Every side once, in order.

    Args:
        names: one for each; none: those of the files and models.
        save: a folder for what models answered; None: nothing is written.

    Raises:
        LuceError: some names are missing; see also `side`.
    """
    if names and len(names) != len(sources):
        raise LuceError(f"--names: {len(names)} for {len(sources)} sides. Give one for each.")
    given: Sequence[str | None] = names or [None] * len(sources)
    found = []
    for source, name in zip(sources, given, strict=True):
        found.append(side(source, name, drawing))
        if save is not None and not _is_file(source):
            write_jsonl(save / f"{found[-1].name}.jsonl", _written(found[-1]))
    return found


def compared(a: Side, b: Side) -> tuple[list[Comparison], list[str]]:
    """Responses to the same prompts side by side, the first of one with the first of the other and
    so on; and sentences about what one side has and the other has not.

    Raises:
        LuceError: no prompt is answered by both.
    """
    found, notes = [], []
    for key, (prompt, ours) in a.responses.items():
        if key in b.responses:
            _, theirs = b.responses[key]
            found += [Comparison(prompt, x, y) for x, y in zip(ours, theirs, strict=False)]
    for one, other in ((a, b), (b, a)):
        alone = sum(key not in other.responses for key in one.responses)
        more = sum(
            max(0, len(mine) - len(other.responses[key][1]))
            for key, (_, mine) in one.responses.items()
            if key in other.responses
        )
        if alone:
            notes.append(f"{alone} prompts are answered by {one.name} only, and left out.")
        if more:
            notes.append(f"{more} responses of {one.name} have none beside them, and are left out.")
    if not found:
        raise LuceError(f"{a.name} and {b.name} have no prompt in common.")
    return found, notes


def _is_file(source: str) -> bool:
    return Path(source).is_file() or Path(source).suffix.lower() in SUFFIXES


def _model_name(source: str) -> str:
    """The last part of a name or path; that of the run where it is a run's folder `model`."""
    path = Path(source)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def _from_rows(source: str, name: str, limit: int | None) -> Side:
    found: dict[str, tuple[Text, tuple[str, ...]]] = {}
    for place, record in read(source):
        if limit is not None and len(found) == limit and _key(record.get("prompt")) not in found:
            break
        _add(found, _prompt(record, place), _response(record, place))
    return Side(name, found)


def _prompt(record: Mapping[str, Any], place: Place) -> Text:
    value = record.get("prompt", record.get("instruction"))
    if value is None:
        raise RowError(place, "prompt", "missing", f"the row has: {', '.join(record)}.")
    return text_or_turns(value, "prompt", place)


def _response(record: Mapping[str, Any], place: Place) -> str:
    there = [name for name in NAMES if name in record]
    if not there:
        told = f"no {' or '.join(f'`{n}`' for n in NAMES)}; the row has: {', '.join(record)}."
        raise RowError(place, NAMES[0], "missing", told)
    value = record[there[0]]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        value = value[0].get("content")
    if not isinstance(value, str):
        raise RowError(place, there[0], "type", f"text is expected, found {kind_of(value)}.")
    return value


def _add(found: dict[str, tuple[Text, tuple[str, ...]]], prompt: Text, response: str) -> None:
    key = _key(prompt)
    _, before = found.get(key, (prompt, ()))
    found[key] = (prompt, (*before, response))


def _key(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    turns: Sequence[Any] = prompt if isinstance(prompt, list | tuple) else [prompt]
    return canonical_json(json.loads(json.dumps([dict(t) for t in turns]))) if turns else ""


def _written(side: Side) -> list[dict[str, Any]]:
    """Rows of a file of responses."""
    return [
        {"prompt": prompt if isinstance(prompt, str) else [dict(t) for t in prompt], "response": r}
        for prompt, responses in side.responses.values()
        for r in responses
    ]
