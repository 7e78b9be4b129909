"""Every kind of source gives the same rows, each with its place; what cannot be read is named."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from luce.data.ledger import RowError
from luce.data.rows import read
from luce.errors import DataError

ROWS = [
    {"id": "a", "prompt": "1+1?", "chosen": "2", "rejected": "3"},
    {"id": "b", "prompt": "zwei\nZeilen", "chosen": "é\u2028", "rejected": "\0"},
    {"id": "c", "prompt": "p", "chosen": [{"role": "assistant", "content": "x"}], "rejected": "y"},
]
TEXT_ROWS = ROWS[:2]
LINES = "".join(json.dumps(r) + "\n" for r in ROWS)


def records(source: Path | str, **options: Any) -> list[dict[str, Any]]:
    return [record for _, record in read(str(source), **options)]


def lines(source: Path | str, **options: Any) -> list[int]:
    return [place.line for place, _ in read(str(source), **options)]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("a.jsonl", LINES, [1, 2, 3]),
        ("a.jsonl.gz", LINES, [1, 2, 3]),
        ("a.json", LINES, [1, 2, 3]),
        ("a.json", json.dumps(ROWS), [1, 1, 1]),
        ("a.json", json.dumps(ROWS, indent=1).replace("},\n {", "},\n\n {"), [2, 9, 16]),
        ("a.json.gz", json.dumps({"v": '"data": [', "data": ROWS}), [1, 1, 1]),
        ("a.jsonl", "\ufeff\n\n" + LINES.replace("\n", "\r\n\r\n"), [3, 5, 7]),
        ("a.jsonl", LINES.rstrip("\n"), [1, 2, 3]),
    ],
)
def test_json_in_all_its_spellings(
    tmp_path: Path, name: str, content: str, numbers: list[int]
) -> None:
    path = put(tmp_path, name, content)
    assert records(path) == ROWS
    assert lines(path) == numbers


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_of_text_names_the_line_a_row_begins_on(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROWS[0]), delimiter="\t" if suffix == "tsv" else ",")
        writer.writeheader()
        writer.writerows([{**ROWS[2], "chosen": json.dumps(ROWS[2]["chosen"])}, *TEXT_ROWS])
    assert records(path) == [ROWS[2], *TEXT_ROWS]
    assert lines(path) == [2, 3, 4]


def test_parquet_and_saved_folders_lose_the_nulls_a_table_adds(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": [{"role": "assistant", "content": "x"}], "label": 0.5},
        {"prompt": "q", "chosen": [{"role": "assistant", "content": "y", "name": "n"}]},
    ]
    filled = [{"label": None, **row} for row in rows]
    filled[0]["chosen"] = [{**rows[0]["chosen"][0], "name": None}]
    table = datasets.Dataset.from_list(filled)
    table.to_parquet(str(tmp_path / "a.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    splits = datasets.DatasetDict({"train": table, "test": table.select([1])})
    splits.save_to_disk(str(tmp_path / "splits"))
    assert records(tmp_path / "a.parquet") == rows
    assert records(tmp_path / "saved") == rows
    assert records(tmp_path / "splits", split="test") == rows[1:]
    with pytest.raises(DataError, match="set data.split to one of: train, test"):
        records(tmp_path / "splits")
    with pytest.raises(DataError, match="Did you mean 'test'"):
        records(tmp_path / "splits", split="tset")


def test_a_folder_of_files_is_read_in_order_and_by_split(tmp_path: Path) -> None:
    put(tmp_path, "train-0.jsonl", LINES)
    put(tmp_path, "train-1.jsonl.gz", LINES)
    put(tmp_path, "test.jsonl", LINES.splitlines()[0])
    assert len(records(tmp_path)) == 7
    assert records(tmp_path, split="train") == ROWS * 2
    assert [Path(p.file).name for p, _ in read(str(tmp_path), split="test")] == ["test.jsonl"]
    with pytest.raises(DataError, match="no file of split 'dev'.*train-0.jsonl"):
        records(tmp_path, split="dev")


def test_columns_are_renamed(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"q": "1", "b": 2}')
    assert records(path, columns={"prompt": "q"}) == [{"prompt": "1", "b": 2}]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{"a": 1}\n{"a": "\xff"}\n', 2, r"byte 8 of the line \(0xff\) is not UTF-8"),
        (LINES[:-30], 3, "half-written"),
        (LINES.encode()[: LINES.index("zwei") + 4], 2, "half-written"),
        ('{"a": "é'.encode()[:-1], 1, "half-written"),
        ('{"a": 1}\n{"a": 1,}\n', 2, "not JSON: .* at column"),
        ('{"a": 1}\n[1]\n', 2, "an object is expected, found a list"),
        ('{"a": 1}\n{"id": 7, "m": [{"c": "\\ud800"}]}\n', 2, r"m\[0\].c: holds half of a surr"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_others_are_used(
    tmp_path: Path, content: str | bytes, line: int, message: str
) -> None:
    path = put(tmp_path, "a.jsonl", content)
    with pytest.raises(RowError, match=message) as caught:
        records(path)
    assert caught.value.place.line == line
    assert str(caught.value).startswith(f"{path}:{line}: ")
    bad: list[RowError] = []
    good = records(path, on_bad=bad.append)
    assert len(bad) == 1
    assert len(good) == line - 1


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    assert records(put(tmp_path, "a.jsonl", '{"a": "\\ud83d\\ude00"}')) == [{"a": "😀"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "a.jsonl: 0 rows"),
        ("a.json", "[]", "a.json: 0 rows"),
        ("a.csv", "a,b\n", "a.csv: 0 rows"),
        ("a.json", '{"rows": []}', "an object with one under `data`. Found: rows"),
        ("a.json", '[{"a": 1}, {"a"', "a.json:1: not JSON"),
        ("a.json", '[{"a": 1},', "the file was cut here"),
        ("a.json", b'[\n{"a": "\xff"}]', r"a.json:2: byte 10 of the file \(0xff\)"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "a.csv:3: 3 cells, but the header names 2"),
        ("a.csv", 'a,b\n1,2\n1,"2', "a.csv:3: not readable as csv"),
        ("a.txt", "x", "no reader for '.txt'"),
        ("a.parquet", "not parquet", "cannot be read as parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        records(put(tmp_path, name, content))


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES.encode())[:-12])
    with pytest.raises(DataError, match="a.jsonl.gz: damaged gzip file"):
        records(path)


def test_a_missing_file_is_looked_for_among_its_neighbours(tmp_path: Path) -> None:
    put(tmp_path, "pairs.jsonl", LINES)
    with pytest.raises(DataError, match="no such file. Did you mean 'pairs.jsonl'"):
        records(tmp_path / "pars.jsonl")
    with pytest.raises(DataError, match="does not exist either"):
        records(tmp_path / "nowhere" / "pairs.jsonl")
    with pytest.raises(DataError, match="a single file has no splits"):
        records(tmp_path / "pairs.jsonl", split="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data file here"):
        records(tmp_path / "empty")


def test_a_name_is_asked_of_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, config: str | None) -> datasets.DatasetDict:
        asked.append((name, config))
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(TEXT_ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert records("some/data", config="small") == TEXT_ROWS
    assert asked == [("some/data", "small")]


def test_a_name_without_network_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="nobody/nothing: there is no such file, and no data set"):
        records("nobody/nothing")
