"""Real judgements: the two spellings of the same 1,800 dialogues, and other published shapes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luce.data.dataset import DataSettings, load
from luce.data.formats import export, named
from luce.data.rows import read
from luce.data.template import Renderer
from luce.types import Preference

Real = Callable[[str], Path]

# The crowd worker ended the dialogue before the assistant answered.
EMPTY = {f"hh_harmless_test/{n}" for n in (86, 516, 925, 1103)}
# "\n\nAssistant:" stands twice in a row: one answer is two turns, or a turn quotes "Human:".
TWO_ANSWERS = {f"hh_harmless_test/{n}" for n in (1254, 1688, 1950, 1952, 2036)}


@pytest.fixture(scope="module")
def renderer(chatml_tokenizer: Any) -> Renderer:
    return Renderer(copy.deepcopy(chatml_tokenizer))


def test_raw_and_converted_dialogues_are_the_same_rows(real_data: Real) -> None:
    raw = list(read(str(real_data("hh_harmless_raw.jsonl.gz"))))
    converted = list(read(str(real_data("hh_harmless_conv.jsonl.gz"))))
    assert len(raw) == len(converted) == 1800
    different = []
    for (place, a), (_, b) in zip(raw, converted, strict=True):
        x = named("hh").convert(place, a)
        y = named("pairs").convert(place, b)
        assert isinstance(x, Preference) and isinstance(y, Preference)
        if (x.id, x.prompt, x.chosen, x.rejected) != (y.id, y.prompt, y.chosen, y.rejected):
            different.append(x.id)
        again = named("hh").convert(place, export(x, "hh"))
        assert again == x
    assert different == []


@pytest.mark.parametrize("limit", [100, pytest.param(1800, marks=pytest.mark.slow)])
def test_raw_and_converted_dialogues_give_the_same_tokens(
    real_data: Real, renderer: Renderer, limit: int
) -> None:
    settings = DataSettings(bad_rows="drop", max_length=100_000, limit=limit)
    raw, converted = (
        load(str(real_data(f"hh_harmless_{n}.jsonl.gz")), renderer, settings)
        for n in ("raw", "conv")
    )
    assert (raw.format_name, converted.format_name) == ("hh", "pairs")
    assert [e["id"] for e in raw.ledger] == [e["id"] for e in converted.ledger]
    assert len(raw.groups) == len(converted.groups)
    for a, b in zip(raw.groups, converted.groups, strict=True):
        assert a.id == b.id
        assert np.array_equal(a.prompt, b.prompt)
        for x, y in zip(a.branches, b.branches, strict=True):
            assert np.array_equal(x.ids, y.ids) and np.array_equal(x.scored, y.scored)


def test_the_nine_dialogues_left_out_are_those_known_to_be_odd(
    real_data: Real, renderer: Renderer
) -> None:
    from luce.data.ledger import RowError
    from luce.data.validate import check_row

    faults: dict[str, str] = {}
    for place, record in read(str(real_data("hh_harmless_raw.jsonl.gz"))):
        row = named("hh").convert(place, record)
        try:
            check_row(row)
        except RowError as error:
            faults[row.id] = error.reason
    assert faults == {**dict.fromkeys(EMPTY, "empty"), **dict.fromkeys(TWO_ANSWERS, "role")}
    odd = {
        record["id"]
        for _, record in read(str(real_data("hh_harmless_conv.jsonl.gz")))
        if not record["simple"]
    }
    assert odd == TWO_ANSWERS


@pytest.mark.parametrize(
    ("name", "structure", "format"),
    [
        ("alpaca_eval2_pairs.jsonl.gz", "pair", "alpaca_eval_pairs"),
        ("alpaca_listwise.jsonl.gz", "list", "candidates"),
        ("alpaca_listwise.jsonl.gz", "pair", "candidates"),
        ("corpus.jsonl.gz", "demonstration", "text"),
    ],
)
def test_published_shapes_are_read(
    real_data: Real, renderer: Renderer, name: str, structure: Any, format: str
) -> None:
    settings = DataSettings(max_length=100_000, limit=10)
    found = load(str(real_data(name)), renderer, settings, structure)
    assert found.format_name == format
    assert found.rows_used == len(found.groups) == 10
    assert all(0.5 <= g.label <= 1.0 for g in found.groups)
