"""Sweeps on the board: runs below one line, and the page of their table."""

import fcntl
import json
import shutil

import pytest
from board_pages import all_runs, get, planned_sweep, served, write_sweep

from luce.report.board import Index
from luce.report.board.sweeps import load_sweep, sweep_of
from luce.report.sweep_fold import SweepRun
from luce.report.sweep_page import sweep_json
from luce.report.watch import look


def test_the_runs_of_a_sweep_name_it_and_its_line_says_what_came_of_it(swept):
    with served(swept) as port:
        rows = all_runs(port)
    line = rows["recipe-sweep"]
    assert line["kind"] == "sweep" and line["state"] == "finished"
    assert line["headline"] == "4 of 4 runs of 2 settings finished."
    assert (line["objective"], line["done"], line["runs"]) == ("varies beta, seed", 4, 4)
    members = [path for path, row in rows.items() if row["sweep"] == "recipe-sweep"]
    assert sorted(members) == [f"recipe-sweep/{run.name}" for run in planned_sweep(swept)]
    assert rows["done"]["sweep"] == ""


def test_a_board_of_the_sweeps_own_folder_groups_them_too(swept):
    rows, _ = Index(swept / "recipe-sweep").rows(60.0)
    assert {row["sweep"] for row in rows if row["kind"] == "run"} == {"."}
    assert sweep_of(".", {"."}) == ""


def test_the_page_of_a_sweep_leads_to_the_reports_that_the_board_makes(swept):
    with served(swept) as port:
        status, headers, page = get(port, "/sweep?run=recipe-sweep")
        assert status == 200 and "script-src 'sha256-" in headers["content-security-policy"]
        address = "/report?run=recipe-sweep/beta%3D0.1%2Cseed%3D0"
        assert f'href="{address}"' in page and 'href="/"' in page
        assert get(port, address)[0] == 200
        shutil.rmtree(swept / "recipe-sweep/beta=0.1,seed=0")
        write_sweep(swept / "recipe-sweep")
        assert address not in get(port, "/sweep?run=recipe-sweep")[2]
        assert get(port, "/sweep?run=done")[0] == 404
        assert get(port, "/sweep?run=../x")[0] == 404
        assert get(port, "/api/run?run=recipe-sweep")[0] == 404


def test_a_sweep_in_the_making_is_running_while_a_process_holds_its_folder(swept):
    folder = swept / "recipe-sweep"
    write_sweep(folder, "waiting")
    index = Index(swept)

    def line():
        rows, _ = index.rows(60.0)
        return next(row for row in rows if row["kind"] == "sweep")

    with open(folder / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        found = line()
        assert (found["state"], found["done"], found["runs"]) == ("running", 3, 4)
    assert line()["state"] == "stopped"
    write_sweep(folder, "failed")
    assert line()["state"] == "failed"
    assert line()["headline"] == "3 of 4 runs of 2 settings finished; 1 failed."


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"runs": 3}', '{"recipe": "r", "command": [], "runs": [{"name": "../x"}]}',
     '{"recipe": "r", "command": [], "runs": [{"name": "../x", "status": "finished"}]}'],
)  # fmt: skip
def test_a_damaged_sweep_is_told_and_its_runs_stay(swept, text):
    (swept / "recipe-sweep/sweep.json").write_text(text)
    with served(swept) as port:
        rows = all_runs(port)
        line = rows["recipe-sweep"]
        assert line["state"] == "damaged" and "sweep.json is damaged" in line["error"]
        assert rows["recipe-sweep/beta=0.1,seed=0"]["sweep"] == ""
        assert get(port, "/sweep?run=recipe-sweep")[0] == 400


def test_a_sweep_that_is_a_link_out_is_not_read(swept, tmp_path):
    (tmp_path / "elsewhere.json").write_text((swept / "recipe-sweep/sweep.json").read_text())
    (swept / "recipe-sweep/sweep.json").unlink()
    (swept / "recipe-sweep/sweep.json").symlink_to(tmp_path / "elsewhere.json")
    with served(swept) as port:
        assert "link out" in all_runs(port)["recipe-sweep"]["error"]
        assert get(port, "/sweep?run=recipe-sweep")[0] == 404


def test_what_sweep_json_says_is_text(swept):
    folder = swept / "recipe-sweep"
    evil = "<script>document.title='run'</script>"
    runs = [SweepRun("a", folder / "a", {evil: evil}, "failed", evil, {})]
    (folder / "sweep.json").write_text(json.dumps(sweep_json(evil, runs, [evil])))
    assert load_sweep(folder).runs[0].values == {evil: evil}
    with served(swept) as port:
        page = get(port, "/sweep?run=recipe-sweep")[2]
    assert "<script>document" not in page and "&lt;script&gt;document" in page


def test_a_run_says_of_how_many_steps(swept, write_run, with_manifest, make_metrics):
    manifest = with_manifest({"status": "running", "total_steps": 1200})
    folder = write_run("runs/going", manifest=manifest, metrics=make_metrics(60, 20))
    assert look(folder).words() == "In training at step 60 of 1,200."
    rows, _ = Index(swept).rows(60.0)
    going = next(row for row in rows if row["path"] == "going")
    assert (going["step"], going["steps"]) == (60, 1200)
    for wrong in (None, "x", True, 3.5):
        (folder / "manifest.json").write_text(json.dumps(manifest | {"total_steps": wrong}))
        assert look(folder).words() == "In training at step 60."
