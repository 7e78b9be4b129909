"""`luce data check`: exit codes, what is printed, which files are written."""

import json
import random

import pytest

from luce.cli.main import run


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr("luce.data.audit.estimates.RESAMPLES", 100)

    def save(change=lambda rows: rows, name="pairs.jsonl"):
        generator = random.Random(0)

        def text(n):
            letters = "bcdfghjklmnpqrstvwxz"
            return " ".join("".join(generator.choices(letters, k=5)) for _ in range(n)) + "."

        rows = [
            {"prompt": text(12), "chosen": text(generator.randint(9, 30)),
             "rejected": text(generator.randint(9, 30))}
            for _ in range(100)
        ]  # fmt: skip
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))
        return str(path)

    return save


def test_a_clean_file_ends_with_0(write, capsys):
    assert run(["data", "check", write()]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("data    ") and shown.endswith("no finding.\n")
    assert "longer preferred, in characters" in shown


def test_findings_end_with_1_and_are_told(write, capsys):
    path = write(lambda rows: [*rows, rows[0]])
    assert run(["data", "check", path]) == 1
    shown = capsys.readouterr().out
    assert "1 finding:\n  duplicate: 1 of 101 pairs" in shown
    assert f"{path}:101: the same as {path}:1" in shown


def test_what_cannot_be_used_ends_with_2(tmp_path, write, capsys):
    assert run(["data", "check", str(tmp_path / "none.jsonl")]) == 2
    assert run(["data", "check", write(), "--format", "pears"]) == 2
    assert "Did you mean 'pairs'?" in capsys.readouterr().err
    assert run(["data", "check", write(lambda rows: [{"a": 1}])]) == 2


def test_json_holds_the_findings(write, capsys):
    path = write(lambda rows: [{**row, "rejected": row["chosen"]} for row in rows[:1]] + rows[1:])
    assert run(["data", "check", path, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in found["findings"]] == ["identical"]
    assert found["length"]["characters"]["preferred"]["n"] > 90
    assert found["coverage"] is None and found["pairs"] == 100


def test_the_page_the_cleaned_file_and_the_benchmark(write, tmp_path, capsys):
    path = write(
        lambda rows: [*rows, {**rows[0], "prompt": "Name a prime, please."}, rows[1]]
    )  # fmt: skip
    bench = tmp_path / "bench.jsonl"
    bench.write_text('{"instruction": "Name a prime please"}\n')
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    line = ["data", "check", path, "--against", str(bench), "--filter", str(out)]
    assert run([*line, "--html", str(page)]) == 1
    shown = capsys.readouterr().out
    assert "100 rows; 2 left (1 leak, 1 duplicate), listed in" in shown
    assert len(out.read_text().splitlines()) == 100
    assert "<h1>pairs.jsonl</h1>" in page.read_text()
    assert run(line) == 2 and "--overwrite" in capsys.readouterr().err


def test_columns_and_policy_go_through(write, tmp_path, tiny_model_dir, capsys):
    path = write(
        lambda rows: [{"question": r["prompt"], "good": r["chosen"], "bad": r["rejected"]}
                      for r in rows[:12]]
    )  # fmt: skip
    columns = ["--column", "prompt=question", "--column", "chosen=good", "--column", "rejected=bad"]
    policy = ["--policy", str(tiny_model_dir), "--json"]
    run(["data", "check", path, *columns, *policy])
    found = json.loads(capsys.readouterr().out)
    assert found["coverage"]["prompts"] == 12
    assert found["coverage"]["chosen"]["value"] < 0
