"""The prompts of an online run: which are used, held out or left out, and in what order."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from luce.data.template import Renderer
from luce.errors import DataError
from luce.files import read_jsonl
from luce.recipe.load import load_recipe
from luce.recipe.online_prompts import Prompts, load_prompts


@pytest.fixture
def loaded(recipe, tiny_model_dir, tmp_path):
    """The prompts of a recipe whose file holds these rows."""
    renderer = Renderer(AutoTokenizer.from_pretrained(tiny_model_dir))

    def load(rows: list[dict[str, Any]], seed: int = 0, **data: Any) -> Prompts:
        path = tmp_path / "prompts.in.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = recipe | {"online": {"annotator": "not:asked", "max_new_tokens": 8}}
        given["data"] = {"path": str(path), "eval": None, "max_length": 64} | data
        given["train"] = given["train"] | {"seed": seed}
        return load_prompts(load_recipe(given).recipe, renderer, tmp_path / "run")

    return load


def asked(*texts: str) -> list[dict[str, Any]]:
    return [{"prompt": text} for text in texts]


LETTERS = asked(*"abcdefghij")


def test_repeated_and_long_prompts_are_left_out_and_named(loaded, tmp_path) -> None:
    found = loaded(asked("a", "b", "a", "c " * 200, "d"))
    assert sorted(p.text for p in found.train) == ["a", "b", "d"]
    left_out = read_jsonl(tmp_path / "run" / "rows.jsonl")
    assert [(e["line"], e["reason"], e["action"]) for e in left_out] == [
        (3, "repeated", "dropped"),
        (4, "too_long", "dropped"),
    ]
    assert left_out[1]["tokens"] > 64 - 8
    told = read_jsonl(tmp_path / "run" / "prompts.jsonl")
    assert [row["prompt"] for row in told] == [p.text for p in found.train]


def test_the_longest_prompt_leaves_room_for_the_response(loaded) -> None:
    (one,) = loaded(asked("a b c")).train
    assert loaded(asked("a b c"), max_length=len(one.ids) + 8).train == (one,)
    with pytest.raises(DataError, match=r"no prompt is left to train on \(1 repeated or too long"):
        loaded(asked("a b c"), max_length=len(one.ids) + 7)
    with pytest.raises(DataError, match="data.max_length: 8 leaves no room for a prompt beside"):
        loaded(asked("a b c"), max_length=8)


def test_the_order_is_the_seeds_and_rounds_go_round(loaded) -> None:
    found, again, other = loaded(LETTERS), loaded(LETTERS), loaded(LETTERS, seed=1)
    order = [p.text for p in found.train]
    assert found == again and sorted(order) == [*"abcdefghij"]
    assert order not in ([*"abcdefghij"], [p.text for p in other.train])
    assert found.fingerprint != other.fingerprint
    assert [p.text for p in found.of_round(3, 4)] == [*order[8:], *order[:2]]
    assert [p.text for p in found.of_round(2, None)] == order
    assert len(found.of_round(1, 99)) == 10
    assert [p.number for p in found.train] == [*range(10)]


def test_a_share_is_held_out(loaded, tmp_path) -> None:
    found = loaded(LETTERS, eval=0.2)
    train, held = ({p.text for p in some} for some in (found.train, found.held_out))
    assert (len(train), len(held)) == (8, 2) and not train & held
    told = read_jsonl(tmp_path / "run" / "prompts.jsonl")
    assert [row["split"] for row in told] == ["train"] * 8 + ["held_out"] * 2


def test_prompts_held_out_in_a_file_are_not_trained_on(loaded, tmp_path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps({"prompt": "b"}) + "\n" + json.dumps({"prompt": "z"}) + "\n")
    found = loaded(LETTERS, eval=str(held))
    assert [p.text for p in found.held_out] == ["b", "z"]
    assert sorted(p.text for p in found.train) == [*"acdefghij"]
    (left,) = read_jsonl(tmp_path / "run" / "rows.jsonl")
    assert (left["line"], left["reason"]) == (2, "repeated")


def test_a_limit_counts_what_is_used(loaded) -> None:
    found = loaded(asked("a", "a", "b", "c", "d"), limit=3)
    assert sorted(p.text for p in found.train) == ["a", "b", "c"]


def test_turns_and_columns_of_other_names(loaded) -> None:
    turns = [{"role": "user", "content": "hello"}]
    found = loaded([{"question": turns}, {"question": "hi"}], columns={"prompt": "question"})
    assert {json.dumps(p.text) if isinstance(p.text, str) else "turns" for p in found.train} == {
        '"hi"', "turns",
    }  # fmt: skip


def test_a_row_without_a_prompt_is_named(loaded, tmp_path) -> None:
    with pytest.raises(DataError, match=r"prompts\.in\.jsonl:2.*the row has: question"):
        loaded([{"prompt": "a"}, {"question": "b"}])
    assert not Path(tmp_path / "run" / "prompts.jsonl").exists()
