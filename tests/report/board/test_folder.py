"""What the board finds in a folder, and what it does not let out of it."""

import json
import os
import shutil
import time

import pytest

from luce.report.board import Index, NotInside, inside, runs_in
from luce.report.board.folder import leads_out
from luce.report.board.index import BUDGET_S, row_of


def rows_of(index):
    while True:
        rows, pending = index.rows()
        if not pending:
            return {row["shown"]: row for row in rows}


def test_runs_are_found_wherever_they_lie_and_parts_of_a_run_are_not(runs):
    (runs / "done/model").mkdir()
    (runs / "done/model/manifest.json").write_text("{}")
    (runs / "rounds/rounds/001/train").mkdir(parents=True)
    (runs / "rounds/rounds/001/train/manifest.json").write_text("{}")
    (runs / ".hidden").mkdir()
    (runs / ".hidden/manifest.json").write_text("{}")
    found = [folder.relative_to(runs).as_posix() for folder in runs_in(runs)]
    assert found == ["damaged", "deep/er/stopped", "done", "lab/some-claim", "rounds", "web"]


def test_a_folder_that_is_a_run_is_found_itself(runs):
    assert list(runs_in(runs / "done")) == [runs / "done"]
    assert inside(runs / "done", ".") == runs / "done"


def test_links_to_folders_are_not_followed(runs, tmp_path):
    shutil.copytree(runs / "done", tmp_path / "elsewhere")
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    (runs / "ring").symlink_to(runs)
    assert not [p for p in runs_in(runs) if "link" in p.parts or "ring" in p.parts]


@pytest.mark.parametrize(
    "path",
    ["..", "../elsewhere", "done/../../elsewhere", "/etc", "link", "done\x00", "none", "deep",
     "x" * 5000, "ring/" * 50, "done/model", "~"],
)  # fmt: skip
def test_nothing_outside_is_a_run(runs, tmp_path, path):
    shutil.copytree(runs / "done", tmp_path / "elsewhere")
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotInside, match="^No run is there.$"):
        inside(runs, path)


def test_a_file_that_is_a_link_out_is_refused_and_told(runs, tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"prompt": "SECRET", "before": "", "after": ""}\n')
    (runs / "done/samples.jsonl").unlink()
    (runs / "done/samples.jsonl").symlink_to(secret)
    assert leads_out(runs, runs / "done") == "samples.jsonl"
    with pytest.raises(NotInside, match="samples.jsonl is a link out"):
        inside(runs, "done")
    row = row_of(runs, "done")
    assert row is not None and row["state"] == "damaged" and "SECRET" not in json.dumps(row)


def test_a_link_within_the_folder_is_as_good_as_a_file(runs):
    os.rename(runs / "done/samples.jsonl", runs / "samples-of-all.jsonl")
    (runs / "done/samples.jsonl").symlink_to(runs / "samples-of-all.jsonl")
    assert inside(runs, "done") == runs / "done"


def test_every_kind_of_run_has_its_line(runs):
    rows = rows_of(Index(runs))
    assert set(rows) == {"damaged", "deep/er/stopped", "done", "lab/some-claim", "rounds"}
    done = rows["done"]
    assert done["state"] == "finished" and done["objective"] == "dpo (beta 0.1)"
    assert done["win_rate"]["text"] == "71.5\xa0%"
    assert done["win_rate"]["interval"] == "66.0–76.8\xa0%"
    assert done["headline"].startswith("The trained policy beats the initial policy")
    assert done["step"] == 400
    assert rows["deep/er/stopped"]["state"] == "stopped" and rows["deep/er/stopped"]["step"] == 60
    online = rows["rounds"]
    assert online["kind"] == "online" and online["rounds"] == 2  # the third is half written
    assert online["headline"].startswith("After 2 rounds and 40 annotations")
    assert rows["lab/some-claim"]["kind"] == "lab" and rows["lab/some-claim"]["passed"]
    assert rows["damaged"]["state"] == "damaged" and "damaged" in rows["damaged"]["error"]
    assert str(runs) not in json.dumps(rows["damaged"])


def test_what_changed_is_read_again_and_nothing_else(runs, monkeypatch):
    read = []
    monkeypatch.setattr(
        "luce.report.board.index.row_of", lambda root, path: read.append(path) or row_of(root, path)
    )
    index = Index(runs)
    rows_of(index)
    assert len(read) == 6
    read.clear()
    rows_of(index)
    assert read == []
    (runs / "done/evaluation.json").unlink()
    assert rows_of(index)["done"]["win_rate"] is None and read == ["done"]


def test_runs_come_and_go(runs, monkeypatch):
    monkeypatch.setattr("luce.report.board.index.SEEN_S", 0.0)
    index = Index(runs)
    rows_of(index)
    shutil.rmtree(runs / "done")
    assert "done" not in rows_of(index)
    shutil.copytree(runs / "rounds", runs / "again")
    assert "again" in rows_of(index)


def test_a_run_that_goes_while_it_is_read_is_passed_over(runs, monkeypatch):
    index = Index(runs)
    index.rows(0.0)  # what is there is known, little is read
    shutil.rmtree(runs / "done")
    assert "done" not in rows_of(index)


def test_a_name_that_is_no_text_is_shown_but_not_asked_for(runs):
    os.rename(runs / "done", os.fsencode(runs) + b"/do\xffne")
    (row,) = [r for r in rows_of(Index(runs)).values() if r["shown"].startswith("do\ufffd")]
    assert row["path"] == ""
    json.dumps(row).encode()


@pytest.mark.parametrize("manifest", ["[]", "3", "null", '{"luce": 1, "objective": [1]}'])
def test_a_manifest_of_another_shape_leaves_the_others_alone(runs, manifest):
    (runs / "done/manifest.json").write_text(manifest)
    assert "rounds" in rows_of(Index(runs))


def test_five_hundred_runs_are_listed_within_a_second(tmp_path, write_run, make_metrics):
    first = write_run("many/run-000", metrics=make_metrics(40, 20))
    for number in range(1, 500):
        shutil.copytree(first, tmp_path / f"many/run-{number:03}")
    index = Index(tmp_path / "many")
    begun = time.perf_counter()
    rows, pending = index.rows()
    cold = time.perf_counter() - begun
    assert rows and pending  # the first answer does not wait for all of them
    assert len(rows_of(index)) == 500
    begun = time.perf_counter()
    rows, pending = index.rows()
    warm = time.perf_counter() - begun
    print(f"cold {cold:.2f} s, warm {warm:.2f} s")
    assert len(rows) == 500 and pending == 0
    assert warm < 1.0 and cold < BUDGET_S + 1.0
