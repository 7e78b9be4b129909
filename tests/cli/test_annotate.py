"""`luce annotate`: from files of tasks to a store, and from votes to data."""

import csv
import json

import pytest

from luce.annotate.server import Settings, Store, Task, Verdict
from luce.cli.main import run
from luce.data.formats import FORMATS, detect
from luce.errors import LuceError
from luce.recipe.annotate import checks_of, open_store, tasks_of
from luce.recipe.annotate_export import cell
from luce.types import Place

FIRST, SECOND = Verdict("ranked", (1, 2), 3), Verdict("ranked", (2, 1))
TIE, BAD, SKIP = Verdict("tie", (1, 1)), Verdict("bad", (1, 1)), Verdict("skip")


def write(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def voted(tmp_path):
    """A store in which two people judged five tasks."""
    store = Store(tmp_path / "v.sqlite", Settings(overlap=2, dimensions=("helpful",)))
    store.add(Task(f"q{i}", (f"one {i}", f"=two {i}"), ("new", "old"), f"t{i}") for i in range(5))
    rated = Verdict("ranked", (1, 2), 2, {"helpful": (5, None)}, "=HYPERLINK(1)")
    said = {
        "anna": dict(zip("01234", (rated, FIRST, TIE, BAD, SKIP), strict=True)),
        "ben": dict(zip("01234", (FIRST, SECOND, SECOND, BAD, FIRST), strict=True)),
    }
    for name, verdicts in said.items():
        while (shown := store.next(name)) is not None:
            verdict = verdicts[shown.prompt[1]].placed(shown.order, back=True)
            store.vote(name, shown.task, f"{name}{shown.task:016d}", verdict)
    store.close()
    return tmp_path / "v.sqlite"


def exported(voted, to: str, by: str = "vote") -> list[dict]:
    out = voted.parent / f"{to}.jsonl"
    assert run(["annotate", "export", str(voted), "--out", str(out), "--to", to, "--by", by]) == 0
    return lines(out)


def test_pairs_carry_who_when_and_how(voted):
    rows = exported(voted, "pairs")
    found = {(row["id"], row["annotator"]): row for row in rows}
    assert set(found) == {
        *(("t0", "anna"), ("t1", "anna"), ("t2", "anna")),
        *(("t0", "ben"), ("t1", "ben"), ("t2", "ben"), ("t4", "ben")),
    }
    row = found["t0", "anna"]
    assert (row["chosen"], row["rejected"], row["margin"]) == ("one 0", "=two 0", 2.0)
    assert (row["chosen_model"], row["rejected_model"]) == ("new", "old")
    assert row["ratings_chosen"] == {"helpful": 5.0} and "ratings_rejected" not in row
    assert row["comment"] == "=HYPERLINK(1)" and row["shown_first"] in ("chosen", "rejected")
    assert row["at"].endswith("+00:00") and row["seconds"] >= 0
    assert found["t1", "ben"]["chosen"] == "=two 1"
    assert found["t2", "anna"]["label"] == 0.5
    known, _ = detect(rows)
    back = [known.convert(Place("x", i), row) for i, row in enumerate(rows)]
    assert {row.annotator for row in back} == {"anna", "ben"}


def test_one_row_a_task_has_the_share_of_votes_or_what_was_settled(voted):
    found = {row["id"]: row for row in exported(voted, "pairs", "task")}
    assert set(found) == {"t0", "t1", "t2", "t4"}
    assert "label" not in found["t0"] and found["t0"]["annotators"] == ["anna", "ben"]
    assert found["t1"]["label"] == 0.5
    assert (found["t2"]["label"], found["t2"]["chosen"]) == (0.75, "=two 2")
    store = Store(voted)
    while (shown := store.next("cleo", adjudicates=True)) is not None:
        store.vote("cleo", shown.task, f"c{shown.task:016d}", FIRST.placed(shown.order, back=True))
    store.close()
    found = {row["id"]: row for row in exported(voted, "pairs", "task")}
    assert "label" not in found["t1"] and found["t1"]["adjudicates"] is True
    assert (found["t2"]["chosen"], found["t2"]["annotator"]) == ("one 2", "cleo")


def test_unpaired_rows_and_rankings(voted):
    rows = exported(voted, "unpaired")
    said = {(row["id"], row["annotator"]): row["label"] for row in rows}
    assert said["t0-0", "anna"] is True and said["t0-1", "anna"] is False
    assert said["t3-0", "ben"] is False and said["t3-1", "ben"] is False
    assert ("t2-0", "anna") not in said
    ranking = {(r["id"], r["annotator"]): r for r in exported(voted, "ranking")}
    assert ranking["t1", "ben"]["scores"] == [0.0, 1.0]
    assert ranking["t2", "anna"]["scores"] == [1.0, 1.0]


@pytest.mark.parametrize(
    "to", [name for name, f in FORMATS.items() if f.structure in ("pair", "list", "unpaired")]
)
def test_every_format_of_the_data_path_can_be_written(voted, to):
    assert exported(voted, to)


def test_verdicts_are_read_by_the_win_rate(voted, capsys):
    rows = exported(voted, "verdicts")
    assert len(rows) == 10 and sum(row["preference"] is None for row in rows) == 1
    assert {row["order"] for row in rows} == {"ab", "ba"}
    out = voted.parent / "verdicts.jsonl"
    capsys.readouterr()
    assert run(["eval", "win-rate", "--verdicts", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # by prompt 1, ½, ¼, ½, and 1 of the one who did not skip
    assert told["win_rates"][0]["win_rate"] == pytest.approx((1 + 0.5 + 0.25 + 0.5 + 1) / 5)
    assert told["win_rates"][0]["reasons"] == {"skipped": 1}


def test_a_table_holds_no_formula(voted, tmp_path):
    out = tmp_path / "votes.csv"
    assert run(["annotate", "export", str(voted), "--out", str(out), "--to", "csv"]) == 0
    with open(out, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert {row["comment"] for row in rows} == {"", "'=HYPERLINK(1)"}
    for text in ("=1", "+1", "-1", "@x", "\t=1", " =1", "\r=1"):
        assert cell(text) == f"'{text}"
    assert cell("a=1") == "a=1"


def test_the_agreement_is_told_and_written_as_json(voted, capsys):
    assert run(["annotate", "agreement", str(voted)]) == 0
    told = capsys.readouterr().out
    assert "Krippendorff alpha" in told and "anna: 4 votes, 1 skipped" in told
    assert run(["annotate", "agreement", str(voted), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] == 4


def test_errors_name_the_remedy(voted, tmp_path, capsys):
    for arguments, words in (
        (["agreement", str(tmp_path / "no")], "no such file"),
        (["export", str(voted), "--to", "pears"], "Did you mean 'pairs'?"),
        (["--store", str(tmp_path / "new.sqlite")], "Name a file of tasks"),
        ([str(tmp_path / "no.jsonl")], "no such file"),
        (["--store", str(voted), "--host", "0.0.0.0"], "--people"),
        (["--store", str(voted), "--seed", "9"], "was made with seed 0"),
        (["--store", str(voted), "--people", "anna", "--adjudicators", "eve"], "eve"),
    ):
        assert run(["annotate", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_tasks_of_every_kind_of_file(tmp_path):
    responses = [{"prompt": "q", "responses": ["x", "y", "z"], "models": ["m", "n", "o"], "id": 7}]
    (task,), notes = tasks_of([write(tmp_path / "a.jsonl", responses)])
    assert (task.responses, task.models, task.id, notes) == (
        ("x", "y", "z"), ("m", "n", "o"), "7", [],
    )  # fmt: skip
    objects = [{"prompt": "q", "responses": [{"response": "x", "model": "m"}, {"response": "y"}]}]
    (task,), _ = tasks_of([write(tmp_path / "b.jsonl", objects)])
    assert (task.responses, task.models) == (("x", "y"), None)
    sides = [{"prompt": "q", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n"}]
    (task,), notes = tasks_of([write(tmp_path / "c.jsonl", sides * 2)])
    assert task.models == ("m", "n") and "twice" in notes[0]
    differing = [{**sides[0], "id": 1}, {**sides[0], "id": 1, "response_b": "z"}]
    two, _ = tasks_of([write(tmp_path / "f.jsonl", differing)])
    with pytest.raises(LuceError, match="id '1'"):
        open_store(tmp_path / "f.sqlite", two)
    judged = [{"prompt": "q", "chosen": "x", "rejected": "y", "chosen_model": "m",
               "rejected_model": "n"}]  # fmt: skip
    (task,), _ = tasks_of([write(tmp_path / "d.jsonl", judged)])
    assert (task.responses, task.models, task.best) == (("x", "y"), ("m", "n"), None)
    graded = [{"prompt": "q", "responses": ["x", "y"], "scores": [1, 2]}]
    (task,), _ = tasks_of([write(tmp_path / "e.jsonl", graded)])
    assert task.responses == ("x", "y")
    (check,) = checks_of(str(tmp_path / "d.jsonl"))
    assert check.best == 0 and check.id != task.id


def test_two_files_of_responses_are_compared_prompt_by_prompt(tmp_path):
    a = write(tmp_path / "new.jsonl", [{"prompt": f"q{i}", "response": f"a{i}"} for i in range(4)])
    b = write(tmp_path / "old.jsonl", [{"prompt": f"q{i}", "response": f"b{i}"} for i in range(3)])
    found, notes = tasks_of([a, b], limit=None)
    assert [t.responses for t in found] == [("a0", "b0"), ("a1", "b1"), ("a2", "b2")]
    assert {t.models for t in found} == {("new", "old")}
    assert "1 prompts are answered by new only" in notes[0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"responses": ["x", "y"]}, ":1: .*prompt"),
        ({"prompt": "q", "responses": ["x"]}, ":1: .*1 responses"),
        ({"prompt": "q", "responses": "x"}, ":1: .*a list is expected"),
        ({"prompt": "q", "responses": ["x", 3]}, ":1: .*text"),
        ({"prompt": "q", "response_a": "x"}, ":1: .*response_b"),
        ({"prompt": "q", "responses": ["x", "y" * 200_001]}, ":1: .*200,001 characters"),
        ({"prompt": "q", "responses": ["x"] * 27}, ":1: .*27 responses"),
    ],
    ids=str,
)
def test_a_bad_row_is_named(tmp_path, row, words):
    with pytest.raises(LuceError, match=words):
        tasks_of([write(tmp_path / "t.jsonl", [row])])


def test_a_store_goes_on_with_what_it_was(tmp_path):
    path = tmp_path / "v.sqlite"
    tasks = [Task("q", ("x", "y"))]
    open_store(path, tasks, seed=5, overlap=3, dimensions=("a",)).close()
    again = open_store(path, [])
    assert again.settings == Settings(5, 3, ("a",), 10)
    again.close()


def test_where_the_server_is_missing_it_is_said_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["annotate", "--store", str(tmp_path / "v.sqlite")]) == 2
    assert "pip install 'luce[ui]'" in capsys.readouterr().err
