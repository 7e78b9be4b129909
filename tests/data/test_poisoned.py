"""Rows poisoned one way each: all are caught, with line, field and reason, and none of the others;
whatever is broken at random, rows used and rows dropped add up to the rows of the file."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luce.data.dataset import DataSettings, load
from luce.data.template import Renderer
from luce.errors import DataError

Rows = list[dict[str, Any]]


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def good(i: int) -> dict[str, Any]:
    return {
        "id": f"r{i}",
        "prompt": [turn("user", f"question {i}")],
        "chosen": [turn("assistant", f"good {i}")],
        "rejected": [turn("assistant", f"bad {i}")],
    }


def chosen(*turns: Any) -> dict[str, Any]:
    return {"chosen": list(turns)}


POISONS: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: (what is put into the row, the field named, the reason)
    "no column": ({"rejected": ...}, "rejected", "missing"),
    "null response": ({"chosen": None}, "chosen", "missing"),
    "null prompt": ({"prompt": None}, "prompt", "missing"),
    "empty content": (chosen(turn("assistant", "")), "chosen[0].content", "empty"),
    "empty list": ({"chosen": []}, "chosen", "empty"),
    "empty prompt list": ({"prompt": []}, "prompt", "empty"),
    "empty prompt": ({"prompt": [turn("user", "")]}, "prompt[0].content", "empty"),
    "white space": (chosen(turn("assistant", "  \n ")), "chosen[0].content", "empty"),
    "identical": (chosen(turn("assistant", "bad 5")), "rejected", "identical"),
    "misspelt role": (chosen(turn("assistent", "x")), "chosen[0].role", "role"),
    "no role": (chosen({"content": "x"}), "chosen[0].role", "role"),
    "user answers": (chosen(turn("user", "x")), "chosen[0].role", "role"),
    "system answers": (chosen(turn("system", "x")), "chosen[0].role", "role"),
    "answer ends with user": (
        chosen(turn("assistant", "x"), turn("user", "y")),
        "chosen[1].role",
        "role",
    ),
    "two answers": (
        chosen(turn("assistant", "x"), turn("assistant", "y")),
        "chosen[1].role",
        "role",
    ),
    "prompt ends with assistant": (
        {"prompt": [turn("user", "x"), turn("assistant", "y")]},
        "prompt[1].role",
        "role",
    ),
    "late system turn": (
        {"prompt": [turn("user", "x"), turn("system", "y"), turn("user", "z")]},
        "prompt[1].role",
        "role",
    ),
    "text among turns": ({"chosen": "x", "rejected": "y"}, "chosen", "form"),
    "text prompt": ({"prompt": "x"}, "prompt", "form"),
    "one side text": ({"rejected": "y"}, "rejected", "form"),
    "number": ({"chosen": 3}, "chosen", "type"),
    "null content": (chosen(turn("assistant", None)), "chosen[0].content", "type"),
    "number content": (chosen(turn("assistant", 3)), "chosen[0].content", "type"),
    "image": (
        {"prompt": [turn("user", [{"type": "image", "url": "x"}])]},
        "prompt[0].content",
        "type",
    ),
    "turn is text": (chosen("x"), "chosen[0]", "type"),
    "label above 1": ({"label": 1.5}, "label", "value"),
    "label nan": ({"label": float("nan")}, "label", "value"),
    "label word": ({"label": "yes"}, "label", "value"),
    "weight 0": ({"weight": 0}, "weight", "value"),
    "weight below 0": ({"weight": -1}, "weight", "value"),
    "margin inf": ({"margin": float("inf")}, "margin", "value"),
    "score nan": ({"score_chosen": float("nan")}, "score_chosen", "value"),
    "sample word": ({"reference_sample": "both"}, "reference_sample", "value"),
    "sample list": ({"reference_sample": ["chosen"]}, "reference_sample", "value"),
    "tools no JSON": ({"tools": "f("}, "tools", "value"),
    "arguments no object": ({"chat_template_kwargs": [1]}, "chat_template_kwargs", "type"),
    "arguments set the template": (
        {"chat_template_kwargs": {"chat_template": "x"}},
        "chat_template_kwargs",
        "template",
    ),
    "tools unread": ({"tools": [{"name": "f"}]}, "tools", "template"),
    "two systems": (
        {"system": "a", "prompt": [turn("system", "b"), turn("user", "q")]},
        "system",
        "value",
    ),
    "id of another row": ({"id": "r2"}, "id", "duplicate_id"),
    "too long": ({"prompt": [turn("user", "word " * 999)]}, "", "too_long"),
}
LINES = {
    "not UTF-8": (b'{"prompt": "\xff"}', "encoding"),
    "not JSON": (b'{"prompt": "a",}', "json"),
    "no object": (b'["prompt"]', "json"),
    "lone surrogate": (b'{"prompt": "\\ud800"}', "encoding"),
    "half-written": (json.dumps(good(5)).encode()[:-20], "json"),
}


@pytest.fixture(scope="module")
def renderer(chatml_tokenizer: Any) -> Renderer:
    return Renderer(copy.deepcopy(chatml_tokenizer))


@pytest.mark.parametrize("name", POISONS)
def test_a_poisoned_row_is_caught_with_its_reason(
    name: str, jsonl: Callable[..., str], renderer: Renderer
) -> None:
    poison, field, reason = POISONS[name]
    rows = [good(i) for i in range(8)]
    rows[5] = {k: v for k, v in {**rows[5], **poison}.items() if v is not ...}
    found = load(jsonl(rows), renderer, DataSettings(bad_rows="drop"))
    (entry,) = [e for e in found.ledger if e["action"] == "dropped"]
    assert (entry["line"], entry["field"], entry["reason"]) == (6, field, reason)
    assert entry["id"] == rows[5]["id"]
    assert found.rows_used == len(found.groups) == 7
    if reason != "too_long":
        with pytest.raises(DataError, match=f"pairs.jsonl:6: {field}".replace("[", r"\[")):
            load(jsonl(rows), renderer)


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_is_no_row_is_caught(name: str, tmp_path: Path, renderer: Renderer) -> None:
    raw, reason = LINES[name]
    path = tmp_path / "pairs.jsonl"
    rest = b"".join(json.dumps(good(i)).encode() + b"\n" for i in range(5))
    path.write_bytes(rest + raw)
    found = load(str(path), renderer, DataSettings(bad_rows="drop"))
    assert [(e["line"], e["reason"]) for e in found.ledger] == [(6, reason)]
    assert (found.rows_read, found.rows_used) == (6, 5)


def test_the_column_gone_from_the_whole_file_is_named(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    rows = [{k: v for k, v in good(i).items() if k != "rejected"} for i in range(8)]
    with pytest.raises(DataError, match="no format has these columns: .*`rejected` is missing"):
        load(jsonl(rows), renderer)
    rows = [{**good(i), "rejected": "text"} for i in range(8)]
    with pytest.raises(DataError, match="`chosen` is a list, but `rejected` is text"):
        load(jsonl(rows), renderer)


def test_nan_in_a_column_nobody_reads_is_ignored(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    rows = [{**good(i), "other": float("nan")} for i in range(3)]
    assert load(jsonl(rows), renderer).ledger == ()


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.lists(
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["user", "assistant", "system", "tool", "usr"]),
                "content": st.one_of(st.none(), st.text(max_size=3)),
            }
        ),
        max_size=3,
    ),
)
COLUMNS = (
    "id", "prompt", "chosen", "rejected", "label", "weight", "margin", "score_chosen", "system",
    "tools", "chat_template_kwargs", "annotator", "source", "other",
)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    broken=st.dictionaries(
        st.integers(0, 6), st.dictionaries(st.sampled_from(COLUMNS), JUNK, max_size=3), max_size=5
    ),
    cut=st.integers(0, 40),
)
def test_used_and_dropped_rows_add_up_whatever_is_broken(
    broken: dict[int, dict[str, Any]], cut: int, tmp_path: Path, renderer: Renderer
) -> None:
    rows = [{**good(i), **broken.get(i, {})} for i in range(7)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path = tmp_path / "pairs.jsonl"
    path.write_text(text[: len(text) - cut])
    try:
        found = load(str(path), renderer, DataSettings(bad_rows="drop"))
    except DataError as error:
        assert str(path) in str(error)
        return
    out = [e for e in found.ledger if e["action"] == "dropped"]
    assert found.rows_read == 7
    assert found.rows_used + len(out) == 7
    assert {g.place.line for g in found.groups} | {e["line"] for e in out} == set(range(1, 8))
    for i in set(range(6 if cut else 7)) - set(broken):
        assert any(g.id == f"r{i}" for g in found.groups) or any(
            e["id"] == f"r{i}" and e["reason"] == "duplicate_id" for e in out
        )
