"""Each format: told by its columns, read into the right row, written so that it reads back."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luce.data.formats import FORMATS, detect, export, named
from luce.data.ledger import RowError
from luce.data.structures import as_structure
from luce.errors import DataError
from luce.types import Feedback, Place, Preference, Ranking, Row, TokenIds

# Tests are imported by path, so their neighbours are too.
_spec = importlib.util.spec_from_file_location("examples", Path(__file__).with_name("examples.py"))
assert _spec and _spec.loader
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

EXAMPLES = examples.EXAMPLES
PLACE = examples.PLACE
EVERY = pytest.mark.parametrize(
    ("name", "record", "row"), EXAMPLES, ids=[f"{i}-{e[0]}" for i, e in enumerate(EXAMPLES)]
)


def core(row: Row) -> Row:
    return replace(row, extra={})


def test_every_format_has_an_example() -> None:
    assert {name for name, _, _ in EXAMPLES} == set(FORMATS)


@EVERY
def test_a_format_is_told_by_its_columns(name: str, record: dict[str, Any], row: Row) -> None:
    known, reason = detect([record] * 3)
    assert known.name == name
    assert all(f"`{column}`" in reason for column in known.needs)


@EVERY
def test_a_record_becomes_its_row(name: str, record: dict[str, Any], row: Row) -> None:
    assert named(name).convert(PLACE, record) == row


@EVERY
def test_a_row_written_in_a_format_reads_back_the_same(
    name: str, record: dict[str, Any], row: Row
) -> None:
    carried = replace(
        row, id="r7", weight=0.5, annotator="a17", source="s", extra={**row.extra, "note": [1]}
    )
    written = export(carried, name)
    known, _ = detect([written])
    assert known.name == name
    assert known.convert(PLACE, written) == carried


@EVERY
def test_a_row_goes_through_luces_own_format(name: str, record: dict[str, Any], row: Row) -> None:
    own = {"pair": "pairs", "unpaired": "unpaired", "list": "ranking"}
    format = own.get(named(name).structure, "prompt_completion")
    if row.prompt == "":
        return
    assert named(format).convert(PLACE, export(row, format)) == row


def test_the_other_columns_are_kept() -> None:
    record = {
        "id": 7,
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "label": "0.25",
        "weight": 2,
        "margin": -1,
        "annotator": 3,
        "source": "web",
        "score_chosen": 4,
        "score_rejected": 5,
        "reference_sample": "rejected",
        "tools": '[{"name": "f"}]',
        "chat_template_kwargs": {"enable_thinking": False},
        "model": "m",
    }
    row = named("pairs").convert(PLACE, record)
    assert row == Preference(
        place=PLACE,
        id="7",
        prompt="q",
        chosen="a",
        rejected="b",
        label=0.25,
        weight=2.0,
        margin=-1.0,
        annotator="3",
        source="web",
        score_chosen=4.0,
        score_rejected=5.0,
        reference_sample="rejected",
        tools=[{"name": "f"}],
        chat_template_kwargs={"enable_thinking": False},
        extra={"model": "m"},
    )
    assert named("pairs").convert(PLACE, export(row, "pairs")) == row


def test_alpaca_puts_the_input_under_the_instruction_and_the_history_before_it() -> None:
    record = {"instruction": "q", "input": "i", "output": "a", "history": [["h", "r"]]}
    row = named("alpaca").convert(PLACE, record)
    assert row.prompt == (examples.user("h"), examples.assistant("r"), examples.user("q\ni"))


def test_the_preferred_output_of_alpaca_eval_is_the_chosen_one() -> None:
    for preference, chosen, label in [
        (1, "x", 1.0),
        (1.25, "x", 0.75),
        (1.5, "x", 0.5),
        (2, "y", 1),
    ]:
        record = {"instruction": "q", "output_1": "x", "output_2": "y", "preference": preference}
        row = named("alpaca_eval_pairs").convert(PLACE, record)
        assert isinstance(row, Preference)
        assert (row.chosen, row.label) == (chosen, label)
        assert export(row, "alpaca_eval_pairs")["output_1"] == "x"
        assert export(row, "alpaca_eval_pairs")["preference"] == preference


def test_the_prompt_of_two_chats_ends_between_turns() -> None:
    """One answer is the beginning of the other, and the two share words: no turn is cut."""
    record = {
        "chosen": "\n\nHuman: q\n\nAssistant: The sky is blue",
        "rejected": "\n\nHuman: q\n\nAssistant: The sky is blue and vast",
    }
    row = named("hh").convert(PLACE, record)
    assert isinstance(row, Preference)
    assert row.prompt == (examples.user("q"),)
    assert row.chosen == (examples.assistant("The sky is blue"),)


def test_shared_assistant_turns_belong_to_the_responses() -> None:
    shared = [examples.user("q"), examples.assistant("same")]
    record = {
        "chosen": [*shared, examples.user("x"), examples.assistant("a")],
        "rejected": [*shared, examples.user("y"), examples.assistant("b")],
    }
    row = named("implicit_prompt").convert(PLACE, record)
    assert isinstance(row, Preference)
    assert row.prompt == (examples.user("q"),)
    assert row.chosen[0] == row.rejected[0] == examples.assistant("same")


@pytest.mark.parametrize(
    ("format", "record", "field", "message"),
    [
        ("pairs", {"prompt": "q", "chosen": "a"}, "rejected", "no `rejected` in this row"),
        ("pairs", {"prompt": "q", "chosen": "a", "rejected": None}, "rejected", "is null"),
        (
            "pairs",
            {"prompt": "q", "chosen": 3, "rejected": "b"},
            "rejected",
            "`chosen` is a number",
        ),
        ("pairs", {"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt", "found a number"),
        (
            "pairs",
            {"prompt": "q", "chosen": [{"role": "assistent", "content": "a"}], "rejected": []},
            "chosen[0].role",
            "no role 'assistent'. Did you mean 'assistant'?",
        ),
        (
            "pairs",
            {"prompt": [], "chosen": "a", "rejected": "b"},
            "prompt",
            "list of turns is empty",
        ),
        (
            "full_chats",
            {
                "prompt": "other",
                "chosen": [examples.user("q"), examples.assistant("a")],
                "rejected": [examples.user("q"), examples.assistant("b")],
            },
            "prompt",
            "is not the beginning of the chats",
        ),
        (
            "implicit_prompt",
            {
                "chosen": [examples.user("q"), examples.assistant("a")],
                "rejected": [examples.user("r"), examples.assistant("b")],
            },
            "chosen",
            "share no user turn",
        ),
        (
            "ranking",
            {"prompt": "q", "responses": ["a", "b"], "scores": [1]},
            "scores",
            "2 responses, but 1 scores",
        ),
        (
            "ranking",
            {"prompt": "q", "responses": ["a"], "scores": [1]},
            "responses",
            "a ranking has two or more",
        ),
        (
            "ranking",
            {"prompt": "q", "responses": ["a", "b"], "scores": [1, float("nan")]},
            "scores[1]",
            "a finite number is expected, found nan",
        ),
        ("unpaired", {"prompt": "q", "completion": "a", "label": 2}, "label", "found 2"),
        (
            "alpaca_eval_pairs",
            {"instruction": "q", "output_1": "a", "output_2": "b", "preference": 0},
            "preference",
            "a number from 1 to 2",
        ),
    ],
)
def test_a_bad_record_names_the_field(
    format: str, record: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(RowError) as caught:
        named(format).convert(Place("f.jsonl", 17), record)
    assert caught.value.field == field
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"f.jsonl:17: {field}: ")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "q", "chosen": "a", "rejcted": "b"}, "Did you mean 'rejcted'?"),
        ({"prompt": "q", "chosen": "a"}, "`rejected` is missing"),
        ({"foo": 1}, "A preference row has `prompt`, `chosen` and `rejected`"),
        ({"prompt": "q", "responses": "a", "scores": [1]}, "`responses` is texts or"),
    ],
)
def test_unknown_columns_name_the_nearest_format(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        detect([record], "f.jsonl")
    assert message in str(caught.value)
    assert all(f"`{name}`" in str(caught.value) for name in record)


def test_one_odd_row_does_not_change_the_format() -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert detect([{"prompt": [], "chosn": "a"}, *[good] * 9])[0].name == "pairs"


def test_a_format_that_cannot_hold_a_row_says_so() -> None:
    with pytest.raises(DataError, match="cannot hold a prompt of 4 turns"):
        export(examples.LONG, "alpaca_pairs")
    with pytest.raises(DataError, match="holds a Ranking, not a Preference"):
        export(examples.PAIR, "ranking")
    with pytest.raises(DataError, match="no 'pair'. Did you mean 'pairs'"):
        export(examples.PAIR, "pair")
    tied = replace(examples.PAIR, prompt=(examples.user("q"),), chosen=(examples.system("s"),))
    with pytest.raises(DataError, match="user and assistant turns only"):
        export(tied, "hh")


def test_rows_are_of_the_type_their_structure_names() -> None:
    kinds = {"pair": Preference, "unpaired": Feedback, "list": Ranking}
    for name, _, row in EXAMPLES:
        assert isinstance(row, kinds.get(named(name).structure, type(row)))


@pytest.mark.parametrize("to", ["pairs", "ranking"])
def test_token_ids_go_through(to: str) -> None:
    pair = {
        "prompt": "p", "chosen": "a", "rejected": "b",
        "token_ids": {"prompt": [1, 2], "chosen": [3], "rejected": [4, 5]},
    }  # fmt: skip
    row = FORMATS["pairs"].convert(Place("x", 1), pair)
    assert row.token_ids == TokenIds((1, 2), {"a": (3,), "b": (4, 5)})
    structure = FORMATS[to].structure
    record = export(as_structure(row, structure)[0], to)
    again = FORMATS[to].convert(Place("x", 1), record)
    assert again.token_ids == row.token_ids


@pytest.mark.parametrize(
    ("ids", "field"),
    [
        ({"chosen": [1]}, "prompt"),
        ({"prompt": [1], "chosen": []}, "chosen"),
        ({"prompt": [1], "chosen": [1.5]}, "chosen"),
        ({"prompt": [1], "nothing": [1]}, "nothing"),
        ({"prompt": [-1]}, "prompt"),
    ],
)
def test_token_ids_are_read_strictly(ids: dict[str, Any], field: str) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "token_ids": ids}
    with pytest.raises(RowError) as found:
        FORMATS["pairs"].convert(Place("x", 1), row)
    assert found.value.field == f"token_ids.{field}"
