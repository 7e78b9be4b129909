import gzip
import json

import pytest

from luce.errors import DataError
from luce.recipe.convert import convert

ROWS = [
    {"id": str(n), "prompt": f"p{n}", "chosen": "yes", "rejected": "no", "weight": 2.0, "x": n}
    for n in range(150)
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_there_and_back_gives_the_same_rows(source, tmp_path):
    done = convert(str(source), tmp_path / "m.jsonl.gz", "messages_pairs")
    assert (done["format"], done["rows_written"], done["rows_dropped"]) == ("pairs", 150, 0)
    convert(str(tmp_path / "m.jsonl.gz"), tmp_path / "back.json", "alpaca_pairs")
    convert(str(tmp_path / "back.json"), tmp_path / "back.jsonl", "pairs")
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()]
    kept = ("id", "chosen", "rejected", "weight", "x", "prompt")
    assert [{k: row[k] for k in kept} for row in back] == [{k: r[k] for k in kept} for r in ROWS]


def test_the_same_rows_make_the_same_bytes(source, tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        convert(str(source), tmp_path / name, "pairs")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).splitlines()) == 150


@pytest.mark.parametrize(
    ("out", "to", "format", "message"),
    [
        ("o.jsonl", "pirs", "auto", "--to: no 'pirs'. Did you mean 'pairs'"),
        ("o.jsonl", "pairs", "pirs", "--format: no 'pirs'. Did you mean 'pairs'"),
        ("o.parquet", "pairs", "auto", "End its name with .jsonl"),
        ("pairs.jsonl", "pairs", "auto", "pairs.jsonl: exists. Name another file"),
        ("o.jsonl", "unpaired", "auto", r"pairs.jsonl:1: format unpaired holds a Feedback"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    source, tmp_path, out, to, format, message
):
    with pytest.raises(DataError, match=message):
        convert(str(source), tmp_path / out, to, format=format)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pairs.jsonl"]


def test_a_source_without_any_usable_row_is_an_error_even_when_bad_rows_are_dropped(
    source, tmp_path
):
    with pytest.raises(DataError, match="no row can be written as unpaired"):
        convert(str(source), tmp_path / "o.jsonl", "unpaired", bad_rows="drop")
