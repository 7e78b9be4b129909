"""The prompts of an online run: read once, split, and handed out round by round."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luce.data.ledger import RowError
from luce.data.rows import read
from luce.data.template import Renderer
from luce.data.turns import text_or_turns
from luce.errors import DataError
from luce.files import canonical_json, fingerprint, write_jsonl
from luce.recipe.schema import Recipe
from luce.types import Place, Text


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        number: by which files of the run name it.
        text: as the file has it.
        ids: its tokens.
    """

    number: int
    text: Text
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Prompts:
    """All prompts of a run.

    Attributes:
        train: in the order in which rounds take them.
        held_out: for the evaluation; none of them is trained on.
        fingerprint: of all of them and their order.
    """

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    fingerprint: str

    def of_round(self, number: int, count: int | None) -> list[Prompt]:
        """The prompts of round `number` (from 1): the next `count`, from the beginning again once
        all have been asked; all of them where `count` is None."""
        if count is None:
            return list(self.train)
        first = (number - 1) * count
        return [self.train[(first + i) % len(self.train)] for i in range(min(count, len(self)))]

    def __len__(self) -> int:
        return len(self.train)


def load_prompts(recipe: Recipe, renderer: Renderer, folder: Path | None = None) -> Prompts:
    """Read the prompts of `data.path`, hold some out, and order the others by `train.seed`.

    Repeated prompts are taken once, and prompts that leave no room for `online.max_new_tokens`
    within `data.max_length` are left out; rows.jsonl of the folder names them.

    Raises:
        DataError: a row without a prompt, or no prompt is left.
    """
    assert recipe.online is not None
    data, left_out = recipe.data, []
    room = data.max_length - recipe.online.max_new_tokens
    if room < 1:
        raise DataError(
            f"data.max_length: {data.max_length} leaves no room for a prompt beside "
            f"online.max_new_tokens = {recipe.online.max_new_tokens}."
        )

    def usable(source: str, known: set[str], limit: int | None) -> list[tuple[Text, list[int]]]:
        found = []
        for place, record in read(source, split=data.split, config=data.config):
            if limit is not None and len(found) == limit:
                break
            text = _prompt(record, place, data.columns.get("prompt", "prompt"))
            key = canonical_json(text)
            ids = renderer.prompt_ids(text, place=place)
            reason = "repeated" if key in known else "too_long" if len(ids) > room else None
            if reason is not None:
                entry = {"file": place.file, "line": place.line, "action": "dropped"}
                left_out.append(entry | {"reason": reason, "tokens": len(ids)})
                continue
            known.add(key)
            found.append((text, ids))
        return found

    known: set[str] = set()
    held: list[tuple[Text, list[int]]] = []
    if isinstance(data.eval, str):
        held = usable(data.eval, known, None)
    rows = usable(data.path, known, data.limit)
    order = np.random.default_rng((recipe.train.seed, len(rows))).permutation(len(rows)).tolist()
    if isinstance(data.eval, float):
        count = max(1, round(data.eval * len(rows)))
        held = [rows[i] for i in order[:count]]
        order = order[count:]
    if not order:
        raise DataError(
            f"{data.path}: no prompt is left to train on ({len(left_out)} repeated or too long, "
            f"{len(held)} held out)."
        )
    train = [rows[i] for i in order]
    every = [Prompt(n, text, tuple(ids)) for n, (text, ids) in enumerate([*train, *held])]
    if folder is not None:
        write_jsonl(folder / "rows.jsonl", left_out)
        write_jsonl(folder / "prompts.jsonl", [_row(p, p.number >= len(train)) for p in every])
    return Prompts(
        tuple(every[: len(train)]),
        tuple(every[len(train) :]),
        fingerprint([[list(p.ids), p.number >= len(train)] for p in every]),
    )


def plain(text: Text) -> Any:
    """A prompt as JSON has it."""
    return text if isinstance(text, str) else [dict(turn) for turn in text]


def _row(prompt: Prompt, held_out: bool) -> dict[str, Any]:
    return {
        "number": prompt.number,
        "split": "held_out" if held_out else "train",
        "prompt": plain(prompt.text),
    }


def _prompt(record: Any, place: Place, column: str) -> Text:
    value = record.get(column)
    if value is None:
        raise RowError(place, column, "missing", f"the row has: {', '.join(record)}.")
    return text_or_turns(value, column, place)
