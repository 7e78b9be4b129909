"""`luce annotate`: what people are asked, from files of tasks, of judged rows, or of responses."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from luce.annotate.server import Settings, Store, Task
from luce.annotate.server.tasks import plain_prompt
from luce.data.fields import kind_of
from luce.data.formats import Format, detect
from luce.data.ledger import RowError
from luce.data.rows import read
from luce.data.turns import text_or_turns
from luce.errors import LuceError
from luce.files import fingerprint
from luce.recipe.data_people import generators
from luce.recipe.judge import duels
from luce.recipe.judge_sides import Drawing, all_sides
from luce.types import Place, Preference, Ranking, Row, Text

SAMPLE = 100
"""Rows looked at to tell the format."""


def tasks_of(
    sources: Sequence[str], names: Sequence[str] = (), limit: int | None = None
) -> tuple[list[Task], list[str]]:
    """The tasks of one file, or of two files of responses and more, as `luce judge` takes them; and
    sentences on what is left out.

    A row of one file has a `prompt` and `responses` (texts, or objects with `response` and
    `model`; or with a list `models` beside), or `response_a` and `response_b` (with `model_a` and
    `model_b`), or it is judged data in any format luce reads: pairs or rankings, whose judgement is
    not shown.

    Raises:
        DataError: a row cannot be read.
        LuceError: see `duels` and `Task`; or names are given for the responses of one file.
    """
    if len(sources) > 1:
        found, notes = duels(all_sides(sources, names, Drawing(limit=limit)))
        return [
            Task(d.comparison.prompt, (d.comparison.a, d.comparison.b), (d.a, d.b), d.id)
            for d in found
        ], notes
    if names:
        raise LuceError("--names are of two files of responses or more; rows name their `models`.")
    rows = read(sources[0])
    sample = list(islice(rows, SAMPLE if limit is None else min(SAMPLE, limit)))
    known = None
    if not any(_is_task(record) for _, record in sample):
        known, _ = detect([record for _, record in sample], sources[0])
    tasks = [_task(place, record, known) for place, record in sample]
    rest = None if limit is None else limit - len(sample)
    tasks += [_task(place, record, known) for place, record in islice(rows, rest)]
    # rows of one id that differ are kept: the store refuses them
    different = {(task.id, _content(task)): task for task in tasks}
    twice = len(tasks) - len(different)
    notes = [f"{twice:,} rows stand there twice, and are one task."] if twice else []
    return list(different.values()), notes


def checks_of(source: str) -> list[Task]:
    """Attention checks: rows with `prompt`, `chosen` and `rejected`, in any format of pairs, of
    which every attentive reader prefers the chosen.

    Raises:
        DataError: a row cannot be read.
    """
    rows = list(read(source))
    known, _ = detect([record for _, record in rows[:SAMPLE]], source)
    return [replace(_task(place, record, known), best=0, id="") for place, record in rows]


def open_store(
    path: Path,
    tasks: Sequence[Task],
    checks: Sequence[Task] = (),
    *,
    seed: int | None = None,
    overlap: int | None = None,
    dimensions: Sequence[str] = (),
    check_every: int | None = None,
) -> Store:
    """The store with these tasks added; what is not said stays as the file has it.

    Raises:
        LuceError: see `Store`; or there is neither a file nor a task.
    """
    if not tasks and not path.exists():
        raise LuceError(f"{path} is not there yet. Name a file of tasks to begin with.")
    before = Settings()
    if path.exists():
        store = Store(path)
        before = store.settings
        store.close()
    settings = Settings(
        before.seed if seed is None else seed,
        before.overlap if overlap is None else overlap,
        tuple(dimensions) or before.dimensions,
        before.check_every if check_every is None else check_every,
    )
    store = Store(path, settings)
    store.add([*tasks, *checks])
    return store


def need_server() -> None:
    """Say what to install where the page cannot be served.

    Raises:
        LuceError: a package is missing.
    """
    missing = [
        name
        for name in ("fastapi", "uvicorn", "markdown_it")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise LuceError(
            f"The annotation page needs {' and '.join(missing)}. Install luce with its extra `ui`: "
            "pip install 'luce[ui]'."
        )


def _content(task: Task) -> str:
    return fingerprint([plain_prompt(task.prompt), task.responses, task.models, task.best])


def _is_task(record: Mapping[str, Any]) -> bool:
    judged = "scores" in record or "ranks" in record or "rewards" in record
    return ("responses" in record and not judged) or "response_a" in record


def _task(place: Place, record: Mapping[str, Any], known: Format | None) -> Task:
    try:
        if known is not None:
            return _judged(known.convert(place, record), place)
        return _plain(place, record)
    except RowError:
        raise
    except LuceError as error:
        raise LuceError(f"{place}: {error}") from None


def _judged(row: Row, place: Place) -> Task:
    """The task of a row that somebody judged before; how is left behind."""
    id = "" if row.id == str(row.place) else row.id
    if isinstance(row, Preference):
        texts = (_one(row.chosen, "chosen", place), _one(row.rejected, "rejected", place))
        return Task(row.prompt, texts, generators(row.extra), id)
    if isinstance(row, Ranking):
        names = row.extra.get("models")
        models = tuple(map(str, names)) if isinstance(names, list) else None
        texts = tuple(_one(r, "responses", place) for r in row.responses)
        return Task(row.prompt, texts, models, id)
    told = "people compare responses; a row has two of them or more, and this one has one."
    raise RowError(place, "responses", "missing", told)


def _plain(place: Place, record: Mapping[str, Any]) -> Task:
    asked = record.get("prompt", record.get("instruction"))
    if asked is None:
        raise RowError(place, "prompt", "missing", f"the row has: {', '.join(record)}.")
    prompt = text_or_turns(asked, "prompt", place)
    if "responses" in record:
        given = record["responses"]
        if not isinstance(given, list):
            told = f"a list is expected, found {kind_of(given)}."
            raise RowError(place, "responses", "type", told)
        answers, names = [], []
        for number, item in enumerate(given):
            field = f"responses[{number}]"
            if isinstance(item, Mapping) and "response" in item:
                names.append(item.get("model"))
                item = item["response"]
            answers.append(_one(text_or_turns(item, field, place), field, place))
        models = record.get("models") or names
    else:
        fields = ("response_a", "response_b")
        for field in fields:
            if field not in record:
                raise RowError(place, field, "missing", f"the row has: {', '.join(record)}.")
        answers = [_one(text_or_turns(record[f], f, place), f, place) for f in fields]
        models = [record.get("model_a"), record.get("model_b")]
    known = tuple(name for name in models if isinstance(name, str))
    complete = bool(models) and len(known) == len(models)
    id = record.get("id")
    return Task(prompt, tuple(answers), known if complete else None, "" if id is None else str(id))


def _one(response: Text, field: str, place: Place) -> str:
    """A response as one text."""
    if isinstance(response, str):
        return response
    if len(response) == 1:
        return str(response[0].get("content") or "")
    told = f"a page compares single answers, and this response has {len(response)} turns."
    raise RowError(place, field, "type", told)
