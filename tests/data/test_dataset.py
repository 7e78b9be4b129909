"""A source read whole: the counts add up, rows left out are named, policies do what they say."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from luce.data.dataset import Dataset, DataSettings, check_choice, load
from luce.data.template import Renderer
from luce.errors import DataError

DROP = DataSettings(bad_rows="drop")


def pair(i: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"What is {i}?", "chosen": f"number {i}", "rejected": "no", **more}


@pytest.fixture
def renderer(chat_tokenizer: Any) -> Renderer:
    return Renderer(chat_tokenizer)


def dropped(dataset: Dataset) -> dict[int, str]:
    return {e["line"]: e["reason"] for e in dataset.ledger if e["action"] == "dropped"}


def test_a_good_file_gives_a_group_a_row_and_an_empty_ledger(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    source = jsonl(pair(i, id=f"r{i}") for i in range(5))
    found = load(source, renderer)
    assert [g.id for g in found.groups] == [f"r{i}" for i in range(5)]
    assert (found.rows_read, found.rows_used, found.rows_dropped, found.ledger) == (5, 5, 0, ())
    assert found.format_name == "pairs" and "`chosen` (text)" in found.format_reason
    assert found.sha256 == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    assert found.tokens == sum(g.tokens for g in found.groups) == found.counts["tokens"]


def test_bad_rows_stop_with_the_first_three_and_the_number_of_the_others(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    rows = [pair(i) for i in range(9)]
    for line in (2, 3, 5, 8, 9):
        rows[line - 1]["chosen"] = ""
    source = jsonl(rows)
    with pytest.raises(DataError) as caught:
        load(source, renderer)
    lines = str(caught.value).splitlines()
    assert lines[:3] == [f"{source}:{n}: chosen: the response is empty." for n in (2, 3, 5)]
    assert lines[3] == "… and 2 more"
    assert "set data.bad_rows: drop" in lines[4]
    found = load(source, renderer, DROP)
    assert dropped(found) == dict.fromkeys((2, 3, 5, 8, 9), "empty")
    assert (found.rows_used, found.rows_dropped, found.rows_read) == (4, 5, 9)


def test_rows_too_long_are_dropped_and_listed_without_a_stop(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    source = jsonl([pair(1), {**pair(2), "prompt": "long " * 200}, pair(3)])
    found = load(source, renderer, DataSettings(max_length=128))
    assert dropped(found) == {2: "too_long"}
    assert (found.rows_used, found.rows_dropped) == (2, 1)
    (entry,) = found.ledger
    assert entry["id"] == f"{source}:2" and "max_length is 128" in entry["detail"]
    with pytest.raises(DataError, match=":2: .* tokens, max_length is 128"):
        load(source, renderer, DataSettings(max_length=128, truncation="error", bad_rows="drop"))
    cut = load(source, renderer, DataSettings(max_length=128, truncation="left_prompt"))
    assert [e["reason"] for e in cut.ledger] == ["prompt_cut"] and len(cut.groups) == 3
    assert cut.ledger[0]["action"] == "changed"
    assert max(g.longest for g in cut.groups) == 128


def test_a_pair_equal_after_truncation_is_dropped(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    same = "the same beginning " * 20
    row = {"prompt": "q", "chosen": same + "a", "rejected": same + "b"}
    settings = DataSettings(max_length=64, truncation="right_keep_eos")
    found = load(jsonl([pair(1), row]), renderer, settings)
    assert dropped(found) == {2: "identical_after_truncation"}


def test_nothing_left_or_nothing_to_learn_is_an_error(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    source = jsonl({**pair(i), "rejected": f"number {i}"} for i in range(64))
    for settings in (DROP, DataSettings()):
        with pytest.raises(DataError, match="in 64 of 64 rows chosen and rejected are the same"):
            load(source, renderer, settings)
    with pytest.raises(DataError, match="0 of 3 rows left .3 dropped/too_long.. First: line 1"):
        load(jsonl(pair(i) for i in range(3)), renderer, DataSettings(max_length=4))
    bad = jsonl([], "bad.jsonl")
    Path(bad).write_text("{\n{\n")
    with pytest.raises(DataError, match="0 of 2 rows can be read. .*bad.jsonl:1: not JSON"):
        load(bad, renderer, DROP)


def test_repeats_are_noted_and_an_id_with_two_contents_is_bad(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    rows = [
        pair(1, id="a"),
        pair(1, id="a"),
        {"prompt": "What is 1?", "chosen": "no", "rejected": "number 1"},
        pair(2, id="a"),
        pair(3),
    ]
    source = jsonl(rows)
    with pytest.raises(DataError, match=f"{source}:4: id: 'a' is also the id of {source}:1"):
        load(source, renderer)
    found = load(source, renderer, DROP)
    assert dropped(found) == {4: "duplicate_id"}
    notes = {(e["line"], e["reason"]) for e in found.ledger if e["action"] == "noted"}
    assert notes == {(2, "duplicate"), (3, "contradiction")}
    assert len(found.groups) == 4
    strict = DataSettings(bad_rows="drop", contradictions="drop")
    found = load(source, renderer, strict)
    assert [g.place.line for g in found.groups] == [2, 5]
    assert found.rows_used == 2
    assert dropped(found) == {1: "contradiction", 3: "contradiction", 4: "duplicate_id"}


def test_annotators_may_differ(jsonl: Callable[..., str], renderer: Renderer) -> None:
    rows = [
        pair(1, annotator="x"),
        {**pair(1, annotator="y"), "chosen": "no", "rejected": "number 1"},
    ]
    assert load(jsonl(rows), renderer).ledger == ()


def test_one_text_row_among_turns_is_named(jsonl: Callable[..., str], renderer: Renderer) -> None:
    turns = {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    with pytest.raises(DataError, match=":3: prompt: text here, but chat in most rows"):
        load(jsonl([turns, {**turns, "id": "x"}, pair(1)]), renderer)


def test_columns_and_formats_may_be_named(jsonl: Callable[..., str], renderer: Renderer) -> None:
    source = jsonl([{"q": "x", "good": "a", "bad": "b"}])
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    found = load(source, renderer, DataSettings(columns=columns, format="pairs"))
    assert (len(found.groups), found.format_reason) == (1, "named in data.format")
    with pytest.raises(DataError, match="data.columns.chosen: .* no column 'goood'. Did you mean"):
        load(source, renderer, DataSettings(columns={**columns, "chosen": "goood"}))
    with pytest.raises(DataError, match="data.format: no 'pears'. Did you mean 'pairs'"):
        load(source, renderer, DataSettings(format="pears"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 1}, "data.max_length: 1 leaves no room"),
        ({"limit": 0}, "data.limit: 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        DataSettings(**settings)
    with pytest.raises(DataError, match="data.truncation: no 'left'. Did you mean 'left_prompt'"):
        check_choice("truncation", "left", ("drop", "left_prompt"))


def test_a_limit_reads_only_so_many_rows(jsonl: Callable[..., str], renderer: Renderer) -> None:
    found = load(jsonl(pair(i) for i in range(200)), renderer, DataSettings(limit=70))
    assert found.rows_read == len(found.groups) == 70


def test_another_structure_is_counted_in_the_ledger(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    source = jsonl([pair(1), pair(2, label=0.5), pair(3, label=0.2)])
    found = load(source, renderer, structure="unpaired")
    assert [g.label for g in found.groups] == [1.0, 0.0, 1.0, 0.0]
    assert [g.id.rpartition("#")[2] for g in found.groups] == ["desirable", "undesirable"] * 2
    assert dropped(found) == {2: "tie"}
    assert (found.rows_read, found.rows_used) == (3, 2)
    assert found.ledger[-1]["detail"] == "2 pair rows read as 4 unpaired groups."
    with pytest.raises(DataError, match="learns from pair rows, but the data .format text. holds"):
        load(jsonl([{"text": "a"}], "t.jsonl"), renderer)


def test_one_pair_of_a_ranking_may_fail_without_the_others(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    row = {"prompt": "q", "responses": ["a", "a", "b"], "scores": [3, 2, 1]}
    found = load(jsonl([row]), renderer, DataSettings(pairs="all"))
    assert [g.id.rpartition("#")[2] for g in found.groups] == ["0>2", "1>2"]
    assert (found.rows_used, found.rows_dropped) == (1, 0)
    assert [(e["action"], e["reason"]) for e in found.ledger] == [
        ("changed", "identical"),
        ("noted", "structure"),
    ]


def test_a_token_the_model_does_not_have_is_named(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    size = len(renderer.tokenizer)
    source = jsonl([pair(1)])
    assert len(load(source, renderer, vocab_size=size).groups) == 1
    with pytest.raises(DataError, match="has id .*, but the model's embedding has only 40 rows"):
        load(source, renderer, vocab_size=40)


def test_folders_and_saved_tables_have_a_hash_of_their_content(
    tmp_path: Path, renderer: Renderer
) -> None:
    rows = [pair(i) for i in range(3)]
    table = datasets.Dataset.from_list(rows)
    table.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "folder").mkdir()
    table.to_json(str(tmp_path / "folder" / "a.jsonl"))
    saved, folder = (load(str(tmp_path / n), renderer) for n in ("saved", "folder"))
    for a, b in zip(saved.groups, folder.groups, strict=True):
        assert np.array_equal(a.prompt, b.prompt)
    before = folder.sha256
    (tmp_path / "folder" / "b.jsonl").write_text((tmp_path / "folder" / "a.jsonl").read_text())
    assert load(str(tmp_path / "folder"), renderer).sha256 != before


def test_a_huge_row_is_dropped_like_any_other(
    jsonl: Callable[..., str], renderer: Renderer
) -> None:
    row = {**pair(1), "chosen": "word " * 100_000}
    assert dropped(load(jsonl([row, pair(2)]), renderer)) == {1: "too_long"}
