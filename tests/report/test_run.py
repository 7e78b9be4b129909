import math

import pytest

from luce.errors import LuceError
from luce.report import load_run


def test_a_run_is_read_whole(run_folder):
    run = load_run(run_folder)
    assert run.name == "hh-dpo"
    assert len(run.train) == 400 and len(run.held_out) == 9
    assert len(run.ledger) == 64 and len(run.samples) == 12
    assert run.get("objective.parameters.beta") == 0.1
    assert run.get("objective.nothing.here") is None
    assert run.recipe is not None and "# recipe" in run.recipe


def test_series_are_named_alike_in_both_splits(run_folder):
    run = load_run(run_folder)
    margins = run.series("rewards/margins", "eval")
    assert margins.steps == tuple(range(0, 401, 50))
    assert margins.values[0] == 0.0
    assert len(run.series("rewards/margins")) == 400
    assert len(run.series("no/such/metric")) == 0


def test_files_a_run_need_not_have_are_empty(write_run):
    folder = write_run(ledger=None, evaluation=None, recipe=None)
    (folder / "metrics.jsonl").unlink()
    (folder / "samples.jsonl").unlink()
    run = load_run(folder)
    assert run.train == run.held_out == run.ledger == run.samples == run.timing == ()
    assert run.evaluation == {} and run.recipe is None


def test_values_that_are_not_numbers_become_nan_and_are_told_apart(write_run):
    rows = [{"split": "train", "step": i, "loss": v} for i, v in enumerate([1.0, None, math.nan])]
    series = load_run(write_run(metrics=rows)).series("loss")
    assert len(series) == 3 and math.isnan(series.values[1]) and math.isnan(series.values[2])
    assert series.finite.steps == (0,)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(LuceError, match="nowhere: no such folder"):
        load_run(tmp_path / "nowhere")


def test_a_folder_of_runs_says_which_runs_are_in_it(write_run):
    folder = write_run("one").parent
    with pytest.raises(LuceError, match=r"no manifest.json. The runs inside it are: one\."):
        load_run(folder)


def test_a_folder_that_is_no_run_says_what_one_is(tmp_path):
    with pytest.raises(LuceError, match="not a run.*luce train"):
        load_run(tmp_path)


def test_a_damaged_line_is_named_by_file_and_line(run_folder):
    lines = (run_folder / "metrics.jsonl").read_text().split("\n")
    lines[2] = lines[2][:20]
    (run_folder / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(LuceError, match=r"metrics.jsonl:3: not JSON"):
        load_run(run_folder)


def test_a_last_line_cut_by_a_kill_is_told_and_left_out(run_folder):
    path = run_folder / "metrics.jsonl"
    path.write_text(path.read_text() + '{"split": "train", "step": 4')
    run = load_run(run_folder)
    assert len(run.train) == 400
    assert "metrics.jsonl ends in the middle of line 410" in run.damage[0]


def test_metrics_without_a_step_are_refused(write_run):
    with pytest.raises(LuceError, match=r"metrics.jsonl:1: no whole number `step`"):
        load_run(write_run(metrics=[{"split": "train", "loss": 1.0}]))


def test_a_manifest_that_is_not_an_object_is_refused(run_folder):
    (run_folder / "manifest.json").write_text("[]")
    with pytest.raises(LuceError, match="a JSON list where an object is expected"):
        load_run(run_folder)
