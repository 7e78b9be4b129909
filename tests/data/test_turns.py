"""Turns in every spelling, and what is none."""

import pytest

from luce.data.ledger import RowError
from luce.data.turns import turn
from luce.types import Place

PLACE = Place("f.jsonl", 3)


def test_spellings_of_a_turn() -> None:
    plain = {"role": "user", "content": "hi"}
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    for value in (plain, {"from": "human", "value": "hi"}, {"role": "human", "content": "hi"},
                  {"role": "user", "content": parts}):  # fmt: skip
        assert turn(value, "prompt", PLACE) == plain


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"from": [], "value": "hi"}, r"f.jsonl:3.*prompt.role.*no role \[\]"),
        ({"from": {"a": 1}}, "no role"),
        ({"role": ["user"], "content": "hi"}, "no role"),
        ({"role": "usr", "content": "hi"}, "no role 'usr'. Did you mean 'user'"),
        ({"role": "user", "content": [{"type": "text"}]}, "a text part without a text"),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, "a text part without"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "a text part without a text"),
        ({"role": "user", "content": [{"type": "image", "url": "x"}]}, "only text parts"),
        ({"role": "user", "content": None}, "text is expected"),
        ("hi", "a turn is an object"),
    ],
)  # fmt: skip
def test_what_is_no_turn_is_named(value: object, said: str) -> None:
    with pytest.raises(RowError, match=said):
        turn(value, "prompt", PLACE)
